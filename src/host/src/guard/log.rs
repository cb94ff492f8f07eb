//! What the guard and its hook say to the administrator: one sentence a line, never a secret.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

/// How much it matters, as syslog counts (`syslog(3)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Somebody must look at once.
    Alert = 1,
    /// Something does not work.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
    /// What was done.
    Info = 6,
}

/// The facility `authpriv`, where sshd's own lines go on most systems.
const AUTHPRIV: u8 = 10;

/// Says it on stderr, which the journal reads; what is alarming goes to syslog, too.
pub(crate) fn say(level: Level, text: &str) {
    // Nobody may listen there any more, and that must stop nothing.
    let _ = writeln!(std::io::stderr(), "{text}");
    if level == Level::Alert {
        syslog(level, text);
    }
}

/// Says it to syslog alone: pam_exec gives its program no stderr.
pub(crate) fn syslog(level: Level, text: &str) {
    let priority = AUTHPRIV.saturating_mul(8).saturating_add(level as u8);
    let line = format!("<{priority}>jit-ssh-host[{}]: {text}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound()
        && socket.set_nonblocking(true).is_ok()
    {
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}
