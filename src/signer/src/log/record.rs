//! The bytes of a journal segment.
//!
//! ```text
//! segment = header record*
//! header  = magic[8] version:u32 base:u64 root[32] checksum[16]
//! record  = magic[4] length:u32 first:u64 checksum[16] payload[length]
//! payload = (length:u16 entry)+
//! ```
//!
//! Numbers are big-endian; a checksum is a SHA-256 cut to 16 bytes over all that stands beside it
//! but the record's magic; `first` is the log index of the first entry.

use jit_ssh_core::log::Hash;
use jit_ssh_core::log::tile::push_entry;
use sha2::{Digest as _, Sha256};

use super::error::LogError;

const SEGMENT_MAGIC: [u8; 8] = *b"jit-ssh\xff";
const VERSION: u32 = 1;
/// Never in an entry: entries are JSON, and no UTF-8 text has a byte 0xff. So nobody can write an
/// entry that looks like a record behind a torn one.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"\xffrec";

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 8 + 4 + 8 + 32 + 16;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 4 + 4 + 8 + 16;
/// Bytes in the longest payload.
pub(super) const MAX_PAYLOAD: usize = 4 * 1024 * 1024;

/// Writes a segment's header: the tree of `base` entries under `root` is in synced tiles.
pub(super) fn segment_header(base: u64, root: Hash) -> Vec<u8> {
    let mut header = Vec::with_capacity(SEGMENT_HEADER);
    header.extend_from_slice(&SEGMENT_MAGIC);
    header.extend_from_slice(&VERSION.to_be_bytes());
    header.extend_from_slice(&base.to_be_bytes());
    header.extend_from_slice(&root.0);
    let checksum = checksum(&[&header]);
    header.extend_from_slice(&checksum);
    header
}

/// Reads a segment's header: base and root. `None` unless it is exactly as written.
pub(super) fn parse_segment_header(header: &[u8; SEGMENT_HEADER]) -> Option<(u64, Hash)> {
    let (_, rest) = header.split_first_chunk::<12>()?;
    let (base, rest) = rest.split_first_chunk::<8>()?;
    let (root, _) = rest.split_first_chunk::<32>()?;
    let (base, root) = (u64::from_be_bytes(*base), Hash(*root));
    (segment_header(base, root) == header).then_some((base, root))
}

/// Writes the record of one batch into `record`, which is cleared first.
///
/// # Errors
///
/// [`LogError::EmptyBatch`], [`LogError::BatchTooLong`], or an entry that is too long.
pub(super) fn write_record(
    record: &mut Vec<u8>,
    first: u64,
    entries: &[Vec<u8>],
) -> Result<(), LogError> {
    record.clear();
    if entries.is_empty() {
        return Err(LogError::EmptyBatch);
    }
    record.resize(RECORD_HEADER, 0);
    for entry in entries {
        push_entry(record, entry)?;
    }
    let Some((head, payload)) = record.split_first_chunk_mut::<RECORD_HEADER>() else {
        return Err(LogError::EmptyBatch);
    };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if payload.len() > MAX_PAYLOAD {
        return Err(LogError::BatchTooLong(payload.len()));
    }
    *head = RecordHeader::of(length, first, payload);
    Ok(())
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) length: u32,
    pub(super) first: u64,
    checksum: [u8; 16],
}

impl RecordHeader {
    fn of(length: u32, first: u64, payload: &[u8]) -> [u8; RECORD_HEADER] {
        let mut head = [0; RECORD_HEADER];
        let (length, first) = (length.to_be_bytes(), first.to_be_bytes());
        let checksum = checksum(&[&length, &first, payload]);
        let bytes = RECORD_MAGIC.into_iter().chain(length).chain(first).chain(checksum);
        head.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        head
    }

    /// Reads a header; `None` where none can begin.
    pub(super) fn parse(head: &[u8; RECORD_HEADER]) -> Option<RecordHeader> {
        let rest = head.strip_prefix(&RECORD_MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (checksum, _) = rest.split_first_chunk::<16>()?;
        let length = u32::from_be_bytes(*length);
        let first = u64::from_be_bytes(*first);
        let possible = usize::try_from(length).is_ok_and(|length| length <= MAX_PAYLOAD);
        possible.then_some(RecordHeader { length, first, checksum: *checksum })
    }

    /// Whether this payload belongs to the header.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        let (length, first) = (self.length.to_be_bytes(), self.first.to_be_bytes());
        checksum(&[&length, &first, payload]) == self.checksum
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; 16] {
    let hasher = parts.iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part));
    let digest: [u8; 32] = hasher.finalize().into();
    let mut cut = [0; 16];
    cut.iter_mut().zip(digest).for_each(|(place, byte)| *place = byte);
    cut
}
