//! `jit-ssh-host`: what an administrator runs on a host.
//!
//! - [`setup`]: the command `setup` and the order of its effects;
//! - [`fetch`]: what the CA says of this host, verified down to the pin;
//! - [`plan`]: from that and the files there are to the files there should be; no I/O;
//! - [`layout`]: which files are ours; [`content`]: what stands in them; [`config`]: how sshd reads
//!   its configuration;
//! - [`current`]: reads what is there; [`apply`]: writes, and takes back;
//! - [`sshd`]: asks the real sshd; [`verify`]: judges its answer; [`reload`]: makes the running one read its files again;
//! - [`diff`], [`error`]: what people see.

mod apply;
mod config;
mod content;
mod current;
mod diff;
mod error;
mod fetch;
mod layout;
mod plan;
mod reload;
mod setup;
mod sshd;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::CommandError;

/// Prepares a host for short-lived SSH certificates.
#[derive(Parser)]
#[command(name = "jit-ssh-host", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::SetupArgs),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), CommandError> {
    match cli.command {
        Command::Setup(args) => setup::cmd_setup(&args),
    }
}
