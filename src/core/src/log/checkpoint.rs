//! C2SP tlog-checkpoint: what a log says about itself at one size.

use std::fmt;
use std::str::FromStr;

use super::merkle::Hash;
use super::note::{Note, NoteError, VerifierKey, is_key_name};
use super::tile::decimal;

/// Size and root of a log at one moment. Its text is what a log key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// States that the log `origin` has `size` entries under `root`.
    ///
    /// # Errors
    ///
    /// [`NoteError::KeyName`]: our origins are names of note keys, the form tlog-checkpoint
    /// recommends, so that checkpoint and key name the same log.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Checkpoint, NoteError> {
        if !is_key_name(origin) {
            return Err(NoteError::KeyName);
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over these entries.
    pub fn root(&self) -> Hash {
        self.root
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    /// Reads the text of a note. Extension lines are refused: our logs write none, and what no
    /// auditor reads should not be signed.
    fn from_str(text: &str) -> Result<Checkpoint, NoteError> {
        let body = text.strip_suffix('\n').ok_or(NoteError::Checkpoint("its end is missing"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint("it has not exactly three lines"));
        };
        let size = decimal(size).ok_or(NoteError::Checkpoint("its size is not a number"))?;
        let root = root.parse().map_err(|_| NoteError::Checkpoint("its root is not a hash"))?;
        Checkpoint::new(origin, size, root)
    }
}

/// A checkpoint whose signature by a known log key was checked; the note stays beside it for
/// whoever wants to check again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// Reads a signed checkpoint and believes it only if `key` signed it and names its origin.
    ///
    /// # Errors
    ///
    /// [`NoteError`], by what is wrong with it.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, NoteError> {
        let parsed = Note::parse(note)?;
        parsed.signed_by(key)?;
        let checkpoint: Checkpoint = parsed.text().parse()?;
        if checkpoint.origin != key.name() {
            let (wanted, found) = (key.name().to_owned(), checkpoint.origin);
            return Err(NoteError::Origin { wanted, found });
        }
        Ok(SignedCheckpoint { checkpoint, note: parsed.to_string() })
    }

    /// Signs a checkpoint: `sign` makes an Ed25519 signature with the private half of `key`. The
    /// signature is taken as it comes; checking it again costs twice the signing.
    ///
    /// # Errors
    ///
    /// [`NoteError::Origin`] where the key is another log's.
    pub fn sign(
        checkpoint: Checkpoint,
        key: &VerifierKey,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<SignedCheckpoint, NoteError> {
        if checkpoint.origin != key.name() {
            let (wanted, found) = (key.name().to_owned(), checkpoint.origin);
            return Err(NoteError::Origin { wanted, found });
        }
        let text = checkpoint.to_string();
        let note = Note::assemble(&text, key, sign(text.as_bytes()))?;
        Ok(SignedCheckpoint { checkpoint, note: note.to_string() })
    }

    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note as it is served and stored.
    pub fn note(&self) -> &str {
        &self.note
    }
}
