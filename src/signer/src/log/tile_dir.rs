//! The public folder of a log, as front and auditors read it. Nothing here writes.
//!
//! Reading goes on while the signer publishes: whoever read a checkpoint first finds all tiles it
//! needs, if not in their narrow form then in a wider one.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use jit_ssh_core::log::tile::{TILE_WIDTH, parse_bundle, split_entries};
use jit_ssh_core::log::{
    BundleId, Hash, SignedCheckpoint, TileHashes, TileId, TileSource, VerifierKey,
    consistency_proof, inclusion_proof, tree_root,
};

use super::entries::Entries;
use super::error::LogError;

/// The path of the checkpoint below the log's folder.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// The path of the signer's revocation list, which lies beside it.
pub(super) const KRL: &str = "krl";
/// How often to look again for a tile that was replaced while we looked.
const LOOKS: usize = 3;

/// A log folder, read only. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct TileDir {
    dir: PathBuf,
}

impl TileDir {
    /// Reads the log in this folder, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> TileDir {
        TileDir { dir: dir.into() }
    }

    /// The published checkpoint's bytes, unchecked; `None` where nothing was published.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn checkpoint_note(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.read(CHECKPOINT)
    }

    /// The signed note of the signer's revocation list, unchecked; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn krl_note(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.read(KRL)
    }

    /// The published checkpoint, signed by `key`.
    ///
    /// # Errors
    ///
    /// [`LogError::Missing`] where nothing was published, [`LogError::OtherLog`] where it is not
    /// of this log and key.
    pub fn checkpoint(&self, key: &VerifierKey) -> Result<SignedCheckpoint, LogError> {
        let note = self.checkpoint_note()?;
        let note = note.ok_or_else(|| LogError::Missing(self.dir.join(CHECKPOINT)))?;
        SignedCheckpoint::open(&note, key).map_err(LogError::OtherLog)
    }

    /// The bytes of a hash tile in exactly this width.
    ///
    /// # Errors
    ///
    /// [`LogError::Missing`], [`LogError::Io`], or [`LogError::Corrupt`] for a wrong length.
    pub fn tile_bytes(&self, id: TileId) -> Result<Vec<u8>, LogError> {
        let (mut bytes, width) =
            self.read_wide(&id.path(), &id.full().path(), &id.partials(), id.width())?;
        if bytes.len() != usize::from(width) * Hash::LEN {
            return Err(LogError::Corrupt(format!("{id} has a wrong length")));
        }
        bytes.truncate(usize::from(id.width()) * Hash::LEN);
        Ok(bytes)
    }

    /// The bytes of an entry bundle in exactly this width.
    ///
    /// # Errors
    ///
    /// [`LogError::Missing`], [`LogError::Io`], or [`LogError::Corrupt`] for wrong contents.
    pub fn bundle(&self, id: BundleId) -> Result<Vec<u8>, LogError> {
        let full = BundleId::new(id.index(), TILE_WIDTH)?;
        let (mut bytes, width) =
            self.read_wide(&id.path(), &full.path(), &id.partials(), id.width())?;
        let entries = parse_bundle(&bytes, width)
            .map_err(|e| LogError::Corrupt(format!("{id} cannot be read: {e}")))?;
        let ours = entries.iter().take(id.width().into()).map(|entry| entry.len() + 2).sum();
        bytes.truncate(ours);
        Ok(bytes)
    }

    /// The root of the tree of `size` entries, from its tiles.
    ///
    /// # Errors
    ///
    /// As for [`TileDir::tile_bytes`].
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        tree_root(&TileHashes::new(self, size), size)
    }

    /// Proves that entry `index` is in the tree of `size` entries.
    ///
    /// # Errors
    ///
    /// [`LogError::Proof`] outside the tree, else as for [`TileDir::tile_bytes`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        inclusion_proof(&TileHashes::new(self, size), index, size)
    }

    /// Proves that the tree of `old` entries is the beginning of that of `new` entries.
    ///
    /// # Errors
    ///
    /// [`LogError::Proof`] for sizes in the wrong order, else as for [`TileDir::tile_bytes`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        consistency_proof(&TileHashes::new(self, new), old, new)
    }

    /// Streams the entries of `range` from the tree of `size` entries, a bundle at a time. They
    /// are as stored: compare their leaf hashes with a checked root to believe them.
    pub fn entries(&self, range: Range<u64>, size: u64) -> Entries<'_> {
        let end = range.end.min(size);
        Entries::new(range.start..end, move |index| match BundleId::in_tree(index, size) {
            Some(id) => self.bundle(id),
            None => Ok(Vec::new()),
        })
    }

    /// One entry of the tree of `size` entries, as stored.
    ///
    /// # Errors
    ///
    /// [`LogError::Proof`] outside the tree, else as for [`TileDir::bundle`].
    pub fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, LogError> {
        let outside = jit_ssh_core::log::ProofError::OutsideTree { index, size };
        let id = BundleId::in_tree(index / u64::from(TILE_WIDTH), size).ok_or(outside.clone())?;
        let bytes = self.bundle(id)?;
        let place = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        let entry = split_entries(&bytes)?.get(place).map(|entry| entry.to_vec());
        Ok(entry.ok_or(outside)?)
    }

    /// A file of the log, or `None` where it is not there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.dir.join(path);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(LogError::io("read", path)(e)),
        }
    }

    /// The widths in a folder of partial forms, ascending.
    pub(super) fn widths(&self, partials: &str) -> Result<Vec<u16>, LogError> {
        let dir = self.dir.join(partials);
        let listed = match fs::read_dir(&dir) {
            Ok(listed) => listed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(LogError::io("list", dir)(e)),
        };
        let mut widths: Vec<u16> = listed
            .filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok())
            .filter(|width| (1..TILE_WIDTH).contains(width))
            .collect();
        widths.sort_unstable();
        Ok(widths)
    }

    /// Whether anything was ever published here.
    pub(super) fn is_begun(&self) -> bool {
        self.dir.join(CHECKPOINT).exists() || self.dir.join("tile").exists()
    }

    /// Where the log lies.
    pub(super) fn path(&self) -> &PathBuf {
        &self.dir
    }

    /// Reads a tile in its own width, or in the next wider one there is; tells which.
    fn read_wide(
        &self,
        exact: &str,
        full: &str,
        partials: &str,
        width: u16,
    ) -> Result<(Vec<u8>, u16), LogError> {
        for _ in 0..LOOKS {
            if let Some(bytes) = self.read(exact)? {
                return Ok((bytes, width));
            }
            if width == TILE_WIDTH {
                break;
            }
            if let Some(bytes) = self.read(full)? {
                return Ok((bytes, TILE_WIDTH));
            }
            if let Some(wider) = self.widths(partials)?.into_iter().find(|wider| *wider > width)
                && let Some(bytes) = self.read(&format!("{partials}/{wider}"))?
            {
                return Ok((bytes, wider));
            }
        }
        Err(LogError::Missing(self.dir.join(exact)))
    }
}

impl TileSource for TileDir {
    type Error = LogError;

    fn tile(&self, id: TileId) -> Result<Vec<u8>, LogError> {
        self.tile_bytes(id)
    }
}
