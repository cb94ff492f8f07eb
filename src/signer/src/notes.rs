//! The signer's own notes beside its keys: what the log says too, found without searching it.
//!
//! - `newest-bundle`: where in the log the newest bundle stands, so that nothing in the public folder
//!   can set it back;
//! - `unreviewed`: where the break-glass requests stand that nobody has reviewed, however old.
//!
//! A note that is lost or makes no sense is none: then the log is searched. So neither need be written
//! before what it is about is in the log, and a crash in between does no harm.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the notes lie.
#[derive(Debug, Clone)]
pub struct Notes {
    newest_bundle: PathBuf,
    unreviewed: PathBuf,
}

/// The break-glass requests of the log's first entries that nobody has reviewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unreviewed {
    v: u8,
    /// Of how many entries this is true.
    pub(crate) size: u64,
    /// Their log indexes, ascending.
    pub(crate) requests: Vec<u64>,
}

impl Unreviewed {
    /// What is true of the first `size` entries.
    pub(crate) fn new(size: u64, requests: Vec<u64>) -> Unreviewed {
        Unreviewed { v: 1, size, requests }
    }
}

impl Notes {
    /// The notes in this folder.
    pub fn new(dir: &Path) -> Notes {
        Notes { newest_bundle: dir.join("newest-bundle"), unreviewed: dir.join("unreviewed") }
    }

    /// The index of the newest bundle noted last.
    pub(crate) fn newest_bundle(&self) -> Option<u64> {
        fs::read_to_string(&self.newest_bundle).ok()?.trim().parse().ok()
    }

    /// Notes the index of the newest bundle.
    ///
    /// # Errors
    /// If it can not be written.
    pub(crate) fn write_newest_bundle(&self, index: u64) -> io::Result<()> {
        replace(&self.newest_bundle, index.to_string().as_bytes())
    }

    /// What was noted last of a log that has `size` entries now.
    pub(crate) fn unreviewed(&self, size: u64) -> Option<Unreviewed> {
        let note: Unreviewed = serde_json::from_slice(&fs::read(&self.unreviewed).ok()?).ok()?;
        let sound = note.v == 1
            && note.size <= size
            && note.requests.iter().all(|index| *index < note.size);
        sound.then_some(note)
    }

    /// Notes which break-glass requests nobody has reviewed.
    ///
    /// # Errors
    /// If it can not be written.
    pub(crate) fn write_unreviewed(&self, note: &Unreviewed) -> io::Result<()> {
        replace(&self.unreviewed, &serde_json::to_vec(note)?)
    }
}

/// Puts a file in place, whole or not at all.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}
