//! What a client checks before it uses a certificate: that it is what was asked for, from a CA key
//! the admins named, and in the log. `host.rs` has the same for host certificates; `held.rs` judges one
//! that a host has had for a while.

mod held;
mod host;

use std::num::NonZeroU16;

use ed25519_dalek::Signature;

pub use held::{check_held, is_host_certificate};
pub use host::{AcceptedHost, check_host};

use crate::bundle::{SignerInfo, Signers};
use crate::certificate::lint::{self, Context, LintError};
use crate::certificate::{self, Scope, Serial};
use crate::entry::{Entry, EntryError};
use crate::log::{Hash, NoteError, ProofError, SignedCheckpoint, leaf_hash, verify_inclusion};
use crate::names::Opens;
use crate::statement::{MAX_SKEW, Request, Verified};
use crate::time::UnixTime;

/// A certificate as it arrives.
#[derive(Debug, Clone)]
pub struct Receipt<'a> {
    /// The certificate in wire encoding.
    pub certificate: &'a [u8],
    /// Its log entry.
    pub entry: &'a [u8],
    /// The entry's place in the log.
    pub index: u64,
    /// A signed checkpoint of a tree that holds it.
    pub checkpoint: &'a [u8],
    /// The inclusion proof, leaf to root.
    pub proof: Vec<&'a [u8]>,
    /// The number of the signer.
    pub signer: u32,
}

/// A certificate that passed.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The certificate.
    pub certificate: ssh_key::Certificate,
    /// Its serial.
    pub serial: u64,
    /// Its key id.
    pub key_id: String,
    /// What it opens.
    pub opens: Opens,
    /// When it begins.
    pub valid_after: UnixTime,
    /// When it ends.
    pub valid_before: UnixTime,
    /// When the access ends: it can be renewed until then.
    pub access_until: UnixTime,
}

/// Why a received certificate is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// A signer the bundle does not name.
    #[error("the certificate comes from the signer {0}, which signers.toml does not name")]
    UnknownSigner(u32),
    /// The checkpoint is not signed by that signer's log key.
    #[error("the log checkpoint does not hold: {0}")]
    Checkpoint(#[from] NoteError),
    /// The log entry is not one of ours.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log entry is about something else.
    #[error("the log entry is not that of this certificate: {0}")]
    OtherEntry(&'static str),
    /// The entry is not in the tree.
    #[error("the certificate is not in the log: {0}")]
    Proof(#[from] ProofError),
    /// It is not what was asked for.
    #[error(transparent)]
    Lint(#[from] LintError),
    /// A signer that issues no host certificates.
    #[error("the signer {0} has no host CA key in signers.toml")]
    NoHostCa(u32),
    /// It is over, or has not begun.
    #[error("the certificate is not valid now: look at the clocks of this host and of the CA")]
    NotNow,
    /// The CA's signature does not hold.
    #[error("the CA's signature over the certificate does not hold")]
    Signature,
}

/// Checks a received certificate against the request it should answer, and which of its certificates it
/// should be: that follows from the bundle, not from what came. `prolongs` is when the access
/// ends that the request prolongs, if it prolongs one.
///
/// # Errors
/// [`ReceiptError`] says what does not fit; such a certificate must not be used.
pub fn check(
    receipt: &Receipt<'_>,
    request: &Verified<Request>,
    scope: &Scope,
    signers: &Signers,
    prolongs: Option<UnixTime>,
    now: UnixTime,
) -> Result<Accepted, ReceiptError> {
    let (number, signer) = in_log(receipt, signers)?;
    let Entry::Certificate(entry) = Entry::parse(receipt.entry)? else {
        return Err(ReceiptError::OtherEntry("it is about something else"));
    };
    let serial = Serial::new(number, receipt.index)
        .filter(|serial| serial.get() == entry.serial)
        .ok_or(ReceiptError::OtherEntry("its serial is another"))?;
    if entry.request != request.digest() {
        return Err(ReceiptError::OtherEntry("it is about another request"));
    }
    let tbs = &entry.tbs.0;
    let signature = signature(receipt.certificate, tbs).ok_or(ReceiptError::Signature)?;
    signer.ca_key.point().verify_strict(tbs, &signature).map_err(|_| ReceiptError::Signature)?;

    // The CA's clock may be ahead or behind by what statements may be.
    let context = |now| Context { request, scope, serial, ca: &signer.ca_key, now, prolongs };
    let facts = lint::check(tbs, context(now))
        .or_else(|_| lint::check(tbs, context(now.plus_secs(MAX_SKEW))))?;
    // A second parser, the one that ssh-agent messages are made with, must read it too.
    let certificate = ssh_key::Certificate::from_bytes(receipt.certificate)
        .map_err(|_| ReceiptError::Signature)?;
    Ok(Accepted {
        certificate,
        serial: serial.get(),
        key_id: facts.key_id.to_string(),
        opens: facts.opens,
        valid_after: facts.valid_after,
        valid_before: facts.valid_before,
        access_until: facts.key_id.access_until,
    })
}

/// The signer that the receipt names, in whose log the entry is.
fn in_log<'s>(
    receipt: &Receipt<'_>,
    signers: &'s Signers,
) -> Result<(NonZeroU16, &'s SignerInfo), ReceiptError> {
    let unknown = || ReceiptError::UnknownSigner(receipt.signer);
    let number =
        u16::try_from(receipt.signer).ok().and_then(NonZeroU16::new).ok_or_else(unknown)?;
    let signer = signers.get(number).ok_or_else(unknown)?;

    let log_key = signer.log_key.parse()?;
    let checkpoint = SignedCheckpoint::open(receipt.checkpoint, &log_key)?;
    let proof: Vec<Hash> = receipt
        .proof
        .iter()
        .map(|hash| (*hash).try_into().map(Hash))
        .collect::<Result<_, _>>()
        .map_err(|_| ReceiptError::OtherEntry("a hash of its proof has not 32 bytes"))?;
    let tree = checkpoint.checkpoint();
    verify_inclusion(&proof, receipt.index, tree.size(), leaf_hash(receipt.entry), tree.root())?;
    Ok((number, signer))
}

/// The signature of a certificate whose signed bytes are exactly `tbs`.
fn signature(certificate: &[u8], tbs: &[u8]) -> Option<Signature> {
    let raw: &[u8; 64] = certificate.last_chunk()?;
    (certificate::assemble(tbs, raw) == certificate).then(|| Signature::from_bytes(raw))
}

#[cfg(test)]
mod tests;
