//! `jit-ssh-ca log verify | show | export`: what was decided and signed, for whoever wants to know.
//!
//! - [`judge`]: the audit itself, pure: entries in order, and the first that is not justified;
//! - [`host`]: the same for host certificates;
//! - [`fault`]: what can be wrong with an entry or with the log, in words;
//! - [`regrowth`]: the tree grown anew from the entries, pure;
//! - [`verify`], [`show`], [`export`]: the commands;
//! - [`certificate`]: logged certificates, read by a general parser;
//! - [`folder`]: where root, log and bundles lie.
//!
//! All of it works offline, from a state folder or from what `export` made of one.

pub(crate) mod certificate;
mod export;
mod fault;
pub(crate) mod folder;
mod host;
pub(crate) mod judge;
mod regrowth;
mod show;
mod verify;

use std::process::ExitCode;

pub(crate) use fault::LogFault;

/// What can be done with the log.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum LogCommand {
    /// Check everything anew: tree, signatures, and that each certificate was justified.
    #[command(after_help = help!(
        "jit-ssh-ca log verify --config ca-config",
        "jit-ssh-ca log verify --from COPY --root SHA256:...",
    ))]
    Verify(verify::VerifyArgs),
    /// Show the entries, without checking them.
    #[command(after_help = help!(
        "jit-ssh-ca log show --config ca-config 7kq2m9xw4p",
        "jit-ssh-ca log show --config ca-config --since 100 --json",
    ))]
    Show(show::ShowArgs),
    /// Copy all that `verify` needs, for somebody else to check.
    #[command(after_help = help!("jit-ssh-ca log export --config ca-config --to COPY"))]
    Export(export::ExportArgs),
}

/// Runs one of them.
pub(crate) fn cmd_log(command: &LogCommand) -> anyhow::Result<ExitCode> {
    match command {
        LogCommand::Verify(args) => verify::cmd_verify(args),
        LogCommand::Show(args) => show::cmd_show(args),
        LogCommand::Export(args) => export::cmd_export(args),
    }
}

#[cfg(test)]
mod tests;
