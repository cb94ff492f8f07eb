//! `jit-ssh-host`: what an administrator runs on a host.
//!
//! - [`setup`]: the command `setup` and the order of its effects;
//! - [`doctor`]: the command `doctor`: what the host really enforces, and what is weak;
//! - [`enroll`]: the command `enroll`: joins as a host that hosts.toml does not list; [`enrolment`]: what
//!   vouches for this host;
//! - [`fetch`]: what the CA says of this host, verified down to the pin; [`host_certificate`]: its certificate;
//! - [`plan`]: from that and the files there are to the files there should be; no I/O;
//! - [`settings`]: how the host was set up, kept for those who come after `setup`;
//! - [`pam`], [`hook`]: the line in PAM that calls the guard's hook; [`guard_service`]: the guard as a
//!   service; [`lock_out`]: which other ways in there are; [`labels`]: SELinux;
//! - [`offline`]: the sealed key for the day without a CA;
//! - [`guard`]: the command `guard`, which ends sessions; [`session`]: its PAM hook; [`link`]: its way to
//!   the CA;
//! - [`clock`]: what time it is;
//! - [`layout`]: which files are ours; [`content`]: what stands in them; [`config`]: how sshd reads
//!   its configuration;
//! - [`revoked`]: the list of revoked keys that sshd reads;
//! - [`current`]: reads what is there; [`apply`]: writes, and takes back;
//! - [`sshd`]: asks the real sshd; [`verify`], [`admission`]: judge its answer; [`reload`]: makes the running one read its files again;
//! - [`diff`], [`error`]: what people see.

mod admission;
mod apply;
mod clock;
mod config;
mod content;
mod current;
mod diff;
mod doctor;
mod enroll;
mod enrolment;
mod error;
mod fetch;
mod guard;
mod guard_service;
mod hook;
mod host_certificate;
mod labels;
mod layout;
mod link;
mod lock_out;
mod offline;
mod pam;
mod plan;
mod reload;
mod revoked;
mod session;
mod settings;
mod setup;
mod sshd;
#[cfg(test)]
mod testguard;
#[cfg(test)]
mod testplace;
mod verify;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::error::CommandError;

/// Prepares a host for short-lived SSH certificates.
#[derive(Parser)]
#[command(
    name = "jit-ssh-host",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Example:\n  jit-ssh-host setup --ca 'https://ca.example:7443#SHA256:...' --name prod-host --dry-run\n\n\
        Exit codes: 0 done, 1 error, 2 usage, 7 CA unreachable"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::SetupArgs),
    Doctor(doctor::DoctorArgs),
    Guard(guard::GuardArgs),
    Link(link::LinkArgs),
    Enroll(enroll::EnrollArgs),
    /// Print what a shell has to load to complete these commands.
    #[command(
        after_help = "Example:\n  source <(jit-ssh-host completions bash)\n\nExit codes: 0 done, 1 error, 2 usage"
    )]
    Completions(jit_ssh_manual::Completions),
    /// Write the man pages, for packagers.
    #[command(
        hide = true,
        after_help = "Example:\n  jit-ssh-host man /usr/share/man/man8\n\nExit codes: 0 done, 1 error, 2 usage"
    )]
    Man(jit_ssh_manual::Pages),
}

fn main() -> ExitCode {
    // Somebody's login waits for the hook: nothing comes before it.
    let mut hook = std::env::args_os().skip(1);
    if hook.next().is_some_and(|command| command == "session") {
        return session::run(hook);
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    if jit_ssh_manual::answer(Cli::command, &args, |_| Vec::new()).is_some() {
        return ExitCode::SUCCESS;
    }
    // Where the arguments can not be understood, this one still must.
    let json = args.iter().any(|arg| arg == "--json");
    let (error, exit) = match Cli::try_parse_from(args) {
        Ok(cli) => match run(cli) {
            Ok(exit) => return exit,
            Err(error) => {
                eprintln!("{error}");
                let exit = error.exit_code();
                (error, exit)
            }
        },
        Err(error) => {
            // Help or the version as asked for, on stdout; or what is wrong, on stderr.
            let printed = error.print();
            if !error.use_stderr() {
                return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            let error = CommandError::usage(first_sentence(&error.to_string()));
            let exit = error.exit_code();
            (error, exit)
        }
    };
    if json {
        // If stdout is gone, the exit code still tells.
        let _ = writeln!(std::io::stdout(), "{}", error.json());
    }
    exit
}

/// What a parser's many lines say in one.
fn first_sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

fn run(cli: Cli) -> Result<ExitCode, CommandError> {
    match cli.command {
        Command::Setup(args) => setup::cmd_setup(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::cmd_doctor(&args),
        Command::Guard(args) => guard::cmd_guard(&args).map(|()| ExitCode::SUCCESS),
        Command::Link(args) => link::cmd_link(&args).map(|()| ExitCode::SUCCESS),
        Command::Enroll(args) => enroll::cmd_enroll(&args).map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => done(args.print("jit-ssh-host")),
        Command::Man(args) => done(args.write(&Cli::command(), 8)),
    }
}

fn done<T>(written: std::io::Result<T>) -> Result<ExitCode, CommandError> {
    written.map(|_| ExitCode::SUCCESS).map_err(|e| CommandError::new(format!("{e}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_fits_a_screen_and_has_an_example_and_the_exit_codes() {
        Cli::command().debug_assert();
        for command in
            ["", "setup ", "doctor ", "guard ", "link ", "enroll ", "completions ", "man "]
        {
            for option in ["-h", "--help"] {
                let line = format!("jit-ssh-host {command}{option}");
                let help = Cli::try_parse_from(line.split(' ')).err().unwrap();
                assert!(!help.use_stderr(), "{line}");
                let help = help.to_string();
                assert!(help.lines().count() <= 40, "{help}");
                assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
                assert!(help.contains("Example") && help.contains("Exit codes: 0 done"), "{help}");
            }
        }
    }

    #[test]
    fn a_failure_is_one_json_object_with_the_names_that_jit_ssh_uses() {
        let error = CommandError::new("It broke.").named("BROKE").hint("mend it").hint("or not");
        let expected = r#"{"error":"BROKE","message":"It broke.","hint":"mend it; or not"}"#;
        assert_eq!(error.json(), expected);
        let bare = CommandError::usage("What?").json();
        assert_eq!(bare, r#"{"error":"USAGE","message":"What?","hint":null}"#);
        assert_eq!(first_sentence("error: a\n  --b\n\nUsage: c"), "a --b");
    }
}
