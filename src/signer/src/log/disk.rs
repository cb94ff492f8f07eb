//! Everything the store asks of the disk. Tests put one in between that breaks on command.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::error::LogError;

const PUBLIC_DIR: u32 = 0o755;
const PUBLIC_FILE: u32 = 0o644;
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// Where a file is written before it gets its name, in either folder. There is one writer.
const UNNAMED: &str = ".new";
/// Journal segments are called by this and their base in 20 digits.
const SEGMENT: &str = "segment-";

/// The two folders of a log, as the store needs them. A segment is named by its base size.
pub(super) trait Disk: Send {
    /// The bases of the journal segments there are, ascending.
    ///
    /// # Errors
    ///
    /// What the system says; so for all methods here.
    fn segments(&self) -> io::Result<Vec<u64>>;
    /// Makes an existing segment the current one; gives its length in bytes.
    fn open_segment(&mut self, base: u64) -> io::Result<u64>;
    /// Fills `buffer` from the current segment, from byte `at` on.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes at the end of the current segment, with one system call if the system lets it.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes data and length of the current segment durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the current segment to a length in bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Makes a segment that begins with `header` durable under its name, and only then current.
    fn start_segment(&mut self, base: u64, header: &[u8]) -> io::Result<()>;
    /// Removes a segment that is not the current one.
    fn drop_segment(&mut self, base: u64) -> io::Result<()>;
    /// Puts a public file in place, whole or not at all; not durable before [`Disk::sync_public`].
    fn place(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// The same for a file that stands by itself: its bytes are durable before it has its name.
    fn place_synced(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a public file, or a folder and what is in it; that it is not there is fine.
    fn discard(&mut self, path: &str) -> io::Result<()>;
    /// Makes all public files and their names durable.
    fn sync_public(&mut self) -> io::Result<()>;
}

/// The real thing. Holds a lock on the journal folder while it lives.
pub(super) struct FileDisk {
    log_dir: PathBuf,
    journal_dir: PathBuf,
    /// Open all the time, so that write-back errors since then are reported to us.
    log: File,
    /// Carries the lock.
    journal: File,
    segment: Option<File>,
}

impl FileDisk {
    /// Takes the two folders, creating those that are missing.
    ///
    /// # Errors
    ///
    /// [`LogError::InUse`] if another process has them, or [`LogError::Io`].
    pub(super) fn open(log_dir: &Path, journal_dir: &Path) -> Result<FileDisk, LogError> {
        public_dirs(log_dir).map_err(LogError::io("create", log_dir))?;
        private_dir(journal_dir).map_err(LogError::io("create", journal_dir))?;
        let log = File::open(log_dir).map_err(LogError::io("open", log_dir))?;
        let journal = File::open(journal_dir).map_err(LogError::io("open", journal_dir))?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse(journal_dir.into())),
            Err(TryLockError::Error(e)) => return Err(LogError::io("lock", journal_dir)(e)),
        }
        Ok(FileDisk {
            log_dir: log_dir.into(),
            journal_dir: journal_dir.into(),
            log,
            journal,
            segment: None,
        })
    }

    fn segment_path(&self, base: u64) -> PathBuf {
        self.journal_dir.join(format!("{SEGMENT}{base:020}"))
    }

    fn current(&self) -> io::Result<&File> {
        self.segment.as_ref().ok_or_else(|| io::Error::other("no journal segment is open"))
    }
}

impl Disk for FileDisk {
    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut bases = Vec::new();
        for item in fs::read_dir(&self.journal_dir)? {
            let name = item?.file_name();
            let base = name.to_str().and_then(|name| name.strip_prefix(SEGMENT));
            bases.extend(base.and_then(|base| base.parse::<u64>().ok()));
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn open_segment(&mut self, base: u64) -> io::Result<u64> {
        let file = OpenOptions::new().read(true).append(true).open(self.segment_path(base))?;
        let length = file.metadata()?.len();
        self.segment = Some(file);
        Ok(length)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.current()?.read_exact_at(buffer, at)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current()?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current()?.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.current()?.set_len(length)
    }

    fn start_segment(&mut self, base: u64, header: &[u8]) -> io::Result<()> {
        let unnamed = self.journal_dir.join(UNNAMED);
        write_file(&unnamed, header, PRIVATE_FILE)?.sync_all()?;
        fs::rename(&unnamed, self.segment_path(base))?;
        self.journal.sync_all()?;
        self.open_segment(base).map(drop)
    }

    fn drop_segment(&mut self, base: u64) -> io::Result<()> {
        fs::remove_file(self.segment_path(base))
    }

    fn place_synced(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let unnamed = self.log_dir.join(UNNAMED);
        write_file(&unnamed, bytes, PUBLIC_FILE)?.sync_all()?;
        fs::rename(&unnamed, self.log_dir.join(path))
    }

    fn place(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (unnamed, target) = (self.log_dir.join(UNNAMED), self.log_dir.join(path));
        write_file(&unnamed, bytes, PUBLIC_FILE)?;
        match (give_name(&unnamed, &target), target.parent()) {
            (Err(e), Some(dir)) if e.kind() == io::ErrorKind::NotFound => {
                public_dirs(dir)?;
                give_name(&unnamed, &target)
            }
            (named, _) => named,
        }
    }

    fn discard(&mut self, path: &str) -> io::Result<()> {
        let target = self.log_dir.join(path);
        let removed = match fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&target),
            Ok(_) => fs::remove_file(&target),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_public(&mut self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.log)?)
    }
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // Whatever the umask: these modes are a promise.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Renames a public file into place, over the one that may be there. To exchange the two and
/// remove the old one is as good for readers as a plain rename, but does not make ext4 write the
/// file out at once (`auto_da_alloc`), which costs more than all the rest of publishing.
fn give_name(unnamed: &Path, target: &Path) -> io::Result<()> {
    let rename = |flags| renameat_with(CWD, unnamed, CWD, target, flags);
    match rename(RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => {
            rename(RenameFlags::EXCHANGE)?;
            fs::remove_file(unnamed)
        }
        // A file system without these flags.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(unnamed, target),
        renamed => Ok(renamed?),
    }
}

/// Creates a folder and those above it that are missing; leaves those that exist as they are.
fn public_dirs(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    dir.parent().map_or(Ok(()), public_dirs)?;
    DirBuilder::new().mode(PUBLIC_DIR).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(PUBLIC_DIR))
}

/// Creates the journal folder durably, and closes it to everyone else.
fn private_dir(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        DirBuilder::new().mode(PRIVATE_DIR).recursive(true).create(dir)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    fs::set_permissions(dir, Permissions::from_mode(PRIVATE_DIR))
}
