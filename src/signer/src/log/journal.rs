//! The journal: a batch is durable or it is not there.

use std::path::PathBuf;

use jit_ssh_core::log::Hash;
use jit_ssh_core::log::tile::split_entries;

use super::disk::Disk;
use super::error::LogError;
use super::record::{
    RECORD_HEADER, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER, parse_segment_header, segment_header,
};

/// The current journal segment, and the disk it lies on.
pub(super) struct Journal {
    pub(super) disk: Box<dyn Disk>,
    /// Entries the segment builds on, all of them in synced tiles.
    pub(super) base: u64,
    /// The root over these.
    pub(super) base_root: Hash,
    /// Bytes of the segment that are good; durable once it has been synced.
    length: u64,
    /// Whether something may lie behind `length`, or `length` may not be durable.
    dirty: bool,
}

impl Journal {
    /// Starts the first journal of a log.
    pub(super) fn create(mut disk: Box<dyn Disk>, base_root: Hash) -> Result<Journal, LogError> {
        let header = segment_header(0, base_root);
        disk.start_segment(0, &header).map_err(journal_io("start"))?;
        Ok(Journal { disk, base: 0, base_root, length: header.len() as u64, dirty: false })
    }

    /// Takes up an existing segment; its records are still to be read.
    pub(super) fn open(mut disk: Box<dyn Disk>, base: u64) -> Result<Journal, LogError> {
        let length = disk.open_segment(base).map_err(journal_io("open"))?;
        let damaged = || LogError::Corrupt("the header of the journal is not valid".into());
        let mut header = [0; SEGMENT_HEADER];
        if length < SEGMENT_HEADER as u64 {
            return Err(damaged());
        }
        disk.read_at(&mut header, 0).map_err(journal_io("read"))?;
        match parse_segment_header(&header) {
            Some((named, base_root)) if named == base => {
                Ok(Journal { disk, base, base_root, length, dirty: true })
            }
            _ => Err(damaged()),
        }
    }

    /// Bytes in the segment.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Makes one record durable: one write, one fdatasync, after healing if that is due.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), LogError> {
        self.heal()?;
        self.dirty = true;
        self.disk.append(record).map_err(journal_io("write"))?;
        // After a failed fdatasync the page cache no longer tells what is on the disk, so what
        // was written is cut off and written anew, never synced again.
        self.disk.sync().map_err(journal_io("sync"))?;
        self.length += record.len() as u64;
        self.dirty = false;
        Ok(())
    }

    /// Cuts what a failed append may have left.
    pub(super) fn heal(&mut self) -> Result<(), LogError> {
        if self.dirty {
            self.disk.truncate(self.length).map_err(journal_io("heal"))?;
            self.disk.sync().map_err(journal_io("sync"))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Cuts a torn tail, to be healed away.
    pub(super) fn cut(&mut self, length: u64) {
        self.length = length;
        self.dirty = true;
    }

    /// Moves on to a new segment. On an error the caller must not append before a later try has
    /// succeeded: the new segment may be there, and would hide what the old one gets.
    pub(super) fn rotate(&mut self, base: u64, base_root: Hash) -> Result<(), LogError> {
        let header = segment_header(base, base_root);
        self.disk.start_segment(base, &header).map_err(journal_io("start"))?;
        let length = header.len() as u64;
        (self.base, self.base_root, self.length, self.dirty) = (base, base_root, length, false);
        Ok(())
    }

    /// A cursor before the oldest batch.
    pub(super) fn start(&self) -> Cursor {
        Cursor { at: SEGMENT_HEADER as u64, next_index: self.base }
    }

    /// The payload of the next batch, or `None` at the end, or where only a torn record is left.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] where a record that is not valid has a valid one behind it: that is
    /// no torn write, and to go on would drop entries that were acted on.
    pub(super) fn next_payload(&self, cursor: &mut Cursor) -> Result<Option<Vec<u8>>, LogError> {
        let at = cursor.at;
        if at >= self.length {
            return Ok(None);
        }
        let Some((header, payload)) = self.record_at(at)? else {
            return match self.valid_record_behind(at)? {
                false => Ok(None),
                true => {
                    let what =
                        format!("the journal record at byte {at} is not valid, later ones are");
                    Err(LogError::Corrupt(what))
                }
            };
        };
        let count = match split_entries(&payload) {
            Ok(entries) if header.first == cursor.next_index && !entries.is_empty() => {
                entries.len()
            }
            _ => {
                let what = format!("the journal record at byte {at} does not continue the log");
                return Err(LogError::Corrupt(what));
            }
        };
        cursor.at += (RECORD_HEADER + payload.len()) as u64;
        cursor.next_index += count as u64;
        Ok(Some(payload))
    }

    /// The record that begins at a byte, if a whole and valid one does.
    fn record_at(&self, at: u64) -> Result<Option<(RecordHeader, Vec<u8>)>, LogError> {
        let left = self.length.saturating_sub(at);
        if left < RECORD_HEADER as u64 {
            return Ok(None);
        }
        let mut head = [0; RECORD_HEADER];
        self.disk.read_at(&mut head, at).map_err(journal_io("read"))?;
        let header = match RecordHeader::parse(&head) {
            Some(header) if u64::from(header.length) <= left - RECORD_HEADER as u64 => header,
            _ => return Ok(None),
        };
        let mut payload = vec![0; usize::try_from(header.length).unwrap_or(0)];
        self.disk.read_at(&mut payload, at + RECORD_HEADER as u64).map_err(journal_io("read"))?;
        Ok(header.fits(&payload).then_some((header, payload)))
    }

    fn valid_record_behind(&self, at: u64) -> Result<bool, LogError> {
        let start = at + 1;
        let left = usize::try_from(self.length.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut rest = vec![0; left];
        self.disk.read_at(&mut rest, start).map_err(journal_io("read"))?;
        let candidates = rest.windows(RECORD_MAGIC.len()).enumerate();
        for (place, _) in candidates.filter(|(_, window)| *window == RECORD_MAGIC) {
            if self.record_at(start + place as u64)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A place between two batches of a segment.
pub(super) struct Cursor {
    /// Byte at which the next record begins; all before it is good.
    pub(super) at: u64,
    /// Index of the entry the next record must begin with.
    next_index: u64,
}

fn journal_io(doing: &'static str) -> impl FnOnce(std::io::Error) -> LogError {
    LogError::io(doing, PathBuf::from("the journal"))
}
