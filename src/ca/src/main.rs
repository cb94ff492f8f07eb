//! `jit-ssh-ca`: the front of jit-ssh, and the administrator's command.
//!
//! - [`init`]: makes a CA: root, keys, TLS anchor, and the configuration that is missing;
//! - [`serve`]: runs the front, and the signer beside it;
//! - [`apply`]: signs the configuration and puts it in force;
//! - [`audit`]: `log verify`, `log show` and `log export`;
//! - [`policy`]: what the rules do: `policy test`, `explain`, `lint`, `replay`, `diff` and `suggest`;
//! - [`report`]: who had access where;
//! - [`history`]: the log request by request, for both;
//! - [`enroller`]: join tokens, and hosts that are vouched for;
//! - [`identity`]: the admin's signing key, from a file or the ssh-agent;
//! - [`anchor`]: the TLS anchor, made by `init` and used by `serve`;
//! - [`failure`], [`terminal`], [`clock`]: exit codes, the terminal, the time.

/// What a command's help ends with: examples, and the exit codes of all commands.
macro_rules! help {
    ($($example:literal),+ $(,)?) => {
        concat!(
            "Example:\n",
            $("  ", $example, "\n",)+
            "\nExit codes: 0 done, 1 error, 2 usage, 3 more admins must sign, 7 CA unreachable"
        )
    };
}

mod anchor;
mod apply;
mod audit;
mod clock;
mod enroller;
mod failure;
mod history;
mod identity;
mod init;
mod policy;
mod report;
mod serve;
mod terminal;
#[cfg(test)]
mod testkeys;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use failure::JsonError;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if jit_ssh_manual::answer(Cli::command, &args, |_| Vec::new()).is_some() {
        return ExitCode::SUCCESS;
    }
    // Where the arguments can not be understood, this one still must.
    let json = args.iter().any(|arg| arg == "--json");
    match Cli::try_parse_from(args) {
        Ok(cli) => run(&cli).unwrap_or_else(|error| {
            if json {
                // stderr has it in any case.
                let _ = terminal::object(&JsonError::of(&error));
            }
            failure::tell(&error)
        }),
        Err(error) => {
            if json && error.use_stderr() {
                let _ = terminal::object(&JsonError::usage(&error));
            }
            // Help and version to stdout with 0, anything else to stderr with 2.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// The CA of jit-ssh: just-in-time SSH access.
#[derive(Debug, Parser)]
#[command(
    name = "jit-ssh-ca",
    version,
    after_help = help!(
        "jit-ssh-ca init --config ca-config --state STATE --listen 127.0.0.1:7443 --admin ann.pub",
        "jit-ssh-ca serve --config ca-config",
        "jit-ssh-ca apply --config ca-config",
    )
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a CA: its root, its keys, and the configuration files that are missing.
    #[command(after_help = help!(
        "jit-ssh-ca init --config ca-config --state STATE --listen 127.0.0.1:7443 --admin ann.pub",
        "jit-ssh-ca init ... --admin ann.pub --admin ben.pub --threshold 2",
    ))]
    Init(init::InitArgs),
    /// Run the CA.
    #[command(after_help = help!("jit-ssh-ca serve --config ca-config"))]
    Serve(serve::ServeArgs),
    /// Check the configuration, show what changes, sign it, and put it in force.
    #[command(after_help = help!(
        "jit-ssh-ca apply --config ca-config --dry-run",
        "jit-ssh-ca apply --config ca-config --identity ann --yes",
    ))]
    Apply(apply::ApplyArgs),
    /// Verify, show or export the log of all that was decided and signed.
    #[command(subcommand, after_help = help!("jit-ssh-ca log verify --config ca-config"))]
    Log(audit::LogCommand),
    /// Test, explain, lint, replay, compare and grow the rules.
    #[command(subcommand, after_help = help!("jit-ssh-ca policy test --config ca-config"))]
    Policy(policy::PolicyCommand),
    /// Report who had access where, as whom, why, and by whose leave.
    #[command(after_help = help!("jit-ssh-ca report --config ca-config --since 30d --csv"))]
    Report(report::ReportArgs),
    /// Make a join token: a key with which machines join as hosts by themselves.
    #[command(
        override_usage = "jit-ssh-ca token [OPTIONS] --ca <URL> --enroller <ID> --identity <FILE>\n       \
            --logins <LOGIN> --name <GLOB> --for <SPAN>",
        after_help = help!(
            "jit-ssh-ca token --ca URL --enroller pipeline --identity key --name 'ci-*' \\\n    \
             --labels env=staging --logins deploy --uses 10 --for 7d --until 1h",
        )
    )]
    Token(enroller::TokenArgs),
    /// Vouch for a host that hosts.toml does not list, until a time.
    #[command(
        override_usage = "jit-ssh-ca vouch [OPTIONS] --ca <URL> --enroller <ID> --identity <FILE>\n       \
            --logins <LOGIN> --name <NAME> --key <FILE.pub> --for <SPAN>",
        after_help = help!(
            "jit-ssh-ca vouch --ca URL --enroller pipeline --identity key --name ci-7 \\\n    \
             --labels env=staging --logins deploy --for 7d --key ssh_host_ed25519_key.pub",
        )
    )]
    Vouch(enroller::VouchArgs),
    /// Print what a shell has to load to complete these commands.
    #[command(after_help = help!("jit-ssh-ca completions bash > /etc/bash_completion.d/jit-ssh-ca"))]
    Completions(jit_ssh_manual::Completions),
    /// Write the man pages, for packagers.
    #[command(hide = true, after_help = help!("jit-ssh-ca man /usr/share/man/man8"))]
    Man(jit_ssh_manual::Pages),
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    // One crypto stack for all TLS of this process. Another call came first only if it was the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match &cli.command {
        Command::Init(args) => init::cmd_init(args),
        Command::Serve(args) => serve::cmd_serve(args),
        Command::Apply(args) => apply::cmd_apply(args),
        Command::Log(command) => audit::cmd_log(command),
        Command::Policy(command) => policy::cmd_policy(command),
        Command::Report(args) => report::cmd_report(args),
        Command::Token(args) => enroller::cmd_token(args),
        Command::Vouch(args) => enroller::cmd_vouch(args),
        Command::Completions(args) => Ok(args.print("jit-ssh-ca").map(|()| ExitCode::SUCCESS)?),
        Command::Man(args) => Ok(args.write(&Cli::command(), 8).map(|_| ExitCode::SUCCESS)?),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn every_help_fits_a_screen_and_has_an_example_and_the_exit_codes() {
        let mut cli = super::Cli::command();
        cli.clone().debug_assert();
        cli.build();
        let mut open = vec![cli];
        let mut seen = 0;
        while let Some(mut command) = open.pop() {
            open.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
            let help = command.render_help().to_string();
            assert!(help.lines().count() <= 40, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
            assert!(help.contains("Example:\n  jit-ssh-ca "), "{help}");
            assert!(help.contains("Exit codes: 0 done"), "{help}");
            seen += 1;
        }
        assert_eq!(seen, 20, "one for each command");
    }
}
