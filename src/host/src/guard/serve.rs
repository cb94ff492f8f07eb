//! The guard's loop: waits for logins, closed connections, the clock and the revocation list.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::alarm::Alarm;
use super::cgroup::Cgroups;
use super::event::Event;
use super::log::{self, Level};
use super::protocol::{self, Answer, Ask};
use super::revoked::{Revoked, Watch};
use super::spool::Spool;
use super::state::{StateFile, make_dir};
use super::table::{Table, Token};
use crate::clock::{moment, now};
use crate::error::CommandError;
use crate::layout::Folders;

/// Most sessions, where the system gives enough file descriptors: each takes one.
const MAX_SESSIONS: usize = 10_000;

/// Descriptors for everything else, those of sessions that are being ended among them.
const SPARE_FDS: u64 = 256;

/// Most connections to the socket that have not said what they want.
const MAX_CLIENTS: usize = 64;

/// How long such a connection may take.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// How often the revocation list is looked at while there is a session, should no event come; and the
/// time since boot, by which sessions end where the wall clock was set back.
const LIST_LOOK: Duration = Duration::from_secs(1);

const LISTENER: Token = 0;
const ALARM: Token = 1;
const LIST: Token = 2;
const FIRST_CLIENT: Token = 16;
const FIRST_SESSION: Token = 1 << 32;

/// The name of the revocation list in our folder.
const LIST_NAME: &str = "revoked.krl";

/// The guard.
pub(crate) struct Server {
    pub(super) folders: Folders,
    pub(super) table: Table,
    pub(super) revoked: Revoked,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) max_sessions: usize,
    epoll: OwnedFd,
    listener: OwnedFd,
    alarm: Alarm,
    watch: Option<Watch>,
    clients: BTreeMap<Token, (OwnedFd, Instant)>,
    next_client: Token,
    /// Held for as long as this guard lives: there is one for each run folder.
    _lock: fs::File,
}

impl Server {
    /// Takes on the sessions that were recorded, and listens.
    ///
    /// # Errors
    /// Says what is in the way: another guard, a folder, a table that can not be read.
    pub(crate) fn open(folders: Folders) -> Result<Server, CommandError> {
        let failed = |what: &Path, e: std::io::Error| {
            CommandError::new(format!("The guard can not use {}: {e}.", what.display()))
        };
        make_dir(&folders.run, 0o755).map_err(|e| failed(&folders.run, e))?;
        let lock = lock(&folders.run)?;
        let state = StateFile::new(&folders.run).map_err(|e| failed(&folders.run, e))?;
        let (state_path, instant) = (state.path().to_owned(), Instant::now());
        let table = Table::open(state, spool(&folders.state), FIRST_SESSION, moment(), instant);
        let table = table.map_err(|e| {
            failed(&state_path, e).hint(format!(
                "nobody knows which sessions are to end: end them (loginctl, or kill the sshd of each), then remove {}",
                state_path.display()
            ))
        })?;
        let socket = protocol::socket_path(&folders.run);
        let listener = listen_at(&socket).map_err(|e| failed(&socket, e))?;
        let own = Path::new("the kernel's events");
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed(own, e.into()))?;
        let mut server = Server {
            table,
            revoked: Revoked::open(folders.own_dir().join(LIST_NAME)),
            watch: None,
            cgroups: Cgroups::find(),
            max_sessions: max_sessions(),
            epoll,
            listener,
            alarm: Alarm::new().map_err(|e| failed(own, e))?,
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            folders,
            _lock: lock,
        };
        server.follow(server.listener.as_fd(), LISTENER).map_err(|e| failed(own, e))?;
        server.follow(server.alarm.fd().as_fd(), ALARM).map_err(|e| failed(own, e))?;
        server.watch_list();
        server.follow_sessions(instant);
        if let Some(cgroups) = &server.cgroups {
            cgroups.tidy(now());
        }
        Ok(server)
    }

    fn follow(&self, fd: impl AsFd, token: Token) -> std::io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    /// Follows what was taken on; what ended while nobody watched is finished at once.
    fn follow_sessions(&mut self, instant: Instant) {
        let mut ended = Vec::new();
        for (token, watched) in self.table.iter() {
            match &watched.monitor {
                Some(monitor) if self.follow(monitor, token).is_ok() => {}
                _ => ended.push(token),
            }
        }
        let count = self.table.len();
        for token in ended {
            self.table.note_monitor_ended(token, now(), instant);
        }
        if count > 0 {
            log::say(Level::Info, &format!("took on {} of {count} sessions.", self.table.len()));
        }
    }

    fn watch_list(&mut self) {
        self.watch = Watch::begin(&self.folders.own_dir())
            .filter(|watch| self.follow(watch.fd().as_fd(), LIST).is_ok());
    }

    /// Serves until something breaks that nothing can be done without.
    ///
    /// # Errors
    /// What broke.
    pub(crate) fn run(&mut self) -> Result<(), CommandError> {
        let broken = |e: std::io::Error| CommandError::new(format!("The guard stops: {e}."));
        let mut events = Vec::with_capacity(64);
        log::say(Level::Info, "the guard watches.");
        loop {
            let instant = Instant::now();
            self.look_at_list();
            self.table.act(&self.revoked, moment(), instant);
            self.table.look(now(), instant);
            self.clients.retain(|_, (_, deadline)| *deadline > instant);
            self.alarm.set(self.table.next_moment()).map_err(broken)?;
            let timeout = self.timeout(instant).and_then(|span| Timespec::try_from(span).ok());
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(broken(e.into())),
            }
            for event in &events {
                self.handle(event.data.u64());
            }
        }
    }

    fn handle(&mut self, token: Token) {
        match token {
            LISTENER => self.accept(),
            ALARM => self.alarm.take(),
            LIST => {
                // The list is looked at whenever the loop goes round.
                if let Some(watch) = &self.watch {
                    watch.take(OsStr::new(LIST_NAME));
                }
            }
            FIRST_SESSION.. => {
                if let Some(monitor) = self.table.get(token).and_then(|w| w.monitor.as_ref()) {
                    // A descriptor that is ready for ever wakes nobody twice.
                    let _ = epoll::delete(&self.epoll, monitor);
                }
                self.table.note_monitor_ended(token, now(), Instant::now());
            }
            _ => self.hear(token),
        }
    }

    fn look_at_list(&mut self) {
        if self.watch.is_none() && self.table.len() > 0 {
            self.watch_list();
        }
        self.revoked.look();
    }

    fn timeout(&self, instant: Instant) -> Option<Duration> {
        let list = (self.table.len() > 0).then(|| instant + LIST_LOOK);
        let client = self.clients.values().map(|(_, deadline)| *deadline).min();
        let next = [list, client, self.table.next_look()].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(instant))
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(client) = accept_with(&self.listener, flags) {
            let is_root =
                rustix::net::sockopt::socket_peercred(&client).is_ok_and(|peer| peer.uid.is_root());
            if !is_root || self.clients.len() >= MAX_CLIENTS {
                // The hook takes a closed connection for a guard that is not there.
                continue;
            }
            let token = self.next_client;
            self.next_client = self.next_client.saturating_add(1).min(FIRST_SESSION - 1);
            if self.follow(&client, token).is_ok() {
                self.clients.insert(token, (client, Instant::now() + CLIENT_PATIENCE));
            }
        }
    }

    /// One message, one answer, and the connection is closed.
    fn hear(&mut self, token: Token) {
        let Some((client, _)) = self.clients.remove(&token) else { return };
        let mut reported = None;
        let answer = match protocol::receive(client.as_fd()) {
            Ok(packet) if packet.bytes.is_empty() => return,
            Ok(packet) => match serde_json::from_slice(&packet.bytes) {
                Ok(ask) => self.answer(ask, packet.fds, &mut reported),
                Err(_) => Answer::Unable { why: "the message is not understood".into() },
            },
            Err(Errno::MSGSIZE) => Answer::Unable { why: "the message is too long".into() },
            Err(_) => return,
        };
        if let Answer::Refused { why } | Answer::Unable { why } = &answer {
            log::say(Level::Warning, &format!("a login or message is turned down: {why}."));
        }
        let answer = serde_json::to_vec(&answer).unwrap_or_default();
        // Who does not wait for the answer any more has drawn the consequence already.
        let _ = protocol::send(client.as_fd(), &answer, None);
        drop(client);
        if let Some(event) = reported {
            // After the answer: nobody's login waits for this disk.
            self.table.report(&event);
            self.table.sync_events();
        }
    }

    fn answer(&mut self, ask: Ask, fds: Vec<OwnedFd>, reported: &mut Option<Event>) -> Answer {
        let now = moment();
        match ask {
            Ask::Register(register) => {
                let known = self.table.len();
                match self.register(register, fds.into_iter().next(), now) {
                    Ok((token, event)) if self.table.len() > known => {
                        *reported = Some(event);
                        self.follow_new(token)
                    }
                    Ok(_) => Answer::Registered,
                    Err(no) => no.into(),
                }
            }
            Ask::Prolong { certificate } => match self.prolong(&certificate, now) {
                Ok(sessions) => Answer::Prolonged { sessions },
                Err(no) => no.into(),
            },
            Ask::Events => self.table.untold(),
            Ask::Taken { next } => self.table.told(next),
            Ask::Status => Answer::Status { sessions: self.table.len() },
        }
    }

    fn follow_new(&self, token: Token) -> Answer {
        let monitor = self.table.get(token).and_then(|watched| watched.monitor.as_ref());
        match monitor.map(|monitor| self.follow(monitor, token)) {
            Some(Ok(())) => Answer::Registered,
            Some(Err(e)) => {
                Answer::Unable { why: format!("the connection can not be followed: {e}") }
            }
            None => Answer::Unable { why: "the connection is gone already".into() },
        }
    }
}

/// There is one guard for each run folder.
fn lock(run: &Path) -> Result<fs::File, CommandError> {
    let path = run.join("guard.lock");
    let failed = |e: std::io::Error| {
        CommandError::new(format!("The guard can not use {}: {e}.", path.display()))
    };
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            Err(CommandError::new(format!("A guard runs already for {}.", run.display()))
                .hint("systemctl status jit-ssh-guard"))
        }
        Err(e) => Err(failed(e.into())),
    }
}

/// Without a spool, sessions end all the same.
fn spool(state: &Path) -> Option<Spool> {
    let dir = state.join("spool");
    match make_dir(state, 0o700).and_then(|()| Spool::open(&dir)) {
        Ok(spool) => Some(spool),
        Err(error) => {
            let dir = dir.display();
            log::say(
                Level::Error,
                &format!("{dir} can not be used, so nothing is reported: {error}."),
            );
            None
        }
    }
}

/// The socket is in its place only once it listens, and only root may reach it.
fn listen_at(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    bind(&socket, &SocketAddrUnix::new(&temporary)?)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    listen(&socket, 128)?;
    fs::rename(&temporary, path)?;
    Ok(socket)
}

/// Raises the limit of file descriptors to what the system allows, and takes what that is enough for.
fn max_sessions() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = fds.saturating_sub(SPARE_FDS);
    usize::try_from(room).map_or(MAX_SESSIONS, |room| room.min(MAX_SESSIONS))
}
