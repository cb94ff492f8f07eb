//! The promises of the log on disk, each with the fault that would break it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_core::log::{Growth, RightEdge, leaf_hash};
use tempfile::TempDir;

use self::breaking::BreakingDisk;
pub(crate) use self::breaking::Orders;
use super::disk::FileDisk;
use super::{LogError, LogKey, LogStore, Opened, TileDir, open};

mod breaking;
mod crash;
mod damage;
mod faults;
mod publishing;
mod reading;

const ORIGIN: &str = "ca.example/1";
/// A segment so short that rotation comes often, and one so long that it never comes.
const SHORT: u64 = 4_000;
const LONG: u64 = u64::MAX;

/// A log on a disk that takes orders, for the tests of what is built on logs.
pub(crate) fn breaking_store(log: &Path, journal: &Path, key: LogKey) -> (LogStore, Orders) {
    let (disk, orders) = BreakingDisk::new(FileDisk::open(log, journal).unwrap());
    let (tiles, journal) = (TileDir::new(log), journal.to_path_buf());
    let (store, _) = open::open(Box::new(disk), tiles, journal, key, LONG).unwrap();
    (store, orders)
}

/// The two folders of a log that is thrown away.
struct Folders {
    dir: TempDir,
}

impl Folders {
    fn new() -> Folders {
        Folders { dir: TempDir::new().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn tiles(&self) -> TileDir {
        TileDir::new(self.log())
    }

    fn open(&self) -> Result<(LogStore, Opened), LogError> {
        LogStore::open(&self.log(), &self.journal(), key(1))
    }

    fn store(&self) -> LogStore {
        self.open().unwrap().0
    }

    /// A store on a disk that takes orders, with segments of this length.
    fn breaking(&self, segment_limit: u64) -> Result<(LogStore, Orders), LogError> {
        let disk = FileDisk::open(&self.log(), &self.journal())?;
        let (disk, orders) = BreakingDisk::new(disk);
        let (store, _) =
            open::open(Box::new(disk), self.tiles(), self.journal(), key(1), segment_limit)?;
        orders.forget();
        Ok((store, orders))
    }

    /// The one journal segment there is.
    fn segment(&self) -> PathBuf {
        let found: Vec<_> =
            fs::read_dir(self.journal()).unwrap().map(|item| item.unwrap().path()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// The same two folders in another place, as a disk shows them after a crash.
    fn copy(&self) -> Folders {
        let copy = Folders::new();
        copy_tree(&self.log(), &copy.log());
        copy_tree(&self.journal(), &copy.journal());
        copy
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy_tree(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

fn key(seed: u8) -> LogKey {
    LogKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
}

fn entry(index: u64) -> Vec<u8> {
    format!(
        "{{\"v\":1,\"type\":\"test\",\"index\":{index},\"pad\":\"{:1$}\"}}",
        "",
        index as usize % 97
    )
    .into_bytes()
}

fn batch(first: u64, count: u64) -> Vec<Vec<u8>> {
    (first..first + count).map(entry).collect()
}

/// The tree over the first entries, all in memory: what the log must agree with.
fn model(size: u64) -> Growth {
    Growth::new(&RightEdge::empty(), (0..size).map(|index| leaf_hash(&entry(index))).collect())
}

/// Checks all a reader can see of a log of this size: checkpoint, root from tiles, every entry.
#[track_caller]
fn assert_published(folders: &Folders, size: u64) {
    let tiles = folders.tiles();
    let checkpoint = tiles.checkpoint(key(1).verifier()).unwrap();
    assert_eq!(checkpoint.checkpoint().size(), size);
    assert_readable(&tiles, size, checkpoint.checkpoint().root());
}

#[track_caller]
fn assert_readable(tiles: &TileDir, size: u64, root: jit_ssh_core::log::Hash) {
    assert_eq!(root, model(size).edge().root());
    assert_eq!(tiles.root(size).unwrap(), root);
    let mut edge = RightEdge::empty();
    for item in tiles.entries(0..u64::MAX, size) {
        let (index, bytes) = item.unwrap();
        assert_eq!((index, &bytes), (edge.size(), &entry(index)));
        edge.push(leaf_hash(&bytes));
    }
    assert_eq!((edge.size(), edge.root()), (size, root));
}
