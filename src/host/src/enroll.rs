//! `jit-ssh-host enroll`: joins with a token, as a host that `hosts.toml` does not list.
//!
//! The token's key signs that this host, known by sshd's own key, is there until a time. What was signed
//! is kept beside the other files of ours, so that `setup` finds the accounts without asking anybody:
//! it verifies the statements down to the enrollers in the bundle.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jit_ssh_api::join::{self, JoinToken, MAX_JOIN_TOKEN};
use jit_ssh_api::{Client, v1};
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::key::SubjectKey;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::statement::{self, Host, Kind};
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::apply;
use crate::clock::now;
use crate::enrolment;
use crate::error::CommandError;
use crate::fetch::{connect, network, no_connection};
use crate::layout::Layout;

/// Join with a token, as a host that hosts.toml does not list.
#[derive(Args)]
#[command(
    after_help = "The host gets the labels and accounts of its token; joining again renews it.\n\
    Then run `jit-ssh-host setup` with the same --name; or setup with --token does both.\n\n\
    Example:\n  jit-ssh-host enroll --token /run/join-token --name ci-7\n\n\
    Exit codes: 0 done, 1 error, 2 usage, 7 CA unreachable"
)]
pub(crate) struct EnrollArgs {
    /// The file that holds the join token; - for stdin
    #[arg(long, value_name = "FILE", alias = "token-file")]
    token: PathBuf,
    /// This host's name
    #[arg(long)]
    name: HostName,
    /// How long this host stays [default: as long as the token gives]
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<Seconds>,
    /// Where sshd's host key is, and our files are put
    #[arg(long, value_name = "DIR", default_value = "/etc/ssh")]
    etc: PathBuf,
    /// sshd's public host key [default: ssh_host_ed25519_key.pub in --etc]
    #[arg(long, value_name = "FILE.pub")]
    host_key: Option<PathBuf>,
    /// Prints one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// What happened, as `--json` tells it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: &'a HostName,
    ca: String,
    until: u64,
    logins: &'a [Login],
}

/// Runs `jit-ssh-host enroll`.
pub(crate) fn cmd_enroll(args: &EnrollArgs) -> Result<(), CommandError> {
    let token = read_token(&args.token)?;
    let key = args.host_key.clone().unwrap_or_else(|| args.etc.join(HOST_KEY));
    let runtime = network()?;
    let vouched = vouch(&token, &args.name, read_key(&key)?, args.span, now())?;
    runtime.block_on(async {
        let (client, _) = connect(token.url()).await?;
        hand_in(&client, &vouched).await
    })?;
    keep(&args.etc, &vouched)?;
    let body = vouched.host().body();
    eprintln!("{} has joined until {}", body.name, body.until.utc());
    if args.json {
        let report = Report {
            name: &body.name,
            ca: token.url().to_string(),
            until: body.until.0,
            logins: &body.logins,
        };
        let json = serde_json::to_string(&report)
            .map_err(|e| CommandError::new(format!("The report can not be written: {e}.")))?;
        println!("{json}");
    }
    Ok(())
}

/// Has the token's key sign that the machine with `key` is the host `name`, for `span` or as long as the
/// token gives. Nobody hears of it yet.
///
/// # Errors
/// If no statement can say so.
pub(crate) fn vouch(
    token: &JoinToken,
    name: &HostName,
    key: SubjectKey,
    span: Option<Seconds>,
    now: UnixTime,
) -> Result<Vouched, CommandError> {
    let lent = token.token().body();
    let body = Host::new(
        token.url().pin(),
        lent.by.clone(),
        Some(token.token().digest()),
        name.clone(),
        lent.labels.clone(),
        lent.logins.clone(),
        key,
        now,
        now.plus(span.unwrap_or(lent.r#for)),
    );
    let bytes = statement::encode(&body).map_err(|e| CommandError::usage(format!("{e}.")))?;
    let signature = token
        .key()
        .sign(Kind::Host, &bytes)
        .map_err(|e| CommandError::new(format!("The token's key can not sign: {e}.")))?;
    let host = statement::open(&bytes, &signature, &token.url().pin())
        .map_err(|e| CommandError::new(format!("What was signed does not hold: {e}.")))?;
    Ok(Vouched::new(host, Some(token.token().clone())))
}

/// Tells the CA: from then on the host has joined, and a use of its token is spent.
///
/// # Errors
/// If the CA can not be reached or refuses.
pub(crate) async fn hand_in(client: &Client, vouched: &Vouched) -> Result<(), CommandError> {
    // Other hosts may have handed the token in before: that changes nothing.
    let token = vouched.token().map(v1::SignedStatement::from);
    for statement in token.into_iter().chain([vouched.host().into()]) {
        let request = v1::EnrollRequest { statement: Some(statement) };
        client.enroll(request).await.map_err(|e| no_connection(e.into()))?;
    }
    Ok(())
}

/// Reads the token of a file; `-` is stdin. Never of the command line, where others could see it.
///
/// # Errors
/// If there is no token in it. The error says nothing of what there is.
pub(crate) fn read_token(path: &Path) -> Result<JoinToken, CommandError> {
    if path.to_str().is_some_and(join::is_join_token) {
        return Err(CommandError::usage(
            "--token takes the name of a file that holds the token, and was given the token itself.",
        )
        .hint("others on this machine can see arguments: write it to a file that only root can read, or use --token - and stdin"));
    }
    JoinToken::read(&read_text(path)?).map_err(|e| {
        CommandError::new(format!("{}.", capital(&e.to_string())))
            .named("TOKEN")
            .hint("an enroller makes one with: jit-ssh-ca token")
    })
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, CommandError> {
    let shown = path.display();
    let failed = |e: std::io::Error| CommandError::new(format!("{shown} can not be read: {e}."));
    let limit = MAX_JOIN_TOKEN.saturating_add(2);
    // All the room at once, so that no half-read copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(limit));
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = fs::File::open(path).map_err(failed)?;
        check_private(path, &file.metadata().map_err(failed)?)?;
        file.take(most).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

/// Refuses a token that others could read, and join with, as ssh refuses such a key. What is no file, a pipe
/// for one, has no mode that says so.
fn check_private(path: &Path, found: &fs::Metadata) -> Result<(), CommandError> {
    let own = rustix::process::geteuid().as_raw();
    let is_ours = found.uid() == 0 || found.uid() == own;
    if !found.is_file() || (found.mode() & 0o077 == 0 && is_ours) {
        return Ok(());
    }
    let shown = path.display();
    Err(CommandError::new(format!(
        "Others can read the join token in {shown} (mode {:04o}, user {}): whoever has it can join.",
        found.mode() & 0o7777,
        found.uid()
    ))
    .named("TOKEN_OPEN")
    .hint(format!("nothing is sent; if nobody else had it: chmod 600 {shown}, as root's"))
    .hint(format!("where its mode can not be changed: --token - < {shown}")))
}

/// The key of a `.pub` file, without its comment.
fn read_key(path: &Path) -> Result<SubjectKey, CommandError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|e| {
        CommandError::new(format!("The host key {shown} can not be read: {e}."))
            .hint("make sshd's keys with: ssh-keygen -A")
    })?;
    let mut words = text.split_whitespace();
    let line = [words.next().unwrap_or_default(), words.next().unwrap_or_default()].join(" ");
    line.parse().map_err(|e| CommandError::new(format!("The host key {shown}: {e}.")))
}

/// Keeps what was signed, whole or not at all. It is no secret.
fn keep(etc: &Path, vouched: &Vouched) -> Result<(), CommandError> {
    let layout = Layout::new(etc, None)?;
    let path = layout.enrolment();
    let written = fs::create_dir_all(layout.own_dir())
        .and_then(|()| apply::replace(&path, &enrolment::file(vouched), 0o644));
    written.map_err(|e| {
        CommandError::new(format!("{} can not be written: {e}.", path.display()))
            .hint("the host has joined; run the command again as root to keep what was signed")
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>())
}

/// sshd's own key, in `--etc`.
const HOST_KEY: &str = "ssh_host_ed25519_key.pub";
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_read_from_a_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "jit-ssh-join-1.c2VjcmV0\n").unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for open in [0o644, 0o640, 0o604] {
            mode(open);
            let error = read_token(&path).err().unwrap();
            assert!(error.json().contains("TOKEN_OPEN"), "{error}");
            assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
        }
        mode(0o600);
        let error = read_token(&path).err().unwrap().to_string();
        assert!(error.contains("not a join token") && !error.contains("c2VjcmV0"), "{error}");
        // The secret itself in its place is neither taken nor told again.
        let error = read_token(Path::new("jit-ssh-join-1.c2VjcmV0")).err().unwrap();
        assert_eq!(error.exit_code(), CommandError::usage("").exit_code());
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
}
