//! Who asks the guard something: the connections to its socket.
//!
//! A login waits for its answer, so a crowd of them must not keep anybody out. What can not be taken
//! now stays in the socket's own queue; persons take turns, however many logins one of them brings;
//! and a batch of logins is recorded by one writing of the table, and reported by one sync.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jit_ssh_core::certificate::Presented;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use super::log::{self, Level};
use super::protocol::{self, Answer, Ask, Register};
use super::queue::Queue;
use super::serve::{LISTENER, Server};
use super::table::Token;
use crate::clock::moment;

/// Most connections that have not said what they want.
const MAX_SILENT: usize = 128;

/// How long such a connection may take: half of the time that the hook waits, so that who hangs there
/// keeps nobody in the socket's queue for longer than that.
const SILENT_PATIENCE: Duration = Duration::from_secs(1);

/// Most logins that are taken on at a time; between two such batches the guard looks at all else.
const BATCH: usize = 32;

/// Most connections that the kernel keeps in the socket's queue (`net.core.somaxconn` may be less).
const BACKLOG: i32 = 1_024;

/// How often it is said that there are too many.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// A login that waits.
struct Login {
    client: OwnedFd,
    asked: Register,
    certificate: Presented,
    pidfd: Option<OwnedFd>,
}

/// All of them.
pub(super) struct Clients {
    listener: OwnedFd,
    is_listening: bool,
    silent: BTreeMap<Token, (OwnedFd, Instant)>,
    next: Token,
    waiting: Queue<Login>,
    said_full: Option<Instant>,
}

impl Clients {
    /// Nobody yet, and room for so many logins that wait. `first` is the smallest token it gives.
    pub(super) fn new(listener: OwnedFd, first: Token, room: usize) -> Clients {
        Clients {
            listener,
            is_listening: false,
            silent: BTreeMap::new(),
            next: first,
            waiting: Queue::new(room),
            said_full: None,
        }
    }

    fn is_full(&self) -> bool {
        self.silent.len() >= MAX_SILENT || self.waiting.is_full()
    }

    /// When something is to be done for them next.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        match self.waiting.len() {
            0 => self.silent.values().map(|(_, deadline)| *deadline).min(),
            _ => Some(now),
        }
    }
}

impl Server {
    /// Drops who says nothing, and takes connections where there is room.
    ///
    /// # Errors
    /// If the kernel does not tell of connections.
    pub(super) fn tend_clients(&mut self, now: Instant) -> std::io::Result<()> {
        self.clients.silent.retain(|_, (_, deadline)| *deadline > now);
        let is_full = self.clients.is_full();
        if is_full == self.clients.is_listening {
            if is_full {
                epoll::delete(&self.epoll, &self.clients.listener)?;
                self.say_full(now);
            } else {
                self.follow(&self.clients.listener, LISTENER)?;
            }
            self.clients.is_listening = !is_full;
        }
        Ok(())
    }

    fn say_full(&mut self, now: Instant) {
        if self.clients.said_full.is_some_and(|at| now.saturating_duration_since(at) < SAY_AGAIN) {
            return;
        }
        self.clients.said_full = Some(now);
        let (waiting, silent) = (self.clients.waiting.len(), self.clients.silent.len());
        log::say(
            Level::Warning,
            &format!(
                "{waiting} logins wait for the guard, and {silent} connections to it say nothing: more have to wait before they are looked at."
            ),
        );
    }

    /// Takes the connections that are there, as far as there is room.
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while !self.clients.is_full() {
            let Ok(client) = accept_with(&self.clients.listener, flags) else { return };
            let is_root =
                rustix::net::sockopt::socket_peercred(&client).is_ok_and(|peer| peer.uid.is_root());
            if is_root {
                // Whoever connects says at once what they want.
                self.read(client);
            }
        }
    }

    /// Somebody says something who did not at once, or goes.
    pub(super) fn hear(&mut self, token: Token) {
        if let Some((client, _)) = self.clients.silent.remove(&token) {
            self.read(client);
        }
    }

    /// One message. A login gets its answer when it is its turn, all others at once.
    fn read(&mut self, client: OwnedFd) {
        let said = match protocol::receive(client.as_fd()) {
            Ok(packet) if packet.bytes.is_empty() => return,
            Ok(packet) => serde_json::from_slice(&packet.bytes)
                .map(|ask| (ask, packet.fds))
                .map_err(|_| Answer::Unable { why: "the message is not understood".into() }),
            Err(Errno::AGAIN) => return self.wait_for(client),
            Err(Errno::MSGSIZE) => Err(Answer::Unable { why: "the message is too long".into() }),
            Err(_) => return,
        };
        match said {
            Ok((Ask::Register(asked), fds)) => self.enqueue(client, asked, fds),
            Ok((ask, _)) => {
                let answer = self.answer(ask);
                reply(&client, &answer);
            }
            Err(answer) => reply(&client, &answer),
        }
    }

    fn wait_for(&mut self, client: OwnedFd) {
        let token = self.clients.next;
        self.clients.next = token.saturating_add(1).min(super::serve::FIRST_SESSION - 1);
        if self.follow(&client, token).is_ok() {
            self.clients.silent.insert(token, (client, Instant::now() + SILENT_PATIENCE));
        }
    }

    fn enqueue(&mut self, client: OwnedFd, asked: Register, fds: Vec<OwnedFd>) {
        let certificate = match Presented::from_line(&asked.certificate) {
            Ok(certificate) => certificate,
            Err(e) => return reply(&client, &Answer::Refused { why: e.to_string() }),
        };
        // The person, not the account, which many may share. It is sshd that has verified it so far,
        // and that is enough for an order.
        let who = match certificate.our_key_id() {
            Some(id) => id.subject.to_string(),
            None => certificate.key_id().to_owned(),
        };
        let login = Login { client, asked, certificate, pidfd: fds.into_iter().next() };
        if let Some((who, turned_away)) = self.clients.waiting.push(&who, login) {
            // Refused, guard or no guard: where it is optional, nobody shall get an unwatched session
            // by bringing too many.
            let who: String = who.chars().filter(char::is_ascii_graphic).take(96).collect();
            let why = format!("{who} has too many logins waiting at this moment");
            reply(&turned_away.client, &Answer::Refused { why });
        }
    }

    /// Takes on some of the logins that wait.
    pub(super) fn admit_some(&mut self) {
        let now = moment();
        let mut taken = Vec::new();
        for _ in 0..BATCH {
            let Some(login) = self.clients.waiting.next() else { break };
            if has_hung_up(&login.client) {
                continue;
            }
            match self.register(login.asked, login.certificate, login.pidfd, now) {
                Ok(admitted) => taken.push((login.client, admitted)),
                Err(no) => reply(&login.client, &no.into()),
            }
        }
        if taken.is_empty() {
            return;
        }
        let new = taken.iter().filter(|(_, admitted)| admitted.login.is_some());
        let recorded = self.table.record_new(new.map(|(_, admitted)| admitted.token));
        let mut events = Vec::new();
        for (client, admitted) in taken {
            let answer = match (&recorded, admitted.login) {
                (Err(e), _) => {
                    Answer::Unable { why: format!("the table of sessions can not be written: {e}") }
                }
                (Ok(()), None) => Answer::Registered,
                (Ok(()), Some(event)) => {
                    self.say_let_in(admitted.token, &event);
                    events.push(event);
                    self.follow_new(admitted.token)
                }
            };
            reply(&client, &answer);
        }
        // After the answers: nobody's login waits for this disk.
        events.iter().for_each(|event| self.table.report(event));
        self.table.sync_events();
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

/// One answer, and the connection is closed by whoever holds it.
fn reply(client: &OwnedFd, answer: &Answer) {
    if let Answer::Refused { why } | Answer::Unable { why } = answer {
        log::say(Level::Warning, &format!("a login or message is turned down: {why}."));
    }
    let answer = serde_json::to_vec(answer).unwrap_or_default();
    // Who does not wait for the answer any more has drawn the consequence already.
    let _ = protocol::send(client.as_fd(), &answer, None);
}

/// Whether nobody waits there any more.
fn has_hung_up(client: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(client, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok()
        && fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// The socket is in its place only once it listens, and only root may reach it.
pub(super) fn listen_at(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    bind(&socket, &SocketAddrUnix::new(&temporary)?)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    listen(&socket, BACKLOG)?;
    fs::rename(&temporary, path)?;
    Ok(socket)
}
