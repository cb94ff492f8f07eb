//! The log as the signer uses it.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use jit_ssh_core::krl::{self, Krl};
use jit_ssh_core::log::tile::TILE_WIDTH;
use jit_ssh_core::log::{
    BundleId, Checkpoint, Growth, Hash, ProofError, RightEdge, SignedCheckpoint, leaf_hash,
};

use super::disk::FileDisk;
use super::entries::{Entries, scan_back};
use super::error::LogError;
use super::journal::Journal;
use super::key::LogKey;
use super::open::{self, Opened, check_bundle};
use super::record::write_record;
use super::shelf::Shelf;
use super::tile_dir::{CHECKPOINT, KRL, TileDir};

/// Bytes at which a journal segment is closed: replay after a crash stays well under a second.
const SEGMENT_LIMIT: u64 = 8 * 1024 * 1024;
/// Bytes of full tiles that may wait in memory before an append publishes by itself.
pub(super) const WAITING_LIMIT: usize = 1024 * 1024;
/// A record buffer larger than this is given back after use.
const RECORD_KEPT: usize = 256 * 1024;
/// Entries a log may have: the log index is 48 bits of the serial (I6).
const MAX_SIZE: u64 = 1 << 48;

/// An append-only log: [`LogStore::append`] is durable when it returns, [`LogStore::publish`]
/// shows it to readers.
pub struct LogStore {
    pub(super) journal: Journal,
    pub(super) tiles: TileDir,
    pub(super) key: LogKey,
    pub(super) shelf: Shelf,
    pub(super) edge: RightEdge,
    /// The checkpoint of all that is durable.
    pub(super) latest: SignedCheckpoint,
    /// Entries under the checkpoint on the disk, as far as this process wrote it.
    pub(super) published: Option<u64>,
    /// Whether the last try to publish failed: then no more is taken up before one succeeds (I8).
    pub(super) publish_due: bool,
    /// Whether syncing the tiles failed: then nobody knows which of them are on the disk, and all
    /// since the base are written again.
    pub(super) tiles_in_doubt: bool,
    pub(super) segment_limit: u64,
    pub(super) record: Vec<u8>,
}

/// A batch that is durable, with all that is needed to prove it. Rests on nothing of the store,
/// so it can go to another thread.
#[derive(Debug, Clone)]
pub struct Committed {
    growth: Growth,
    checkpoint: SignedCheckpoint,
}

impl LogStore {
    /// Opens the log in `log_dir` (public) and `journal_dir` (private), creating it where both are
    /// empty, and checks that it is the log whose checkpoint was published.
    ///
    /// # Errors
    ///
    /// [`LogError`]; all but [`LogError::Io`] mean that the signer must not start.
    pub fn open(
        log_dir: &Path,
        journal_dir: &Path,
        key: LogKey,
    ) -> Result<(LogStore, Opened), LogError> {
        let disk = FileDisk::open(log_dir, journal_dir)?;
        let (tiles, journal) = (TileDir::new(log_dir), journal_dir.to_path_buf());
        open::open(Box::new(disk), tiles, journal, key, SEGMENT_LIMIT)
    }

    /// Adds a batch, in this order and without gaps: one write and one fdatasync, however many
    /// entries. On an error none of them is in the log, and the next call heals first.
    ///
    /// # Errors
    ///
    /// A batch that cannot be: [`LogError::EmptyBatch`], [`LogError::BatchTooLong`] (more than
    /// 4 MiB), [`LogError::Tile`] (an entry above 65,535 bytes). A disk that fails, or a publish
    /// that failed and fails again: [`LogError::Io`].
    pub fn append(&mut self, entries: &[Vec<u8>]) -> Result<Committed, LogError> {
        let first = self.edge.size();
        write_record(&mut self.record, first, entries)?;
        if MAX_SIZE - first.min(MAX_SIZE) < entries.len() as u64 {
            return Err(LogError::Full);
        }
        if self.publish_due || self.rotation_due() || self.shelf.waiting() > WAITING_LIMIT {
            self.publish()?;
        }
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let growth = Growth::new(&self.edge, leaves);
        self.journal.append(&self.record)?;
        if self.record.capacity() > RECORD_KEPT {
            self.record = Vec::new();
        }
        // From here on the batch is durable, and nothing can fail that did not fail above.
        self.shelf.extend(&growth, entries.iter().map(Vec::as_slice))?;
        self.edge = growth.edge().clone();
        self.latest = sign(&self.key, &self.edge)?;
        Ok(Committed { growth, checkpoint: self.latest.clone() })
    }

    /// Writes what readers need for the newest checkpoint, and then the checkpoint. Does not wait
    /// for the disk, but for the rare call that closes a journal segment. Cheap when nothing
    /// changed.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`]; the next append then tries again and refuses if that fails too.
    pub fn publish(&mut self) -> Result<(), LogError> {
        let done = self.try_publish();
        self.publish_due = done.is_err();
        done
    }

    /// Puts a revocation list in the place of the one before, signed with the log key. It is durable
    /// when this returns.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`]; then the one before stands.
    pub fn publish_krl(&mut self, krl: &Krl) -> Result<(), LogError> {
        let note = self.key.sign_krl(krl)?;
        let placed = self.journal.disk.place_synced(KRL, note.as_bytes());
        placed.map_err(LogError::io("publish", KRL))
    }

    /// The revocation list that stands; `None` if there is none, or none of this log.
    pub fn published_krl(&self) -> Option<Krl> {
        let note = self.tiles.krl_note().ok().flatten()?;
        krl::open(&note, self.key.verifier()).ok()
    }

    /// Entries that are durable.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The signed checkpoint of all that is durable, published or not.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.latest
    }

    /// The key that signs checkpoints.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// Proves that the entry at `index` is in the log, under the newest checkpoint. What was not
    /// published yet is, since the proof is read from the tiles.
    ///
    /// # Errors
    /// [`LogError`] if the log can not be published or read, or has no such entry.
    pub fn prove(&mut self, index: u64) -> Result<(Vec<Hash>, &SignedCheckpoint), LogError> {
        if self.published != Some(self.size()) {
            self.publish()?;
        }
        let proof = self.tiles.inclusion_proof(index, self.size())?;
        Ok((proof, &self.latest))
    }

    /// Streams the entries of `range`, as far as there are some, published or not. Entries from
    /// the disk are checked against their hash tile.
    pub fn entries(&self, range: Range<u64>) -> Entries<'_> {
        Entries::new(range.start..range.end.min(self.size()), |index| self.bundle(index))
    }

    /// Shows all entries to `visit`, newest first, until it says stop. Holds one bundle in memory.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`], [`LogError::Missing`] or [`LogError::Corrupt`].
    pub fn scan_back(
        &self,
        visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        scan_back(self.size(), |index| self.bundle(index), visit)
    }

    fn bundle(&self, index: u64) -> Result<Vec<u8>, LogError> {
        if let Some(bytes) = self.shelf.bundle(index) {
            return Ok(bytes.to_vec());
        }
        let id = BundleId::new(index, TILE_WIDTH)?;
        let bytes = self.tiles.bundle(id)?;
        check_bundle(&self.tiles, id, &bytes)?;
        Ok(bytes)
    }

    fn rotation_due(&self) -> bool {
        self.journal.length() > self.segment_limit
    }

    fn try_publish(&mut self) -> Result<(), LogError> {
        if self.tiles_in_doubt {
            self.rewrite_tiles()?;
        }
        if self.published != Some(self.size()) {
            let disk = &mut self.journal.disk;
            let mut place = |path: &str, bytes: &[u8]| {
                disk.place(path, bytes).map_err(LogError::io("publish", path))
            };
            self.shelf.place_all(&mut place)?;
            place(CHECKPOINT, self.latest.note().as_bytes())?;
            self.published = Some(self.size());
            self.shelf.prune(&mut *self.journal.disk)?;
        }
        if self.rotation_due() { self.rotate() } else { Ok(()) }
    }

    /// Makes the tiles durable and starts a journal segment that builds on them.
    fn rotate(&mut self) -> Result<(), LogError> {
        if let Err(e) = self.journal.disk.sync_public() {
            // The kernel reports a lost write once and then forgets it.
            self.tiles_in_doubt = true;
            return Err(LogError::io("sync", self.tiles.path().clone())(e));
        }
        let old = self.journal.base;
        self.journal.rotate(self.size(), self.edge.root())?;
        self.shelf.pin();
        // What is left undone here, the next open does.
        self.shelf.prune(&mut *self.journal.disk)?;
        if old != self.journal.base {
            let dropped = self.journal.disk.drop_segment(old);
            dropped.map_err(LogError::io("remove", "the old journal segment"))?;
        }
        Ok(())
    }

    fn rewrite_tiles(&mut self) -> Result<(), LogError> {
        self.journal.heal()?;
        let (shelf, _) = open::replay_tiles(&mut self.journal, &self.tiles)?;
        self.shelf = shelf;
        self.published = None;
        self.tiles_in_doubt = false;
        Ok(())
    }
}

impl Committed {
    /// Index of the batch's first entry.
    pub fn first(&self) -> u64 {
        self.growth.first()
    }

    /// Entries in the log with this batch: one more than the index of its last entry.
    pub fn size(&self) -> u64 {
        self.growth.edge().size()
    }

    /// The root over these.
    pub fn root(&self) -> Hash {
        self.checkpoint.checkpoint().root()
    }

    /// The checkpoint signed after the batch had become durable.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Proves that entry `index` of this batch is under the checkpoint. Reads nothing.
    ///
    /// # Errors
    ///
    /// [`ProofError`] for an index that is not of this batch.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        self.growth.inclusion_proof(index)
    }
}

/// Signs the checkpoint of a tree.
pub(super) fn sign(key: &LogKey, edge: &RightEdge) -> Result<SignedCheckpoint, LogError> {
    Ok(key.sign(Checkpoint::new(key.verifier().name(), edge.size(), edge.root())?)?)
}
