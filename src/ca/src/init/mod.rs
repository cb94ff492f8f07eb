//! `jit-ssh-ca init`: makes a CA from nothing, all of it or nothing.
//!
//! - [`admins`]: the admins' key files;
//! - [`state`]: the state folder: root, TLS anchor; [`signer_keys`]: the signer's part of it;
//! - [`config`]: the configuration files that are missing;
//! - [`users`]: who owns which part of it, where signer and front are two users;
//! - [`undo`]: what takes back the half that was done.

mod admins;
mod config;
mod signer_keys;
mod state;
mod undo;
mod users;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use jit_ssh_api::CaUrl;
use jit_ssh_core::deployment::Tls;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::root::{Admin, Root};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::anchor;
use crate::clock;
use crate::failure::Failure;
use crate::terminal;
use config::{Config, Signers};
use signer_keys::PublicKeys;
use undo::Undo;
use users::Users;

/// Makes a CA.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Where the configuration is; files that are missing there are written
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// Where keys, log, database and root.json will be; must not be in use
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Address and port to serve on, like 127.0.0.1:7443
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Name or address for others to reach this CA by, if not that of --listen
    #[arg(long, value_name = "NAME")]
    url_host: Option<String>,
    /// PEM file of the CA that your own TLS certificate is of; made if absent
    #[arg(long, value_name = "FILE")]
    tls_anchor: Option<PathBuf>,
    /// User the signer will run as, with --front-user; only root can do that
    #[arg(long, value_name = "NAME")]
    signer_user: Option<String>,
    /// User the front will run as, with --signer-user
    #[arg(long, value_name = "NAME")]
    front_user: Option<String>,
    /// An admin's public key, named after the admin's id; may be repeated
    #[arg(long, value_name = "FILE.pub", required = true)]
    admin: Vec<PathBuf>,
    /// How many admins must sign a change together
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: u8,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed {
    url: String,
    root: RootFingerprint,
    ca_key: String,
    log_key: String,
    config: PathBuf,
    state: PathBuf,
}

/// A CA that was made.
#[derive(Debug)]
struct Made {
    root: Root,
    keys: PublicKeys,
    url: CaUrl,
    config: Config,
    users: Option<Users>,
}

/// Makes a CA; the last line printed is the enroll URL, but for the error where signers.toml is of
/// another CA.
pub(crate) fn cmd_init(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let config = absolute(&args.config)?;
    let state = absolute(&args.state)?;
    let made = make(args, &config, &state, clock::now())?;

    made.config.tell();
    let ids: Vec<&str> = made.root.admins().iter().map(|admin| admin.id.as_str()).collect();
    terminal::say(&format!(
        "made the CA in {}: {} of {} must sign changes ({})",
        state.display(),
        made.root.threshold(),
        ids.len(),
        ids.join(", ")
    ));
    // Said before the URL: it is the last line also where stdout and stderr are one.
    if args.tls_anchor.is_some() && made.config.deployment.tls == Tls::SelfMade {
        terminal::say(&format!(
            "first: name your server's certificate and key in {}, under [tls]",
            config.join("ca.toml").display()
        ));
    }
    match &made.users {
        Some(users) => tell_start(users, &config, &state),
        None => terminal::say(&format!("next: jit-ssh-ca serve --config {}", config.display())),
    }
    if made.config.signers == Signers::Named {
        terminal::say(&format!("then: jit-ssh-ca apply --config {}", config.display()));
        terminal::say("and then everyone: jit-ssh enroll URL --as ID, with this URL:");
    }
    let url = made.url.to_string();
    if args.json {
        terminal::object(&Printed {
            url,
            root: made.root.fingerprint(),
            ca_key: made.keys.ca_key.to_string(),
            log_key: made.keys.log_key.to_string(),
            config: config.clone(),
            state,
        })?;
    } else {
        terminal::data(&url)?;
    }
    match made.config.signers {
        Signers::Named => Ok(ExitCode::SUCCESS),
        Signers::Missing { block, problem } => Err(Failure::error(format!(
            "{} was there already, is kept, and {problem}. The CA is made, but nobody would \
             trust its certificates. Add this block to the file:\n\n{block}",
            config.join("signers.toml").display()
        ))
        .hint("take out the signers of other CAs; then: jit-ssh-ca apply")
        .into()),
    }
}

/// Says how to start signer and front as users of their own, and what would keep them from it.
fn tell_start(users: &Users, config: &Path, state: &Path) {
    for obstacle in users.obstacles(config, state) {
        terminal::say(&format!("warning: {obstacle}"));
    }
    terminal::say("next: start both, as root or by a service manager that does the same:");
    for command in users.commands(config, state) {
        terminal::say(&format!("  {command}"));
    }
}

/// Makes all of it, or leaves nothing behind.
fn make(args: &InitArgs, config: &Path, state: &Path, now: UnixTime) -> anyhow::Result<Made> {
    let host = url_host(args)?;
    // Checked before anything is made; the pin is the only part not known yet.
    url(&host, args.listen.port(), RootFingerprint(Digest([0; 32])))?;
    let admins = admins::read(&args.admin)?;
    check_threshold(args.threshold, &admins)?;
    state::check_free(state)?;
    let tls_anchor = args.tls_anchor.as_deref().map(|file| anchor::read(file, now)).transpose()?;
    let users = users(args)?;
    let socket = users.is_some().then(|| Users::socket(state));
    let planned = config::plan(config, args.listen, state, socket.as_deref())?;
    if tls_anchor.is_none() {
        planned.check_tls_is_ours()?;
    }
    let mut names = names(&host, args.listen);
    if tls_anchor.is_some() {
        // The operator's certificate must be for what people know the CA by, and need not for more.
        names.truncate(1);
    }
    let wanted = state::Wanted { admins, threshold: args.threshold, names, tls_anchor, users };

    let mut undo = Undo::default();
    let new = state::make(state, wanted, now, &mut undo)?;
    let url = url(&host, args.listen.port(), new.root.fingerprint())?;
    let config = planned.write(&new.root, &new.keys, &mut undo)?;
    new.put_in_place(state, &mut undo)?;
    undo.keep();
    Ok(Made { root: new.root, keys: new.keys, url, config, users: new.users })
}

/// The users of signer and front, where they are not to be the one who runs this.
fn users(args: &InitArgs) -> anyhow::Result<Option<Users>> {
    match (&args.signer_user, &args.front_user) {
        (None, None) => Ok(None),
        (Some(signer), Some(front)) => {
            let users = Users::find(signer, front)?;
            // They read the configuration, whatever root's own umask is. What is secret has a mode.
            rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
            Ok(Some(users))
        }
        _ => Err(Failure::usage("--signer-user and --front-user go together.").into()),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}

fn check_threshold(threshold: u8, admins: &[Admin]) -> anyhow::Result<()> {
    if (1..=admins.len()).contains(&usize::from(threshold)) {
        return Ok(());
    }
    let count = admins.len();
    Err(Failure::usage(format!("--threshold {threshold} can not be met by {count} admins."))
        .hint(format!("ask for 1 to {count}, or name more admins with --admin"))
        .into())
}

/// The host in the enroll URL.
fn url_host(args: &InitArgs) -> anyhow::Result<String> {
    if args.listen.port() == 0 {
        return Err(Failure::usage("--listen with port 0 gives the CA no address of its own.")
            .hint("name a port, like 127.0.0.1:7443")
            .into());
    }
    match &args.url_host {
        Some(name) if name.parse::<std::net::Ipv6Addr>().is_ok() => Ok(format!("[{name}]")),
        Some(name) => Ok(name.clone()),
        None if args.listen.ip().is_unspecified() => Err(Failure::usage(format!(
            "--listen {} is every address of this machine; people need one to reach it by.",
            args.listen
        ))
        .hint("name it with --url-host, like --url-host ca.example.com")
        .into()),
        None => Ok(match args.listen.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }),
    }
}

fn url(host: &str, port: u16, pin: RootFingerprint) -> anyhow::Result<CaUrl> {
    format!("https://{host}:{port}#{pin}").parse().map_err(|error| {
        Failure::usage(format!("--url-host {host} can not be used: {error}")).into()
    })
}

/// What the front's certificate must be for: the host in the URL, and the address the admin's
/// command on this machine connects to.
fn names(host: &str, listen: SocketAddr) -> Vec<String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let local = reachable(listen).ip().to_string();
    if bare == local { vec![bare] } else { vec![bare, local] }
}

/// Where a front that listens on `listen` is reached from its own machine.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Makes a CA with one admin, for tests elsewhere.
#[cfg(test)]
pub(crate) fn make_for_tests(config: &Path, state: &Path, admin: &Path) {
    let args = InitArgs {
        config: config.to_path_buf(),
        state: state.to_path_buf(),
        listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
        url_host: None,
        tls_anchor: None,
        signer_user: None,
        front_user: None,
        admin: vec![admin.to_path_buf()],
        threshold: 1,
        json: false,
    };
    make(&args, config, state, clock::now()).unwrap();
}

#[cfg(test)]
mod tests;
