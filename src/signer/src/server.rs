//! Starts the threads and takes connections: one that is handed over on stdin, or those of a Unix
//! socket, from the front's uid only.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use jit_ssh_core::deployment::Deployment;
use jit_ssh_core::root::Root;
use jit_ssh_core::time::UnixTime;
use rustix::process::{Resource, Rlimit, geteuid, getuid, setrlimit};

use crate::bundles::Shelf;
use crate::connection::serve;
use crate::desk::{Desk, Identity, Inbox, Work};
use crate::log::{LogStore, Opened};
use crate::notes::Notes;
use crate::press::Cas;
use crate::{keys, press};

/// Most connections at a time: fronts keep one each.
const MAX_CONNECTIONS: usize = 16;

/// Most work that waits between two threads.
const QUEUE: usize = 512;

/// Where calls come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The one connection that the front handed over as stdin; its end is the signer's end.
    Stdin,
    /// A Unix socket, for peers of this uid.
    Socket {
        /// Where it lies.
        path: PathBuf,
        /// The uid peers must have; `None` for the signer's own.
        peer: Option<u32>,
    },
}

/// Serves until the last connection is over (stdin) or for ever (socket).
///
/// # Errors
/// If keys, log or bundle can not be taken up. Nothing is issued then.
pub fn run(config: &Path, source: &Source) -> anyhow::Result<()> {
    protect_memory()?;
    let path = config.join("ca.toml");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let deployment = Deployment::parse(&text).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let state = &deployment.state;
    let private = state.join("signer");
    let owner = fs::metadata(&private).map(|data| data.uid());
    let owner = owner.with_context(|| format!("cannot use {}", private.display()))?;
    // The files that root would leave there are closed to the signer's own user.
    anyhow::ensure!(
        owner == 0 || !geteuid().is_root(),
        "{} belongs to the user with uid {owner}, and this is root: start the signer as that user",
        private.display()
    );
    let keys::Keys { number, ca, ca_key, host_ca, host_ca_key, log, root } = keys::load(&private)?;
    if host_ca.is_none() {
        eprintln!(
            "jit-ssh-signer: there is no {}, so no host certificates are issued; to have them: \
             ssh-keygen -t ed25519 -N '' -f {}",
            keys::HOST_CA_KEY,
            private.join(keys::HOST_CA_KEY).display()
        );
    }
    let shelf = Shelf::open(&state.join("bundles"), &private.join("uploads"))?;
    let (log, opened) = LogStore::open(&state.join("log"), &private.join("journal"), log)?;
    report(&opened);
    let identity = Identity { number, ca_key, host_ca_key, root: root.clone() };
    let notes = Notes::new(&private);
    let desk = Desk::open(identity, log, shelf.clone(), notes, deployment.limits, Box::new(now))?;
    let (work, works) = sync_channel(QUEUE);
    let (finish, finished) = sync_channel(QUEUE);
    let desk = thread::Builder::new()
        .name("desk".into())
        .spawn(move || desk.run(Inbox::new(works), &finish))?;
    let cas = Cas { user: ca, host: host_ca };
    let press =
        thread::Builder::new().name("press".into()).spawn(move || press::run(&cas, &finished))?;
    match source {
        Source::Stdin => {
            let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            serve(stream, &root, &shelf, &work)?;
            drop(work);
            let _ = desk.join();
            let _ = press.join();
            Ok(())
        }
        Source::Socket { path, peer } => {
            listen(path, peer.unwrap_or_else(|| getuid().as_raw()), root, shelf, &work)
        }
    }
}

fn listen(
    path: &Path,
    peer: u32,
    root: Root,
    shelf: Shelf,
    work: &SyncSender<Vec<Work>>,
) -> anyhow::Result<()> {
    if path.exists() && UnixStream::connect(path).is_ok() {
        anyhow::bail!("another signer listens on {} already", path.display());
    }
    let _ = fs::remove_file(path);
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    // The peer's uid is checked below; the mode only lets the front's user knock.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let root = Arc::new(root);
    // Each connection holds one more of these.
    let places = Arc::new(());
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: wait, and never stop accepting.
                eprintln!("jit-ssh-signer: cannot accept a connection: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let known = rustix::net::sockopt::socket_peercred(&stream)
            .is_ok_and(|credentials| credentials.uid.as_raw() == peer);
        if !known || Arc::strong_count(&places) > MAX_CONNECTIONS {
            eprintln!("jit-ssh-signer: a connection was refused: another uid, or too many");
            continue;
        }
        let (root, shelf, work) = (root.clone(), shelf.clone(), work.clone());
        let place = places.clone();
        let spawned = thread::Builder::new().name("connection".into()).spawn(move || {
            let _place = place;
            if let Err(error) = serve(stream, &root, &shelf, &work) {
                eprintln!("jit-ssh-signer: a connection was closed: {error}");
            }
        });
        if let Err(error) = spawned {
            eprintln!("jit-ssh-signer: cannot serve a connection: {error}");
        }
    }
}

/// Tells the operator what a crash had left.
fn report(opened: &Opened) {
    if opened.torn_bytes > 0 {
        eprintln!(
            "jit-ssh-signer: {} bytes of an unfinished batch were cut off the journal",
            opened.torn_bytes
        );
    }
    for file in &opened.repaired {
        eprintln!("jit-ssh-signer: {file} was written again from the journal");
    }
}

/// Keeps the keys out of core dumps and out of reach of debuggers.
fn protect_memory() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the one place where the signer asks the clock")]
fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}
