//! Public keys by role: who signs statements, what gets certified, and who certifies.
//!
//! A type for each role, so that one can not stand where another belongs. Certificates are refused in
//! all of them: a certificate accepted as an authority is Teleport's CVE-2025-49825. Those about hosts
//! are in `host.rs`.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use base64ct::{Base64, Encoding};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use crate::names::deserialize_from_str;
use crate::wire;

/// Why a key is not accepted in its role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an OpenSSH public key at all.
    #[error("this is not an OpenSSH public key: write one line like \"ssh-ed25519 AAAA...\"")]
    Form,
    /// The text has a comment or odd spacing where exactly `type base64` is asked for.
    #[error("write the key as exactly its type, one space and its base64, without a comment")]
    NotCanonical,
    /// A certificate in the place of a key.
    #[error("this is a certificate ({0}); a plain public key is needed here")]
    Certificate(String),
    /// RSA cannot sign statements.
    #[error(
        "RSA keys can not sign here; use Ed25519, ECDSA P-256 or P-384, or a security key (ssh-keygen -t ed25519)"
    )]
    Rsa,
    /// Some other type that is not accepted in this role.
    #[error("keys of type {0} are not accepted here; use {1}")]
    Type(String, &'static str),
    /// An RSA subject key that is too short.
    #[error("this RSA key has {0} bits; at least 2048 are needed")]
    ShortRsa(usize),
    /// A point of small order: it verifies signatures nobody made.
    #[error("this Ed25519 key is a weak point that verifies forged signatures")]
    Weak,
}

/// A parsed plain key: its type and its wire encoding.
#[derive(Clone)]
struct Plain {
    data: KeyData,
    blob: Arc<[u8]>,
}

impl Plain {
    /// Parses a key from its wire encoding.
    fn from_blob(blob: &[u8]) -> Result<Plain, KeyError> {
        let algorithm = wire::Reader::new(blob).text().ok_or(KeyError::Form)?;
        if algorithm.contains("-cert-") {
            return Err(KeyError::Certificate(algorithm.chars().take(80).collect()));
        }
        let key = PublicKey::from_bytes(blob).map_err(|_| KeyError::Form)?;
        let plain = Plain { data: key.key_data().clone(), blob: blob.into() };
        // One encoding per key: what we compare by bytes must have no second spelling.
        if key.to_bytes().map_err(|_| KeyError::Form)? != blob {
            return Err(KeyError::Form);
        }
        Ok(plain)
    }

    /// Parses `type base64 [comment]`.
    fn from_line(line: &str) -> Result<Plain, KeyError> {
        let mut words = line.split(' ');
        let (kind, base64) = words.next().zip(words.next()).ok_or(KeyError::Form)?;
        if kind.contains("-cert-") {
            return Err(KeyError::Certificate(kind.chars().take(80).collect()));
        }
        let blob = Base64::decode_vec(base64).map_err(|_| KeyError::Form)?;
        let plain = Plain::from_blob(&blob)?;
        if plain.data.algorithm().as_str() != kind || line.contains(char::is_control) {
            return Err(KeyError::Form);
        }
        Ok(plain)
    }

    fn type_name(&self) -> String {
        self.data.algorithm().as_str().to_owned()
    }

    fn is_security_key(&self) -> bool {
        matches!(self.data.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
    }

    fn fingerprint(&self) -> String {
        self.data.fingerprint(HashAlg::Sha256).to_string()
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.data.algorithm().as_str(), Base64::encode_string(&self.blob))
    }
}

macro_rules! key_traits {
    ($name:ident) => {
        impl $name {
            /// The key in SSH wire encoding.
            pub fn blob(&self) -> &[u8] {
                &self.plain.blob
            }

            /// The fingerprint as OpenSSH shows it: `SHA256:...`.
            pub fn fingerprint(&self) -> String {
                self.plain.fingerprint()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.plain.blob == other.plain.blob
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.plain.blob.hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.plain.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.fingerprint())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.plain)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_from_str(deserializer)
            }
        }
    };
}

mod host;

pub use host::{HostCaKey, HostKey};

/// A key that may sign statements: Ed25519, ECDSA P-256 or P-384, or a security key (`sk-*`).
#[derive(Clone)]
pub struct SignerKey {
    plain: Plain,
    /// The decompressed point of an Ed25519 key, so that verifying does not expand it each time.
    point: OnceLock<Option<VerifyingKey>>,
}

key_traits!(SignerKey);

impl SignerKey {
    /// Parses a key from its wire encoding.
    ///
    /// # Errors
    /// [`KeyError`] for anything but one of the accepted types.
    pub fn from_blob(blob: &[u8]) -> Result<SignerKey, KeyError> {
        SignerKey::accept(Plain::from_blob(blob)?)
    }

    /// The key of a signature that was verified when it was recorded: its point was sound then, and
    /// is worked out again only if somebody verifies with it.
    pub(crate) fn from_recorded_blob(blob: &[u8]) -> Result<SignerKey, KeyError> {
        SignerKey::of_type(Plain::from_blob(blob)?)
    }

    fn accept(plain: Plain) -> Result<SignerKey, KeyError> {
        let key = SignerKey::of_type(plain)?;
        if let Some(bytes) = key.ed25519() {
            let point = strong_point(bytes)?;
            // Nobody else has the key yet, so the place is empty.
            let _ = key.point.set(Some(point));
        }
        Ok(key)
    }

    fn of_type(plain: Plain) -> Result<SignerKey, KeyError> {
        match &plain.data {
            KeyData::Ed25519(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {}
            KeyData::Ecdsa(key) if key.curve() != EcdsaCurve::NistP521 => {}
            KeyData::Rsa(_) => return Err(KeyError::Rsa),
            _ => {
                return Err(KeyError::Type(
                    plain.type_name(),
                    "Ed25519, ECDSA P-256 or P-384, or a security key",
                ));
            }
        }
        Ok(SignerKey { plain, point: OnceLock::new() })
    }

    /// The public half of an Ed25519 or Ed25519 security key.
    fn ed25519(&self) -> Option<&[u8; 32]> {
        match &self.plain.data {
            KeyData::Ed25519(key) => Some(&key.0),
            KeyData::SkEd25519(key) => Some(&key.public_key().0),
            _ => None,
        }
    }

    /// The decompressed point of an Ed25519 or Ed25519 security key, if it is sound.
    pub(crate) fn point(&self) -> Option<&VerifyingKey> {
        let work_out = || self.ed25519().and_then(|bytes| strong_point(bytes).ok());
        self.point.get_or_init(work_out).as_ref()
    }

    /// The key as the `ssh-key` crate models it.
    pub fn data(&self) -> &KeyData {
        &self.plain.data
    }

    /// Whether this is a hardware security key (`sk-*`).
    pub fn is_security_key(&self) -> bool {
        self.plain.is_security_key()
    }
}

impl FromStr for SignerKey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        if line.starts_with("ssh-rsa ") {
            return Err(KeyError::Rsa);
        }
        SignerKey::accept(Plain::from_line(line)?)
    }
}

/// A key to be certified: what the certificate will be useless without. RSA from 2048 bits is
/// accepted here, since only its public half passes through us.
#[derive(Clone)]
pub struct SubjectKey {
    plain: Plain,
}

key_traits!(SubjectKey);

impl SubjectKey {
    /// The OpenSSH name of the key's type, such as `ssh-ed25519`.
    pub fn type_name(&self) -> String {
        self.plain.type_name()
    }

    /// Whether this is a hardware security key (`sk-*`).
    pub fn is_security_key(&self) -> bool {
        self.plain.is_security_key()
    }
}

impl FromStr for SubjectKey {
    type Err = KeyError;

    /// Parses exactly `type base64`: the text is part of a signed statement, so it has one spelling.
    fn from_str(line: &str) -> Result<Self, KeyError> {
        let plain = Plain::from_line(line)?;
        match &plain.data {
            KeyData::Ed25519(key) => check_order(&key.0)?,
            KeyData::SkEd25519(key) => check_order(&key.public_key().0)?,
            KeyData::Ecdsa(_) | KeyData::SkEcdsaSha2NistP256(_) => {}
            KeyData::Rsa(key) => {
                let bits = key.n().as_positive_bytes().map_or(0, |n| n.len().saturating_mul(8));
                if bits < 2048 {
                    return Err(KeyError::ShortRsa(bits));
                }
            }
            _ => {
                return Err(KeyError::Type(
                    plain.type_name(),
                    "Ed25519, ECDSA, RSA or a security key",
                ));
            }
        }
        if plain.to_string() != line {
            return Err(KeyError::NotCanonical);
        }
        Ok(SubjectKey { plain })
    }
}

/// A user CA key: Ed25519, plain.
#[derive(Clone)]
pub struct CaKey {
    plain: Plain,
    point: VerifyingKey,
}

key_traits!(CaKey);

impl CaKey {
    /// The CA key whose Ed25519 public half is `bytes`.
    ///
    /// # Errors
    /// [`KeyError::Weak`] if the bytes are no sound point.
    pub fn from_ed25519(bytes: &[u8; 32]) -> Result<CaKey, KeyError> {
        let point = strong_point(bytes)?;
        let mut blob = wire::Writer::default();
        blob.string(b"ssh-ed25519").string(bytes);
        Ok(CaKey { plain: Plain::from_blob(&blob.into_bytes())?, point })
    }

    /// The decompressed point.
    pub fn point(&self) -> &VerifyingKey {
        &self.point
    }
}

impl FromStr for CaKey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        let plain = Plain::from_line(line)?;
        match &plain.data {
            KeyData::Ed25519(key) => {
                let point = strong_point(&key.0)?;
                Ok(CaKey { plain, point })
            }
            _ => Err(KeyError::Type(plain.type_name(), "Ed25519")),
        }
    }
}

/// Keys met before, so that whoever verifies many signatures parses each key once.
#[derive(Default)]
pub struct KnownKeys(HashMap<Box<[u8]>, SignerKey>);

impl KnownKeys {
    /// Most keys kept: then all are forgotten, so that strangers can not fill the memory.
    const MAX: usize = 4096;

    /// The key with this wire encoding.
    pub(crate) fn key(&mut self, blob: &[u8]) -> Result<SignerKey, KeyError> {
        if let Some(key) = self.0.get(blob) {
            return Ok(key.clone());
        }
        let key = SignerKey::from_blob(blob)?;
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        self.0.insert(blob.into(), key.clone());
        Ok(key)
    }
}

/// The y coordinates of the points of small order, sign bit cleared, in all their encodings: 0, 1,
/// the two of order 8, p - 1, p and p + 1 (Chalkias and others, "Taming the many EdDSAs", table 1).
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn near_p(last: u8) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[0] = last;
        bytes[31] = 0x7f;
        bytes
    }
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
        *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ]
};

/// Refuses points of small order by their encoding, which costs a thousandth of working out the
/// point. That the bytes are a point at all is left to who uses the key: no login works without.
fn check_order(bytes: &[u8; 32]) -> Result<(), KeyError> {
    let mut y = *bytes;
    y[31] &= 0x7f;
    if SMALL_ORDER.contains(&y) { Err(KeyError::Weak) } else { Ok(()) }
}

fn strong_point(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    let point = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Weak)?;
    if point.is_weak() { Err(KeyError::Weak) } else { Ok(point) }
}

#[cfg(test)]
mod tests;
