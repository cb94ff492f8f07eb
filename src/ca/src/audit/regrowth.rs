//! The tree grown anew from leaf hashes, with every tile it gives (RFC 6962, C2SP tlog-tiles).
//!
//! Pure: holds at most one tile of each level.

use jit_ssh_core::log::merkle::subtree_root;
use jit_ssh_core::log::tile::TILE_WIDTH;
use jit_ssh_core::log::{Hash, RightEdge, TileId};

/// A tree that grows leaf by leaf.
pub(crate) struct Regrowth {
    edge: RightEdge,
    levels: Vec<Level>,
}

/// The tile of a level that is not yet full.
#[derive(Default)]
struct Level {
    index: u64,
    hashes: Vec<Hash>,
}

/// A tile as it must be.
pub(crate) type Tile = (TileId, Vec<Hash>);

impl Regrowth {
    /// The tree without entries.
    pub(crate) fn new() -> Regrowth {
        Regrowth { edge: RightEdge::empty(), levels: Vec::new() }
    }

    /// Adds a leaf; gives the tiles that it fills.
    pub(crate) fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        self.edge.push(leaf);
        let mut full = Vec::new();
        let mut carry = Some(leaf);
        let mut number = 0u8;
        while let Some(hash) = carry.take() {
            let place = usize::from(number);
            if self.levels.len() <= place {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(place) else { break };
            level.hashes.push(hash);
            if level.hashes.len() == usize::from(TILE_WIDTH) {
                let hashes = std::mem::take(&mut level.hashes);
                carry = subtree_root(&hashes);
                full.extend(
                    TileId::new(number, level.index, TILE_WIDTH).ok().map(|id| (id, hashes)),
                );
                level.index += 1;
            }
            number = number.saturating_add(1);
        }
        full
    }

    /// The root over all leaves, and the tiles that are not full.
    pub(crate) fn finish(self) -> (Hash, Vec<Tile>) {
        let root = self.edge.root();
        let partial = (0u8..).zip(self.levels).filter_map(|(number, level)| {
            let width = u16::try_from(level.hashes.len()).ok()?;
            TileId::new(number, level.index, width).ok().map(|id| (id, level.hashes))
        });
        (root, partial.collect())
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::log::leaf_hash;

    use super::*;

    #[test]
    fn tiles_are_as_many_and_as_wide_as_the_size_says() {
        for size in [0u64, 1, 255, 256, 257, 512, 65_536, 65_537] {
            let mut tree = Regrowth::new();
            let mut tiles = Vec::new();
            for index in 0..size {
                tiles.extend(tree.push(leaf_hash(&index.to_be_bytes())));
            }
            tiles.extend(tree.finish().1);
            let mut found: Vec<TileId> = tiles.iter().map(|(id, _)| *id).collect();
            found.sort();
            let mut expected: Vec<TileId> = (0..8)
                .flat_map(|level| (0..).map_while(move |i| TileId::in_tree(level, i, size)))
                .collect();
            expected.sort();
            assert_eq!(found, expected, "size {size}");
            assert!(tiles.iter().all(|(id, hashes)| hashes.len() == usize::from(id.width())));
        }
    }
}
