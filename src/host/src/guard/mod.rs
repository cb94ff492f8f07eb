//! `jit-ssh-host guard`: ends sessions when their access ends.
//!
//! - [`serve`]: the one loop; [`table`]: the sessions, and what is due for them when;
//! - [`clients`], [`queue`]: who asks, and whose turn it is;
//! - [`admit`]: which logins are taken on, and what moves an end;
//! - [`watched`]: one session, and how it is ended; [`row`]: what is remembered of it; [`others`]: who only seems to be
//!   part of it;
//! - [`state`]: the table on disk; [`spool`], [`event`]: what the CA is to hear of;
//! - [`process`], [`cgroup`], [`alarm`], [`revoked`]: what the kernel and the file system tell;
//! - [`protocol`]: the socket, from both ends; [`trust`]: whose certificate it is;
//! - [`warning`], [`log`]: what people read.
//!
//! One thread, no async: it waits in one place, and whatever it does there ends within milliseconds.

mod admit;
mod alarm;
pub(crate) mod cgroup;
mod clients;
pub(crate) mod event;
pub(crate) mod log;
mod others;
pub(crate) mod process;
pub(crate) mod protocol;
mod queue;
mod revoked;
pub(crate) mod row;
mod serve;
mod spool;
pub(crate) mod state;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod trust;
mod warning;
mod watched;

use clap::Args;

use crate::error::CommandError;
use crate::layout::Folders;
use crate::link::supervisor;

/// The unit that runs the guard under systemd.
pub(crate) const UNIT: &str = include_str!("../../units/jit-ssh-guard.service");

/// End sessions when their access ends: the daemon that systemd runs.
#[derive(Args)]
#[command(
    after_help = "Watches the logins that its PAM hook (`jit-ssh-host session`) tells it of, and ends each at the\n\
    moment its certificate names, and when it is in the revocation list. Runs until it is stopped;\n\
    sessions live on while it is away, and those that are due end when it is back.\n\n\
    Example:\n  jit-ssh-host guard\n\n\
    Exit codes: 0 done, 1 error, 2 usage"
)]
pub(crate) struct GuardArgs {
    #[command(flatten)]
    folders: Folders,
    /// Goes by the files there are, and asks no CA
    #[arg(long)]
    no_link: bool,
}

/// Runs `jit-ssh-host guard`.
pub(crate) fn cmd_guard(args: &GuardArgs) -> Result<(), CommandError> {
    if !rustix::process::geteuid().is_root() {
        return Err(CommandError::new(
            "The guard must run as root: it ends sessions of all users.",
        )
        .hint("under systemd: systemctl start jit-ssh-guard"));
    }
    let mut server = serve::Server::open(args.folders.clone())?;
    if !args.no_link {
        start_link(&args.folders);
    }
    server.run()
}

/// Without the link, sessions end all the same.
fn start_link(folders: &Folders) {
    if let Err(error) = supervisor::start(folders.arguments()) {
        log::say(log::Level::Error, &format!("there is no link to the CA: {error}."));
    }
}
