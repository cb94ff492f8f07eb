//! The published vectors, two foreign implementations, and what must never verify.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::collections::HashMap;
use std::sync::LazyLock;

use super::merkle::{Hash, RightEdge, leaf_hash};
use super::proof::{HashSource, ProofError};
use super::tile::TileId;
use super::tile_hashes::TileSource;
use super::{Growth, TileError};

mod foreign;
mod notes;
mod properties;
mod tiles;
mod vectors;

/// The tree over these entries, all nodes in memory.
fn tree_of<T: AsRef<[u8]>>(entries: &[T]) -> Growth {
    let leaves = entries.iter().map(|entry| leaf_hash(entry.as_ref())).collect();
    Growth::new(&RightEdge::empty(), leaves)
}

/// A tree of 65,537 numbered entries; smaller ones are its beginnings.
static NUMBERED: LazyLock<Growth> =
    LazyLock::new(|| tree_of(&(0..65_537u32).map(u32::to_be_bytes).collect::<Vec<_>>()));

/// The sizes at which something changes: nothing, one, tile and tile-of-tiles boundaries.
const EDGES: &[u64] = &[0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537];

/// Tiles of the beginning of a tree, by path, as a log would publish them.
struct TileMap(HashMap<String, Vec<u8>>);

#[derive(Debug, thiserror::Error)]
enum MapError {
    #[error("{0} is not there")]
    Absent(String),
    #[error(transparent)]
    Tile(#[from] TileError),
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl TileMap {
    fn of(tree: &Growth, size: u64) -> TileMap {
        let mut tiles = HashMap::new();
        for level in 0..8u8 {
            for index in 0.. {
                let Some(id) = TileId::in_tree(level, index, size) else {
                    break;
                };
                let bytes = (0..u64::from(id.width()))
                    .flat_map(|place| tree.node(level * 8, index * 256 + place).unwrap().0)
                    .collect();
                tiles.insert(id.path(), bytes);
            }
        }
        TileMap(tiles)
    }
}

impl TileSource for TileMap {
    type Error = MapError;

    fn tile(&self, id: TileId) -> Result<Vec<u8>, MapError> {
        self.0.get(&id.path()).cloned().ok_or_else(|| MapError::Absent(id.path()))
    }
}

fn flip(hash: &mut Hash, bit: usize) {
    hash.0[bit / 8 % 32] ^= 1 << (bit % 8);
}
