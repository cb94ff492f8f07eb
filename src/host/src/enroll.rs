//! `jit-ssh-host enroll`: joins with a token, as a host that `hosts.toml` does not list.
//!
//! The token's key signs that this host, known by sshd's own key, is there until a time. What was signed
//! is kept beside the other files of ours, so that `setup` finds the accounts without asking anybody:
//! it verifies the statements down to the enrollers in the bundle.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jit_ssh_api::join::{JoinToken, MAX_JOIN_TOKEN};
use jit_ssh_api::{Client, v1};
use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::enrolment::judge_host;
use jit_ssh_core::key::SubjectKey;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::statement::{self, Host, Kind, Token, Verified};
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::apply;
use crate::clock::now;
use crate::error::CommandError;
use crate::fetch::no_connection;

/// Join with a token, as a host that hosts.toml does not list.
#[derive(Args)]
#[command(
    after_help = "The host gets the labels and accounts of its token; joining again renews it.\n\
    Then run `jit-ssh-host setup` with the same --name.\n\n\
    Example:\n  jit-ssh-host enroll --token-file /run/join-token --name ci-7\n\n\
    Exit codes: 0 done, 1 error, 2 usage, 7 CA unreachable"
)]
pub(crate) struct EnrollArgs {
    /// The token; better name a file, since others can see arguments
    #[arg(long, value_name = "TOKEN", required_unless_present = "token_file")]
    token: Option<String>,
    /// The file that holds the token; - for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
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

/// What was signed, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u8,
    token: Signed,
    host: Signed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    statement: String,
    /// The SSHSIG blob in hex.
    signature: String,
}

/// Runs `jit-ssh-host enroll`.
pub(crate) fn cmd_enroll(args: &EnrollArgs) -> Result<(), CommandError> {
    let token = read_token(args)?;
    let key = args.host_key.clone().unwrap_or_else(|| args.etc.join(HOST_KEY));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::new(format!("The network can not be used: {e}.")))?;
    let host = runtime.block_on(enroll(&token, &args.name, &key, args.span, now()))?;
    keep(&args.etc, &token, &host)?;
    let body = host.body();
    eprintln!("{} has joined until {} (Unix seconds)", body.name, body.until);
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

/// Joins as `name` with the key of `host_key`, for `span` or as long as the token gives. Gives what the
/// CA has recorded.
///
/// # Errors
/// If the key can not be read, or the CA can not be reached or refuses.
pub(crate) async fn enroll(
    token: &JoinToken,
    name: &HostName,
    host_key: &Path,
    span: Option<Seconds>,
    now: UnixTime,
) -> Result<Verified<Host>, CommandError> {
    let lent = token.token().body();
    let body = Host::new(
        token.url().pin(),
        lent.by.clone(),
        Some(token.token().digest()),
        name.clone(),
        lent.labels.clone(),
        lent.logins.clone(),
        read_key(host_key)?,
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

    let root = Client::fetch_root(token.url()).await.map_err(no_connection)?;
    let client = Client::connect(token.url(), &root).await.map_err(no_connection)?;
    // Other hosts may have handed it in before: that changes nothing.
    for statement in [wire(token.token()), wire(&host)] {
        let request = v1::EnrollRequest { statement: Some(statement) };
        client.enroll(request).await.map_err(|e| no_connection(e.into()))?;
    }
    Ok(host)
}

fn wire<T>(statement: &Verified<T>) -> v1::SignedStatement {
    v1::SignedStatement {
        statement: statement.bytes().to_vec().into(),
        signatures: vec![statement.signature().to_vec().into()],
    }
}

fn read_token(args: &EnrollArgs) -> Result<JoinToken, CommandError> {
    let text = match (&args.token, &args.token_file) {
        (Some(token), _) => Zeroizing::new(token.clone()),
        (None, Some(path)) => read_text(path)?,
        (None, None) => return Err(CommandError::usage("enroll needs --token-file or --token.")),
    };
    JoinToken::read(&text).map_err(|e| {
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
        file.take(most).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
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
fn keep(etc: &Path, token: &JoinToken, host: &Verified<Host>) -> Result<(), CommandError> {
    let kept = Kept { v: 1, token: signed(token.token()), host: signed(host) };
    let json = serde_json::to_vec(&kept)
        .map_err(|e| CommandError::new(format!("The enrolment can not be written: {e}.")))?;
    let path = etc.join(KEPT);
    let written = fs::create_dir_all(path.parent().unwrap_or(etc))
        .and_then(|()| apply::replace(&path, &json, 0o644));
    written.map_err(|e| {
        CommandError::new(format!("{} can not be written: {e}.", path.display()))
            .hint("the host has joined; run the command again as root to keep what was signed")
    })
}

fn signed<T>(statement: &Verified<T>) -> Signed {
    let hex = |byte: &u8| format!("{byte:02x}");
    Signed {
        statement: String::from_utf8_lossy(statement.bytes()).into_owned(),
        signature: statement.signature().iter().map(hex).collect(),
    }
}

/// The enrolment that is kept for the host `name`, if there is one that holds: for this CA, by an
/// enroller of `hosts`, and not over.
///
/// # Errors
/// Why what is kept does not hold.
pub(crate) fn kept(
    etc: &Path,
    name: &HostName,
    ca: &RootFingerprint,
    hosts: &Hosts,
) -> Result<Option<Verified<Host>>, CommandError> {
    let path = etc.join(KEPT);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(CommandError::new(format!("{} can not be read: {e}.", path.display())));
        }
    };
    let unfit = |why: String| {
        CommandError::new(format!("The enrolment in {} does not hold: {why}", path.display()))
            .hint("join anew with: jit-ssh-host enroll")
    };
    let kept: Kept = serde_json::from_slice(&json).map_err(|e| unfit(format!("{e}.")))?;
    let blob = |signed: &Signed| unhex(&signed.signature).ok_or_else(|| unfit("no hex.".into()));
    let (token, host) = (&kept.token, &kept.host);
    let token: Verified<Token> = statement::open(token.statement.as_bytes(), &blob(token)?, ca)
        .map_err(|e| unfit(format!("{e}.")))?;
    let host: Verified<Host> = statement::open(host.statement.as_bytes(), &blob(host)?, ca)
        .map_err(|e| unfit(format!("{e}.")))?;
    if host.body().name != *name {
        return Ok(None);
    }
    judge_host(&host, Some(&token), hosts, now()).map_err(|no| unfit(no.message))?;
    Ok(Some(host))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>())
}

/// sshd's own key, in `--etc`.
const HOST_KEY: &str = "ssh_host_ed25519_key.pub";
/// What was signed, in `--etc`.
const KEPT: &str = "jit-ssh/enrolment.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_a_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "jit-ssh-join-1.c2VjcmV0\n").unwrap();
        let args = EnrollArgs {
            token: None,
            token_file: Some(path),
            name: "ci-1".parse().unwrap(),
            span: None,
            etc: dir.path().to_owned(),
            host_key: None,
            json: false,
        };
        let error = read_token(&args).err().unwrap().to_string();
        assert!(error.contains("not a join token") && !error.contains("c2VjcmV0"), "{error}");
    }

    #[test]
    fn hex_reads_back_and_other_text_does_not() {
        assert_eq!(unhex("00ff10"), Some(vec![0, 255, 16]));
        for bad in ["0", "0g", "é"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
