//! The guard: whether anybody ends what is open when the grant ends.

use super::start_guard;
use crate::doctor::facts::{Facts, Kind, Look, Node};
use crate::doctor::finding::Severity::{Critical, Note, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};
use crate::settings::{self, Guard};

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuardWeakness {
    /// The host is set up without one.
    Off,
    /// Logins work without it.
    Optional,
    /// It does not run; whether logins are refused for it, and how it is started.
    NotRunning { required: bool, start: String },
    /// Its socket's folder is not as it should be.
    DirOpen(Node),
    /// Its socket is not as it should be.
    SocketOpen(Node),
    /// Its socket is no socket.
    NoSocket,
}

use GuardWeakness as W;

impl GuardWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::Off => Description::new(
                "GUARD_OFF",
                Warning,
                "The host is set up without a guard: sessions, their forwards and new channels go on after the grant ends or is revoked; sshd looks at certificates at login only. Nobody fetches what is revoked either: the list is as setup wrote it last.",
                "jit-ssh-host setup ... --guard required",
            )
            .breaks(Effect::Unended("no guard")),
            W::Optional => Description::new(
                "GUARD_OPTIONAL",
                Note,
                "Logins work while the guard is down; sessions begun then are not ended with the grant.",
                "if that is not wanted: jit-ssh-host setup ... --guard required",
            ),
            W::NotRunning { required: true, start } => Description::new(
                "GUARD_NOT_RUNNING",
                Critical,
                "The guard does not run: the hook refuses every session, and those that stand are not ended.",
                start,
            )
            .breaks(Effect::Unended("the guard does not run")),
            W::NotRunning { required: false, start } => Description::new(
                "GUARD_NOT_RUNNING",
                Critical,
                "The guard does not run: sessions go on after the grant ends.",
                start,
            )
            .breaks(Effect::Unended("the guard does not run")),
            W::DirOpen(node) => Description::new(
                "GUARD_DIR_OPEN",
                Critical,
                format!("{} has mode {:04o} and user {}, not 0755 and root: others can put a socket of theirs in the guard's place.", node.path.display(), node.mode, node.owner),
                format!("chown root:root {0}; chmod 0755 {0}; then start the guard anew", node.path.display()),
            ),
            W::SocketOpen(node) => Description::new(
                "GUARD_SOCKET_OPEN",
                Critical,
                format!("{} has mode {:04o} and user {}, not 0600 and root: others can talk to the guard as if they were the hook.", node.path.display(), node.mode, node.owner),
                format!("chown root:root {0}; chmod 0600 {0}", node.path.display()),
            ),
            W::NoSocket => Description::new(
                "GUARD_NO_SOCKET",
                Critical,
                "What lies in the place of the guard's socket is no socket: the hook reaches nobody.",
                "remove it, then start the guard anew",
            )
            .breaks(Effect::Unended("the guard can not be reached")),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(settings) = facts.settings() else {
        return Vec::new();
    };
    let file = Place::file(&facts.layout.own_dir().join(settings::FILE));
    let mut findings = Vec::new();
    let required = match settings.guard {
        Guard::Off => return vec![W::Off.at(file)],
        Guard::Optional => {
            findings.push(W::Optional.at(file));
            false
        }
        Guard::Required => true,
    };
    if let Look::Seen(dir) = &facts.guard.dir
        && (dir.is_open() || dir.owner != 0)
    {
        findings.push(W::DirOpen(dir.clone()).at(Place::file(&dir.path)));
    }
    match &facts.guard.socket {
        Look::Seen(socket) if socket.kind != Kind::Socket => {
            findings.push(W::NoSocket.at(Place::file(&socket.path)));
        }
        Look::Seen(socket) => {
            if socket.mode & 0o077 != 0 || socket.owner != 0 {
                findings.push(W::SocketOpen(socket.clone()).at(Place::file(&socket.path)));
            }
            // Only root may knock; that this is not root is told elsewhere.
            if facts.is_root && !facts.guard.answers {
                let start = start_guard(facts);
                findings.push(W::NotRunning { required, start }.at(Place::file(&socket.path)));
            }
        }
        Look::Absent => {
            let start = start_guard(facts);
            findings.push(W::NotRunning { required, start }.anywhere());
        }
        // Only root sees it; that this is not root is told elsewhere.
        Look::Unreadable(_) => {}
    }
    findings
}
