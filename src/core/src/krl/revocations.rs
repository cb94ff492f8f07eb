//! What a revocation list revokes, whoever made it: ours, ours of several signers in one file, or one
//! that an administrator made with `ssh-keygen -k`.
//!
//! [`Krl`](super::Krl) is the one form that a signer publishes, and nothing else is taken from the
//! network. This is how a host reads the file that its sshd reads (`RevokedKeys`), so that what sshd
//! refuses at a login also ends what is open. Anything it does not understand is an error, never
//! skipped: a list read in part would leave open what it ends.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{CERTIFICATES, FORMAT, MAGIC, MAX_NOTE, SERIAL_LIST};
use crate::wire::Reader;

/// Most ranges of serials of one list: more come from no list that sshd reads in good time.
const MAX_RANGES: usize = 1 << 20;

/// What one list revokes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    version: u64,
    /// By the CA key's wire encoding; the empty one stands for every CA, as in OpenSSH.
    by_ca: BTreeMap<Box<[u8]>, Certificates>,
    /// SHA-256 of the wire encoding of plain keys.
    keys: BTreeSet<[u8; 32]>,
}

/// Certificates of one CA key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Certificates {
    /// First and last serial of each range, sorted, apart from each other.
    ranges: Vec<(u64, u64)>,
    key_ids: BTreeSet<Box<[u8]>>,
}

/// Why a file is no list, or none that can be read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationsError {
    /// It does not hold together.
    #[error("it is not a whole revocation list in OpenSSH's format")]
    Form,
    /// A part that is not understood.
    #[error("it has a part of a kind that is not understood here: {0}")]
    Unknown(&'static str),
    /// More than this program reads.
    #[error("it is too large")]
    TooLarge,
}

use RevocationsError::{Form, TooLarge, Unknown};

/// A certificate, as far as a list can name it.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The CA key in wire encoding.
    pub ca: &'a [u8],
    /// The serial.
    pub serial: u64,
    /// The key id.
    pub key_id: &'a str,
    /// SHA-256 of the certified key's wire encoding.
    pub key_sha256: &'a [u8; 32],
}

impl Revocations {
    /// Reads a list.
    ///
    /// # Errors
    /// [`RevocationsError`] for anything that is not understood to its last byte.
    pub fn parse(bytes: &[u8]) -> Result<Revocations, RevocationsError> {
        if bytes.len() > MAX_NOTE {
            return Err(TooLarge);
        }
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC).ok_or(Form)?);
        if reader.u32().ok_or(Form)? != FORMAT {
            return Err(Unknown("another version of the format"));
        }
        let version = reader.u64().ok_or(Form)?;
        let (_generated, _flags) = (reader.u64().ok_or(Form)?, reader.u64().ok_or(Form)?);
        let (_reserved, _comment) = (reader.string().ok_or(Form)?, reader.string().ok_or(Form)?);
        let mut list = Revocations { version, ..Revocations::default() };
        while !reader.rest().is_empty() {
            let kind = reader.u8().ok_or(Form)?;
            let section = reader.string().ok_or(Form)?;
            match kind {
                CERTIFICATES => list.read_certificates(section)?,
                2 => each_string(section, |blob| {
                    list.keys.insert(Sha256::digest(blob).into());
                    Ok(())
                })?,
                3 => return Err(Unknown("SHA-1 fingerprints")),
                4 => return Err(Unknown("a signature")),
                5 => each_string(section, |hash| {
                    list.keys.insert(hash.try_into().map_err(|_| Form)?);
                    Ok(())
                })?,
                _ => return Err(Unknown("an unknown section")),
            }
        }
        for certificates in list.by_ca.values_mut() {
            certificates.merge();
        }
        Ok(list)
    }

    fn read_certificates(&mut self, section: &[u8]) -> Result<(), RevocationsError> {
        let mut reader = Reader::new(section);
        let ca = reader.string().ok_or(Form)?;
        let _reserved = reader.string().ok_or(Form)?;
        let certificates = self.by_ca.entry(ca.into()).or_default();
        while !reader.rest().is_empty() {
            let kind = reader.u8().ok_or(Form)?;
            let data = reader.string().ok_or(Form)?;
            match kind {
                SERIAL_LIST => {
                    let (serials, []) = data.as_chunks::<8>() else { return Err(Form) };
                    for serial in serials {
                        let serial = u64::from_be_bytes(*serial);
                        certificates.add(serial, serial)?;
                    }
                }
                0x21 => {
                    let mut range = Reader::new(data);
                    let (first, last) = (range.u64().ok_or(Form)?, range.u64().ok_or(Form)?);
                    if first > last || !range.rest().is_empty() {
                        return Err(Form);
                    }
                    certificates.add(first, last)?;
                }
                0x22 => certificates.add_bitmap(data)?,
                0x23 => each_string(data, |key_id| {
                    certificates.key_ids.insert(key_id.into());
                    Ok(())
                })?,
                _ => return Err(Unknown("an unknown part of a section of certificates")),
            }
        }
        Ok(())
    }

    /// The version the list gives itself.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the list revokes a certificate: by serial, key id, its key, or its CA's key.
    pub fn revokes(&self, certificate: Named<'_>) -> bool {
        let by_ca = [certificate.ca, &[]].into_iter().filter_map(|ca| self.by_ca.get(ca));
        let mut listed = by_ca.map(|certificates| certificates.name(certificate));
        let ca_key = || self.keys.contains::<[u8; 32]>(&Sha256::digest(certificate.ca).into());
        listed.any(|yes| yes) || self.keys.contains(certificate.key_sha256) || ca_key()
    }
}

impl Certificates {
    fn add(&mut self, first: u64, last: u64) -> Result<(), RevocationsError> {
        if self.ranges.len() >= MAX_RANGES {
            return Err(TooLarge);
        }
        match self.ranges.last_mut() {
            // Serials mostly come in order: what follows on is one range.
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => self.ranges.push((first, last)),
        }
        Ok(())
    }

    /// A bitmap is an offset and a number whose bits are set for the serials revoked.
    fn add_bitmap(&mut self, data: &[u8]) -> Result<(), RevocationsError> {
        let mut reader = Reader::new(data);
        let offset = reader.u64().ok_or(Form)?;
        let bits = reader.string().ok_or(Form)?;
        if !reader.rest().is_empty() {
            return Err(Form);
        }
        for (place, byte) in bits.iter().rev().enumerate() {
            for bit in (0..8u64).filter(|bit| byte >> bit & 1 == 1) {
                let step = u64::try_from(place).ok().and_then(|place| place.checked_mul(8));
                let step = step.and_then(|step| step.checked_add(bit));
                let serial = step.and_then(|step| offset.checked_add(step)).ok_or(Form)?;
                self.add(serial, serial)?;
            }
        }
        Ok(())
    }

    /// Sorts the ranges and joins those that touch.
    fn merge(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    fn name(&self, certificate: Named<'_>) -> bool {
        let serial = certificate.serial;
        // sshd never takes serial 0 for one of a list (`KRL_SECTION_CERT_SERIAL_*`).
        let after = self.ranges.partition_point(|(first, _)| *first <= serial);
        let range = after.checked_sub(1).and_then(|place| self.ranges.get(place));
        let by_serial = serial != 0 && range.is_some_and(|(_, last)| serial <= *last);
        by_serial || self.key_ids.contains(certificate.key_id.as_bytes())
    }
}

fn each_string(
    packed: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), RevocationsError>,
) -> Result<(), RevocationsError> {
    let mut reader = Reader::new(packed);
    while !reader.rest().is_empty() {
        take(reader.string().ok_or(Form)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
