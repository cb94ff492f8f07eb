//! What the CA says of this host, believed only down to the pin: root by its fingerprint, bundle by
//! its admins' signatures, files by the digests in the bundle.

use std::ops::Deref;
use std::path::Path;

use jit_ssh_api::v1::{
    BundlePart, GetBundleRequest, GetBundleResponse, GetKrlRequest, GetKrlResponse,
};
use jit_ssh_api::{ApiError, CaUrl, Client, ClientError};
use jit_ssh_core::bundle::{Host, Hosts, Signers};
use jit_ssh_core::certificate::host::HostIdentity;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::names::HostName;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, SignedBundle, Verified};
use jit_ssh_core::time::UnixTime;

use crate::enroll;
use crate::error::CommandError;
use crate::plan::HostFacts;
use crate::revoked::Lists;

/// Names shown to somebody who mistyped one.
const SUGGESTIONS: usize = 3;

/// Asks the CA at `url` for what this host needs; gives the connection too, for what comes next. A host
/// that `hosts.toml` does not list may have joined: what it kept of that lies in `etc`.
///
/// # Errors
/// If the CA does not answer, is another, or does not know the host. Nothing is changed then.
pub(crate) async fn fetch(
    url: &CaUrl,
    name: &HostName,
    etc: &Path,
) -> Result<(Client, Trusted, HostFacts), CommandError> {
    let root = Client::fetch_root(url).await.map_err(no_connection)?;
    let client = Client::connect(url, &root).await.map_err(no_connection)?;
    let parts = vec![BundlePart::Signers.into(), BundlePart::Hosts.into()];
    let request = GetBundleRequest { parts, proposal: false };
    let answer = client.get_bundle(request).await.map_err(|e| no_connection(e.into()))?;
    let lists = match client.get_krl(GetKrlRequest {}).await {
        Ok(lists) => Some(lists),
        Err(error) if matches!(error, ApiError::Unreachable(_)) => {
            return Err(no_connection(error.into()));
        }
        // A CA that can not tell now, or never could: what is in place stays.
        Err(_) => None,
    };
    let (trusted, facts) = verify(&root, &answer, lists.as_ref(), name, etc)?;
    Ok((client, trusted, facts))
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
    /// Where it joined: until when, and by which statement.
    joined: Option<(UnixTime, Digest)>,
}

impl ThisHost {
    /// A host that `hosts.toml` lists.
    pub(crate) fn listed(host: Host) -> ThisHost {
        ThisHost { host, joined: None }
    }

    /// A host that joined by a statement that holds.
    fn joined(by: &Verified<statement::Host>) -> ThisHost {
        let body = by.body();
        ThisHost { host: Host::of_statement(body), joined: Some((body.until, by.digest())) }
    }

    /// What its certificate says, if its key is known.
    pub(crate) fn identity(&self) -> Option<HostIdentity> {
        let (until, statement) = self.joined.unzip();
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
        }
    }
}

/// From an answer nobody vouches for to facts the admins signed.
///
/// # Errors
/// Whatever does not hold, and whose fault that is.
fn verify(
    root: &Root,
    answer: &GetBundleResponse,
    lists: Option<&GetKrlResponse>,
    name: &HostName,
    etc: &Path,
) -> Result<(Trusted, HostFacts), CommandError> {
    let trusted = trusted(root, answer, name, etc)?;
    let revoked = match lists {
        Some(lists) => Lists::verified(&trusted.signers, lists)
            .map_err(|e| untrue(format!("Not to be trusted: {e}.")))?,
        None => Lists::unknown(&trusted.signers),
    };
    let facts = trusted.facts(revoked);
    Ok((trusted, facts))
}

/// What an answer says of this host, if enough admins signed it. A host that joined kept in `etc` what
/// was signed about it, which is held against the enrollers that the admins signed.
///
/// # Errors
/// Whatever does not hold, and whose fault that is.
pub(crate) fn trusted(
    root: &Root,
    answer: &GetBundleResponse,
    name: &HostName,
    etc: &Path,
) -> Result<Trusted, CommandError> {
    let bundle = signed(root, answer)?;
    let signers = part(answer, BundlePart::Signers, bundle.body.signers)?;
    let hosts = part(answer, BundlePart::Hosts, bundle.body.hosts)?;
    let signers = Signers::parse(signers).map_err(|e| malformed("signers.toml", &e))?;
    let hosts = Hosts::parse(hosts).map_err(|e| malformed("hosts.toml", &e))?;
    let host = match hosts.get(name) {
        Some(host) => ThisHost::listed(host.clone()),
        None => match enroll::kept(etc, name, &root.fingerprint(), &hosts)? {
            Some(joined) => ThisHost::joined(&joined),
            None => {
                let names = hosts.iter().map(|host| host.name.as_str());
                return Err(unknown_host(name, names, bundle.body.version));
            }
        },
    };
    let (ca, version) = (root.fingerprint(), bundle.body.version);
    Ok(Trusted { ca, version, signers, host })
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
    let signatures: Vec<Vec<u8>> = signed.signatures.iter().map(|s| s.to_vec()).collect();
    let bundle = statement::open_bundle(&signed.statement, &signatures, root)
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
        [] => error.hint("an admin adds it to hosts.toml, then: jit-ssh-ca apply"),
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
