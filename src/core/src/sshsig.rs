//! OpenSSH signatures over statements (OpenSSH `PROTOCOL.sshsig`, hash SHA-512).
//!
//! `ssh-keygen -Y verify` accepts what we make, and we accept what `ssh-keygen -Y sign` makes. A
//! signature travels as the raw blob inside the armour.

use ed25519_dalek::Signature as Ed25519Signature;
use sha2::{Digest as _, Sha256, Sha512};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, Signature, SshSig};

use crate::key::{KeyError, KnownKeys, SignerKey};
use crate::wire;

const MAGIC: &[u8] = b"SSHSIG";
const HASH: &[u8] = b"sha512";

/// User presence and user verification in the flags byte of a security key's signature
/// (OpenSSH `PROTOCOL.u2f`).
const FLAG_USER_PRESENT: u8 = 0x01;
const FLAG_USER_VERIFIED: u8 = 0x04;

/// How strongly a signature binds to the person who made it. Ordered: more is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// A key in software: nothing is known of the moment of signing.
    Software,
    /// A security key that was touched.
    Touched,
    /// A security key that was touched and verified its user (PIN or biometrics).
    UserVerified,
}

/// A signature that verified: which key made it, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The key that signed.
    pub key: SignerKey,
    /// What the signature says of the person's presence.
    pub presence: Presence,
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not an SSHSIG blob in its one encoding.
    #[error("the signature is not an OpenSSH signature (SSHSIG, version 1)")]
    Form,
    /// Signed for another purpose.
    #[error("the signature is for the namespace {found:?}, not {expected:?}")]
    Namespace {
        /// What the signature names.
        found: String,
        /// What it must name.
        expected: String,
    },
    /// Another hash than SHA-512.
    #[error("the signature uses another hash than sha512")]
    Hash,
    /// The key is of a type that may not sign.
    #[error("the signing key is refused: {0}")]
    Key(#[from] KeyError),
    /// The bytes and the signature do not belong together.
    #[error("the signature does not match the statement")]
    Mismatch,
    /// A security key signed without being touched.
    #[error("the security key signed without a touch; its signatures need user presence")]
    NoPresence,
}

/// The bytes a key signs for `message`: what an ssh-agent is asked to sign.
pub fn signed_data(namespace: &str, message: &[u8]) -> Vec<u8> {
    let mut out = wire::Writer::default();
    out.raw(MAGIC)
        .string(namespace.as_bytes())
        .string(b"")
        .string(HASH)
        .string(&Sha512::digest(message));
    out.into_bytes()
}

/// Joins a key and its signature over [`signed_data`] (both in wire encoding) to a signature blob.
pub fn assemble(key_blob: &[u8], namespace: &str, signature_blob: &[u8]) -> Vec<u8> {
    let mut out = wire::Writer::default();
    out.raw(MAGIC)
        .u32(1)
        .string(key_blob)
        .string(namespace.as_bytes())
        .string(b"")
        .string(HASH)
        .string(signature_blob);
    out.into_bytes()
}

/// Verifies the signature blob over `message` for `namespace`.
///
/// # Errors
/// [`SignatureError`]; a security key's signature without user presence is refused.
pub fn verify(namespace: &str, message: &[u8], blob: &[u8]) -> Result<SignedBy, SignatureError> {
    verify_knowing(namespace, message, blob, &mut KnownKeys::default())
}

/// The same, with the keys met before.
pub(crate) fn verify_knowing(
    namespace: &str,
    message: &[u8],
    blob: &[u8],
    keys: &mut KnownKeys,
) -> Result<SignedBy, SignatureError> {
    let parsed = decode(blob)?;
    if parsed.version() != SshSig::VERSION || !parsed.reserved().is_empty() {
        return Err(SignatureError::Form);
    }
    if parsed.namespace() != namespace {
        return Err(SignatureError::Namespace {
            found: parsed.namespace().chars().take(80).collect(),
            expected: namespace.to_owned(),
        });
    }
    if parsed.hash_alg() != HashAlg::Sha512 {
        return Err(SignatureError::Hash);
    }
    let key = keys.key(&key_blob(&parsed)?)?;
    let presence = presence(&key, parsed.signature())?;
    verify_raw(&key, &signed_data(namespace, message), parsed.signature())?;
    Ok(SignedBy { key, presence })
}

/// Reads who a signature blob says made it, without verifying.
pub(crate) fn read(blob: &[u8]) -> Result<SignedBy, SignatureError> {
    let parsed = decode(blob)?;
    let key = SignerKey::from_recorded_blob(&key_blob(&parsed)?)?;
    let presence = presence(&key, parsed.signature())?;
    Ok(SignedBy { key, presence })
}

fn decode(blob: &[u8]) -> Result<SshSig, SignatureError> {
    use ssh_key::encoding::{Decode, Encode};
    let mut reader = blob;
    let parsed = SshSig::decode(&mut reader).map_err(|_| SignatureError::Form)?;
    let again = parsed.encode_vec().map_err(|_| SignatureError::Form)?;
    if reader.is_empty() && again == blob { Ok(parsed) } else { Err(SignatureError::Form) }
}

fn key_blob(parsed: &SshSig) -> Result<Vec<u8>, SignatureError> {
    use ssh_key::encoding::Encode;
    parsed.public_key().encode_vec().map_err(|_| SignatureError::Form)
}

fn presence(key: &SignerKey, signature: &Signature) -> Result<Presence, SignatureError> {
    if !key.is_security_key() {
        return Ok(Presence::Software);
    }
    // ssh-key keeps the flags and the counter as the last 5 bytes.
    let flags = signature.as_bytes().iter().rev().nth(4).ok_or(SignatureError::Form)?;
    if flags & FLAG_USER_PRESENT == 0 {
        // x/crypto CVE-2026-39831: the touch flag went unchecked.
        return Err(SignatureError::NoPresence);
    }
    let verified = flags & FLAG_USER_VERIFIED != 0;
    Ok(if verified { Presence::UserVerified } else { Presence::Touched })
}

/// Verifies a bare SSH signature over `data`.
fn verify_raw(key: &SignerKey, data: &[u8], signature: &Signature) -> Result<(), SignatureError> {
    use ed25519_dalek::Verifier;
    let mismatch = SignatureError::Mismatch;
    if signature.algorithm() != key.data().algorithm() {
        return Err(mismatch);
    }
    let bytes = signature.as_bytes();
    match (key.data(), key.point()) {
        (KeyData::Ed25519(_), Some(point)) => {
            let signature = Ed25519Signature::from_slice(bytes).map_err(|_| mismatch.clone())?;
            point.verify_strict(data, &signature).map_err(|_| mismatch)
        }
        (KeyData::SkEd25519(sk), Some(point)) => {
            // OpenSSH PROTOCOL.u2f: SHA256(application) || flags || counter || SHA256(data).
            let (raw, trailer) = bytes.split_at_checked(64).ok_or(mismatch.clone())?;
            let signature = Ed25519Signature::from_slice(raw).map_err(|_| mismatch.clone())?;
            let mut signed = Sha256::digest(sk.application()).to_vec();
            signed.extend_from_slice(trailer);
            signed.extend_from_slice(&Sha256::digest(data));
            point.verify_strict(&signed, &signature).map_err(|_| mismatch)
        }
        // A weak point: nothing it "verifies" means anything.
        (KeyData::Ed25519(_) | KeyData::SkEd25519(_), None) => Err(mismatch),
        (data_key, _) => data_key.verify(data, signature).map_err(|_| mismatch),
    }
}

#[cfg(test)]
mod tests;
