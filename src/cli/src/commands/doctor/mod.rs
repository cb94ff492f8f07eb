//! `jit-ssh doctor`: what of a person's side is weak or broken, and how to mend it.
//!
//! - `gather.rs`: looks, and asks the CA; gives `facts.rs`; `moments.rs`: dates as others write them;
//! - `rules.rs`, `ssh_config.rs`: from facts to findings (`finding.rs`); pure.

mod facts;
mod finding;
mod gather;
mod moments;
mod rules;
mod ssh_config;
#[cfg(test)]
mod tests;

use clap::Args;
use jit_ssh_core::names::HostName;

use crate::cli::Context;
use crate::failure::{Failure, Outcome};

/// Say what keeps access from working, or from being safe, each with its fix.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  jit-ssh doctor\n  jit-ssh doctor prod-host --json | jq -r .code\n\n\
    Looks at clock, ssh-agent, enrolment, TLS and bundle; with HOST also at the certificate\n\
    for it and at what `ssh -G HOST` says is in force. Works without the CA, and changes nothing.\n\
    A weakness is `critical` or a `warning` and makes the exit code 1; a `note` is none."
)]
pub(crate) struct DoctorArgs {
    /// A host that access is wanted to.
    pub(super) host: Option<HostName>,
}

pub(super) async fn cmd_doctor(context: &Context, args: DoctorArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let facts = gather::look(home, args.host.as_ref()).await?;
    let findings = rules::judge(&facts);
    for finding in &findings {
        ui.object(finding)?;
    }
    ui.data(&finding::text(&findings))?;
    let weak = findings.iter().any(finding::Finding::is_weakness);
    Ok(if weak { Outcome::Error } else { Outcome::Done })
}
