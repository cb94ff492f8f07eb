//! What the CA says of this host, believed only down to the pin: root by its fingerprint, bundle by
//! its admins' signatures, files by the digests in the bundle.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;

use jit_ssh_api::v1::{BundlePart, GetBundleRequest, GetBundleResponse, GetKrlRequest};
use jit_ssh_api::{ApiError, CaUrl, Client, ClientError};
use jit_ssh_core::bundle::{Host, Hosts, Signers};
use jit_ssh_core::certificate::host::HostIdentity;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::key::HostKey;
use jit_ssh_core::names::{HostName, Jump};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, SignedBundle};
use jit_ssh_core::time::UnixTime;
use tokio::runtime::{Builder, Runtime};

use crate::clock::now;
use crate::enrolment::{self, Over};
use crate::error::CommandError;
use crate::plan::HostFacts;
use crate::revoked::Lists;

/// Names shown to somebody who mistyped one.
const SUGGESTIONS: usize = 3;

/// What calls over the network run on: one thread is enough for a host.
///
/// # Errors
/// If the system gives none.
pub(crate) fn network() -> Result<Runtime, CommandError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::new(format!("The network can not be used: {e}.")))
}

/// A connection to the CA at `url`, which is the one that is pinned.
///
/// # Errors
/// If the CA does not answer, or is another.
pub(crate) async fn connect(url: &CaUrl) -> Result<(Client, Root), CommandError> {
    let root = Client::fetch_root(url).await.map_err(no_connection)?;
    let client = Client::connect(url, &root).await.map_err(no_connection)?;
    Ok((client, root))
}

/// What the admins signed.
///
/// # Errors
/// If the CA does not answer, or what it sends is not signed by enough of them.
pub(crate) async fn word(client: &Client, root: &Root) -> Result<Word, CommandError> {
    let parts = vec![BundlePart::Signers.into(), BundlePart::Hosts.into()];
    let request = GetBundleRequest { parts, proposal: false };
    let answer = client.get_bundle(request).await.map_err(|e| no_connection(e.into()))?;
    Word::open(root, &answer)
}

/// What the signers revoked.
///
/// # Errors
/// If the CA does not answer, or a list is not by its signer.
pub(crate) async fn revoked(client: &Client, signers: &Signers) -> Result<Lists, CommandError> {
    match client.get_krl(GetKrlRequest {}).await {
        Ok(lists) => {
            Lists::verified(signers, &lists).map_err(|e| untrue(format!("Not to be trusted: {e}.")))
        }
        Err(error) if matches!(error, ApiError::Unreachable(_)) => Err(no_connection(error.into())),
        // A CA that can not tell now, or never could: what is in place stays.
        Err(_) => Ok(Lists::unknown(signers)),
    }
}

/// The host `name`: as `hosts.toml` lists it, or as it joined by what is kept in `dir` or known at the
/// CA. `own_keys` are those of this machine's sshd.
///
/// # Errors
/// If the CA does not answer, or what it sent or what is kept is signed by nobody.
pub(crate) async fn this_host(
    client: &Client,
    word: &Word,
    name: &HostName,
    dir: &Path,
    own_keys: impl FnOnce() -> Result<Vec<HostKey>, CommandError>,
    over: Over,
) -> Result<Found, CommandError> {
    if let Some(listed) = word.hosts.get(name) {
        return Ok(Found::Host(ThisHost::listed(listed, &word.hosts)));
    }
    let kept = enrolment::kept(dir, name, &word.ca)?;
    let offered = enrolment::of_ca(client, name, &word.ca).await?;
    let chosen = enrolment::choose(kept, offered, &word.hosts, &own_keys()?, over, now());
    Ok(match chosen {
        Ok(Some(vouched)) => Found::Host(ThisHost::joined(vouched)),
        Ok(None) => Found::Not(None),
        Err(why) => Found::Not(Some(why)),
    })
}

/// What is known of a host.
pub(crate) enum Found {
    /// It is listed, or joined.
    Host(ThisHost),
    /// It did not join; why what would vouch for it does not hold, where there is something.
    Not(Option<CommandError>),
}

/// What to tell of a CA that can not be asked.
pub(crate) fn no_connection(error: ClientError) -> CommandError {
    let message = format!("{error}.");
    match error {
        ClientError::Unreachable { .. } | ClientError::Api(ApiError::Unreachable(_)) => {
            CommandError::unreachable(message).hint(
                "nothing is changed; check that jit-ssh-ca serve runs there, and the way to it",
            )
        }
        ClientError::Untrusted { .. } | ClientError::Pin { .. } => CommandError::new(message)
            .named("UNTRUSTED")
            .hint("nothing is changed; compare --ca with the URL `jit-ssh-ca init` printed"),
        ClientError::Api(ApiError::Refused(detail)) => {
            let name = detail.refusal.reason.as_str();
            let error = CommandError::new(detail.refusal.message).named(name);
            match detail.refusal.hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
        _ => CommandError::new(message),
    }
}

/// What the admins signed about this host and its CA.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    /// The CA.
    ca: RootFingerprint,
    /// The bundle's version.
    pub(crate) version: u64,
    /// Whose certificates, lists and proofs count.
    pub(crate) signers: Signers,
    /// This host.
    pub(crate) host: ThisHost,
}

/// This host, as `hosts.toml` lists it or as it joined.
#[derive(Debug, Clone)]
pub(crate) struct ThisHost {
    host: Host,
    /// Where it joined: what vouches for it.
    joined: Option<Vouched>,
    /// The jumps through it, and where each may go on to.
    jumps: BTreeMap<Jump, String>,
}

impl ThisHost {
    /// A host that `hosts.toml` lists, with what is behind it.
    pub(crate) fn listed(host: &Host, hosts: &Hosts) -> ThisHost {
        let jumps = hosts.behind(host).map(|(jump, behind)| (jump, behind.forward()));
        ThisHost { host: host.clone(), joined: None, jumps: jumps.collect() }
    }

    /// A host that joined by a statement that holds.
    pub(crate) fn joined(by: Vouched) -> ThisHost {
        // Nothing in hosts.toml is behind a host that it does not list.
        ThisHost { host: by.as_listed(), joined: Some(by), jumps: BTreeMap::new() }
    }

    /// What vouches for it; `None` where `hosts.toml` lists it.
    pub(crate) fn vouched(&self) -> Option<&Vouched> {
        self.joined.as_ref()
    }

    /// Whether its time is over: what is left is to tell what it saw.
    pub(crate) fn is_over(&self, now: UnixTime) -> bool {
        self.joined.as_ref().is_some_and(|by| by.host().body().until <= now)
    }

    /// What its certificate says, if its key is known.
    pub(crate) fn identity(&self) -> Option<HostIdentity> {
        let by = self.joined.as_ref().map(Vouched::host);
        let (until, statement) = by.map(|by| (by.body().until, by.digest())).unzip();
        Some(HostIdentity { until, statement, ..HostIdentity::of(&self.host)? })
    }
}

impl Deref for ThisHost {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Trusted {
    /// What follows for this host, with what the signers revoked.
    pub(crate) fn facts(&self, revoked: Lists) -> HostFacts {
        HostFacts {
            revoked,
            name: self.host.name.clone(),
            ca: self.ca,
            version: self.version,
            ca_keys: self.signers.iter().map(|s| (s.number, s.ca_key.clone())).collect(),
            logins: self.host.logins.as_ref().clone(),
            jumps: self.host.jumps.clone(),
        }
    }
}

/// What the admins signed, as far as a host needs it.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    ca: RootFingerprint,
    version: u64,
    /// The bundle statement.
    pub(crate) digest: Digest,
    /// Whose certificates, lists and proofs count.
    pub(crate) signers: Signers,
    /// The hosts, and who may vouch for others.
    pub(crate) hosts: Hosts,
}

impl Word {
    /// From an answer nobody vouches for to what the admins signed.
    ///
    /// # Errors
    /// Whatever does not hold, and whose fault that is.
    fn open(root: &Root, answer: &GetBundleResponse) -> Result<Word, CommandError> {
        let bundle = signed(root, answer)?;
        let signers = part(answer, BundlePart::Signers, bundle.body.signers)?;
        let hosts = part(answer, BundlePart::Hosts, bundle.body.hosts)?;
        Ok(Word {
            ca: root.fingerprint(),
            version: bundle.body.version,
            digest: bundle.digest,
            signers: Signers::parse(signers).map_err(|e| malformed("signers.toml", &e))?,
            hosts: Hosts::parse(hosts).map_err(|e| malformed("hosts.toml", &e))?,
        })
    }

    /// What follows for this host, which [`this_host`] found.
    ///
    /// # Errors
    /// If it was not found.
    pub(crate) fn about(&self, name: &HostName, found: Found) -> Result<Trusted, CommandError> {
        let host = match found {
            Found::Host(host) => host,
            Found::Not(Some(why)) => return Err(why),
            Found::Not(None) => {
                let names = self.hosts.iter().map(|host| host.name.as_str());
                return Err(unknown_host(name, names, self.version));
            }
        };
        let (ca, version, signers) = (self.ca, self.version, self.signers.clone());
        Ok(Trusted { ca, version, signers, host })
    }
}

/// The bundle statement of an answer, if enough admins signed it.
///
/// # Errors
/// Whatever does not hold.
pub(crate) fn signed(
    root: &Root,
    answer: &GetBundleResponse,
) -> Result<SignedBundle, CommandError> {
    let Some(signed) = &answer.bundle else {
        return Err(CommandError::new("The CA has no bundle yet.")
            .named("NO_BUNDLE")
            .hint("an admin hands in the first one with: jit-ssh-ca apply"));
    };
    let bundle = statement::open_bundle(&signed.statement, &signed.signatures, root)
        .map_err(|e| untrue(format!("The CA's bundle can not be trusted: {e}.")))?;
    if bundle.is_complete(root) {
        return Ok(bundle);
    }
    Err(untrue(format!(
        "The CA's bundle can not be trusted: {} of {} admin signatures are there.",
        bundle.admins.len(),
        root.threshold()
    )))
}

/// The bytes of a part, if they are the ones the admins signed.
fn part(
    answer: &GetBundleResponse,
    wanted: BundlePart,
    digest: Digest,
) -> Result<&[u8], CommandError> {
    let file = answer.files.iter().find(|file| file.part == i32::from(wanted));
    match file {
        Some(file) if Digest::of(&file.content) == digest => Ok(&file.content),
        Some(_) => Err(untrue(format!(
            "The CA sent a {} that is not the one the admins signed.",
            file_name(wanted)
        ))),
        None => Err(untrue(format!("The CA did not send {}.", file_name(wanted)))),
    }
}

fn file_name(part: BundlePart) -> &'static str {
    match part {
        BundlePart::Signers => "signers.toml",
        BundlePart::Hosts => "hosts.toml",
        BundlePart::People => "people.toml",
        BundlePart::Policy => "policy.toml",
        BundlePart::Unspecified => "file",
    }
}

/// Something the CA sent is not what it must be.
fn untrue(message: String) -> CommandError {
    CommandError::new(message).named("UNTRUE")
}

fn malformed(file: &str, problems: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(format!("The CA's {file} can not be read by this version:\n{problems}"))
        .hint("use the same version of jit-ssh here and at the CA")
}

fn unknown_host<'a>(
    name: &HostName,
    known: impl Iterator<Item = &'a str>,
    version: u64,
) -> CommandError {
    let error = CommandError::new(format!(
        "There is no host named {name} in hosts.toml (bundle version {version})."
    ))
    .named("UNKNOWN_HOST");
    let mut near: Vec<(usize, &str)> = known
        .map(|known| (distance(name.as_str(), known), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3 + 1)
        .collect();
    near.sort_unstable();
    let near: Vec<&str> = near.into_iter().take(SUGGESTIONS).map(|(_, known)| known).collect();
    match near.as_slice() {
        [] => error
            .hint("an admin adds it to hosts.toml, then: jit-ssh-ca apply; or it joins: setup with --token"),
        near => error.hint(format!("the nearest names are {}", near.join(", "))),
    }
}

/// How many characters must change to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, of_a) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, of_b) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(of_a != of_b);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
