//! What can go wrong with the log, sorted by whose fault it is.

use std::io;
use std::path::PathBuf;

use jit_ssh_core::log::{NoteError, ProofError, TileError};

/// What the one who called should do about a [`LogError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call itself was wrong; the log is fine.
    Caller,
    /// The disk refused. Nothing was lost; the next call tries to heal first.
    TryAgain,
    /// The log on disk is not what it must be. The signer must not go on.
    Stop,
}

/// Why the log refuses.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A batch without entries.
    #[error("a batch must have at least one entry")]
    EmptyBatch,
    /// A batch longer than a journal record may be.
    #[error("a batch of {0} bytes is longer than one journal record may be")]
    BatchTooLong(usize),
    /// Wrong coordinates or bytes of a tile, or an entry that is too long.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// A proof that cannot be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The disk refused something.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the log open.
    #[error("the journal {} is in use: is another signer running?", .0.display())]
    InUse(PathBuf),
    /// The log has 2^48 entries, all that a serial can name.
    #[error("the log is full: serials name 2^48 entries at most; start a new signer number")]
    Full,
    /// A file of the public log is not there.
    #[error("the log file {} is missing: restore the log folder from a backup", .0.display())]
    Missing(PathBuf),
    /// There are tiles or a checkpoint, but no journal.
    #[error(
        "the log {} has entries, but its journal {} is missing: entries may be lost. Restore the \
         journal folder, or retire this log and start a new signer number with an empty one",
        log.display(), journal.display()
    )]
    JournalMissing {
        /// The public folder.
        log: PathBuf,
        /// The private folder.
        journal: PathBuf,
    },
    /// Stored bytes are not what was written.
    #[error("the log is damaged: {0}. Restore the log and journal folders from one backup")]
    Corrupt(String),
    /// More was published than can be recovered (I7).
    #[error(
        "the log shrank: its checkpoint says {published} entries, but only {recovered} can be \
         recovered. Restore the newest journal, or retire this log; never issue from it"
    )]
    Shrunk {
        /// Entries the published checkpoint commits to.
        published: u64,
        /// Entries in tiles and journal.
        recovered: u64,
    },
    /// Something else was published for a size (I7).
    #[error(
        "the log forked: the root published for {0} entries is not the root of those recovered. \
         Retire this log; never issue from it"
    )]
    Forked(u64),
    /// The published checkpoint is not one of this log under this key.
    #[error("the published checkpoint is not of this log and key: {0}")]
    OtherLog(NoteError),
    /// A name that cannot be an origin, or a checkpoint that cannot be read.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl LogError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            LogError::EmptyBatch
            | LogError::BatchTooLong(_)
            | LogError::Proof(_)
            | LogError::Tile(TileError::EntryTooLong(_) | TileError::Coordinates) => Fault::Caller,
            LogError::Io { .. } => Fault::TryAgain,
            LogError::Tile(
                TileError::Path(_)
                | TileError::TileLength { .. }
                | TileError::BundleCut
                | TileError::BundleWidth { .. },
            )
            | LogError::InUse(_)
            | LogError::Full
            | LogError::Missing(_)
            | LogError::JournalMissing { .. }
            | LogError::Corrupt(_)
            | LogError::Shrunk { .. }
            | LogError::Forked(_)
            | LogError::OtherLog(_)
            | LogError::Note(_) => Fault::Stop,
        }
    }

    /// For `map_err`: names what was done to which path.
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> LogError {
        let path = path.into();
        move |source| LogError::Io { doing, path, source }
    }
}
