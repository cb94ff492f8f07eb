//! The guard's loop: waits for logins, closed connections, the clock and the revocation list.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::alarm::Alarm;
use super::cgroup::Cgroups;
use super::clients::{Clients, listen_at};
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

/// Descriptors for everything else than sessions and logins that wait: those of sessions that are being
/// ended, and of connections to the socket, among them.
const SPARE_FDS: u64 = 256;

/// Most logins that wait, and how many descriptors each takes: its connection, and its monitor's pidfd.
const MAX_WAITING: u64 = 512;
const WAITING_FDS: u64 = 2;

/// How often the revocation list is looked at while there is a session, should no event come; and the
/// time since boot, by which sessions end where the wall clock was set back.
const LIST_LOOK: Duration = Duration::from_secs(1);

pub(super) const LISTENER: Token = 0;
const ALARM: Token = 1;
const LIST: Token = 2;
const FIRST_CLIENT: Token = 16;
pub(super) const FIRST_SESSION: Token = 1 << 32;

/// The name of the revocation list in our folder.
const LIST_NAME: &str = "revoked.krl";

/// The guard.
pub(crate) struct Server {
    pub(super) folders: Folders,
    pub(super) table: Table,
    pub(super) revoked: Revoked,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) max_sessions: usize,
    pub(super) epoll: OwnedFd,
    pub(super) clients: Clients,
    alarm: Alarm,
    watch: Option<Watch>,
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
        let room = Room::find();
        let mut server = Server {
            table,
            revoked: Revoked::open(folders.own_dir().join(LIST_NAME)),
            watch: None,
            cgroups: Cgroups::find(),
            max_sessions: room.sessions,
            epoll,
            clients: Clients::new(listener, FIRST_CLIENT, room.waiting),
            alarm: Alarm::new().map_err(|e| failed(own, e))?,
            folders,
            _lock: lock,
        };
        server.follow(server.alarm.fd().as_fd(), ALARM).map_err(|e| failed(own, e))?;
        server.watch_list();
        server.follow_sessions(instant);
        if let Some(cgroups) = &server.cgroups {
            cgroups.tidy(now());
        }
        Ok(server)
    }

    pub(super) fn follow(&self, fd: impl AsFd, token: Token) -> std::io::Result<()> {
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
        self.table.note_monitors_ended(&ended, now(), instant);
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
            self.table.look(self.cgroups.as_ref(), now(), instant);
            self.tend_clients(instant).map_err(broken)?;
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
            let mut ended = Vec::new();
            for event in &events {
                self.handle(event.data.u64(), &mut ended);
            }
            self.table.note_monitors_ended(&ended, now(), Instant::now());
            self.admit_some();
        }
    }

    /// Does what an event is about; monitors that have ended are gathered, since many may end at once.
    fn handle(&mut self, token: Token, ended: &mut Vec<Token>) {
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
                ended.push(token);
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
        let client = self.clients.next_look(instant);
        let next = [list, client, self.table.next_look()].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(instant))
    }

    /// What is answered at once. (A login waits for its turn: [`super::clients`].)
    pub(super) fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Register(_) => Answer::Unable { why: "a login has its turn".into() },
            Ask::Prolong { certificate } => match self.prolong(&certificate, moment()) {
                Ok(sessions) => Answer::Prolonged { sessions },
                Err(no) => no.into(),
            },
            Ask::Events => self.table.untold(),
            Ask::Taken { next } => self.table.told(next),
            Ask::Status => self.status(),
            Ask::End => {
                self.table.end_all(Instant::now());
                self.status()
            }
        }
    }

    fn status(&self) -> Answer {
        let etc = std::path::absolute(&self.folders.etc).ok();
        Answer::Status { sessions: self.table.len(), etc }
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

/// For how many there is room.
struct Room {
    sessions: usize,
    waiting: usize,
}

impl Room {
    /// Raises the limit of file descriptors to what the system allows, and takes what that is enough for.
    fn find() -> Room {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        Room::within(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    fn within(fds: u64) -> Room {
        let waiting = (fds / 16).clamp(1, MAX_WAITING);
        let spare = SPARE_FDS.saturating_add(waiting.saturating_mul(WAITING_FDS));
        let number = |fds: u64, most: usize| usize::try_from(fds).map_or(most, |fds| fds.min(most));
        Room {
            sessions: number(fds.saturating_sub(spare), MAX_SESSIONS),
            waiting: number(waiting, usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_logins_that_wait_and_for_sessions_within_the_systems_limit() {
        for (fds, sessions, waiting) in [
            (65_536, 10_000, 512),
            (4_096, 3_328, 256),
            (1_024, 640, 64),
            (256, 0, 16),
            (u64::MAX, 10_000, 512),
        ] {
            let room = Room::within(fds);
            assert_eq!((room.sessions, room.waiting), (sessions, waiting), "{fds}");
        }
    }
}
