//! Entries as a stream, one bundle in memory at a time.

use std::ops::{ControlFlow, Range};

use jit_ssh_core::log::tile::{TILE_WIDTH, split_entries};

use super::error::LogError;

type ReadBundle<'a> = dyn Fn(u64) -> Result<Vec<u8>, LogError> + 'a;

/// Entries in order, each with its index. Ends after the first error.
pub struct Entries<'a> {
    read: Box<ReadBundle<'a>>,
    range: Range<u64>,
    bundle: std::vec::IntoIter<Vec<u8>>,
}

impl<'a> Entries<'a> {
    /// Streams `range`; `read` gives the bytes of a bundle by its index.
    pub(super) fn new(
        range: Range<u64>,
        read: impl Fn(u64) -> Result<Vec<u8>, LogError> + 'a,
    ) -> Entries<'a> {
        Entries { read: Box::new(read), range, bundle: Vec::new().into_iter() }
    }

    fn refill(&mut self) -> Result<(), LogError> {
        let (index, skip) = place_of(self.range.start);
        let bytes = (self.read)(index)?;
        let entries: Vec<Vec<u8>> =
            split_entries(&bytes)?.into_iter().skip(skip).map(<[u8]>::to_vec).collect();
        if entries.is_empty() {
            return Err(cut_short(index));
        }
        self.bundle = entries.into_iter();
        Ok(())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(u64, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.bundle.len() == 0
            && let Err(e) = self.refill()
        {
            self.range = 0..0;
            return Some(Err(e));
        }
        let index = self.range.next()?;
        self.bundle.next().map(|entry| Ok((index, entry)))
    }
}

/// Shows the first `size` entries to `visit`, newest first, until it says stop.
pub(super) fn scan_back(
    size: u64,
    read: impl Fn(u64) -> Result<Vec<u8>, LogError>,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let mut end = size;
    while let Some(last) = end.checked_sub(1) {
        let (index, place) = place_of(last);
        let bytes = read(index)?;
        let entries = split_entries(&bytes)?;
        let ours = entries.get(..=place).ok_or_else(|| cut_short(index))?;
        for entry in ours.iter().rev() {
            end = end.saturating_sub(1);
            if visit(end, entry).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// In which bundle an entry is, and where in it.
fn place_of(index: u64) -> (u64, usize) {
    let width = u64::from(TILE_WIDTH);
    (index / width, usize::try_from(index % width).unwrap_or(usize::MAX))
}

fn cut_short(index: u64) -> LogError {
    LogError::Corrupt(format!("entry bundle {index} is cut short"))
}
