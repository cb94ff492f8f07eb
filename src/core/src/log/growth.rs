//! What a batch of new entries adds to a tree.

use super::merkle::{Hash, RightEdge, node_hash};
use super::proof::{HashSource, ProofError, inclusion_proof};

/// The nodes one batch adds to a tree, with the old edge they rest on.
///
/// Enough to prove every entry of the batch and to know the new root, whatever the size of the
/// tree, from about two hashes per entry and without reading anything.
#[derive(Debug, Clone)]
pub struct Growth {
    old: RightEdge,
    new: RightEdge,
    /// By level from the leaves up: the complete nodes the old tree did not have.
    levels: Vec<Vec<Hash>>,
}

impl Growth {
    /// Grows a tree by these leaf hashes.
    pub fn new(old: &RightEdge, leaves: Vec<Hash>) -> Growth {
        let mut levels = Vec::new();
        let mut nodes = leaves;
        let mut level = 0u8;
        while !nodes.is_empty() {
            // A peak left over at this level is the left sibling of the first new node.
            let parents = pairs(old.peak(level), &nodes);
            levels.push(std::mem::replace(&mut nodes, parents));
            level = level.saturating_add(1);
        }
        let added = levels.first().map_or(0, |leaves| leaves.len() as u64);
        let size = old.size().saturating_add(added);
        let mut growth = Growth { old: old.clone(), new: RightEdge::empty(), levels };
        growth.new = RightEdge::from_peaks(size, |level| growth.node(level, (size >> level) - 1))
            .expect("every peak of the new tree is a new node or a peak of the old one");
        growth
    }

    /// The edge after the batch.
    pub fn edge(&self) -> &RightEdge {
        &self.new
    }

    /// Entries before the batch, which is the index of its first entry.
    pub fn first(&self) -> u64 {
        self.old.size()
    }

    /// The complete nodes of a level that the batch added, left to right.
    pub fn new_nodes(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Proves that an entry of this batch is in the tree after the batch.
    ///
    /// # Errors
    ///
    /// [`ProofError::OutsideTree`] for an index behind the batch, [`ProofError::NoSuchNode`] for
    /// one before it.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, ProofError> {
        if index < self.first() {
            return Err(ProofError::NoSuchNode { level: 0, index });
        }
        inclusion_proof(self, index, self.new.size())
    }
}

impl HashSource for Growth {
    type Error = ProofError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, ProofError> {
        let missing = ProofError::NoSuchNode { level, index };
        let first_new = self.old.size().checked_shr(level.into()).unwrap_or(0);
        match index.checked_sub(first_new) {
            Some(place) => {
                let place = usize::try_from(place).map_err(|_| missing.clone())?;
                self.new_nodes(level).get(place).copied().ok_or(missing)
            }
            None if index.checked_add(1) == Some(first_new) => self.old.peak(level).ok_or(missing),
            None => Err(missing),
        }
    }
}

/// Parents of the complete pairs in `left` followed by `nodes`; an odd last node waits.
fn pairs(left: Option<Hash>, nodes: &[Hash]) -> Vec<Hash> {
    let mut parents = Vec::with_capacity(nodes.len() / 2 + 1);
    let mut waiting = left;
    for node in nodes {
        match waiting.take() {
            Some(left) => parents.push(node_hash(left, *node)),
            None => waiting = Some(*node),
        }
    }
    parents
}
