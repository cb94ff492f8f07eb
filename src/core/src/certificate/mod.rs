//! The certificate: serial, key id, the bytes to be signed, and the lint that judges them.
//!
//! - `build.rs`: encodes what [`Authorized`](crate::authorize::Authorized) allows;
//! - [`lint`]: reads the encoded bytes again with a parser of its own and refuses anything odd.
//!   sshd accepts much that it should not (facts.md, 1); nothing but this lint stops it;
//! - [`host`]: the same for host certificates, with types of their own;
//! - `presented.rs`: what a host reads of a certificate that somebody logs in with.
//!
//! The signer appends the linted bytes to its log before it signs them (I1).

mod build;
mod cursor;
pub mod host;
pub mod lint;
mod presented;

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use base64ct::{Base64, Encoding as _};
pub use build::{Tbs, build};
pub use lint::{Context, LintError, Linted, lint};
pub use presented::{Presented, PresentedError};

use crate::digest::{Digest, ShortId};
use crate::names::{ActorId, Jump};
use crate::time::UnixTime;
use crate::wire;

/// Which of a request's certificates is meant. Computed from what was granted and the bundle in force:
/// no statement says it, so no requester and no approver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The one for the logins that were granted.
    Access,
    /// The one for a jump on the way to a host that was granted.
    Jump(Jump),
}

/// A certificate's serial: signer number (16 bit) and log index (48 bit). Unique, never zero, and
/// every sshd log line names its log entry by it (I6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    signer: NonZeroU16,
    index: u64,
}

impl Serial {
    /// The largest log index a serial can hold.
    pub const MAX_INDEX: u64 = (1 << 48) - 1;

    /// The serial of the entry at `index` in the log of `signer`; `None` past
    /// [`Serial::MAX_INDEX`].
    pub fn new(signer: NonZeroU16, index: u64) -> Option<Serial> {
        (index <= Serial::MAX_INDEX).then_some(Serial { signer, index })
    }

    /// The serial of this value, if its signer number is not zero.
    pub fn from_u64(value: u64) -> Option<Serial> {
        let signer = NonZeroU16::new(u16::try_from(value >> 48).ok()?)?;
        Some(Serial { signer, index: value & Serial::MAX_INDEX })
    }

    /// The value in the certificate.
    pub fn get(self) -> u64 {
        u64::from(self.signer.get()) << 48 | self.index
    }

    /// The number of the signer.
    pub fn signer(self) -> NonZeroU16 {
        self.signer
    }

    /// The index of the log entry.
    pub fn index(self) -> u64 {
        self.index
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The key id: `<subject>/<request id>/<access_until>`. Every sshd log line carries it raw, and the
/// guard reads the end of the access from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    /// Who uses the access.
    pub subject: ActorId,
    /// The first 10 characters of the request's digest.
    pub request: String,
    /// When the access ends.
    pub access_until: UnixTime,
}

impl KeyId {
    /// The key id for a request of `subject`.
    pub fn new(subject: ActorId, request: Digest, access_until: UnixTime) -> KeyId {
        KeyId { subject, request: request.short_id().to_string(), access_until }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.subject, self.request, self.access_until)
    }
}

/// A text is no key id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key id is <subject>/<request id>/<access_until>")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let mut parts = text.split('/');
        let (Some(subject), Some(request), Some(until), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyIdError);
        };
        let id = KeyId {
            subject: subject.parse().map_err(|_| KeyIdError)?,
            request: request.to_owned(),
            access_until: UnixTime(until.parse().map_err(|_| KeyIdError)?),
        };
        let whole = request.len() == ShortId::LEN
            && request.parse::<crate::digest::IdPrefix>().is_ok()
            && id.to_string() == text;
        if whole { Ok(id) } else { Err(KeyIdError) }
    }
}

/// The certificate in wire encoding: the signed bytes and an Ed25519 signature over them.
pub fn assemble(tbs: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut inner = wire::Writer::default();
    inner.string(b"ssh-ed25519").string(signature);
    let mut out = wire::Writer::default();
    out.raw(tbs).string(&inner.into_bytes());
    out.into_bytes()
}

/// A certificate in wire encoding as OpenSSH writes it in a line, `type base64`, without a comment; `None`
/// for bytes that do not begin with a type.
pub fn line(certificate: &[u8]) -> Option<String> {
    let kind = wire::Reader::new(certificate).text()?;
    let plain = kind.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| format!("{kind} {}", Base64::encode_string(certificate)))
}

#[cfg(test)]
mod tests;
