//! What an enroller does: `token` lends a key to machines that do not exist yet, `vouch` vouches for one
//! that does. Both sign with the enroller's own key, which `hosts.toml` lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use jit_ssh_api::agent::Agent;
use jit_ssh_api::join::JoinToken;
use jit_ssh_api::own_key::{KeyFile, OwnKey, SigningError};
use jit_ssh_api::{CaUrl, Client, v1};
use jit_ssh_core::bundle::{Glob, Hosts};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::judge_token;
use jit_ssh_core::key::SubjectKey;
use jit_ssh_core::names::{ActorId, HostName, LabelKey, LabelValue, Login};
use jit_ssh_core::statement::{self, Body, Host, Token};
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::apply::remote;
use crate::clock;
use crate::failure::Failure;
use crate::identity;
use crate::terminal::{self, utc};

/// What both commands need: which CA, who vouches, and what the hosts get.
#[derive(Debug, clap::Args)]
struct Offer {
    /// The CA: https://HOST:PORT#SHA256:..., as `init` printed it
    #[arg(long, value_name = "URL")]
    ca: CaUrl,
    /// The enroller's id in hosts.toml
    #[arg(long, value_name = "ID")]
    enroller: ActorId,
    /// The enroller's key file; or a .pub file whose key the ssh-agent has
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Labels that hosts get
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(LabelKey, LabelValue)>,
    /// Accounts on hosts that may be asked for
    #[arg(long, value_name = "LOGIN", value_delimiter = ',', required = true)]
    logins: Vec<Login>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Lends a key with which hosts join by themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    offer: Offer,
    /// Name or glob of the hosts, like 'ci-*'
    #[arg(long = "name", value_name = "GLOB", value_delimiter = ',', required = true)]
    names: Vec<Glob>,
    /// How many hosts may join
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// How long a host stays, at most
    #[arg(long = "for", value_name = "SPAN")]
    span: Seconds,
    /// How long from now on hosts may join
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    until: Seconds,
    /// Make it without asking the CA whether the enroller may
    #[arg(long)]
    unchecked: bool,
}

/// Vouches for a host.
#[derive(Debug, clap::Args)]
pub(crate) struct VouchArgs {
    #[command(flatten)]
    offer: Offer,
    /// The host's name
    #[arg(long)]
    name: HostName,
    /// The host's public key, its ssh_host_ed25519_key.pub
    #[arg(long, value_name = "FILE.pub")]
    key: PathBuf,
    /// How long the host stays
    #[arg(long = "for", value_name = "SPAN")]
    span: Seconds,
}

/// What `token --json` prints.
#[derive(Debug, Serialize)]
struct PrintedToken<'t> {
    /// The digest of the statement, as the log names it.
    id: Digest,
    token: &'t str,
    until: UnixTime,
}

/// What `vouch --json` prints.
#[derive(Debug, Serialize)]
struct PrintedHost<'h> {
    id: Digest,
    name: &'h HostName,
    until: UnixTime,
}

/// Makes a join token that the bundle in force allows. The CA hears of it when the first host joins.
pub(crate) fn cmd_token(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let Offer { ca, enroller, identity, logins, json, .. } = &args.offer;
    let now = clock::now();
    let seed = Zeroizing::new(rand::random::<[u8; 32]>());
    let lent = OwnKey::of_seed(&seed);
    let body = Token::new(
        ca.pin(),
        enroller.clone(),
        lent.key().clone(),
        args.names.clone(),
        args.offer.labels()?,
        logins.clone(),
        args.uses,
        args.span,
        now,
        now.plus(args.until),
    );
    // First, so that nobody touches a key for nothing where the CA is not in reach.
    let hosts = match args.unchecked {
        true => None,
        false => Some(hosts_in_force(ca).context(
            "no token is made, since the CA does not say whether the enroller may lend it (--unchecked does not ask)",
        )?),
    };
    let (bytes, signature) = sign(identity, &body)?;
    let token = JoinToken::new(ca.clone(), &bytes, &signature, seed)?;
    if let Some(hosts) = hosts {
        judge_token(token.token(), &hosts).map_err(|no| {
            let refused =
                Failure::named(no.reason.as_str(), format!("no token is made: {}", no.message));
            no.hint.iter().fold(refused, |refused, hint| refused.hint(hint))
        })?;
    }
    let word = token.reveal();
    terminal::say(&format!(
        "whoever has this token can join as {} until {}, {} at most; it is a secret",
        list(&args.names),
        utc(body.until),
        if args.uses == 1 { "one host".to_owned() } else { format!("{} hosts", args.uses) },
    ));
    if *json {
        let id = token.token().digest();
        terminal::object(&PrintedToken { id, token: &word, until: body.until })?;
    } else {
        terminal::data(&word)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Vouches for a host whose key is at hand.
pub(crate) fn cmd_vouch(args: &VouchArgs) -> anyhow::Result<ExitCode> {
    let Offer { ca, enroller, identity, logins, json, .. } = &args.offer;
    let now = clock::now();
    let body = Host::new(
        ca.pin(),
        enroller.clone(),
        None,
        args.name.clone(),
        args.offer.labels()?,
        logins.clone(),
        host_key(&args.key)?,
        now,
        now.plus(args.span),
    );
    let (bytes, signature) = sign(identity, &body)?;
    let statement =
        v1::SignedStatement { statement: bytes.into(), signatures: vec![signature.into()] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let root = Client::fetch_root(ca).await?;
        let client = Client::connect(ca, &root).await?;
        client.enroll(v1::EnrollRequest { statement: Some(statement) }).await?;
        anyhow::Ok(())
    })?;
    terminal::say(&format!("{} is there until {}", args.name, utc(body.until)));
    if *json {
        let id = Digest::of(&statement::encode(&body)?);
        terminal::object(&PrintedHost { id, name: &args.name, until: body.until })?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Offer {
    fn labels(&self) -> anyhow::Result<BTreeMap<LabelKey, LabelValue>> {
        let mut labels = BTreeMap::new();
        for (key, value) in &self.labels {
            if labels.insert(key.clone(), value.clone()).is_some() {
                return Err(Failure::usage(format!("the label {key} is given twice.")).into());
            }
        }
        Ok(labels)
    }
}

/// The `hosts.toml` that the admins signed.
fn hosts_in_force(ca: &CaUrl) -> anyhow::Result<Hosts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let root = Client::fetch_root(ca).await?;
        let client = Client::connect(ca, &root).await?;
        let parts = vec![v1::BundlePart::Hosts.into()];
        let found = remote::fetch(&client, &root, parts, false).await?;
        let (bundle, _, files) = found.context("the CA has no bundle yet")?;
        ensure!(bundle.is_complete(&root), "the CA's bundle is not signed by enough admins");
        let is_signed = |file: &&v1::BundleFile| Digest::of(&file.content) == bundle.body.hosts;
        let file = files.iter().find(is_signed);
        let file = file.context("the CA did not send the hosts.toml that the admins signed")?;
        Hosts::parse(&file.content).context("the CA's hosts.toml can not be read by this version")
    })
}

/// Encodes a statement and signs it with the enroller's key.
fn sign<T: Body>(identity: &Path, body: &T) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let bytes = statement::encode(body).map_err(|error| Failure::usage(format!("{error}.")))?;
    let mut own = match KeyFile::read(identity) {
        Err(error) => return Err(identity::refused(identity, &error).into()),
        Ok(KeyFile::Private(own)) => own,
        Ok(KeyFile::Public(key)) => {
            let mut agent = Agent::open()?;
            if !agent.holds(key.blob())? {
                return Err(SigningError::NotHeld(key.fingerprint()).into());
            }
            OwnKey::in_agent(agent, key)
        }
    };
    identity::announce(own.key());
    let signature = own.sign(T::KIND, &bytes)?;
    Ok((bytes, signature))
}

/// The key of a `.pub` file, without its comment.
fn host_key(path: &Path) -> anyhow::Result<SubjectKey> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut words = text.split_whitespace();
    let line = [words.next().unwrap_or_default(), words.next().unwrap_or_default()].join(" ");
    line.parse().map_err(|error| {
        Failure::error(format!("{}: {error}.", path.display()))
            .hint("name the host's ssh_host_ed25519_key.pub")
            .into()
    })
}

fn label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is not a label; write key=value"))?;
    let key = key.parse().map_err(|error| format!("{error}"))?;
    Ok((key, value.parse().map_err(|error| format!("{error}"))?))
}

fn list(names: &[Glob]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_key_and_value() {
        let (key, value) = label("env=staging").unwrap();
        assert_eq!((key.as_str(), value.as_str()), ("env", "staging"));
        for bad in ["env", "=x", "env=", "Env=x", "env=a b"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_key_is_read_without_its_comment_and_nothing_else_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pub");
        let key = crate::testkeys::public(9).to_string();
        fs::write(&path, format!("{key} root@host\n")).unwrap();
        assert_eq!(host_key(&path).unwrap().to_string(), key);
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA x"] {
            fs::write(&path, bad).unwrap();
            assert!(host_key(&path).is_err(), "{bad:?}");
        }
    }
}
