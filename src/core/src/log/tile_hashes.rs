//! Subtree hashes out of tiles, for proofs over a log that lies in files.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::merkle::{Hash, subtree_root};
use super::proof::{HashSource, ProofError};
use super::tile::{TILE_HEIGHT, TILE_WIDTH, TileError, TileId, parse_tile};

/// Where the bytes of tiles come from: a folder, an HTTP server, a test's map.
pub trait TileSource {
    /// Why a tile could not be had.
    type Error: From<TileError> + From<ProofError>;

    /// The bytes of exactly this tile.
    ///
    /// # Errors
    ///
    /// When the tile is not there or cannot be read.
    fn tile(&self, id: TileId) -> Result<Vec<u8>, Self::Error>;
}

/// The [`HashSource`] of the tree of one size, read from tiles. Made for one proof: it keeps each
/// tile it has read, and a proof needs at most two of each level.
pub struct TileHashes<'a, S> {
    tiles: &'a S,
    size: u64,
    seen: RefCell<BTreeMap<TileId, Vec<Hash>>>,
}

impl<'a, S: TileSource> TileHashes<'a, S> {
    /// Reads hashes of the tree of `size` entries from `tiles`.
    pub fn new(tiles: &'a S, size: u64) -> TileHashes<'a, S> {
        TileHashes { tiles, size, seen: RefCell::new(BTreeMap::new()) }
    }
}

impl<S: TileSource> HashSource for TileHashes<'_, S> {
    type Error = S::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, S::Error> {
        let missing = ProofError::NoSuchNode { level, index };
        // The subtree is 2^(level % 8) neighbouring hashes of one tile.
        let height = level % TILE_HEIGHT;
        let first = index.checked_mul(1 << height).ok_or(missing.clone())?;
        let tile_index = first >> TILE_HEIGHT;
        let id =
            TileId::in_tree(level / TILE_HEIGHT, tile_index, self.size).ok_or(missing.clone())?;
        let start = usize::try_from(first % u64::from(TILE_WIDTH)).map_err(|_| missing.clone())?;
        let end = start + (1 << height);

        let mut seen = self.seen.borrow_mut();
        let hashes = match seen.get(&id) {
            Some(hashes) => hashes,
            None => {
                let hashes = parse_tile(&self.tiles.tile(id)?, id.width())?;
                seen.entry(id).or_insert(hashes)
            }
        };
        let nodes = hashes.get(start..end).ok_or(missing.clone())?;
        Ok(subtree_root(nodes).ok_or(missing)?)
    }
}
