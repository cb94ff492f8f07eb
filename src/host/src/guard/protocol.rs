//! What is said on the guard's socket: one message there, one back, each a packet of JSON
//! (`SOCK_SEQPACKET`), and the monitor's pidfd beside a registration.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, recvmsg, sendmsg, socket_with,
};
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::process::ProcessId;

/// Longest message, in bytes: a certificate has less than 32 KiB, and base64 makes 43 of it.
pub(crate) const MAX_MESSAGE: usize = 48 << 10;

/// Where the guard listens.
pub(crate) fn socket_path(run: &Path) -> PathBuf {
    run.join("guard.sock")
}

/// What the guard is asked to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Keep watch over a connection, whose monitor's pidfd comes beside this.
    Register(Register),
    /// Move the end of what this certificate prolongs.
    Prolong {
        /// `type base64`.
        certificate: String,
    },
    /// Say what the CA has not heard of yet.
    Events,
    /// The CA has heard of all events before the one of this number.
    Taken {
        /// The number.
        next: u64,
    },
    /// Say how it goes.
    Status,
    /// End all sessions there are: the guard is to go. Asked again until none is left.
    End,
}

/// A login by a certificate of ours.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// `type base64`, as sshd gave it.
    pub(crate) certificate: String,
    /// The connection's monitor.
    pub(crate) monitor: ProcessId,
    /// The account that was logged in to.
    pub(crate) login: String,
    /// `SSH_CONNECTION`: address and port there, address and port here.
    pub(crate) connection: String,
    /// The PAM service.
    pub(crate) service: String,
}

/// What the guard answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It is recorded, and will be ended.
    Registered,
    /// So many sessions end later now.
    Prolonged {
        /// How many.
        sessions: usize,
    },
    /// What the CA has not heard of yet, oldest first; there may be more.
    Events {
        /// The number of the first event after these.
        next: u64,
        /// How many were lost since the spool began.
        dropped: u64,
        /// The events.
        events: Vec<Event>,
    },
    /// It is noted.
    Noted,
    /// How it goes.
    Status {
        /// How many sessions it watches.
        sessions: usize,
        /// The folder of the host files it goes by; an older guard does not tell.
        etc: Option<PathBuf>,
    },
    /// This login must not be, guard or no guard.
    Refused {
        /// Why, as a sentence without its full stop.
        why: String,
    },
    /// The guard can not do it now.
    Unable {
        /// Why, as a sentence without its full stop.
        why: String,
    },
}

/// A packet that came, and what came beside it.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Open files that were passed.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Asks the guard, and waits for its answer until `deadline`.
///
/// # Errors
/// Why there is no answer, as the end of a sentence.
pub(crate) fn ask(
    run: &Path,
    ask: &Ask,
    beside: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<Answer, String> {
    let path = socket_path(run);
    let address = SocketAddrUnix::new(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|e| format!("no socket: {e}"))?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => break,
            // Too many logins wait at this moment.
            Err(Errno::AGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(format!("{}: {e}", path.display())),
        }
    }
    let message = serde_json::to_vec(ask).map_err(|e| e.to_string())?;
    send(socket.as_fd(), &message, beside).map_err(|e| format!("it takes no message: {e}"))?;
    wait(socket.as_fd(), deadline)?;
    let packet = receive(socket.as_fd()).map_err(|e| format!("it gave no answer: {e}"))?;
    serde_json::from_slice(&packet.bytes).map_err(|_| "it closed the connection".to_owned())
}

fn wait(socket: BorrowedFd<'_>, deadline: Instant) -> Result<(), String> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|e| e.to_string())?;
        let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err("it did not answer in time".to_owned()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// Sends one packet; never waits.
///
/// # Errors
/// What the kernel says.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    beside: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = beside.into_iter().collect();
    if !fds.is_empty() {
        // There is room: the space is made for one.
        let _ = control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(message)], &mut control, flags).map(drop)
}

/// Takes one packet that is there; never waits. An empty one means that the other side has gone.
///
/// # Errors
/// What the kernel says; `MSGSIZE` for more than fits.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> rustix::io::Result<Packet> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    bytes.truncate(got.bytes);
    Ok(Packet { bytes, fds })
}

#[cfg(test)]
mod tests {
    use rustix::net::socketpair;

    use super::*;

    #[test]
    fn a_packet_arrives_with_what_is_beside_it_and_an_oversized_one_does_not() {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(one.as_fd(), &[7; MAX_MESSAGE], Some(file.as_fd())).unwrap();
        let packet = receive(other.as_fd()).unwrap();
        assert_eq!((packet.bytes.len(), packet.fds.len()), (MAX_MESSAGE, 1));
        send(one.as_fd(), &[7; MAX_MESSAGE + 1], None).unwrap();
        assert_eq!(receive(other.as_fd()).unwrap_err(), Errno::MSGSIZE);
        drop(one);
        assert!(receive(other.as_fd()).unwrap().bytes.is_empty());
    }

    #[test]
    fn messages_say_exactly_what_is_known() {
        let status = serde_json::to_string(&Ask::Status).unwrap();
        assert_eq!(status, r#"{"do":"status"}"#);
        let good = r#"{"do":"prolong","certificate":"a b"}"#;
        assert!(serde_json::from_str::<Ask>(good).is_ok());
        for bad in [r#"{"do":"stop"}"#, "{}", r#"{"do":"prolong","certificate":"a b","more":1}"#] {
            assert!(serde_json::from_str::<Ask>(bad).is_err(), "{bad}");
        }
    }
}
