//! Key revocation lists in OpenSSH's format (`PROTOCOL.krl`), as `RevokedKeys` of sshd reads them,
//! and the signed note they travel in.
//!
//! A list is of one signer: its CA key and the serials of certificates that were given back or taken
//! away before their access was over. It is built in one way only, and what is not built so is refused. It is
//! worth nothing until [`open`] found it signed by the signer's log key: sshd believes any list it
//! is given, and one that is cut short shuts everybody out.
//!
//! ```text
//! <log's name>/krl
//! <version>
//! <generated, Unix seconds>
//! <the list in base64>
//! ```
//!
//! No checkpoint has such a text: it names the log itself and has three lines.
//!
//! `revoked.rs` knows which serials the next list has; `revocations.rs` reads the file that sshd reads.

mod revocations;
mod revoked;

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding};

use crate::certificate::Serial;
use crate::key::CaKey;
use crate::log::{Note, NoteError, VerifierKey};
use crate::time::UnixTime;
use crate::wire::{Reader, Writer};
pub use revocations::{Named, Revocations, RevocationsError};
pub use revoked::Revoked;

const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
const FORMAT: u32 = 1;
const COMMENT: &[u8] = b"jit-ssh";
/// `KRL_SECTION_CERTIFICATES`.
const CERTIFICATES: u8 = 1;
/// `KRL_SECTION_CERT_SERIAL_LIST`.
const SERIAL_LIST: u8 = 0x20;
/// Bytes of the longest note: some 700,000 serials. sshd reads no list of a tenth in good time.
const MAX_NOTE: usize = 8 << 20;

/// A revocation list of one signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Krl {
    version: u64,
    generated: UnixTime,
    ca_key: CaKey,
    serials: BTreeSet<Serial>,
}

/// Why something is no revocation list of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// The bytes are not what [`Krl::to_bytes`] makes.
    #[error("this is not a revocation list of this version in its one encoding")]
    Form,
    /// The note does not hold, or is not by this key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is good, but its text is not of a revocation list, or says else than the list.
    #[error("the note is not of a revocation list: {0}")]
    Text(&'static str),
    /// The list of another signer.
    #[error("the revocation list is of `{found}`, not of `{wanted}`")]
    Origin {
        /// Whose list was asked for.
        wanted: String,
        /// Whose it is.
        found: String,
    },
}

impl Krl {
    /// A list of these serials; there may be none.
    pub fn new(version: u64, generated: UnixTime, ca_key: CaKey, serials: BTreeSet<Serial>) -> Krl {
        Krl { version, generated, ca_key, serials }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it was made.
    pub fn generated(&self) -> UnixTime {
        self.generated
    }

    /// The CA key whose certificates are meant.
    pub fn ca_key(&self) -> &CaKey {
        &self.ca_key
    }

    /// The serials revoked.
    pub fn serials(&self) -> &BTreeSet<Serial> {
        &self.serials
    }

    /// The list as OpenSSH reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        Krl::join([self])
    }

    /// The lists of several signers in one file, as sshd's `RevokedKeys` takes only one: a section for
    /// each, and the highest of their versions and dates. Of none, a list that revokes nothing.
    pub fn join<'k>(lists: impl IntoIterator<Item = &'k Krl>) -> Vec<u8> {
        let (mut version, mut generated, mut sections) = (0, UnixTime(0), Writer::default());
        for list in lists {
            version = version.max(list.version);
            generated = generated.max(list.generated);
            sections.raw(&[CERTIFICATES]).string(&list.section());
        }
        let mut out = Writer::default();
        out.raw(MAGIC).u32(FORMAT).u64(version).u64(generated.0).u64(0);
        out.string(b"").string(COMMENT).raw(&sections.into_bytes());
        out.into_bytes()
    }

    fn section(&self) -> Vec<u8> {
        let mut section = Writer::default();
        section.string(self.ca_key.blob()).string(b"");
        if !self.serials.is_empty() {
            let mut list = Writer::default();
            for serial in &self.serials {
                list.u64(serial.get());
            }
            section.raw(&[SERIAL_LIST]).string(&list.into_bytes());
        }
        section.into_bytes()
    }

    /// Reads a list that [`Krl::to_bytes`] made.
    ///
    /// # Errors
    /// [`KrlError::Form`] for anything else, though OpenSSH might read it.
    pub fn parse(bytes: &[u8]) -> Result<Krl, KrlError> {
        let krl = read(bytes).ok_or(KrlError::Form)?;
        // One list has one encoding: order, repeats, and whatever was skipped show here.
        if krl.to_bytes() == bytes { Ok(krl) } else { Err(KrlError::Form) }
    }
}

/// Reads what a list says; what surrounds it is compared afterwards.
fn read(bytes: &[u8]) -> Option<Krl> {
    let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
    let (_format, version) = (reader.u32()?, reader.u64()?);
    let (generated, _flags) = (UnixTime(reader.u64()?), reader.u64()?);
    let (_reserved, _comment) = (reader.string()?, reader.string()?);
    let _kind = reader.u8()?;
    let mut section = Reader::new(reader.string()?);
    let mut key = Reader::new(section.string()?);
    let _algorithm = key.string()?;
    let ca_key = CaKey::from_ed25519(key.string()?.try_into().ok()?).ok()?;
    let _reserved = section.string()?;
    let mut serials = BTreeSet::new();
    if !section.rest().is_empty() {
        let _kind = section.u8()?;
        let (list, _) = section.string()?.as_chunks::<8>();
        for serial in list {
            serials.insert(Serial::from_u64(u64::from_be_bytes(*serial))?);
        }
    }
    Some(Krl { version, generated, ca_key, serials })
}

/// The text that the log key `key` signs for a list.
pub fn sign_text(krl: &Krl, key: &VerifierKey) -> String {
    let list = Base64::encode_string(&krl.to_bytes());
    format!("{}\n{}\n{}\n{list}\n", origin(key), krl.version, krl.generated)
}

/// Signs a list: `sign` makes an Ed25519 signature with the private half of `key`. Gives the note.
///
/// # Errors
/// [`NoteError`] if the text can not stand in a note: never for a list.
pub fn sign(
    krl: &Krl,
    key: &VerifierKey,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<String, NoteError> {
    let text = sign_text(krl, key);
    Ok(Note::assemble(&text, key, sign(text.as_bytes()))?.to_string())
}

/// Reads a signed list and believes it only if `key` signed it and names its origin.
///
/// # Errors
/// [`KrlError`], by what is wrong with it.
pub fn open(note: &[u8], key: &VerifierKey) -> Result<Krl, KrlError> {
    let note = Note::parse_within(note, MAX_NOTE)?;
    note.signed_by(key)?;
    let mut lines = note.text().split('\n');
    let (Some(found), Some(_), Some(_), Some(list), Some(""), None) =
        (lines.next(), lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(KrlError::Text("it has not exactly four lines"));
    };
    let wanted = origin(key);
    if found != wanted {
        return Err(KrlError::Origin { wanted, found: found.to_owned() });
    }
    let bytes = Base64::decode_vec(list).map_err(|_| KrlError::Text("its list is not base64"))?;
    let krl = Krl::parse(&bytes)?;
    if sign_text(&krl, key) == note.text() {
        Ok(krl)
    } else {
        Err(KrlError::Text("its version or its date is not the list's"))
    }
}

fn origin(key: &VerifierKey) -> String {
    format!("{}/krl", key.name())
}

#[cfg(test)]
mod tests;
