//! `jit-ssh-host setup`: makes this host's sshd accept the CA's certificates, or stop doing so.

mod run;

use std::path::{Path, PathBuf};

use clap::Args;
use jit_ssh_api::CaUrl;
use jit_ssh_core::names::HostName;
use serde::Serialize;

use crate::error::CommandError;
use crate::fetch;
use crate::layout::Layout;
use crate::plan::{HostFacts, Wanted};
use crate::settings::{Guard, Settings};
use crate::sshd::Sshd;
use crate::verify::MayReplace;
use run::{Goal, Told, run};

/// Make sshd accept certificates of the CA for this host's logins, and verify that it does.
#[derive(Args)]
#[command(
    after_help = "Shows the difference, writes it, checks with `sshd -t` and `sshd -T` that it is in force and that\n\
    every login can log in with a certificate, puts everything back if not, and reloads sshd.\n\
    Running it again changes nothing.\n\n\
    Example:\n  jit-ssh-host setup --ca 'https://ca.example:7443#SHA256:...' --name prod-host --dry-run\n\n\
    Exit codes: 0 done, 1 error, 2 usage, 7 CA unreachable"
)]
pub(crate) struct SetupArgs {
    /// The CA: https://HOST:PORT#SHA256:..., as `jit-ssh-ca init` prints it
    #[arg(long, value_name = "URL", required_unless_present = "remove")]
    ca: Option<CaUrl>,
    /// This host's name in hosts.toml
    #[arg(long, required_unless_present = "remove")]
    name: Option<HostName>,
    /// Where host files are put, and what they refer to
    #[arg(long, value_name = "DIR", default_value = "/etc/ssh")]
    etc: PathBuf,
    /// sshd's main file [default: sshd_config in --etc]
    #[arg(long, value_name = "FILE")]
    sshd_config: Option<PathBuf>,
    /// The sshd to ask [default: found in PATH, /usr/sbin or /usr/local/sbin]
    #[arg(long, value_name = "PATH")]
    sshd: Option<PathBuf>,
    /// What logins ask of the guard: only `off`, as yet
    #[arg(long, value_enum, default_value_t = Guard::Off, hide_possible_values = true)]
    guard: Guard,
    /// Lets CAs that others trust go: sshd takes one list of CAs only
    #[arg(long)]
    replace_cas: bool,
    /// Lets a RevokedKeys of others go: sshd takes one only
    #[arg(long)]
    replace_revoked_keys: bool,
    /// Shows the difference and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Takes out what setup wrote
    #[arg(long)]
    remove: bool,
    /// Prints one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Accepted for scripts: setup asks nothing
    #[arg(long)]
    yes: bool,
}

/// What happened, as `--json` tells it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: Option<&'a HostName>,
    etc: &'a Path,
    changed: Vec<&'a Path>,
    removed: Vec<&'a Path>,
    reloaded: bool,
    dry_run: bool,
}

/// Runs `jit-ssh-host setup`.
pub(crate) fn cmd_setup(args: &SetupArgs) -> Result<(), CommandError> {
    match args.guard {
        Guard::Off => {}
        Guard::Required | Guard::Optional => {
            return Err(CommandError::usage("This version of jit-ssh-host has no guard.").hint(
                "leave out --guard, or say --guard off: sessions then live on after their certificate ends",
            ));
        }
    }
    let layout = Layout::new(&args.etc, args.sshd_config.as_deref())?;
    let sshd = Sshd::find(args.sshd.as_deref(), layout.config())?;
    let goal = match (&args.ca, &args.name) {
        _ if args.remove => Goal::Removed,
        (Some(ca), Some(name)) => {
            let settings = Settings {
                ca: ca.clone(),
                name: name.clone(),
                guard: args.guard,
                sshd_config: layout.config().to_owned(),
                pam: PathBuf::from("/etc/pam.d/sshd"),
                offline_ca: None,
            };
            Goal::SetUp(Box::new(Wanted { facts: fetch(ca, name)?, settings }))
        }
        _ => return Err(CommandError::usage("setup needs --ca and --name.")),
    };
    let done = {
        let may_replace =
            MayReplace { cas: args.replace_cas, revoked_keys: args.replace_revoked_keys };
        run(&layout, &sshd, &goal, Told { dry_run: args.dry_run, may_replace })?
    };
    if args.json {
        let report = Report {
            name: args.name.as_ref(),
            etc: layout.etc(),
            changed: done.plan.changed(),
            removed: done.plan.removed(),
            reloaded: done.reloaded,
            dry_run: args.dry_run,
        };
        let json = serde_json::to_string(&report)
            .map_err(|e| CommandError::new(format!("The report can not be written: {e}.")))?;
        println!("{json}");
    }
    Ok(())
}

fn fetch(ca: &CaUrl, name: &HostName) -> Result<HostFacts, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::new(format!("The network can not be used: {e}.")))?;
    runtime.block_on(fetch::fetch(ca, name))
}

#[cfg(test)]
mod tests;
