//! SHA-256 digests, and the short id people see of them.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64Unpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::names::deserialize_from_str;

/// The SHA-256 of exact bytes: names a statement or a file. Shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Why a text is not a digest, short id or fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not 64 lower-case hex digits.
    #[error("a digest is 64 lower-case hex digits")]
    Digest,
    /// Not a request id or prefix of one.
    #[error("a request id is 4 to 10 of 0-9 and a-z without i, l, o and u")]
    ShortId,
    /// Not a root fingerprint.
    #[error("a root fingerprint is \"SHA256:\" and 43 characters of base64")]
    Fingerprint,
}

impl Digest {
    /// Digests `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The short id of the statement this digest names.
    pub fn short_id(&self) -> ShortId {
        // 10 characters of 5 bits: the first 50 bits, most significant first.
        let head = self.0.iter().take(7).fold(0u64, |acc, &b| (acc << 8) | u64::from(b)) >> 6;
        let mut id = [0u8; ShortId::LEN];
        for (place, char) in id.iter_mut().enumerate() {
            let shift = 5 * (ShortId::LEN - 1 - place);
            let value = usize::try_from((head >> shift) & 31).unwrap_or(0);
            *char = CROCKFORD.get(value).copied().unwrap_or(b'0');
        }
        ShortId(id)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        fn nibble(b: u8) -> Option<u8> {
            match b {
                b'0'..=b'9' => Some(b - b'0'),
                b'a'..=b'f' => Some(b - b'a' + 10),
                _ => None,
            }
        }
        let mut out = [0u8; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != out.len() || !rest.is_empty() {
            return Err(DigestError::Digest);
        }
        for (byte, [high, low]) in out.iter_mut().zip(pairs) {
            let (high, low) = nibble(*high).zip(nibble(*low)).ok_or(DigestError::Digest)?;
            *byte = high << 4 | low;
        }
        Ok(Digest(out))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What people see and type of a request: the first 50 bits of its digest in Crockford base32,
/// lower case, 10 characters. Requester and approver each compute it from the signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId([u8; ShortId::LEN]);

impl ShortId {
    /// Characters of a whole id.
    pub const LEN: usize = 10;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("every character is from CROCKFORD")
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A prefix of a request id, as a person types it: 4 to 10 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPrefix(String);

impl IdPrefix {
    /// Fewest characters accepted.
    pub const MIN: usize = 4;

    /// The typed text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `id` begins with this prefix.
    pub fn matches(&self, id: &ShortId) -> bool {
        id.as_str().starts_with(&self.0)
    }
}

impl FromStr for IdPrefix {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let fits = (Self::MIN..=ShortId::LEN).contains(&text.len())
            && text.bytes().all(|b| CROCKFORD.contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(DigestError::ShortId) }
    }
}

/// The SHA-256 of `root.json`'s bytes: the pin everyone starts from, and the `ca` field of every
/// statement. Shown as OpenSSH shows fingerprints: `SHA256:` and unpadded base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootFingerprint(pub Digest);

impl fmt::Display for RootFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0.0))
    }
}

impl fmt::Debug for RootFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RootFingerprint {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let encoded = text.strip_prefix("SHA256:").ok_or(DigestError::Fingerprint)?;
        let mut bytes = [0u8; 32];
        match Base64Unpadded::decode(encoded, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(Digest(bytes))),
            _ => Err(DigestError::Fingerprint),
        }
    }
}

impl Serialize for RootFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RootFingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_id_is_the_first_fifty_bits_in_crockford_base32() {
        assert_eq!(Digest([0; 32]).short_id().as_str(), "0000000000");
        assert_eq!(Digest([0xff; 32]).short_id().as_str(), "zzzzzzzzzz");
        let mut bytes = [0u8; 32];
        bytes[0] = 0b0000_1000; // 00001 000..
        bytes[6] = 0b0100_0000; // bit 50 is the last one used: ..01
        assert_eq!(Digest(bytes).short_id().as_str(), "1000000001");
    }

    #[test]
    fn id_prefixes_are_four_to_ten_crockford_characters() {
        for good in ["7kq2", "7kq2m9xw4p"] {
            assert!(good.parse::<IdPrefix>().is_ok());
        }
        for bad in ["7kq", "7kq2m9xw4p0", "7kqi", "7KQ2", "", "7k 2"] {
            assert!(bad.parse::<IdPrefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn digests_and_fingerprints_parse_back_and_refuse_other_spellings() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!(digest.to_string()[1..].parse::<Digest>().is_err());
        let pin = RootFingerprint(digest);
        assert_eq!(pin.to_string().parse::<RootFingerprint>().unwrap(), pin);
        assert!(format!("{pin}=").parse::<RootFingerprint>().is_err());
        assert!(pin.to_string().replace("SHA256", "MD5").parse::<RootFingerprint>().is_err());
    }
}
