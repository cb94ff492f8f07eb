//! C2SP signed-note: a text and signatures over it, with Ed25519 keys (signature type 0x01).
//!
//! Private keys are not known here: a signer is handed the text and gives back 64 bytes.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use sha2::{Digest as _, Sha256};

/// The signature type byte of Ed25519 over the note's text.
const ED25519: u8 = 0x01;
/// Bytes in the longest note we read. signed-note asks for room for 16 signatures of 5 kB.
const MAX_NOTE: usize = 128 * 1024;
/// Signatures in the longest note we read.
const MAX_SIGNATURES: usize = 64;
/// What a signature line begins with: an em dash and a space.
const LINE_START: &str = "\u{2014} ";

/// Why a note or a note's key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// A key name is empty or holds a space, a plus or a control character.
    #[error("a key name must not be empty nor hold spaces, plus signs or control characters")]
    KeyName,
    /// Not `name+hash+base64`.
    #[error("a verifier key reads name+hash+base64")]
    KeyFormat,
    /// The key is of a kind that is not used here.
    #[error("the verifier key is not an Ed25519 key")]
    KeyType,
    /// The hash in the key is not that of its name and bytes.
    #[error("the hash in the verifier key does not belong to its name and bytes")]
    KeyHash,
    /// The 32 bytes are no point on the curve.
    #[error("the verifier key is not a valid Ed25519 public key")]
    KeyValue,
    /// A note without its parts, or with a control character in it.
    #[error("this is not a signed note: {0}")]
    Malformed(&'static str),
    /// The key did not sign this note.
    #[error("the note carries no signature by `{0}`")]
    NotSigned(String),
    /// The key's signature is not over this text.
    #[error("the signature by `{0}` is not valid for this note")]
    BadSignature(String),
    /// The note is good, but its text is no checkpoint.
    #[error("the note is not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A checkpoint of another log.
    #[error("the checkpoint is of the log `{found}`, not of `{wanted}`")]
    Origin {
        /// Whose checkpoint was asked for.
        wanted: String,
        /// Whose it is.
        found: String,
    },
}

/// The public key of a note's signer, with its name: what everyone pins. Written
/// `name+hash+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    /// Names an Ed25519 public key.
    ///
    /// # Errors
    ///
    /// [`NoteError::KeyName`] or [`NoteError::KeyValue`].
    pub fn new(name: &str, public: &[u8; 32]) -> Result<VerifierKey, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| NoteError::KeyValue)?;
        // Everyone can sign for a key of small order.
        if key.is_weak() {
            return Err(NoteError::KeyValue);
        }
        Ok(VerifierKey { name: name.to_owned(), id: key_id(name, public), key })
    }

    /// The signer's name; for a log this is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 public key, encoded as RFC 8032 says.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The four bytes that mark this key's signatures.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id);
        let typed: Vec<u8> = [&[ED25519], self.public().as_slice()].concat();
        write!(f, "{}+{id:08x}+{}", self.name, Base64::encode_string(&typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<VerifierKey, NoteError> {
        // Base64 may hold a plus, names and hashes may not: so split from the front.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::KeyFormat);
        };
        let typed = Base64::decode_vec(key).map_err(|_| NoteError::KeyFormat)?;
        let public = match typed.split_first() {
            Some((&ED25519, public)) => public.try_into().map_err(|_| NoteError::KeyFormat)?,
            Some(_) => return Err(NoteError::KeyType),
            None => return Err(NoteError::KeyFormat),
        };
        let key = VerifierKey::new(name, public)?;
        if hash != format!("{:08x}", u32::from_be_bytes(key.id)) {
            return Err(NoteError::KeyHash);
        }
        Ok(key)
    }
}

/// One signature line of a note, by whatever kind of key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SignatureLine {
    name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

/// A signed note. Its text is worth nothing until [`Note::signed_by`] said whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl Note {
    /// Puts a note together from its text (with the final newline: exactly the bytes signed) and
    /// an Ed25519 signature over it by the private half of `key`. The signature is not checked.
    ///
    /// # Errors
    ///
    /// [`NoteError::Malformed`] where the text cannot stand in a note.
    pub fn assemble(text: &str, key: &VerifierKey, signature: [u8; 64]) -> Result<Note, NoteError> {
        check_text(text)?;
        let line =
            SignatureLine { name: key.name.clone(), id: key.id, signature: signature.to_vec() };
        Ok(Note { text: text.to_owned(), signatures: vec![line] })
    }

    /// Reads a note.
    ///
    /// # Errors
    ///
    /// [`NoteError::Malformed`] or [`NoteError::KeyName`].
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        Note::parse_within(bytes, MAX_NOTE)
    }

    /// The same for notes of at most so many bytes.
    pub(crate) fn parse_within(bytes: &[u8], most: usize) -> Result<Note, NoteError> {
        if bytes.len() > most {
            return Err(NoteError::Malformed("it is too long"));
        }
        let note =
            std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        // The last empty line ends the text.
        let (text, lines) = match note.rfind("\n\n").map(|end| note.split_at(end + 1)) {
            Some((text, lines)) => (text, lines.strip_prefix('\n').unwrap_or(lines)),
            None => return Err(NoteError::Malformed("no empty line ends its text")),
        };
        check_text(text)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("its end is missing"))?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Malformed("it has too many signatures"));
        }
        let signatures = lines.split('\n').map(SignatureLine::parse).collect::<Result<_, _>>()?;
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// The text with its final newline, whoever signed it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks that `key` signed this note. Signatures by other keys are ignored, as signed-note
    /// demands; a second one by the same key must be good too.
    ///
    /// # Errors
    ///
    /// [`NoteError::NotSigned`] or [`NoteError::BadSignature`].
    pub fn signed_by(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut ours =
            self.signatures.iter().filter(|s| s.name == key.name && s.id == key.id).peekable();
        if ours.peek().is_none() {
            return Err(NoteError::NotSigned(key.name.clone()));
        }
        if ours.all(|line| key.verifies(&self.text, &line.signature)) {
            Ok(())
        } else {
            Err(NoteError::BadSignature(key.name.clone()))
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let marked = [line.id.as_slice(), &line.signature].concat();
            writeln!(f, "{LINE_START}{} {}", line.name, Base64::encode_string(&marked))?;
        }
        Ok(())
    }
}

impl SignatureLine {
    fn parse(line: &str) -> Result<SignatureLine, NoteError> {
        let malformed =
            || NoteError::Malformed("a signature line does not read `\u{2014} name base64`");
        let (name, base64) = line
            .strip_prefix(LINE_START)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(malformed)?;
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        let marked = Base64::decode_vec(base64).map_err(|_| malformed())?;
        match marked.split_first_chunk::<4>() {
            Some((id, signature)) if !signature.is_empty() => {
                Ok(SignatureLine { name: name.to_owned(), id: *id, signature: signature.to_vec() })
            }
            _ => Err(malformed()),
        }
    }
}

/// Whether a name may stand in a key or signature line.
pub(super) fn is_key_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(bad)
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() < 2 || !text.ends_with('\n') {
        return Err(NoteError::Malformed("its text is empty or lacks the final newline"));
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(NoteError::Malformed("its text holds a control character"));
    }
    Ok(())
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(public)
        .finalize();
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
    [a, b, c, d]
}
