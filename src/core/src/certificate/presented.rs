//! A certificate that somebody presents at a host: read as it is, judged by nobody yet.
//!
//! The host must know whose certificate it is before it may have an opinion: another CA's may say what
//! it likes. So this reads every user certificate that OpenSSH makes, and leaves it to the caller to
//! ask who signed it ([`Presented::is_signed_by`]) and what its key id says.

use base64ct::{Base64, Encoding};
use ed25519_dalek::Signature;
use sha2::{Digest as _, Sha256};

use super::KeyId;
use crate::key::CaKey;
use crate::krl::Named;
use crate::time::UnixTime;
use crate::wire::{Reader, Writer};

/// Longest certificate that is read, in bytes. OpenSSH's own limit for a key is 256 KiB; a
/// certificate with 16 principals and an RSA key has less than a twentieth of ours.
const MAX_LEN: usize = 32 << 10;

/// A user certificate as it was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    bytes: Vec<u8>,
    /// How many of the bytes are signed.
    signed: usize,
    ca: Vec<u8>,
    key_sha256: [u8; 32],
    serial: u64,
    key_id: String,
    principals: Vec<String>,
    valid_after: UnixTime,
    valid_before: UnixTime,
    critical: Vec<u8>,
    extensions: Vec<u8>,
}

/// Why bytes are no certificate that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a user certificate of OpenSSH's format")]
pub struct PresentedError;

impl Presented {
    /// Reads `type base64`, as sshd and public key files say it; what follows is a comment.
    ///
    /// # Errors
    /// [`PresentedError`] for anything else.
    pub fn from_line(line: &str) -> Result<Presented, PresentedError> {
        let mut words = line.split_ascii_whitespace();
        let (kind, base64) = words.next().zip(words.next()).ok_or(PresentedError)?;
        if base64.len() > MAX_LEN.saturating_mul(2) {
            return Err(PresentedError);
        }
        let bytes = Base64::decode_vec(base64).map_err(|_| PresentedError)?;
        let presented = Presented::from_bytes(&bytes)?;
        let own = Reader::new(&bytes).text().ok_or(PresentedError)?;
        if own == kind { Ok(presented) } else { Err(PresentedError) }
    }

    /// Reads the wire encoding.
    ///
    /// # Errors
    /// [`PresentedError`] for anything that does not hold together to its last byte.
    pub fn from_bytes(bytes: &[u8]) -> Result<Presented, PresentedError> {
        read(bytes).ok_or(PresentedError)
    }

    /// The wire encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that is named as the signer, in wire encoding.
    pub fn ca(&self) -> &[u8] {
        &self.ca
    }

    /// The serial.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The key id, as it stands there.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key id, if it is of our form.
    pub fn our_key_id(&self) -> Option<KeyId> {
        self.key_id.parse().ok()
    }

    /// The principals, as they stand there.
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// When it begins.
    pub fn valid_after(&self) -> UnixTime {
        self.valid_after
    }

    /// The first moment at which it is not valid any more.
    pub fn valid_before(&self) -> UnixTime {
        self.valid_before
    }

    /// The critical options, packed.
    pub fn critical_options(&self) -> &[u8] {
        &self.critical
    }

    /// The names of the extensions.
    pub fn extensions(&self) -> Vec<&[u8]> {
        let mut reader = Reader::new(&self.extensions);
        let mut names = Vec::new();
        while let Some((name, _)) = reader.string().zip(reader.string()) {
            names.push(name);
        }
        names
    }

    /// What a revocation list can name it by.
    pub fn named(&self) -> Named<'_> {
        Named {
            ca: &self.ca,
            serial: self.serial,
            key_id: &self.key_id,
            key_sha256: &self.key_sha256,
        }
    }

    /// Whether `ca` made this certificate: it is named as the signer, and its signature holds.
    pub fn is_signed_by(&self, ca: &CaKey) -> bool {
        let (signed, signature) = self.bytes.split_at(self.signed);
        let Some(signature) = ed25519_signature(signature) else {
            return false;
        };
        ca.blob() == self.ca && ca.point().verify_strict(signed, &signature).is_ok()
    }
}

/// The last field of a certificate by an Ed25519 key.
fn ed25519_signature(field: &[u8]) -> Option<Signature> {
    let mut outer = Reader::new(field);
    let mut inner = Reader::new(outer.string()?);
    let (b"ssh-ed25519", bytes) = (inner.string()?, inner.string()?) else {
        return None;
    };
    let whole = outer.rest().is_empty() && inner.rest().is_empty();
    whole.then_some(Signature::from_bytes(bytes.try_into().ok()?))
}

/// `SSH2_CERT_TYPE_USER` of `PROTOCOL.certkeys`.
const TYPE_USER: u32 = 1;

fn read(bytes: &[u8]) -> Option<Presented> {
    if bytes.len() > MAX_LEN {
        return None;
    }
    let mut reader = Reader::new(bytes);
    let kind = reader.text()?;
    let (plain, fields) = plain_key(kind)?;
    let _nonce = reader.string()?;
    let mut key = Writer::default();
    key.string(plain.as_bytes());
    for _ in 0..fields {
        key.string(reader.string()?);
    }
    let serial = reader.u64()?;
    if reader.u32()? != TYPE_USER {
        return None;
    }
    let key_id = reader.text()?.to_owned();
    let mut packed = Reader::new(reader.string()?);
    let mut principals = Vec::new();
    while !packed.rest().is_empty() {
        principals.push(packed.text()?.to_owned());
    }
    let (valid_after, valid_before) = (UnixTime(reader.u64()?), UnixTime(reader.u64()?));
    let (critical, extensions) = (options(reader.string()?)?, options(reader.string()?)?);
    let _reserved = reader.string()?;
    let ca = reader.string()?.to_vec();
    let signed = bytes.len().checked_sub(reader.rest().len())?;
    let _signature = reader.string()?;
    reader.rest().is_empty().then(|| Presented {
        bytes: bytes.to_vec(),
        signed,
        ca,
        key_sha256: Sha256::digest(key.into_bytes()).into(),
        serial,
        key_id,
        principals,
        valid_after,
        valid_before,
        critical: critical.to_vec(),
        extensions: extensions.to_vec(),
    })
}

/// The plain type of a certificate's type, and how many fields its key has.
fn plain_key(kind: &str) -> Option<(&'static str, usize)> {
    Some(match kind {
        "ssh-ed25519-cert-v01@openssh.com" => ("ssh-ed25519", 1),
        "ssh-rsa-cert-v01@openssh.com" => ("ssh-rsa", 2),
        "ssh-dss-cert-v01@openssh.com" => ("ssh-dss", 4),
        "ecdsa-sha2-nistp256-cert-v01@openssh.com" => ("ecdsa-sha2-nistp256", 2),
        "ecdsa-sha2-nistp384-cert-v01@openssh.com" => ("ecdsa-sha2-nistp384", 2),
        "ecdsa-sha2-nistp521-cert-v01@openssh.com" => ("ecdsa-sha2-nistp521", 2),
        "sk-ssh-ed25519-cert-v01@openssh.com" => ("sk-ssh-ed25519@openssh.com", 2),
        "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
        _ => return None,
    })
}

/// The packed options, if they are pairs of a name and data.
fn options(packed: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(packed);
    while !reader.rest().is_empty() {
        let (_name, _data) = (reader.string()?, reader.string()?);
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::authorize;
    use crate::certificate::{Context, Scope, Serial, assemble, build, lint};
    use crate::chain::Chain;
    use crate::testkit::{POLICY, START, World};
    use ed25519_dalek::Signer as _;
    use std::num::NonZeroU16;

    fn certificate(world: &World) -> Vec<u8> {
        let request = world.request(&world.alice, "test-host", "deploy", 600, START);
        let chain = Chain::new(world.alice.verified(&request));
        let authorized = authorize(&chain, &world.bundle(POLICY), START).unwrap();
        let (ca, serial) = (world.ca_key(), Serial::new(NonZeroU16::MIN, 5).unwrap());
        let context = Context::of(&chain, &Scope::Access, serial, &ca, START);
        let tbs = lint(build(authorized, serial, [7; 32], &ca), context).unwrap();
        assemble(tbs.bytes(), &world.ca.sign(tbs.bytes()).to_bytes())
    }

    #[test]
    fn a_certificate_of_ours_is_read_and_its_signature_holds() {
        let world = World::default();
        let bytes = certificate(&world);
        let read = Presented::from_bytes(&bytes).unwrap();
        assert_eq!((read.bytes(), read.ca()), (&bytes[..], world.ca_key().blob()));
        assert_eq!(read.serial(), Serial::new(NonZeroU16::MIN, 5).unwrap().get());
        assert_eq!(read.principals(), ["deploy@test-host"]);
        let key_id = read.our_key_id().unwrap();
        assert_eq!(
            (key_id.to_string().as_str(), key_id.subject.as_str()),
            (read.key_id(), "alice")
        );
        assert!(read.valid_before() <= key_id.access_until && read.valid_after() < START);
        assert!(read.is_signed_by(&world.ca_key()));
        let other = CaKey::from_ed25519(world.log.verifying_key().as_bytes()).unwrap();
        assert!(!read.is_signed_by(&other));
        // What OpenSSH's own parser of another crate says of the key that is certified.
        let foreign = ssh_key::Certificate::from_bytes(&bytes).unwrap();
        let key = ssh_key::PublicKey::from(foreign.public_key().clone()).to_bytes().unwrap();
        let hash: [u8; 32] = Sha256::digest(key).into();
        assert_eq!(read.named().key_sha256, &hash);
    }

    #[test]
    fn a_line_is_read_with_its_comment_and_not_under_another_type() {
        let base64 = Base64::encode_string(&certificate(&World::default()));
        let line = format!("ssh-ed25519-cert-v01@openssh.com {base64}");
        assert!(Presented::from_line(&line).is_ok());
        assert!(Presented::from_line(&format!("{line} alice@laptop\n")).is_ok());
        for bad in [base64.clone(), format!("ssh-ed25519 {base64}"), line.replace("AAAA", "AAA*")] {
            assert_eq!(Presented::from_line(&bad), Err(PresentedError));
        }
    }

    #[test]
    fn no_changed_byte_passes_for_signed_and_no_cut_is_read() {
        let world = World::default();
        let good = certificate(&world);
        for at in 0..good.len() {
            assert!(Presented::from_bytes(&good[..at]).is_err(), "cut at {at}");
            let mut bad = good.clone();
            bad[at] ^= 1;
            let read = Presented::from_bytes(&bad);
            assert!(read.is_err() || !read.unwrap().is_signed_by(&world.ca_key()), "byte {at}");
        }
        assert!(Presented::from_bytes(&[&good[..], &[0]].concat()).is_err());
        assert!(Presented::from_bytes(&vec![0; MAX_LEN + 1]).is_err());
    }
}
