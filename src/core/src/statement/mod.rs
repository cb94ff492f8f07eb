//! Statements: one line of canonical JSON each, and an OpenSSH signature over exactly these bytes.
//!
//! A statement is parsed strictly, encoded again and compared: whatever has a second spelling
//! (white space, another order, an unknown, repeated or left-out field) is refused. So the bytes a
//! person signed, the bytes in the log and the fields the signer acts on are one and the same.
//!
//! - `body.rs`: the fields of each type and what they must obey by themselves;
//! - [`open`], [`open_bundle`]: from bytes and signatures to a [`Verified`] statement.

mod body;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use body::{
    Bundle, Cause, Closed, Decision, End, Event, Happened, Host, MAX_AHEAD, MAX_COMMAND,
    MAX_EVENTS, MAX_HOST_LIFE, MAX_REASON, MAX_TOKEN_LIFE, MAX_TOKEN_USES, Nonce, Report, Request,
    Session, Token, Verdict,
};

use crate::digest::{Digest, RootFingerprint, ShortId};
use crate::key::{KnownKeys, SignerKey};
use crate::names::{ActorId, Principal};
use crate::root::Root;
use crate::sshsig::{self, Presence, SignatureError, SignedBy};
use crate::time::UnixTime;

/// Longest statement in bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// Longest signature blob in bytes. An ECDSA P-384 security signature has well under 1 KiB.
pub const MAX_SIGNATURE: usize = 2 * 1024;

/// How far a statement's `at` may be from the receiver's clock, in seconds.
pub const MAX_SKEW: u32 = 120;

/// The types of statements this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Somebody asks for access.
    Request,
    /// Somebody approves or denies a request.
    Decision,
    /// Somebody ends a request.
    End,
    /// Admins set people, hosts, policy and signers.
    Bundle,
    /// Somebody opens a session for reading.
    Session,
    /// A host tells who logged in, and when that ended.
    Report,
    /// A host that `hosts.toml` does not list is there.
    Host,
    /// An enroller lets hosts join.
    Token,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Request,
        Kind::Decision,
        Kind::End,
        Kind::Bundle,
        Kind::Session,
        Kind::Report,
        Kind::Host,
        Kind::Token,
    ];

    /// The `type` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Decision => "decision",
            Kind::End => "end",
            Kind::Bundle => "bundle",
            Kind::Session => "session",
            Kind::Report => "report",
            Kind::Host => "host",
            Kind::Token => "token",
        }
    }

    /// The SSHSIG namespace signatures of this type are made for.
    pub fn namespace(self) -> &'static str {
        match self {
            Kind::Request => "request@jit-ssh",
            Kind::Decision => "decision@jit-ssh",
            Kind::End => "end@jit-ssh",
            Kind::Bundle => "bundle@jit-ssh",
            Kind::Session => "session@jit-ssh",
            Kind::Report => "report@jit-ssh",
            Kind::Host => "host@jit-ssh",
            Kind::Token => "token@jit-ssh",
        }
    }

    /// How the canonical bytes of this type begin.
    fn prefix(self) -> &'static str {
        match self {
            Kind::Request => "{\"v\":1,\"type\":\"request\",",
            Kind::Decision => "{\"v\":1,\"type\":\"decision\",",
            Kind::End => "{\"v\":1,\"type\":\"end\",",
            Kind::Bundle => "{\"v\":1,\"type\":\"bundle\",",
            Kind::Session => "{\"v\":1,\"type\":\"session\",",
            Kind::Report => "{\"v\":1,\"type\":\"report\",",
            Kind::Host => "{\"v\":1,\"type\":\"host\",",
            Kind::Token => "{\"v\":1,\"type\":\"token\",",
        }
    }

    /// The type of the statement in `bytes`, judged by how canonical bytes begin.
    pub fn of(bytes: &[u8]) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| bytes.starts_with(kind.prefix().as_bytes()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a statement is refused before anybody asks what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Longer than [`MAX_BYTES`].
    #[error("the statement has {0} bytes; at most {MAX_BYTES} are allowed")]
    TooLong(usize),
    /// Longer than [`MAX_SIGNATURE`], or not exactly one where one is needed.
    #[error("the statement needs exactly one signature of at most {MAX_SIGNATURE} bytes")]
    Signatures,
    /// Another type than the one asked for, or not a statement.
    #[error(
        "this is not a {expected} statement: its bytes must begin with {{\"v\":1,\"type\":\"{expected}\","
    )]
    Kind {
        /// The type asked for.
        expected: Kind,
    },
    /// Not JSON with exactly these fields.
    #[error("the {kind} statement is malformed: {problem}")]
    Form {
        /// The statement's type.
        kind: Kind,
        /// What the parser says.
        problem: String,
    },
    /// The fields are there, but not in the one canonical spelling.
    #[error(
        "the {0} statement is not canonical: write its fields in the given order, without spaces, and with null for what does not apply"
    )]
    NotCanonical(Kind),
    /// A field breaks a rule of its own.
    #[error("the {kind} statement is refused: {problem}")]
    Field {
        /// The statement's type.
        kind: Kind,
        /// Which field, what is wrong, what would be right.
        problem: String,
    },
    /// Signed for another CA.
    #[error("the statement is for the CA {found}, and this is {expected}")]
    OtherCa {
        /// The CA named in the statement.
        found: RootFingerprint,
        /// This CA.
        expected: RootFingerprint,
    },
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A bundle signed by a key that is no admin's.
    #[error("the bundle is signed by {0}, which is no admin key of root.json")]
    NotAdmin(String),
    /// A bundle signed twice by one admin.
    #[error("the bundle is signed twice by {0}; each admin counts once")]
    AdminTwice(ActorId),
    /// Too far in the future.
    #[error(
        "the statement is dated {ahead} s ahead of this clock; at most {MAX_SKEW} s are allowed: check both clocks"
    )]
    Ahead {
        /// Seconds ahead.
        ahead: u64,
    },
    /// Too old to be submitted.
    #[error(
        "the statement is {behind} s old by this clock; at most {MAX_SKEW} s are allowed when it is submitted: check both clocks, then sign it anew"
    )]
    Stale {
        /// Seconds behind.
        behind: u64,
    },
}

/// What all statement types share.
pub trait Body: Serialize + DeserializeOwned {
    /// The statement's type.
    const KIND: Kind;

    /// The CA the statement is for.
    fn ca(&self) -> &RootFingerprint;

    /// When it was made, by its maker's clock.
    fn at(&self) -> UnixTime;

    /// Checks what the fields must obey by themselves.
    ///
    /// # Errors
    /// A sentence that names the field, what is wrong and what would be right.
    fn check(&self) -> Result<(), String>;
}

/// Encodes a statement to the exact bytes to be signed.
///
/// # Errors
/// [`StatementError`] if a field breaks a rule or the whole is too long.
pub fn encode<T: Body>(body: &T) -> Result<Vec<u8>, StatementError> {
    body.check().map_err(|problem| StatementError::Field { kind: T::KIND, problem })?;
    let bytes = serde_json::to_vec(body)
        .map_err(|e| StatementError::Form { kind: T::KIND, problem: e.to_string() })?;
    if bytes.len() > MAX_BYTES { Err(StatementError::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Parses exact bytes, without asking who signed them.
///
/// # Errors
/// [`StatementError`] for anything but the one canonical spelling of a sound statement.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<T, StatementError> {
    let kind = T::KIND;
    if bytes.len() > MAX_BYTES {
        return Err(StatementError::TooLong(bytes.len()));
    }
    if !bytes.starts_with(kind.prefix().as_bytes()) {
        return Err(StatementError::Kind { expected: kind });
    }
    let body: T = serde_json::from_slice(bytes)
        .map_err(|e| StatementError::Form { kind, problem: e.to_string() })?;
    if encode(&body)? != bytes {
        return Err(StatementError::NotCanonical(kind));
    }
    Ok(body)
}

/// A statement whose signature was verified: by [`open`], or, when it was recorded, by one's own
/// signer ([`open_recorded`]).
///
/// It proves that the holder of `key` said this to this CA; whose key that is, only the current
/// bundle can tell.
#[derive(Debug)]
pub struct Verified<T>(Arc<Parts<T>>);

/// Shared by all clones: chains are copied often, and a request is close to a kilobyte.
#[derive(Debug)]
struct Parts<T> {
    body: T,
    digest: Digest,
    bytes: Box<[u8]>,
    signature: Box<[u8]>,
    by: SignedBy,
}

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Verified<T> {
    fn new(body: T, bytes: &[u8], signature: &[u8], by: SignedBy) -> Verified<T> {
        let digest = Digest::of(bytes);
        Verified(Arc::new(Parts {
            body,
            digest,
            bytes: bytes.into(),
            signature: signature.into(),
            by,
        }))
    }

    /// The fields.
    pub fn body(&self) -> &T {
        &self.0.body
    }

    /// SHA-256 of the exact bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What people see of the digest.
    pub fn id(&self) -> ShortId {
        self.0.digest.short_id()
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The signature blob (SSHSIG).
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// The key that signed.
    pub fn key(&self) -> &SignerKey {
        &self.0.by.key
    }

    /// What the signature says of the person's presence.
    pub fn presence(&self) -> Presence {
        self.0.by.presence
    }
}

/// Parses a statement for the CA `ca` and verifies its signature blob.
///
/// # Errors
/// [`StatementError`]; the neighbouring good input is the canonical bytes with a signature for
/// [`Kind::namespace`].
pub fn open<T: Body>(
    bytes: &[u8],
    signature: &[u8],
    ca: &RootFingerprint,
) -> Result<Verified<T>, StatementError> {
    open_knowing(bytes, signature, ca, &mut KnownKeys::default())
}

/// The same as [`open`], for who verifies many: keys met before are not parsed anew.
///
/// # Errors
/// Those of [`open`].
pub fn open_knowing<T: Body>(
    bytes: &[u8],
    signature: &[u8],
    ca: &RootFingerprint,
    keys: &mut KnownKeys,
) -> Result<Verified<T>, StatementError> {
    let body: T = parse(bytes)?;
    check_ca(&body, ca)?;
    if signature.len() > MAX_SIGNATURE {
        return Err(StatementError::Signatures);
    }
    let by = sshsig::verify_knowing(T::KIND.namespace(), bytes, signature, keys)?;
    Ok(Verified::new(body, bytes, signature, by))
}

/// Parses a statement that a signer's log holds, so its signature was verified when it was recorded:
/// each signature is verified once (design.md, 14).
///
/// Only for bytes from one's own signer or log; anything from elsewhere goes through [`open`].
///
/// # Errors
/// [`StatementError`] if the bytes or the signature are not well-formed.
pub fn open_recorded<T: Body>(
    bytes: &[u8],
    signature: &[u8],
) -> Result<Verified<T>, StatementError> {
    let by = sshsig::read(signature)?;
    Ok(Verified::new(parse(bytes)?, bytes, signature, by))
}

/// A bundle statement with the admins who verifiably signed it.
#[derive(Debug, Clone)]
pub struct SignedBundle {
    /// The fields.
    pub body: Bundle,
    /// SHA-256 of the exact bytes.
    pub digest: Digest,
    /// The admins who signed, each once.
    pub admins: Vec<ActorId>,
}

impl SignedBundle {
    /// Whether enough admins signed.
    pub fn is_complete(&self, root: &Root) -> bool {
        self.admins.len() >= root.threshold()
    }
}

/// Parses a bundle statement and verifies each of its signatures against `root`.
///
/// # Errors
/// [`StatementError`] if any signature does not hold, is no admin's, or repeats an admin.
pub fn open_bundle(
    bytes: &[u8],
    signatures: &[impl AsRef<[u8]>],
    root: &Root,
) -> Result<SignedBundle, StatementError> {
    let body: Bundle = parse(bytes)?;
    check_ca(&body, &root.fingerprint())?;
    if signatures.is_empty()
        || signatures.len() > root.admins().len()
        || signatures.iter().any(|s| s.as_ref().len() > MAX_SIGNATURE)
    {
        return Err(StatementError::Signatures);
    }
    let mut admins: Vec<ActorId> = Vec::new();
    for signature in signatures {
        let by = sshsig::verify(Kind::Bundle.namespace(), bytes, signature.as_ref())?;
        let admin =
            root.admin_of(&by.key).ok_or_else(|| StatementError::NotAdmin(by.key.fingerprint()))?;
        if admins.contains(&admin.id) {
            return Err(StatementError::AdminTwice(admin.id.clone()));
        }
        admins.push(admin.id.clone());
    }
    Ok(SignedBundle { body, digest: Digest::of(bytes), admins })
}

fn check_ca<T: Body>(body: &T, ca: &RootFingerprint) -> Result<(), StatementError> {
    if body.ca() == ca {
        return Ok(());
    }
    Err(StatementError::OtherCa { found: *body.ca(), expected: *ca })
}

/// Whether a statement's date is acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Its maker submits it now: neither ahead nor behind by more than [`MAX_SKEW`].
    Submitted,
    /// It was submitted elsewhere and arrives with a chain: not ahead; how old it may be is
    /// bounded by the clocks of the request.
    Relayed,
}

/// Checks a statement's `at` against the receiver's clock.
///
/// # Errors
/// [`StatementError::Ahead`] and [`StatementError::Stale`] name the skew.
pub fn check_date(at: UnixTime, now: UnixTime, arrival: Arrival) -> Result<(), StatementError> {
    let ahead = at.since(now);
    if ahead > u64::from(MAX_SKEW) {
        return Err(StatementError::Ahead { ahead });
    }
    let behind = now.since(at);
    match arrival {
        Arrival::Submitted if behind > u64::from(MAX_SKEW) => Err(StatementError::Stale { behind }),
        Arrival::Submitted | Arrival::Relayed => Ok(()),
    }
}

/// Every `login@host` of `hosts` and `logins`.
///
/// # Errors
/// A sentence if there is none, or more than [`Principal::MAX_COUNT`].
fn count_principals(hosts: usize, logins: usize) -> Result<(), String> {
    match hosts.checked_mul(logins) {
        Some(1..=Principal::MAX_COUNT) => Ok(()),
        _ => Err(format!(
            "hosts and logins: {hosts} hosts with {logins} logins; name at least one of each and at most {} pairs",
            Principal::MAX_COUNT
        )),
    }
}

#[cfg(test)]
mod tests;
