//! The revocation list that sshd reads (`RevokedKeys`), followed as it changes, whoever changes it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jit_ssh_core::krl::{Named, Revocations};
use rustix::fs::inotify;

use super::log::{self, Level};

/// Longest list that is read, in bytes; sshd reads no list of a tenth in good time.
const MAX_LEN: u64 = 8 << 20;

/// The list and the place it comes from.
#[derive(Debug)]
pub(crate) struct Revoked {
    path: PathBuf,
    stamp: Option<Stamp>,
    list: Revocations,
}

/// Tells one writing of a file from the next.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

impl Revoked {
    /// Reads the list at `path` for the first time.
    pub(crate) fn open(path: PathBuf) -> Revoked {
        let mut revoked = Revoked { path, stamp: None, list: Revocations::default() };
        revoked.look();
        revoked
    }

    /// Looks whether the file was changed, and reads it if so. A list that can not be read changes
    /// nothing: what was revoked stays revoked, and sshd lets nobody in meanwhile.
    pub(crate) fn look(&mut self) -> bool {
        let stamp = fs::metadata(&self.path).ok().map(|f| {
            (f.dev(), f.ino(), f.size(), f.mtime(), f.mtime_nsec(), f.ctime(), f.ctime_nsec())
        });
        if stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        match read(&self.path) {
            Ok(list) => {
                self.list = list;
                true
            }
            Err(why) => {
                log::say(
                    Level::Error,
                    &format!(
                        "the revocation list {} is not used, the one before it stays in force: {why}.",
                        self.path.display()
                    ),
                );
                false
            }
        }
    }

    /// Whether the list revokes a certificate.
    pub(crate) fn revokes(&self, certificate: Named<'_>) -> bool {
        self.list.revokes(certificate)
    }
}

fn read(path: &Path) -> Result<Revocations, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_LEN.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Revocations::parse(&bytes).map_err(|e| e.to_string())
}

/// Wakes the guard when something is put into the list's folder.
#[derive(Debug)]
pub(crate) struct Watch(OwnedFd);

impl Watch {
    /// Watches a folder; `None` if that can not be: then the list is looked at every second.
    pub(crate) fn begin(dir: &Path) -> Option<Watch> {
        use inotify::{CreateFlags, WatchFlags};
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let events = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, dir, events).ok()?;
        Some(Watch(fd))
    }

    /// What to wait for.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Takes in what has happened; whether it was about a file of this name.
    pub(crate) fn take(&self, name: &OsStr) -> bool {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut space);
        let mut about = false;
        while let Ok(event) = reader.next() {
            let found = event.file_name().map(|found| found.to_bytes());
            // Without a name: events were lost, so anything may have happened.
            about |= found.is_none_or(|found| found == name.as_encoded_bytes());
        }
        about
    }
}
