//! Opening a log: what is on the disk is checked first, then what a crash left undone is done.
//!
//! Nothing is changed before all checks have passed, but for the folders and the very first
//! segment of a new log.

use std::path::PathBuf;

use jit_ssh_core::log::tile::{TILE_WIDTH, parse_tile, split_entries};
use jit_ssh_core::log::{
    BundleId, EMPTY_ROOT, Growth, Hash, HashSource as _, RightEdge, SignedCheckpoint, TileHashes,
    TileId, leaf_hash, merkle, tree_root,
};

use super::disk::Disk;
use super::error::LogError;
use super::journal::Journal;
use super::key::LogKey;
use super::shelf::Shelf;
use super::store::{LogStore, WAITING_LIMIT, sign};
use super::tile_dir::TileDir;

/// What was found when a log was opened, for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Entries in the log.
    pub size: u64,
    /// Entries in synced tiles; the others were read from the journal.
    pub base: u64,
    /// Whether the log is new.
    pub created: bool,
    /// Bytes of an unfinished batch that were cut off the journal. Nobody was told it was done.
    pub torn_bytes: u64,
    /// Public files that were not as they should be and were written again from the journal.
    /// After a power failure some may be; at other times ask who changed them.
    pub repaired: Vec<String>,
}

/// Opens a log on any disk. `journal_dir` is only named in messages.
pub(super) fn open(
    disk: Box<dyn Disk>,
    tiles: TileDir,
    journal_dir: PathBuf,
    key: LogKey,
    segment_limit: u64,
) -> Result<(LogStore, Opened), LogError> {
    let mut segments = disk.segments().map_err(LogError::io("list", &journal_dir))?;
    let newest = segments.pop();
    let published = published(&tiles, &key)?;
    let mut journal = match newest {
        Some(base) => Journal::open(disk, base)?,
        None if tiles.is_begun() => {
            let log = tiles.path().clone();
            return Err(LogError::JournalMissing { log, journal: journal_dir });
        }
        None => Journal::create(disk, EMPTY_ROOT)?,
    };

    let base = base_edge(&journal, &tiles)?;
    let (edge, good_until) = recover(&journal, &tiles, base, published.as_ref())?;
    let torn_bytes = journal.length().saturating_sub(good_until);
    journal.cut(good_until);
    // Batches that another process wrote and never synced are not durable yet.
    journal.heal()?;

    let (mut shelf, repaired) = replay_tiles(&mut journal, &tiles)?;
    for old in segments {
        // A crash came between the start of the newest segment and the end of this one.
        shelf.spend(old);
        journal
            .disk
            .drop_segment(old)
            .map_err(LogError::io("remove an old segment of", &journal_dir))?;
    }
    let opened = Opened {
        size: edge.size(),
        base: journal.base,
        created: newest.is_none(),
        torn_bytes,
        repaired,
    };
    let latest = sign(&key, &edge)?;
    let mut store = LogStore {
        journal,
        tiles,
        key,
        shelf,
        edge,
        latest,
        published: None,
        publish_due: false,
        tiles_in_doubt: false,
        segment_limit,
        record: Vec::new(),
    };
    store.publish()?;
    Ok((store, opened))
}

/// The published checkpoint, if there is one.
fn published(tiles: &TileDir, key: &LogKey) -> Result<Option<SignedCheckpoint>, LogError> {
    match tiles.checkpoint_note()? {
        // A file renamed shortly before a power failure can come back empty or as zeros.
        Some(note) if note.iter().any(|byte| *byte != 0) => {
            SignedCheckpoint::open(&note, key.verifier()).map(Some).map_err(LogError::OtherLog)
        }
        _ => Ok(None),
    }
}

/// The edge of the tree at the journal's base, from tiles that are checked on the way: their
/// hashes lead to the base's root, and the last entries to their hashes.
fn base_edge(journal: &Journal, tiles: &TileDir) -> Result<RightEdge, LogError> {
    let base = journal.base;
    let hashes = TileHashes::new(tiles, base);
    let edge = RightEdge::from_peaks(base, |level| hashes.node(level, (base >> level) - 1))?;
    if edge.root() != journal.base_root {
        let what = format!("the tiles do not have the root of the {base} entries they should hold");
        return Err(LogError::Corrupt(what));
    }
    let Some(last) = base.checked_sub(1) else {
        return Ok(edge);
    };
    let width = u64::from(TILE_WIDTH);
    if let Some(id) = BundleId::in_tree(last / width, base) {
        let leaves = check_bundle(tiles, id, &tiles.bundle(id)?)?;
        // A full tile is not on the edge itself: its root is, one level up.
        if id.width() == TILE_WIDTH
            && merkle::subtree_root(&leaves) != Some(hashes.node(8, id.index())?)
        {
            return Err(LogError::Corrupt(format!("{id} does not lead to the root of the log")));
        }
    }
    Ok(edge)
}

/// Checks that the entries of a bundle hash to the tile over them; gives these hashes.
pub(super) fn check_bundle(
    tiles: &TileDir,
    id: BundleId,
    bytes: &[u8],
) -> Result<Vec<Hash>, LogError> {
    let tile = tiles.tile_bytes(TileId::new(0, id.index(), id.width())?)?;
    let hashes = parse_tile(&tile, id.width())?;
    if split_entries(bytes)?.into_iter().map(leaf_hash).eq(hashes.iter().copied()) {
        Ok(hashes)
    } else {
        Err(LogError::Corrupt(format!("{id} does not hash to its tile")))
    }
}

/// Reads the journal without changing anything, and holds the published checkpoint against it
/// (I7). Gives the edge after the last batch, and where that ends in the segment.
fn recover(
    journal: &Journal,
    tiles: &TileDir,
    mut edge: RightEdge,
    published: Option<&SignedCheckpoint>,
) -> Result<(RightEdge, u64), LogError> {
    let published = published.map(SignedCheckpoint::checkpoint);
    let wanted = published.map(|checkpoint| checkpoint.size());
    let mut found = match wanted {
        Some(size) if size == edge.size() => Some(edge.root()),
        Some(size) if size < edge.size() => {
            Some(tree_root(&TileHashes::new(tiles, edge.size()), size)?)
        }
        _ => None,
    };
    let mut cursor = journal.start();
    while let Some(payload) = journal.next_payload(&mut cursor)? {
        for entry in split_entries(&payload)? {
            edge.push(leaf_hash(entry));
            if wanted == Some(edge.size()) {
                found = Some(edge.root());
            }
        }
    }
    match (published, found) {
        (None, _) => Ok((edge, cursor.at)),
        (Some(checkpoint), Some(root)) if checkpoint.root() == root => Ok((edge, cursor.at)),
        (Some(checkpoint), Some(_)) => Err(LogError::Forked(checkpoint.size())),
        (Some(checkpoint), None) => {
            Err(LogError::Shrunk { published: checkpoint.size(), recovered: edge.size() })
        }
    }
}

/// Writes all tiles since the journal's base again, whatever lies there; names those that were
/// there and different. Equal ones are written too: after a failed sync the cache may be right and
/// the disk not. The checkpoint is left to the caller.
pub(super) fn replay_tiles(
    journal: &mut Journal,
    tiles: &TileDir,
) -> Result<(Shelf, Vec<String>), LogError> {
    let mut shelf = Shelf::at(tiles, journal.base)?;
    let mut edge = base_edge(journal, tiles)?;
    let mut repaired = Vec::new();
    let mut cursor = journal.start();
    while let Some(payload) = journal.next_payload(&mut cursor)? {
        let entries = split_entries(&payload)?;
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let growth = Growth::new(&edge, leaves);
        shelf.extend(&growth, entries)?;
        edge = growth.edge().clone();
        if shelf.waiting() > WAITING_LIMIT {
            shelf.place_full(&mut place_again(&mut *journal.disk, tiles, &mut repaired))?;
        }
    }
    shelf.place_all(&mut place_again(&mut *journal.disk, tiles, &mut repaired))?;
    shelf.adopt(tiles, &mut *journal.disk)?;
    Ok((shelf, repaired))
}

fn place_again<'a>(
    disk: &'a mut dyn Disk,
    tiles: &'a TileDir,
    repaired: &'a mut Vec<String>,
) -> impl FnMut(&str, &[u8]) -> Result<(), LogError> + 'a {
    move |path, bytes| {
        if tiles.read(path)?.is_some_and(|there| there != bytes) {
            repaired.push(path.to_owned());
        }
        disk.place(path, bytes).map_err(LogError::io("publish", path))
    }
}
