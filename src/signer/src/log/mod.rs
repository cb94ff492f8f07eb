//! The signer's log on disk: durable before anyone signs, readable by everyone, never shorter.
//!
//! The *journal* (private, one file) is the truth for entries whose tiles are not yet known to be
//! on the disk: a batch is one write and one fdatasync. The *tiles* (public, C2SP tlog-tiles) are
//! written from memory afterwards, without waiting for the disk, and the checkpoint after them.
//! When the journal has grown, the tiles are synced and a new journal starts at that size, its
//! *base*. After a crash the journal is replayed over the tiles of its base.
//!
//! - `store`, [`LogStore`]: append, publish, rotate, read;
//! - `open`, [`Opened`]: recovery, and all that must hold before the first append;
//! - `record`, `journal`: the bytes of the journal, and its one promise: durable or healed;
//! - `shelf`: tiles and bundles in the making;
//! - `tile_dir`, [`TileDir`]: the public folder, read by front and auditors;
//! - `entries`: entries as a stream, forwards and backwards;
//! - `disk`: everything asked of the disk, in one trait that tests can break;
//! - `key`, `error`: the log key; what can go wrong, by whose fault it is.

mod disk;
mod entries;
mod error;
mod journal;
mod key;
mod open;
mod record;
mod shelf;
mod store;
mod tile_dir;

pub use entries::Entries;
pub use error::{Fault, LogError};
pub use key::LogKey;
pub use open::Opened;
pub use store::{Committed, LogStore};
pub use tile_dir::TileDir;

#[cfg(test)]
pub(crate) mod tests;
