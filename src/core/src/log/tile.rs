//! C2SP tlog-tiles: how the tree is cut into files, how these are called, and what is in them.

use std::fmt;
use std::str::FromStr;

use super::merkle::Hash;

/// Levels of the tree in one tile.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes in a full tile and entries in a full bundle.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;
/// Bytes the longest entry of a bundle may have: its length is a uint16.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// Why tile coordinates, a tile's path or a tile's bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Level above 63, or width not in 1 to 256.
    #[error("a tile has a level of 0 to 63 and a width of 1 to 256")]
    Coordinates,
    /// Not a path as tlog-tiles writes it.
    #[error("`{0}` is not the path of a tile or an entry bundle")]
    Path(String),
    /// The tile is not as many hashes as its width says.
    #[error("a tile of width {width} has {bytes} bytes")]
    TileLength {
        /// Hashes there should be.
        width: u16,
        /// Bytes there are.
        bytes: usize,
    },
    /// An entry does not fit the bundle's length prefix.
    #[error("an entry of {0} bytes is longer than the 65535 a bundle can hold")]
    EntryTooLong(usize),
    /// The bundle ends inside an entry.
    #[error("the entry bundle ends inside an entry")]
    BundleCut,
    /// The bundle holds more or fewer entries than its width says.
    #[error("an entry bundle of width {width} holds {entries} entries")]
    BundleWidth {
        /// Entries there should be.
        width: u16,
        /// Entries there are.
        entries: usize,
    },
}

/// Names one tile of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// Names one bundle of entries; entry `index * 256` comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    index: u64,
    width: u16,
}

impl TileId {
    /// Names a tile: `level` 0 holds leaf hashes, each higher one the roots of full tiles below.
    ///
    /// # Errors
    ///
    /// [`TileError::Coordinates`].
    pub fn new(level: u8, index: u64, width: u16) -> Result<TileId, TileError> {
        let good = level <= 63 && (1..=TILE_WIDTH).contains(&width);
        good.then_some(TileId { level, index, width }).ok_or(TileError::Coordinates)
    }

    /// The tile as wide as it is in a tree of `size` entries; `None` where it is not yet begun.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<TileId> {
        let hashes = size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT))?;
        let width = width_at(index, hashes)?;
        Some(TileId { level, index, width })
    }

    /// Which storey of tiles, from the leaves up.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Place within the level, from the left.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes in the tile, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The same tile when it is full.
    pub fn full(&self) -> TileId {
        TileId { width: TILE_WIDTH, ..*self }
    }

    /// The path below the log's prefix, such as `tile/0/x001/234.p/5`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, numbered(self.index, self.width))
    }

    /// The folder that holds the partial forms of this tile.
    pub fn partials(&self) -> String {
        format!("tile/{}/{}.p", self.level, numbered(self.index, TILE_WIDTH))
    }
}

impl BundleId {
    /// Names a bundle.
    ///
    /// # Errors
    ///
    /// [`TileError::Coordinates`].
    pub fn new(index: u64, width: u16) -> Result<BundleId, TileError> {
        let good = (1..=TILE_WIDTH).contains(&width);
        good.then_some(BundleId { index, width }).ok_or(TileError::Coordinates)
    }

    /// The bundle as wide as it is in a tree of `size` entries; `None` where it is not yet begun.
    pub fn in_tree(index: u64, size: u64) -> Option<BundleId> {
        width_at(index, size).map(|width| BundleId { index, width })
    }

    /// Place among the bundles, from the oldest.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Entries in the bundle, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The path below the log's prefix, such as `tile/entries/x001/234.p/5`.
    pub fn path(&self) -> String {
        format!("tile/entries/{}", numbered(self.index, self.width))
    }

    /// The folder that holds the partial forms of this bundle.
    pub fn partials(&self) -> String {
        format!("tile/entries/{}.p", numbered(self.index, TILE_WIDTH))
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl FromStr for TileId {
    type Err = TileError;

    fn from_str(path: &str) -> Result<TileId, TileError> {
        let refused = || TileError::Path(path.to_owned());
        let (level, rest) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or_else(refused)?;
        let level = decimal(level).and_then(|level| u8::try_from(level).ok());
        let (index, width) = parse_numbered(rest).ok_or_else(refused)?;
        TileId::new(level.ok_or_else(refused)?, index, width).map_err(|_| refused())
    }
}

impl FromStr for BundleId {
    type Err = TileError;

    fn from_str(path: &str) -> Result<BundleId, TileError> {
        let refused = || TileError::Path(path.to_owned());
        let rest = path.strip_prefix("tile/entries/").ok_or_else(refused)?;
        let (index, width) = parse_numbered(rest).ok_or_else(refused)?;
        BundleId::new(index, width).map_err(|_| refused())
    }
}

/// The hashes in a tile's bytes.
///
/// # Errors
///
/// [`TileError::TileLength`] unless there are exactly `width` of them.
pub fn parse_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        return Err(TileError::TileLength { width, bytes: bytes.len() });
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// Appends one entry to a bundle's bytes.
///
/// # Errors
///
/// [`TileError::EntryTooLong`]; `bundle` is then unchanged.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries in a bundle's bytes, however many they are.
///
/// # Errors
///
/// [`TileError::BundleCut`].
pub fn split_entries(mut bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(TileError::BundleCut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(TileError::BundleCut)?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The entries in a bundle's bytes.
///
/// # Errors
///
/// [`TileError::BundleCut`], or [`TileError::BundleWidth`] unless there are exactly `width`.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let entries = split_entries(bytes)?;
    if entries.len() != usize::from(width) {
        return Err(TileError::BundleWidth { width, entries: entries.len() });
    }
    Ok(entries)
}

/// How many of `items` in all fall to tile `index`.
fn width_at(index: u64, items: u64) -> Option<u16> {
    let before = index.checked_mul(TILE_WIDTH.into())?;
    match items.saturating_sub(before).min(TILE_WIDTH.into()) {
        0 => None,
        width => u16::try_from(width).ok(),
    }
}

/// `<N>[.p/<W>]`: the index in zero-padded groups of three digits, all but the last with an `x`.
fn numbered(index: u64, width: u16) -> String {
    let mut name = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    if width == TILE_WIDTH { name } else { format!("{name}.p/{width}") }
}

/// Reads `<N>[.p/<W>]`; only the one way [`numbered`] writes it is accepted.
fn parse_numbered(text: &str) -> Option<(u64, u16)> {
    let (name, width) = match text.split_once(".p/") {
        Some((name, width)) => (name, u16::try_from(decimal(width)?).ok()?),
        None => (text, TILE_WIDTH),
    };
    let mut index = 0u64;
    for group in name.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    (numbered(index, width) == text).then_some((index, width))
}

/// Reads a decimal number without sign or leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
