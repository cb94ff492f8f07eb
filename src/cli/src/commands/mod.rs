//! The commands, one file each; `confirm.rs` and `end.rs` are what some have in common,
//! `attend.rs` is `watch` without an id.

mod approve;
mod attend;
mod bastion;
mod cancel;
mod confirm;
mod deny;
mod doctor;
mod end;
mod enroll;
mod ensure;
mod hosts;
mod login;
mod logout;
mod release;
mod requests;
mod revoke;
mod show;
mod ssh;
mod ssh_config;
mod status;
mod watch;

use clap::Subcommand;

use crate::cas::About;
use crate::cli::Context;
use crate::failure::{Failure, Outcome};
use crate::home::{CaName, Home};

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    Enroll(enroll::EnrollArgs),
    Login(login::LoginArgs),
    Ssh(ssh::SshArgs),
    SshConfig(ssh_config::SshConfigArgs),
    Ensure(ensure::EnsureArgs),
    Hosts(hosts::HostsArgs),
    Requests(requests::RequestsArgs),
    Show(show::ShowArgs),
    Watch(watch::WatchArgs),
    Approve(approve::ApproveArgs),
    Deny(deny::DenyArgs),
    Cancel(cancel::CancelArgs),
    Release(release::ReleaseArgs),
    Revoke(revoke::RevokeArgs),
    Status(status::StatusArgs),
    Logout(logout::LogoutArgs),
    Doctor(doctor::DoctorArgs),
    Bastion(bastion::BastionArgs),
    /// Print what a shell has to load to complete commands, hosts and requests.
    #[command(
        after_help = "Examples:\n  source <(jit-ssh completions bash)      # in ~/.bashrc\n  \
        source <(jit-ssh completions zsh)       # in ~/.zshrc, after compinit\n  \
        jit-ssh completions fish > ~/.config/fish/completions/jit-ssh.fish"
    )]
    Completions(jit_ssh_manual::Completions),
    /// Write the man pages, for packagers.
    #[command(hide = true, after_help = "Example:\n  jit-ssh man /usr/share/man/man1")]
    Man(jit_ssh_manual::Pages),
}

impl Command {
    /// What it is about, from which follows the CA where a person has several.
    pub(crate) fn about(&self) -> About<'_> {
        match self {
            Command::Enroll(args) => About::Enrolling(&args.url),
            Command::Login(args) => match &args.machine {
                Some(machine) => About::Machine(machine, &args.hosts),
                None => About::Hosts(&args.hosts),
            },
            Command::Ssh(args) => About::Hosts(std::slice::from_ref(&args.to.host)),
            Command::Ensure(args) => About::Hosts(std::slice::from_ref(&args.host)),
            Command::Show(args) => About::Request(&args.id),
            Command::Watch(watch::WatchArgs { id: Some(id), .. }) => About::Request(id),
            Command::Approve(args) => About::Request(&args.id),
            Command::Deny(args) => About::Request(&args.id),
            Command::Cancel(args) => About::Request(&args.id),
            Command::Release(args) => About::Request(&args.id),
            Command::Revoke(args) => About::Request(&args.id),
            Command::Doctor(doctor::DoctorArgs { host: Some(host) }) => {
                About::Hosts(std::slice::from_ref(host))
            }
            Command::Bastion(_)
            | Command::Watch(_)
            | Command::Status(status::StatusArgs { watch: true }) => About::One,
            // The last two are carried out before a CA is chosen.
            Command::Doctor(_)
            | Command::Hosts(_)
            | Command::SshConfig(_)
            | Command::Requests(_)
            | Command::Status(_)
            | Command::Logout(_)
            | Command::Completions(_)
            | Command::Man(_) => About::Every,
        }
    }
}

/// What a command comes to without the CA and without waiting for anything, if it does.
pub(crate) fn at_once(top: &Home, ca: Option<&CaName>, command: &Command) -> Option<Outcome> {
    match command {
        Command::Ensure(args) => ensure::at_once(top, ca, args),
        _ => None,
    }
}

/// Carries out a command.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Enroll(args) => enroll::cmd_enroll(context, args).await,
        Command::Login(args) => login::cmd_login(context, args).await,
        Command::Ssh(args) => ssh::cmd_ssh(context, args).await,
        Command::SshConfig(args) => ssh_config::cmd_ssh_config(context, args).await,
        Command::Ensure(args) => ensure::cmd_ensure(context, args).await,
        Command::Hosts(args) => hosts::cmd_hosts(context, args).await,
        Command::Requests(args) => requests::cmd_requests(context, args).await,
        Command::Show(args) => show::cmd_show(context, args).await,
        Command::Watch(args) => watch::cmd_watch(context, args).await,
        Command::Approve(args) => approve::cmd_approve(context, args).await,
        Command::Deny(args) => deny::cmd_deny(context, args).await,
        Command::Cancel(args) => cancel::cmd_cancel(context, args).await,
        Command::Release(args) => release::cmd_release(context, args).await,
        Command::Revoke(args) => revoke::cmd_revoke(context, args).await,
        Command::Status(args) => status::cmd_status(context, args).await,
        Command::Logout(args) => logout::cmd_logout(context, args).await,
        Command::Doctor(args) => doctor::cmd_doctor(context, args).await,
        Command::Bastion(args) => bastion::cmd_bastion(context, args).await,
        Command::Completions(_) | Command::Man(_) => Ok(Outcome::Done),
    }
}
