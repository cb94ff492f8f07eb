//! Events that the CA has not heard of yet: on disk, in order, at most 10 MiB.
//!
//! A row of segment files, each named by the number of its first event, one JSON object a line. The
//! newest is added to; the oldest is deleted once the CA has taken all of it, or to make room: then what
//! was lost is counted. `head` says which number is the first that the CA has not taken, and the count.
//! A line that a crash cut short is taken off when the spool is opened.
//!
//! Whoever sends the events asks for the [`Spool::oldest`], and says [`Spool::taken`] once the CA has
//! them. If it can not say so any more, they are sent again: their ids tell.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::state::make_dir;
use crate::apply;

/// Most bytes of all segments together.
const MAX_BYTES: u64 = 10 << 20;

/// Bytes after which a segment is closed: what is lost at once where there is no room.
const SEGMENT_BYTES: u64 = 64 << 10;

const SUFFIX: &str = ".jsonl";

/// The spool.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    head: Head,
    /// By the number of their first event.
    segments: BTreeMap<u64, Segment>,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    events: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    v: u32,
    /// The number of the first event that was not taken.
    first: u64,
    /// How many were lost because there was no room.
    dropped: u64,
}

impl Spool {
    /// Opens the spool in `dir`, or makes it.
    ///
    /// # Errors
    /// If it can not be read or made.
    pub(crate) fn open(dir: &Path) -> io::Result<Spool> {
        Spool::open_within(dir, MAX_BYTES)
    }

    fn open_within(dir: &Path, max_bytes: u64) -> io::Result<Spool> {
        make_dir(dir, 0o700)?;
        let mut spool = Spool {
            dir: dir.to_owned(),
            max_bytes,
            head: Head::default(),
            segments: BTreeMap::new(),
        };
        spool.head = match fs::read(spool.head_path()) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Head { v: 1, ..Head::default() },
            Err(e) => return Err(e),
        };
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            if let Some(first) = number {
                let segment = spool.mend(first)?;
                spool.segments.insert(first, segment);
            }
        }
        spool.forget_taken()?;
        Ok(spool)
    }

    /// Counts a segment's events, and takes off a last line that was cut short.
    fn mend(&self, first: u64) -> io::Result<Segment> {
        let path = self.segment_path(first);
        let bytes = fs::read(&path)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(u64::try_from(whole).map_err(io::Error::other)?)?;
            file.sync_all()?;
        }
        let events = bytes.iter().filter(|byte| **byte == b'\n').count();
        let count = |number: usize| u64::try_from(number).map_err(io::Error::other);
        Ok(Segment { events: count(events)?, bytes: count(whole)? })
    }

    /// Adds an event; [`Spool::sync`] makes it durable. Where there is no room, the oldest ones go.
    ///
    /// # Errors
    /// What the disk says; nothing was added then.
    pub(crate) fn push(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let length = u64::try_from(line.len()).map_err(io::Error::other)?;
        self.make_room(length)?;
        let next = self.next();
        let open = self.segments.last_key_value().filter(|(_, last)| last.bytes < SEGMENT_BYTES);
        let first = open.map_or(next, |(first, _)| *first);
        let path = self.segment_path(first);
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let before = self.segments.get(&first).map_or(0, |segment| segment.bytes);
        if let Err(error) = file.write_all(&line) {
            // A part of a line would spoil the next one.
            file.set_len(before)?;
            return Err(error);
        }
        let segment = self.segments.entry(first).or_insert(Segment { events: 0, bytes: 0 });
        segment.events = segment.events.saturating_add(1);
        segment.bytes = segment.bytes.saturating_add(length);
        Ok(())
    }

    /// Makes what was added durable.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if let Some(first) = self.segments.keys().next_back() {
            File::open(self.segment_path(*first))?.sync_data()?;
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    /// The oldest events that were not taken, at most so many, and the number of the first after them.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn oldest(&self, most: usize) -> io::Result<(u64, Vec<Event>)> {
        let (mut next, mut events) = (self.head.first, Vec::new());
        for first in self.segments.keys() {
            let text = fs::read_to_string(self.segment_path(*first))?;
            for (number, line) in (*first..).zip(text.lines()) {
                if events.len() >= most {
                    return Ok((next, events));
                }
                if number >= self.head.first {
                    events.push(serde_json::from_str(line)?);
                    next = number.saturating_add(1);
                }
            }
        }
        Ok((next, events))
    }

    /// Notes that all events before the one of this number were taken.
    ///
    /// # Errors
    /// What the disk says; then they may be offered again.
    pub(crate) fn taken(&mut self, next: u64) -> io::Result<()> {
        let first = self.head.first.max(next).min(self.next());
        self.write_head(Head { first, ..self.head })?;
        self.forget_taken()
    }

    /// How many events were lost since the spool began, because there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.head.dropped
    }

    /// The number of the next event.
    fn next(&self) -> u64 {
        let last = self.segments.last_key_value();
        let end = last.map_or(0, |(first, segment)| first.saturating_add(segment.events));
        end.max(self.head.first)
    }

    fn forget_taken(&mut self) -> io::Result<()> {
        while let Some((first, segment)) = self.segments.first_key_value().map(|(f, s)| (*f, *s))
            && first.saturating_add(segment.events) <= self.head.first
        {
            fs::remove_file(self.segment_path(first))?;
            self.segments.remove(&first);
        }
        Ok(())
    }

    fn make_room(&mut self, length: u64) -> io::Result<()> {
        let mut used: u64 = self.segments.values().map(|segment| segment.bytes).sum();
        while used.saturating_add(length) > self.max_bytes
            && let Some((first, segment)) = self.segments.first_key_value().map(|(f, s)| (*f, *s))
        {
            let end = first.saturating_add(segment.events);
            let lost = end.saturating_sub(self.head.first.max(first));
            let dropped = self.head.dropped.saturating_add(lost);
            self.write_head(Head { first: end.max(self.head.first), dropped, ..self.head })?;
            self.forget_taken()?;
            used = used.saturating_sub(segment.bytes);
        }
        Ok(())
    }

    fn write_head(&mut self, head: Head) -> io::Result<()> {
        apply::replace(&self.head_path(), &serde_json::to_vec(&head)?, 0o600)?;
        self.head = head;
        Ok(())
    }

    fn head_path(&self) -> PathBuf {
        self.dir.join("head")
    }

    fn segment_path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:020}{SUFFIX}"))
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::time::UnixTime;

    use super::*;
    use crate::guard::event::{Cause, Kind};

    fn event(serial: u64) -> Event {
        Event {
            id: format!("{serial:032x}"),
            kind: Kind::End,
            serial,
            key_id: "alice/abcdefghjk/1790000900".into(),
            login: "deploy".into(),
            from: "192.0.2.7".into(),
            at: UnixTime(1_790_000_000),
            cause: Some(Cause::Expired),
        }
    }

    fn serials(spool: &Spool, most: usize) -> Vec<u64> {
        spool.oldest(most).unwrap().1.iter().map(|event| event.serial).collect()
    }

    #[test]
    fn events_come_out_in_order_until_they_are_taken_over_restarts_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        for serial in 0..1_000 {
            spool.push(&event(serial)).unwrap();
        }
        spool.sync().unwrap();
        assert!(spool.segments.len() > 2, "{:?}", spool.segments);
        assert_eq!(serials(&spool, 3), [0, 1, 2]);
        spool.taken(700).unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        assert_eq!(serials(&spool, 2), [700, 701]);
        spool.push(&event(1_000)).unwrap();
        assert_eq!(serials(&spool, 1_000), (700..=1_000).collect::<Vec<_>>());
        spool.taken(5_000).unwrap();
        assert_eq!((serials(&spool, 9), spool.dropped()), (vec![], 0));
        // All segments are gone; the numbers go on.
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.push(&event(1_001)).unwrap();
        assert_eq!((serials(&spool, 9), spool.next()), (vec![1_001], 1_002));
    }

    #[test]
    fn where_there_is_no_room_the_oldest_go_and_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let limit = 4 * SEGMENT_BYTES;
        let mut spool = Spool::open_within(dir.path(), limit).unwrap();
        for serial in 0..3_000 {
            spool.push(&event(serial)).unwrap();
        }
        let kept = serials(&spool, 5_000);
        let first = *kept.first().unwrap();
        assert_eq!(kept, (first..3_000).collect::<Vec<_>>());
        assert!(first > 0);
        assert_eq!(spool.dropped(), first);
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        assert!(files.map(|file| file.metadata().unwrap().len()).sum::<u64>() < limit + 200);
        assert_eq!(Spool::open_within(dir.path(), limit).unwrap().dropped(), first);
    }

    #[test]
    fn a_line_that_was_cut_short_is_taken_off_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.push(&event(1)).unwrap();
        let path = spool.segment_path(0);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"id\":\"0").unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        assert_eq!(serials(&spool, 9), [1]);
        spool.push(&event(2)).unwrap();
        assert_eq!(serials(&spool, 9), [1, 2]);
    }
}
