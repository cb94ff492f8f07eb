//! Something in the guard's place that answers as it is told, for tests of those who ask.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept,
    bind, listen, recv, send, shutdown, socket_with,
};

use crate::guard::protocol;

/// It answers for as long as this lives.
pub(crate) struct TestGuard {
    socket: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl TestGuard {
    /// Answers in `run` whoever asks how it goes.
    pub(crate) fn answering(run: &Path, answer: &str) -> TestGuard {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let path = protocol::socket_path(run);
        let _ = fs::remove_file(&path);
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        listen(&socket, 4).unwrap();
        let (socket, answer) = (Arc::new(socket), answer.to_owned());
        let listener = Arc::clone(&socket);
        let thread = std::thread::spawn(move || {
            while let Ok(client) = accept(&listener) {
                let mut buffer = [0_u8; 64];
                let asked = recv(&client, &mut buffer[..], RecvFlags::empty());
                if asked.is_ok_and(|(length, _)| &buffer[..length] == br#"{"do":"status"}"#) {
                    let _ = send(&client, answer.as_bytes(), SendFlags::NOSIGNAL);
                }
            }
        });
        TestGuard { socket, thread: Some(thread) }
    }

    /// Answers in `run` as the guard of `etc` does.
    pub(crate) fn serving(run: &Path, etc: &Path) -> TestGuard {
        let answer = protocol::Answer::Status { sessions: 0, etc: Some(etc.to_owned()) };
        TestGuard::answering(run, &serde_json::to_string(&answer).unwrap())
    }
}

impl Drop for TestGuard {
    fn drop(&mut self) {
        let _ = shutdown(&self.socket, Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
