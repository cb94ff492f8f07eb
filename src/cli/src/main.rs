//! `jit-ssh`, the person's command: ask for access, decide on it, use it.
//!
//! - `cli.rs`: the command line, from arguments to exit code; `commands/`: one file per command;
//! - `enrolment.rs`, `identity.rs`: which CA was pinned, and the key that signs;
//! - `cas.rs`: which CA a command is about, where a person has several;
//! - `ca.rs`, `trust.rs`, `view.rs`: the connection, what the admins signed, and requests as read
//!   from signed bytes;
//! - `wish.rs`, `account.rs`, `submission.rs`, `follow.rs`, `feed.rs`, `obtain.rs`, `grants.rs`: from a wish to a
//!   certificate that works;
//! - `known_hosts.rs`: the file by which ssh trusts host certificates;
//! - `live.rs`: names of hosts and requests for the shell's completion;
//! - `known_hosts.rs`, `ssh_config/`: the files by which ssh trusts and reaches the hosts;
//! - `caller.rs`, `turn.rs`: the ssh that asks for access out of its configuration, one at a time;
//! - `held.rs`: what in the ssh-agent is ours, and no other person's or CA's;
//! - `config.rs`, `notify.rs`: what the person set, and the program that is run with each notice;
//! - `home.rs`, `ui.rs`, `text.rs`, `clock.rs`, `failure.rs`: files, terminal, text, time, errors.

mod account;
mod ca;
mod caller;
mod cas;
mod cli;
mod clock;
mod commands;
mod config;
mod enrolment;
mod failure;
mod feed;
mod follow;
mod grants;
mod held;
mod home;
mod identity;
mod known_hosts;
mod live;
mod moment;
mod notify;
mod obtain;
mod ssh_config;
mod submission;
mod text;
mod trust;
mod turn;
mod ui;
mod view;
mod wish;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os().collect()).into()
}
