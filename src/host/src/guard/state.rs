//! The table of sessions on disk (`guard.state`): whole at every moment, and of one boot only.

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
        Ok(StateFile { path: run.join("guard.state"), boot })
    }

    /// The sessions recorded since this machine started; none if there is no such file.
    ///
    /// # Errors
    /// If there is one and it can not be read: then nobody knows what it holds.
    pub(crate) fn read(&self) -> io::Result<Vec<Row>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let read: Read = serde_json::from_slice(&bytes)?;
        if read.v != VERSION {
            return Err(io::Error::other(format!("it is of version {}", read.v)));
        }
        // After a restart of the machine none of these processes lives, and the numbers are others'.
        Ok(if read.boot == self.boot { read.sessions } else { Vec::new() })
    }

    /// Puts these sessions in the place of all.
    ///
    /// # Errors
    /// If they are not on disk.
    pub(crate) fn write<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> io::Result<()> {
        let written = Written { v: VERSION, boot: &self.boot, sessions: rows.collect() };
        apply::replace(&self.path, &serde_json::to_vec(&written)?, 0o600)
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
