//! Hashes of the tree of RFC 6962, section 2.1, and the edge along which it grows.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use sha2::{Digest as _, Sha256};

/// The hash of a node, a leaf or a whole tree: SHA-256, 32 bytes.
///
/// Shown in standard base64 with padding, as checkpoints write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; Hash::LEN]);

/// The root of the tree without entries: the SHA-256 of nothing (RFC 6962, section 2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Hashes one entry, with the prefix that keeps a leaf from passing for a node.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Hashes the two children of a node.
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    let hasher = Sha256::new().chain_update([1]);
    Hash(hasher.chain_update(left.0).chain_update(right.0).finalize().into())
}

impl Hash {
    /// Bytes in a hash.
    pub const LEN: usize = 32;
}

/// A text that is not a hash in canonical base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree hash is 32 bytes in standard base64 with padding")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Hash, HashError> {
        let mut bytes = [0; Hash::LEN];
        // base64ct refuses non-canonical text, so one hash has one text.
        match Base64::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == Hash::LEN => Ok(Hash(bytes)),
            _ => Err(HashError),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The root of the perfect subtree over `nodes`, or `None` unless their number is a power of two.
pub fn subtree_root(nodes: &[Hash]) -> Option<Hash> {
    if !nodes.len().is_power_of_two() {
        return None;
    }
    let mut edge = RightEdge::empty();
    nodes.iter().for_each(|node| edge.push(*node));
    Some(edge.root())
}

/// The perfect subtrees a tree of some size falls into: all that is needed to let it grow and to
/// know its root. At most 64 hashes, whatever the size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightEdge {
    size: u64,
    /// By level; present exactly where the size has a one bit.
    peaks: [Option<Hash>; 64],
}

impl RightEdge {
    /// The edge of the tree without entries.
    pub fn empty() -> RightEdge {
        RightEdge { size: 0, peaks: [None; 64] }
    }

    /// Puts an edge together for a tree of `size` entries; `peak` gives the perfect subtree of
    /// 2^level entries that ends where the size says.
    ///
    /// # Errors
    ///
    /// Whatever `peak` answers.
    pub fn from_peaks<E>(
        size: u64,
        mut peak: impl FnMut(u8) -> Result<Hash, E>,
    ) -> Result<RightEdge, E> {
        let mut edge = RightEdge { size, peaks: [None; 64] };
        for (level, place) in (0u8..).zip(edge.peaks.iter_mut()) {
            if (size >> level) & 1 == 1 {
                *place = Some(peak(level)?);
            }
        }
        Ok(edge)
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtree of 2^level entries at the edge, where there is one.
    pub fn peak(&self, level: u8) -> Option<Hash> {
        self.peaks.get(usize::from(level)).copied().flatten()
    }

    /// Adds the leaf hash of one more entry.
    pub fn push(&mut self, leaf: Hash) {
        let mut carry = leaf;
        for place in &mut self.peaks {
            match place.take() {
                Some(left) => carry = node_hash(left, carry),
                None => {
                    *place = Some(carry);
                    break;
                }
            }
        }
        // 2^64 entries of one hash each are 500 exabytes; the serial's 48 bits end long before.
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree: the peaks joined from the smallest up.
    pub fn root(&self) -> Hash {
        let joined =
            self.peaks.iter().flatten().copied().reduce(|right, left| node_hash(left, right));
        joined.unwrap_or(EMPTY_ROOT)
    }
}
