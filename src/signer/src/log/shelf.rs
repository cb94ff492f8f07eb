//! Tiles and bundles in the making: all of the public log that is not yet in its files.

use std::collections::VecDeque;

use jit_ssh_core::log::tile::{TILE_HEIGHT, TILE_WIDTH, push_entry};
use jit_ssh_core::log::{BundleId, Growth, TileId};

use super::disk::Disk;
use super::error::LogError;
use super::tile_dir::TileDir;

/// How many partial forms of a tile stay for those who read an earlier checkpoint. A reader who
/// comes later still finds a wider one, of which his is the beginning.
const PARTIALS_KEPT: usize = 8;

/// Puts one public file in place: path and bytes.
pub(super) type Place<'a> = dyn FnMut(&str, &[u8]) -> Result<(), LogError> + 'a;

/// The tiles of all levels and the entry bundles, each with its unfinished last one.
pub(super) struct Shelf {
    entries: Column,
    levels: Vec<Column>,
}

/// A row of tiles of one kind, from the first that is not yet placed.
struct Column {
    kind: Kind,
    /// Which tile is in the making, how wide it is by now, and its bytes.
    index: u64,
    width: u16,
    bytes: Vec<u8>,
    /// Full ones waiting to be placed; the last is the one before `index`.
    full: VecDeque<Vec<u8>>,
    /// Widths in which tile `index` lies on the disk, ascending.
    partials: VecDeque<u16>,
    /// Full and placed, but their partial forms are still to be removed.
    spent: Vec<u64>,
    /// The partial form the journal's base rests on: index and width. It alone is known to be
    /// durable, so it stays until the next rotation.
    pinned: Option<(u64, u16)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Hashes { level: u8 },
    Entries,
}

impl Shelf {
    /// The shelf of a tree of `size` entries whose tiles are on the disk and checked.
    pub(super) fn at(tiles: &TileDir, size: u64) -> Result<Shelf, LogError> {
        let mut entries = Column::new(Kind::Entries, size);
        if entries.width > 0 {
            entries.bytes = tiles.bundle(BundleId::new(entries.index, entries.width)?)?;
        }
        let mut levels = Vec::new();
        for level in (0u8..).take_while(|level| nodes_at(size, *level) > 0) {
            let mut column = Column::new(Kind::Hashes { level }, nodes_at(size, level));
            if column.width > 0 {
                let id = TileId::new(level, column.index, column.width)?;
                column.bytes = tiles.tile_bytes(id)?;
            }
            levels.push(column);
        }
        Ok(Shelf { entries, levels })
    }

    /// Takes up what one batch adds. The entries are known to fit.
    pub(super) fn extend<'a>(
        &mut self,
        growth: &Growth,
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), LogError> {
        for entry in entries {
            self.entries.push(|bytes| Ok(push_entry(bytes, entry)?))?;
        }
        for level in 0u8.. {
            let nodes = growth.new_nodes(level.saturating_mul(TILE_HEIGHT));
            if nodes.is_empty() {
                break;
            }
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Column::new(Kind::Hashes { level }, 0));
            }
            let Some(column) = self.levels.get_mut(usize::from(level)) else {
                break;
            };
            for node in nodes {
                column.push(|bytes| {
                    bytes.extend_from_slice(&node.0);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Bytes of full tiles and bundles that wait for [`Shelf::place_full`].
    pub(super) fn waiting(&self) -> usize {
        self.columns().flat_map(|column| &column.full).map(Vec::len).sum()
    }

    /// Places the full tiles and bundles.
    pub(super) fn place_full(&mut self, place: &mut Place<'_>) -> Result<(), LogError> {
        self.columns_mut().try_for_each(|column| column.place_full(place))
    }

    /// Places everything, unfinished tiles in the width they have.
    pub(super) fn place_all(&mut self, place: &mut Place<'_>) -> Result<(), LogError> {
        self.place_full(place)?;
        self.columns_mut().try_for_each(|column| column.place_partial(place))
    }

    /// Removes partial forms nobody needs.
    pub(super) fn prune(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        self.columns_mut().try_for_each(|column| column.prune(disk))
    }

    /// Keeps the present partial forms for the journal's new base, and no longer those of the
    /// old one.
    pub(super) fn pin(&mut self) {
        self.columns_mut().for_each(Column::pin);
    }

    /// Finds the partial forms that earlier runs left of the unfinished tiles; drops those that
    /// are not the beginning of what is now known to be right.
    pub(super) fn adopt(&mut self, tiles: &TileDir, disk: &mut dyn Disk) -> Result<(), LogError> {
        self.columns_mut().try_for_each(|column| column.adopt(tiles, disk))
    }

    /// Marks the partial forms of full tiles as spent: those an older base rested on.
    pub(super) fn spend(&mut self, base: u64) {
        for column in self.columns_mut() {
            let old = Column::new(column.kind, column.kind.items(base));
            if old.width > 0 && old.index < column.index {
                column.spent.push(old.index);
            }
        }
    }

    /// The bytes of a bundle that is not yet placed in full.
    pub(super) fn bundle(&self, index: u64) -> Option<&[u8]> {
        let column = &self.entries;
        if index == column.index {
            return Some(&column.bytes);
        }
        let behind = usize::try_from(column.index.checked_sub(index)?).ok()?;
        column.full.get(column.full.len().checked_sub(behind)?).map(Vec::as_slice)
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.entries).chain(&self.levels)
    }

    fn columns_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        std::iter::once(&mut self.entries).chain(&mut self.levels)
    }
}

impl Column {
    /// A row of `items` hashes or entries, the bytes of the unfinished tile still missing.
    fn new(kind: Kind, items: u64) -> Column {
        let (index, width) = (items / u64::from(TILE_WIDTH), items % u64::from(TILE_WIDTH));
        let width = u16::try_from(width).unwrap_or(0);
        Column {
            kind,
            index,
            width,
            bytes: Vec::new(),
            full: VecDeque::new(),
            partials: VecDeque::new(),
            spent: Vec::new(),
            pinned: (width > 0).then_some((index, width)),
        }
    }

    fn push(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        write(&mut self.bytes)?;
        self.width += 1;
        if self.width == TILE_WIDTH {
            self.full.push_back(std::mem::take(&mut self.bytes));
            self.partials.clear();
            self.width = 0;
            self.index += 1;
        }
        Ok(())
    }

    fn place_full(&mut self, place: &mut Place<'_>) -> Result<(), LogError> {
        while let Some(bytes) = self.full.front() {
            let index = self.index.saturating_sub(self.full.len() as u64);
            place(&self.kind.path(index, TILE_WIDTH)?, bytes)?;
            self.full.pop_front();
            self.spent.push(index);
        }
        Ok(())
    }

    fn place_partial(&mut self, place: &mut Place<'_>) -> Result<(), LogError> {
        if self.width > 0 && self.partials.back() != Some(&self.width) {
            place(&self.kind.path(self.index, self.width)?, &self.bytes)?;
            self.partials.push_back(self.width);
        }
        Ok(())
    }

    fn prune(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        let pinned = self.pinned;
        let loose = |index: u64, width: u16| pinned != Some((index, width));
        while self.partials.iter().filter(|width| loose(self.index, **width)).count()
            > PARTIALS_KEPT
        {
            let Some(place) = self.partials.iter().position(|width| loose(self.index, *width))
            else {
                break;
            };
            if let Some(width) = self.partials.get(place) {
                discard(disk, &self.kind.path(self.index, *width)?)?;
            }
            self.partials.remove(place);
        }
        while let Some(place) =
            self.spent.iter().position(|index| pinned.is_none_or(|(pin, _)| pin != *index))
        {
            if let Some(index) = self.spent.get(place) {
                discard(disk, &self.kind.partials(*index)?)?;
            }
            self.spent.swap_remove(place);
        }
        Ok(())
    }

    fn pin(&mut self) {
        self.pinned = (self.width > 0).then_some((self.index, self.width));
    }

    fn adopt(&mut self, tiles: &TileDir, disk: &mut dyn Disk) -> Result<(), LogError> {
        self.partials.clear();
        for width in tiles.widths(&self.kind.partials(self.index)?)? {
            let path = self.kind.path(self.index, width)?;
            let known = tiles.read(&path)?.is_some_and(|bytes| {
                width <= self.width
                    && self.bytes.starts_with(&bytes)
                    && self.kind.count(&bytes) == Some(usize::from(width))
            });
            match known {
                true => self.partials.push_back(width),
                false => discard(disk, &path)?,
            }
        }
        Ok(())
    }
}

impl Kind {
    fn path(self, index: u64, width: u16) -> Result<String, LogError> {
        Ok(match self {
            Kind::Hashes { level } => TileId::new(level, index, width)?.path(),
            Kind::Entries => BundleId::new(index, width)?.path(),
        })
    }

    fn partials(self, index: u64) -> Result<String, LogError> {
        Ok(match self {
            Kind::Hashes { level } => TileId::new(level, index, TILE_WIDTH)?.partials(),
            Kind::Entries => BundleId::new(index, TILE_WIDTH)?.partials(),
        })
    }

    /// How many hashes or entries of this kind a tree of `size` entries has.
    fn items(self, size: u64) -> u64 {
        match self {
            Kind::Hashes { level } => nodes_at(size, level),
            Kind::Entries => size,
        }
    }

    fn count(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Kind::Hashes { .. } => {
                let (hashes, rest) = bytes.as_chunks::<{ jit_ssh_core::log::Hash::LEN }>();
                rest.is_empty().then_some(hashes.len())
            }
            Kind::Entries => {
                jit_ssh_core::log::tile::split_entries(bytes).ok().map(|entries| entries.len())
            }
        }
    }
}

/// Hashes at a level of tiles in a tree of `size` entries.
fn nodes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

fn discard(disk: &mut dyn Disk, path: &str) -> Result<(), LogError> {
    disk.discard(path).map_err(LogError::io("remove", path))
}
