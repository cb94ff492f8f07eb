//! One guard and a crowd of logins at the same moment: nobody's login fails because of somebody else's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on must stop")]

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command};

use jit_ssh_tests::Program;
use jit_ssh_tests::guarded::{GuardedHost, Way, now};
use jit_ssh_tests::program::wait_until;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;

/// More than the guard once took at a time, and less than it takes now.
const CROWD: usize = 300;

/// What says that it is sshd's monitor of a connection, and does nothing.
struct Monitor(Child);

impl Monitor {
    fn start(host: &GuardedHost) -> Monitor {
        let program = host.path("sshd");
        if !program.exists() {
            fs::copy(Program::path("sleep"), &program).unwrap();
        }
        Monitor(Command::new(program).arg("1000").spawn().unwrap())
    }

    /// What its hook tells the guard; not yet answered.
    fn register(&self, host: &GuardedHost, way: &Way) -> OwnedFd {
        let (pid, line) = (self.0.id(), certificate(way));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
        let message = json!({ "do": "register", "certificate": line,
            "monitor": { "pid": pid, "start": start.parse::<u64>().unwrap() },
            "login": host.user, "connection": "192.0.2.7 5000 192.0.2.1 22", "service": "sshd" });
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let socket = connected(host);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [pidfd.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let message = message.to_string();
        sendmsg(&socket, &[IoSlice::new(message.as_bytes())], &mut control, SendFlags::NOSIGNAL)
            .unwrap();
        socket
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn certificate(way: &Way) -> String {
    let line = fs::read_to_string(way.certificate.as_ref().unwrap()).unwrap();
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A connection to the guard, if there is room for it in the socket's queue.
fn connected(host: &GuardedHost) -> OwnedFd {
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.unwrap();
    rustix::io::ioctl_fionbio(&socket, true).unwrap();
    connect(&socket, &SocketAddrUnix::new(host.path("run/guard.sock")).unwrap()).unwrap();
    rustix::io::ioctl_fionbio(&socket, false).unwrap();
    socket
}

/// Waits for the answer; empty where the connection was closed.
fn answer(socket: &OwnedFd) -> String {
    let mut buffer = vec![0; 65_536];
    let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty()).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn signal_guard(host: &GuardedHost, signal: &str) {
    let pid = host.guard.as_ref().unwrap().pid().to_string();
    Program::new("kill").args([signal, &pid]).run().fine();
}

#[test]
fn hundreds_of_logins_at_once_are_all_taken_on_and_another_persons_is_not_behind_them() {
    let Some(mut host) = GuardedHost::new("required") else { return };
    let (alice, _) = host.access(&host.user, 3_000);
    let mut wanted = host.wanted(&host.user, now() as u64 + 3_000);
    wanted.key_id = wanted.key_id.replace("alice", "bob");
    let bob = host.certificate(&wanted);
    let monitors: Vec<Monitor> = (0..=CROWD).map(|_| Monitor::start(&host)).collect();
    // All of them have asked before the guard looks at the first.
    signal_guard(&host, "-STOP");
    let (last, crowd) = monitors.split_last().unwrap();
    let mut asked: Vec<OwnedFd> = crowd.iter().map(|m| m.register(&host, &alice)).collect();
    asked.push(last.register(&host, &bob));
    signal_guard(&host, "-CONT");
    for (at, socket) in asked.iter().enumerate() {
        assert_eq!(answer(socket), r#"{"answer":"registered"}"#, "login {at}");
    }
    assert_eq!(host.sessions().len(), CROWD + 1, "what is answered is recorded");
    // All of them end at once, too; and a login in the midst of that passes.
    drop(asked);
    drop(monitors);
    assert!(host.run(&alice, &host.user, "true").0);
    wait_until("the ends", || host.sessions().is_empty());
    let kinds = |kind: &str| host.events().iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((kinds("login"), kinds("end")), (CROWD + 2, CROWD + 2));

    let said = host.kill_guard();
    let lets_in: Vec<&str> = said.lines().filter(|line| line.contains("is let in")).collect();
    let place = lets_in.iter().position(|line| line.starts_with("bob/")).unwrap();
    assert!(place < CROWD / 4, "bob waited behind {place} others");
}

#[test]
fn who_holds_connections_and_says_nothing_keeps_nobody_out() {
    let Some(host) = GuardedHost::new("required") else { return };
    let (way, _) = host.access(&host.user, 3_000);
    let silent: Vec<OwnedFd> = (0..150).map(|_| connected(&host)).collect();
    assert!(host.run(&way, &host.user, "true").0);
    for socket in &silent {
        assert_eq!(answer(socket), "");
    }
}
