//! The guard: whether anybody ends what is open when the grant ends.

use std::path::PathBuf;

use super::start_guard;
use crate::doctor::facts::{Facts, Kind, Look, Node};
use crate::doctor::finding::Severity::{Critical, Note, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};
use crate::guard_service::Answering;
use crate::settings::{self, Guard};

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuardWeakness {
    /// The host is set up without one.
    Off,
    /// Logins work without it.
    Optional,
    /// It does not run: why, whether logins are refused for it, and how it is started.
    NotRunning { why: String, required: bool, start: String },
    /// The one that answers goes by the host files in another folder: which, and how ours is started.
    OtherEtc { etc: PathBuf, start: String },
    /// The one that answers is of an older version; how this one's is started.
    Old { start: String },
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
                "The host is set up without a guard: sessions, their forwards and new channels go on after the grant ends or is revoked; sshd looks at certificates at login only. Nobody fetches what is revoked, or renews the host certificate: both are as setup wrote them last.",
                "jit-ssh-host setup ... --guard required",
            )
            .breaks(Effect::Unended("no guard")),
            W::Optional => Description::new(
                "GUARD_OPTIONAL",
                Note,
                "Logins work while the guard is down; sessions begun then are not ended with the grant.",
                "if that is not wanted: jit-ssh-host setup ... --guard required",
            ),
            W::NotRunning { why, required, start } => Description::new(
                "GUARD_NOT_RUNNING",
                Critical,
                format!(
                    "The guard does not run ({why}): {}, and no revocation arrives.",
                    match required {
                        true => "the hook refuses every session, those that stand are not ended",
                        false => "sessions go on after the grant ends",
                    }
                ),
                start,
            )
            .breaks(Effect::Unended("the guard does not run")),
            W::OtherEtc { etc, start } => Description::new(
                "GUARD_OTHER_ETC",
                Critical,
                format!("The guard that answers goes by the host files in {}, not by this host's: it knows neither the CA keys nor what is revoked here.", etc.display()),
                format!("end that guard, or give each its own --run DIR, to guard and setup; then: {start}"),
            )
            .breaks(Effect::Unended("the guard that answers is of another --etc")),
            W::Old { start } => Description::new(
                "GUARD_OLD",
                Warning,
                "The guard that runs is of an older version than this program: it does what it did then.",
                format!("start it anew, which no session notices: {start}"),
            ),
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
            let place = Place::file(&socket.path);
            let start = || start_guard(facts);
            // Only root may knock; that this is not root is told elsewhere.
            match facts.guard.answers.clone() {
                _ if !facts.is_root => {}
                Ok(Answering::Ours) => {}
                Ok(Answering::Other(etc)) => {
                    findings.push(W::OtherEtc { etc, start: start() }.at(place));
                }
                Ok(Answering::Older) => findings.push(W::Old { start: start() }.at(place)),
                Err(why) => {
                    findings.push(W::NotRunning { why, required, start: start() }.at(place));
                }
            }
        }
        Look::Absent => {
            let (why, start) = ("there is no socket".to_owned(), start_guard(facts));
            findings.push(W::NotRunning { why, required, start }.anywhere());
        }
        // Only root sees it; that this is not root is told elsewhere.
        Look::Unreadable(_) => {}
    }
    findings
}
