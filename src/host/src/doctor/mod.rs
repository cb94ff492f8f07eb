//! `jit-ssh-host doctor`: what this host really enforces, and each weakness with its fix.
//!
//! - `gather`: looks at the host, changes nothing; gives [`facts`];
//! - [`directives`], [`pam_stack`]: read sshd's and PAM's configuration; pure;
//! - [`rules`]: from facts to [`finding`]s, one file for each area; pure;
//! - [`enforces`]: what holds, less what the findings break; pure;
//! - [`render`]: what is shown; pure.

pub(crate) mod directives;
mod enforces;
pub(crate) mod facts;
mod finding;
pub(crate) mod gather;
pub(crate) mod pam_stack;
mod render;
pub(crate) mod rules;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::sshd::Sshd;
use finding::{Finding, Severity};
use gather::Places;

/// Where the guard listens.
const GUARD_DIR: &str = "/run/jit-ssh";
/// sshd's PAM service.
const PAM_FILE: &str = "/etc/pam.d/sshd";

/// Say what this host really enforces, and each weakness with its fix.
#[derive(Args)]
#[command(
    after_help = "Looks at what sshd says is in force, at files, PAM, guard and clock; changes nothing.\n\
    Run it as root. A weakness is `critical` or a `warning`; a `note` is none.\n\n\
    Example:\n  jit-ssh-host doctor\n  jit-ssh-host doctor --json | jq 'select(.severity == \"critical\")'\n\n\
    Exit codes: 0 done and no weakness, 1 weaknesses or an error, 2 usage"
)]
pub(crate) struct DoctorArgs {
    /// Where host files are
    #[arg(long, value_name = "DIR", default_value = "/etc/ssh")]
    etc: PathBuf,
    /// sshd's main file [default: as set up, or sshd_config in --etc]
    #[arg(long, value_name = "FILE")]
    sshd_config: Option<PathBuf>,
    /// sshd's PAM service file [default: as set up, or /etc/pam.d/sshd]
    #[arg(long, value_name = "FILE")]
    pam: Option<PathBuf>,
    /// The sshd to ask [default: found in PATH, /usr/sbin or /usr/local/sbin]
    #[arg(long, value_name = "PATH")]
    sshd: Option<PathBuf>,
    /// Prints one JSON object a line on stdout
    #[arg(long)]
    json: bool,
}

/// Runs `jit-ssh-host doctor`.
pub(crate) fn cmd_doctor(args: &DoctorArgs) -> Result<ExitCode, CommandError> {
    let (out, exit) = report(args)?;
    std::io::stdout().write_all(out.as_bytes()).map_err(unwritable)?;
    Ok(exit)
}

/// What is printed, and the exit code.
fn report(args: &DoctorArgs) -> Result<(String, ExitCode), CommandError> {
    let settings = gather::settings(&args.etc);
    let settings = settings.seen().and_then(|settings| settings.as_ref().ok());
    let config = args.sshd_config.clone().or(settings.map(|known| known.sshd_config.clone()));
    let layout = Layout::new(&args.etc, config.as_deref())?;
    let sshd = Sshd::find(args.sshd.as_deref(), layout.config())?;
    let pam = args.pam.clone().or(settings.map(|known| known.pam.clone()));
    let pam = pam.unwrap_or_else(|| PathBuf::from(PAM_FILE));
    let places = Places { layout, sshd, pam, guard_dir: PathBuf::from(GUARD_DIR) };
    let facts = gather::look(&places);
    let findings = rules::judge(&facts);
    let enforced = enforces::enforced(&facts, &findings);
    let out = match args.json {
        true => render::json(&enforced, &findings).map_err(unwritable)?,
        false => {
            let name = facts.settings().map_or("this host", |settings| settings.name.as_str());
            render::text(name, &enforced, &findings)
        }
    };
    Ok((out, exit(&findings)))
}

fn unwritable(error: impl std::fmt::Display) -> CommandError {
    CommandError::new(format!("The report can not be written: {error}."))
}

fn exit(findings: &[Finding]) -> ExitCode {
    let is_weak = |found: &Finding| found.weakness.describe().severity < Severity::Note;
    if findings.iter().any(is_weak) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests;
