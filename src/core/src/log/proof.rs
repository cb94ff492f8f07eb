//! Inclusion and consistency proofs: RFC 6962, sections 2.1.1 and 2.1.2, checked as RFC 9162,
//! sections 2.1.3.2 and 2.1.4.2, spells out.
//!
//! A proof is a list of hashes, nearest the leaves first. Its length follows from the sizes, and
//! any other length is refused.

use super::merkle::{EMPTY_ROOT, Hash, node_hash};

/// Where the hashes of complete subtrees come from.
pub trait HashSource {
    /// Why a hash could not be had.
    type Error: From<ProofError>;

    /// The root of the perfect subtree over the entries `index * 2^level .. (index + 1) * 2^level`.
    ///
    /// # Errors
    ///
    /// When the tree has no such complete subtree, or it cannot be read.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Why a proof cannot be made or is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The entry is not in a tree of this size.
    #[error("entry {index} is not in a tree of {size} entries")]
    OutsideTree {
        /// Index of the entry, from 0.
        index: u64,
        /// Entries in the tree.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {old} entries cannot be the beginning of one of {new}")]
    Reversed {
        /// Entries in the tree said to be older.
        old: u64,
        /// Entries in the tree said to be newer.
        new: u64,
    },
    /// The source does not hold this subtree.
    #[error("the subtree at level {level}, index {index} is not at hand")]
    NoSuchNode {
        /// Height of the subtree: it spans 2^level entries.
        level: u8,
        /// Its index within the level.
        index: u64,
    },
    /// Too few or too many hashes for these sizes.
    #[error("the proof has the wrong number of hashes for a tree of this size")]
    WrongLength,
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root of the tree")]
    WrongRoot,
    /// The hashes do not lead to the root of the older tree.
    #[error("the proof does not lead to the root of the older tree")]
    WrongOldRoot,
}

/// Proves that entry `index` is in the tree of `size` entries.
///
/// # Errors
///
/// [`ProofError::OutsideTree`], or what the source answers.
pub fn inclusion_proof<S: HashSource>(
    source: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, S::Error> {
    if index >= size {
        return Err(ProofError::OutsideTree { index, size }.into());
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range_root(source, middle, high)?);
            high = middle;
        } else {
            path.push(range_root(source, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proves that the tree of `old` entries is the beginning of the tree of `new` entries. Empty
/// where nothing needs proving: `old` is 0 or equals `new`.
///
/// # Errors
///
/// [`ProofError::Reversed`], or what the source answers.
pub fn consistency_proof<S: HashSource>(
    source: &S,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, S::Error> {
    if old > new {
        return Err(ProofError::Reversed { old, new }.into());
    }
    let mut path = Vec::new();
    if old == 0 {
        return Ok(path);
    }
    let (mut low, mut high) = (0, new);
    // While `low` is 0 the verifier already knows the old subtree: it is the old root itself.
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(range_root(source, middle, high)?);
            high = middle;
        } else {
            path.push(range_root(source, low, middle)?);
            low = middle;
        }
    }
    if low > 0 {
        path.push(range_root(source, low, high)?);
    }
    path.reverse();
    Ok(path)
}

/// The root of the tree of `size` entries.
///
/// # Errors
///
/// What the source answers.
pub fn tree_root<S: HashSource>(source: &S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 { Ok(EMPTY_ROOT) } else { range_root(source, 0, size) }
}

/// Checks that the entry with this leaf hash is number `index` in the tree of `size` entries with
/// this root.
///
/// # Errors
///
/// [`ProofError::OutsideTree`], [`ProofError::WrongLength`] or [`ProofError::WrongRoot`].
pub fn verify_inclusion(
    proof: &[Hash],
    index: u64,
    size: u64,
    leaf: Hash,
    root: Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutsideTree { index, size });
    }
    // `at` is our node's place in its level, `last` the place of the level's last node.
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(*sibling, hash);
            // A lone last node rises unchanged to the level where it has a left sibling.
            skip_while_left(&mut at, &mut last);
        } else {
            hash = node_hash(hash, *sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::WrongRoot),
        _ => Err(ProofError::WrongLength),
    }
}

/// Checks that the tree of `old_size` entries with `old_root` is the beginning of the tree of
/// `new_size` entries with `new_root`.
///
/// # Errors
///
/// [`ProofError::Reversed`], [`ProofError::WrongLength`], [`ProofError::WrongOldRoot`] or
/// [`ProofError::WrongRoot`].
pub fn verify_consistency(
    proof: &[Hash],
    old_size: u64,
    old_root: Hash,
    new_size: u64,
    new_root: Hash,
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Reversed { old: old_size, new: new_size });
    }
    if old_size == 0 || old_size == new_size {
        // An empty log is the beginning of every log, so there the new root is not in question.
        let expected = if old_size == 0 { EMPTY_ROOT } else { new_root };
        return match (proof.is_empty(), old_root == expected) {
            (false, _) => Err(ProofError::WrongLength),
            (true, false) => Err(ProofError::WrongOldRoot),
            (true, true) if new_size == 0 && new_root != EMPTY_ROOT => Err(ProofError::WrongRoot),
            (true, true) => Ok(()),
        };
    }
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // An old tree of 2^n entries is a subtree of the new one, and the proof leaves it out.
    let (start, rest) = match (old_size.is_power_of_two(), proof.split_first()) {
        (_, None) => return Err(ProofError::WrongLength),
        (true, Some(_)) => (old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
    };
    let (mut old, mut new) = (start, start);
    for hash in rest {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if at & 1 == 1 || at == last {
            old = node_hash(*hash, old);
            new = node_hash(*hash, new);
            skip_while_left(&mut at, &mut last);
        } else {
            new = node_hash(new, *hash);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, old == old_root, new == new_root) {
        (0, true, true) => Ok(()),
        (0, false, _) => Err(ProofError::WrongOldRoot),
        (0, _, false) => Err(ProofError::WrongRoot),
        _ => Err(ProofError::WrongLength),
    }
}

/// The root over the entries `low..high`; `low` is a multiple of the power of two next above
/// their number, as it always is where a tree is split.
fn range_root<S: HashSource>(source: &S, low: u64, high: u64) -> Result<Hash, S::Error> {
    let count = high - low;
    if count.is_power_of_two() {
        // At most 63: the exponent of a u64.
        let level = u8::try_from(count.trailing_zeros()).unwrap_or(u8::MAX);
        return source.node(level, low >> level);
    }
    let middle = low + split(count);
    Ok(node_hash(range_root(source, low, middle)?, range_root(source, middle, high)?))
}

/// The largest power of two below `count`, which is at least 2: where RFC 6962 splits a tree.
fn split(count: u64) -> u64 {
    1 << count.saturating_sub(1).max(1).ilog2()
}

/// Climbs the levels in which the node at `at` is the left child of a parent with no right one.
fn skip_while_left(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}
