//! Where the signer runs: as our child, or behind a socket of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;

/// The signer's program, beside ours.
const PROGRAM: &str = "jit-ssh-signer";
/// How long a child may take to end after its connection was closed.
const GRACE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// Where the signer runs.
pub(in super::super) enum Place {
    /// Started by us, with this program and configuration folder.
    Child {
        /// The program.
        program: PathBuf,
        /// The configuration folder.
        config: PathBuf,
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
    pub(in super::super) fn child(config: PathBuf) -> io::Result<Place> {
        let program = std::env::current_exe()?.with_file_name(PROGRAM);
        Ok(Place::Child { program, config })
    }

    /// Connects, starting the child first if it is ours.
    pub(super) async fn connect(&self) -> io::Result<(UnixStream, Process)> {
        match self {
            Place::Socket(path) => Ok((UnixStream::connect(path).await?, Process::Foreign)),
            Place::Child { program, config } => {
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

impl Process {
    /// Waits for a child whose connection was closed; kills it if it stays.
    pub(super) async fn end(self) {
        let Process::Child(mut child) = self else { return };
        let ended = tokio::task::spawn_blocking(move || {
            let mut left = GRACE;
            while child.try_wait()?.is_none() {
                if left.is_zero() {
                    child.kill()?;
                    return child.wait().map(drop);
                }
                std::thread::sleep(LOOK);
                left = left.saturating_sub(LOOK);
            }
            Ok(())
        });
        if let Ok(Err(error)) = ended.await {
            tracing::error!(%error, "the signer's process can not be ended");
        }
    }
}
