//! A disk that breaks on command, and counts what it is asked.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::disk::{Disk, FileDisk};

pub(super) struct BreakingDisk {
    disk: FileDisk,
    orders: Orders,
}

/// What the disk shall do; shared with the test that holds the store.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    counts: BTreeMap<&'static str, usize>,
    broken: Vec<&'static str>,
    /// How many bytes of the next failing write get through.
    half_written: usize,
    /// How many more changes succeed before the machine dies.
    lives: Option<usize>,
}

impl Orders {
    /// Makes an operation fail until [`Orders::mend`].
    pub(crate) fn break_it(&self, operation: &'static str) {
        self.state().broken.push(operation);
    }

    /// Makes writes to the journal fail after this many bytes.
    pub(super) fn break_writes_after(&self, bytes: usize) {
        self.state().half_written = bytes;
        self.break_it("append");
    }

    pub(crate) fn mend(&self) {
        self.state().broken.clear();
    }

    /// Lets this many changes succeed, and none after them.
    pub(super) fn die_after(&self, changes: usize) {
        self.state().lives = Some(changes);
    }

    pub(crate) fn count(&self, operation: &'static str) -> usize {
        self.state().counts.get(operation).copied().unwrap_or(0)
    }

    /// All counts together.
    pub(super) fn changes(&self) -> usize {
        self.state().counts.values().sum()
    }

    pub(crate) fn forget(&self) {
        self.state().counts.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn ask(&self, operation: &'static str) -> io::Result<()> {
        let mut state = self.state();
        *state.counts.entry(operation).or_default() += 1;
        if let Some(lives) = &mut state.lives {
            *lives = lives.checked_sub(1).ok_or_else(|| io::Error::other("the machine is dead"))?;
        }
        match state.broken.contains(&operation) {
            true => Err(io::Error::from_raw_os_error(28)),
            false => Ok(()),
        }
    }
}

impl BreakingDisk {
    pub(super) fn new(disk: FileDisk) -> (BreakingDisk, Orders) {
        let orders = Orders::default();
        (BreakingDisk { disk, orders: orders.clone() }, orders)
    }
}

impl Disk for BreakingDisk {
    fn segments(&self) -> io::Result<Vec<u64>> {
        self.disk.segments()
    }

    fn open_segment(&mut self, base: u64) -> io::Result<u64> {
        self.disk.open_segment(base)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.disk.read_at(buffer, at)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.orders.ask("append") {
            let through = self.orders.state().half_written.min(bytes.len());
            self.disk.append(&bytes[..through])?;
            return Err(e);
        }
        self.disk.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.orders.ask("sync")?;
        self.disk.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.orders.ask("truncate")?;
        self.disk.truncate(length)
    }

    fn start_segment(&mut self, base: u64, header: &[u8]) -> io::Result<()> {
        self.orders.ask("start_segment")?;
        self.disk.start_segment(base, header)
    }

    fn drop_segment(&mut self, base: u64) -> io::Result<()> {
        self.orders.ask("drop_segment")?;
        self.disk.drop_segment(base)
    }

    fn place(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.orders.ask(if path == "checkpoint" { "place_checkpoint" } else { "place_tile" })?;
        self.disk.place(path, bytes)
    }

    fn place_synced(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.orders.ask("place_synced")?;
        self.disk.place_synced(path, bytes)
    }

    fn discard(&mut self, path: &str) -> io::Result<()> {
        self.orders.ask("discard")?;
        self.disk.discard(path)
    }

    fn sync_public(&mut self) -> io::Result<()> {
        self.orders.ask("sync_public")?;
        self.disk.sync_public()
    }
}
