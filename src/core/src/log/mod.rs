//! The mathematics of the log: what is hashed, proved, named and signed, and how it is checked.
//!
//! Pure: no file, no clock, no private key. Whoever stores the log, serves it or audits it uses
//! these same functions, so an auditor on another machine reaches the same verdict.
//!
//! - [`merkle`]: RFC 6962 hashes, and the [`RightEdge`] from which a tree goes on growing;
//! - [`growth`]: what one batch adds to a tree, enough to prove each new entry without the disk;
//! - [`proof`]: inclusion and consistency proofs, made from a [`HashSource`] and checked strictly;
//! - [`tile`]: C2SP tlog-tiles: names and bytes of hash tiles and entry bundles;
//! - [`tile_hashes`]: the [`HashSource`] that reads tiles;
//! - [`note`]: C2SP signed-note with Ed25519 keys;
//! - [`checkpoint`]: C2SP tlog-checkpoint: origin, size and root, and their signed form.

pub mod checkpoint;
pub mod growth;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tile_hashes;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use growth::Growth;
pub use merkle::{EMPTY_ROOT, Hash, RightEdge, leaf_hash, node_hash};
pub use note::{Note, NoteError, VerifierKey};
pub use proof::{
    HashSource, ProofError, consistency_proof, inclusion_proof, tree_root, verify_consistency,
    verify_inclusion,
};
pub use tile::{BundleId, TileError, TileId};
pub use tile_hashes::{TileHashes, TileSource};

#[cfg(test)]
mod tests;
