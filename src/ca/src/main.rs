//! `jit-ssh-ca`: the front of jit-ssh, and the administrator's command.
//!
//! - [`init`]: makes a CA: root, keys, TLS anchor, and the configuration that is missing;
//! - [`serve`]: runs the front, and the signer beside it;
//! - [`apply`]: signs the configuration and puts it in force;
//! - [`audit`]: `log verify`, `log show` and `log export`;
//! - [`identity`]: the admin's signing key, from a file or the ssh-agent;
//! - [`anchor`]: the TLS anchor, made by `init` and used by `serve`;
//! - [`failure`], [`terminal`], [`clock`]: exit codes, the terminal, the time.

mod anchor;
mod apply;
mod audit;
mod clock;
mod failure;
mod identity;
mod init;
mod serve;
mod terminal;
#[cfg(test)]
mod testkeys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| failure::report(&error))
}

/// The CA of jit-ssh: just-in-time SSH access.
#[derive(Debug, Parser)]
#[command(name = "jit-ssh-ca", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a CA: its root, its keys, and the configuration files that are missing.
    Init(init::InitArgs),
    /// Run the CA.
    Serve(serve::ServeArgs),
    /// Check the configuration, show what changes, sign it, and put it in force.
    Apply(apply::ApplyArgs),
    /// Verify, show or export the log of all that was decided and signed.
    #[command(subcommand)]
    Log(audit::LogCommand),
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    // One crypto stack for all TLS of this process. Another call came first only if it was the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match &cli.command {
        Command::Init(args) => init::cmd_init(args),
        Command::Serve(args) => serve::cmd_serve(args),
        Command::Apply(args) => apply::cmd_apply(args),
        Command::Log(command) => audit::cmd_log(command),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
