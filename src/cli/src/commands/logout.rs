//! `jit-ssh logout`: removes what this machine holds.

use clap::Args;
use serde::Serialize;

use crate::ca;
use crate::cli::Context;
use crate::commands::status::owner;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::held;
use jit_ssh_api::agent::{Agent, AgentError};

/// Remove your certificates and keys from the ssh-agent and this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh logout\n\n\
    Requests that wait are left standing; take one back with: jit-ssh cancel ID")]
pub(crate) struct LogoutArgs {}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct LoggedOut {
    certificates_removed: usize,
    keys_removed: usize,
}

pub(super) async fn cmd_logout(context: &Context, _: LogoutArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    // The files first: they are ours to remove, whatever the agent does.
    let keys_removed = grants::forget_all(home)?;
    ca::forget_session(home)?;
    let certificates_removed = match (Agent::open(), Enrolment::find(home)?) {
        (Ok(mut agent), Some(enrolment)) => {
            let owner = owner(context, &mut agent, &enrolment).await?;
            held::remove_all(&mut agent, &owner)?
        }
        (Ok(_), None) | (Err(AgentError::Absent), _) => 0,
        (Err(error), _) => return Err(error.into()),
    };
    ui.say(&format!(
        "Removed {certificates_removed} certificates from the ssh-agent and {keys_removed} keys from this machine."
    ));
    ui.object(&LoggedOut { certificates_removed, keys_removed })?;
    Ok(Outcome::Done)
}
