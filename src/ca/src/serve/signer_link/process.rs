//! Where the signer runs: as our child, or behind a socket of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;

/// The signer's program, beside ours.
const PROGRAM: &str = "jit-ssh-signer";
/// How long a child may take to end after its connection was closed.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait for a signer that was there before.
const OTHER_ENDS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// Where the signer runs.
pub(in super::super) enum Place {
    /// Started by us, with this program and configuration folder.
    Child {
        /// The program.
        program: PathBuf,
        /// The configuration folder.
        config: PathBuf,
        /// The folder on which a signer holds its lock.
        journal: PathBuf,
    },
    /// On its own, behind this socket.
    Socket(PathBuf),
    /// A test's.
    #[cfg(test)]
    Given(tokio::sync::Mutex<tokio::sync::mpsc::Receiver<UnixStream>>),
}

/// The signer's process, if it is ours to end.
pub(super) enum Process {
    Child(Child),
    Foreign,
}

impl Place {
    /// The signer as a child, its program beside the one that runs now.
    ///
    /// # Errors
    /// If the system can not say which program runs now.
    pub(in super::super) fn child(config: PathBuf, state: &Path) -> io::Result<Place> {
        let program = std::env::current_exe()?.with_file_name(PROGRAM);
        Ok(Place::Child { program, config, journal: state.join("signer").join("journal") })
    }

    /// Connects, starting the child first if it is ours.
    pub(super) async fn connect(&self) -> io::Result<(UnixStream, Process)> {
        match self {
            Place::Socket(path) => Ok((UnixStream::connect(path).await?, Process::Foreign)),
            Place::Child { program, config, journal } => {
                until_free(journal).await;
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                let child = Command::new(program)
                    .arg("--config")
                    .arg(config)
                    .arg("--stdin")
                    .env_clear()
                    // A group of its own: Ctrl-C reaches us alone, and we end it in order.
                    .process_group(0)
                    .stdin(Stdio::from(OwnedFd::from(theirs)))
                    .stdout(Stdio::null())
                    .spawn()
                    .map_err(|error| {
                        io::Error::new(
                            error.kind(),
                            format!("{} did not start: {error}", program.display()),
                        )
                    })?;
                Ok((UnixStream::from_std(ours)?, Process::Child(child)))
            }
            #[cfg(test)]
            Place::Given(streams) => match streams.lock().await.recv().await {
                Some(stream) => Ok((stream, Process::Foreign)),
                None => std::future::pending().await,
            },
        }
    }
}

/// Waits while the signer of an earlier front, which was killed, still ends: a new one would find
/// the log in use. Not for ever: whoever else has it, the signer says so itself.
async fn until_free(journal: &Path) {
    let mut left = OTHER_ENDS;
    while !left.is_zero() && in_use(journal) {
        tokio::time::sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
    }
}

fn in_use(journal: &Path) -> bool {
    // A folder that is not there, or that is not ours to open, tells nothing.
    let Ok(folder) = std::fs::File::open(journal) else { return false };
    matches!(folder.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

impl Process {
    /// Waits for a child whose connection was closed; kills it if it stays. Gives the code it ended
    /// with, if it ended by itself.
    pub(super) async fn end(self) -> Option<i32> {
        let Process::Child(mut child) = self else { return None };
        let ended = tokio::task::spawn_blocking(move || {
            let mut left = GRACE;
            loop {
                if let Some(status) = child.try_wait()? {
                    return Ok(status.code());
                }
                if left.is_zero() {
                    child.kill()?;
                    return child.wait().map(|status| status.code());
                }
                std::thread::sleep(LOOK);
                left = left.saturating_sub(LOOK);
            }
        });
        match ended.await {
            Ok(Ok(code)) => code,
            Ok(Err(error)) => {
                let error: io::Error = error;
                tracing::error!(%error, "the signer's process can not be ended");
                None
            }
            Err(_) => None,
        }
    }
}
