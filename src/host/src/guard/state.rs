//! The table of sessions on disk (`guard.state`): whole at every moment, and of one boot only.
//!
//! Somebody's login waits for it, so it is not synced. What it must outlive is the guard, and nothing
//! that happens to a process takes what it wrote out of the page cache. What does, a loss of power, ends
//! the sessions, too; and since it may leave the file damaged where `/run` is no tmpfs, `guard.boot`
//! says, synced, for which boot the file is to be read at all.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::row::Row;
use crate::apply;

const VERSION: u32 = 1;

/// The file.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// Names the boot that the file is of.
    mark: PathBuf,
    boot: String,
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    boot: &'a str,
    sessions: Vec<&'a Row>,
}

#[derive(Deserialize)]
struct Read {
    v: u32,
    boot: String,
    sessions: Vec<Row>,
}

impl StateFile {
    /// The file in `run`, for this boot of the machine.
    ///
    /// # Errors
    /// If the kernel does not say which boot this is.
    pub(crate) fn new(run: &Path) -> io::Result<StateFile> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(StateFile { path: run.join("guard.state"), mark: run.join("guard.boot"), boot })
    }

    /// The sessions recorded since this machine started; none if there is no such file.
    ///
    /// # Errors
    /// If there is one and it can not be read: then nobody knows what it holds.
    pub(crate) fn read(&self) -> io::Result<Vec<Row>> {
        if self.is_of_another_boot()? {
            return Ok(Vec::new());
        }
        // After a restart of the machine none of these processes lives, and the numbers are others'.
        let read = self.parse()?.filter(|read| read.boot == self.boot);
        Ok(read.map_or_else(Vec::new, |read| read.sessions))
    }

    /// The sessions recorded, whichever boot the file names, for who asks of each whether it lives: in a
    /// container the boot may have one name for who runs there, and another for a unit that systemd shows
    /// the kernel's own `/proc/sys`.
    ///
    /// # Errors
    /// If there is such a file of this boot and it can not be read.
    pub(crate) fn read_of_any_boot(&self) -> io::Result<Vec<Row>> {
        match self.parse() {
            Ok(read) => Ok(read.map_or_else(Vec::new, |read| read.sessions)),
            // What lay there when the power went may be damaged.
            Err(_) if self.is_of_another_boot()? => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    fn is_of_another_boot(&self) -> io::Result<bool> {
        Ok(self.marked()?.is_some_and(|boot| boot != self.boot))
    }

    fn parse(&self) -> io::Result<Option<Read>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let read: Read = serde_json::from_slice(&bytes)?;
        if read.v != VERSION {
            return Err(io::Error::other(format!("it is of version {}", read.v)));
        }
        Ok(Some(read))
    }

    /// Says that the file is of this boot from now on; before the first [`StateFile::write`].
    ///
    /// # Errors
    /// If it can not be said.
    pub(crate) fn begin(&self, rows: &[Row]) -> io::Result<()> {
        if self.marked()?.as_ref() == Some(&self.boot) {
            return Ok(());
        }
        // What lies there now may be damaged: it goes before it counts.
        apply::replace(&self.path, &self.render(rows.iter())?, 0o600)?;
        apply::replace(&self.mark, self.boot.as_bytes(), 0o600)
    }

    fn marked(&self) -> io::Result<Option<String>> {
        match fs::read(&self.mark) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Puts these sessions in the place of all: whatever becomes of this process, the next one reads
    /// them.
    ///
    /// # Errors
    /// If they are not there.
    pub(crate) fn write<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> io::Result<()> {
        apply::replace_for_this_boot(&self.path, &self.render(rows)?, 0o600)
    }

    fn render<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> io::Result<Vec<u8>> {
        let written = Written { v: VERSION, boot: &self.boot, sessions: rows.collect() };
        Ok(serde_json::to_vec(&written)?)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a folder that is not there, with this mode.
pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}
