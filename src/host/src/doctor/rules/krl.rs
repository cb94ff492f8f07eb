//! The list of revoked keys. sshd reads it at every login, and refuses everybody if it can not.

use std::path::PathBuf;

use super::by_value;
use crate::doctor::facts::{Facts, Look, RevokedContent};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KrlWeakness {
    /// No list is named: for whom.
    None(String),
    /// The list is not there.
    Missing(PathBuf),
    /// It can not be read: why.
    Unreadable(PathBuf, String),
    /// It is cut short, or else no list.
    Broken(PathBuf),
    /// It has not one byte.
    Empty(PathBuf),
    /// It is not the one the guard keeps.
    NotOurs(PathBuf),
}

use KrlWeakness as W;

impl KrlWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        let refused = Effect::Shut("sshd can not read the list of revoked keys, and refuses all");
        match self {
            W::None(who) => Description::new(
                "NO_REVOKED_KEYS",
                Warning,
                format!("For {who}, RevokedKeys is not set: a certificate that was revoked logs in until it expires by itself."),
                "run jit-ssh-host setup again with a guard, which keeps the list",
            ),
            W::Missing(path) => Description::new(
                "KRL_MISSING",
                Critical,
                format!("RevokedKeys names {}, which is not there: sshd then refuses every key and certificate.", path.display()),
                "run jit-ssh-host setup again, or take RevokedKeys out",
            )
            .breaks(refused),
            W::Unreadable(path, why) => Description::new(
                "KRL_UNREADABLE",
                Critical,
                format!("RevokedKeys names {}, which can not be read ({why}): sshd then refuses every key and certificate.", path.display()),
                "make it a plain file that root can read",
            )
            .breaks(refused),
            W::Broken(path) => Description::new(
                "KRL_BROKEN",
                Critical,
                format!("{} is cut short or no list of revoked keys: sshd then refuses every key and certificate.", path.display()),
                format!("have the guard fetch it anew; check with: ssh-keygen -Q -l -f {}", path.display()),
            )
            .breaks(refused),
            W::Empty(path) => Description::new(
                "KRL_EMPTY",
                Warning,
                format!("{} is empty: nothing is revoked, and no list ever came.", path.display()),
                "start the guard: it fetches the list",
            ),
            W::NotOurs(path) => Description::new(
                "KRL_NOT_OURS",
                Warning,
                format!("RevokedKeys names {}, which jit-ssh does not keep: what this CA revokes does not come to stand there.", path.display()),
                "take the line out, then run jit-ssh-host setup again",
            ),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = |path: &PathBuf| {
        let path = path.to_string_lossy();
        facts.place_of("RevokedKeys", &path)
    };
    for (value, who) in by_value(facts, |a| Some(a.effective.get("RevokedKeys").to_owned())) {
        if value == "none" && facts.is_set_up() {
            findings.push(W::None(who).at(facts.place_of("RevokedKeys", "none")));
        }
    }
    let ours = facts.layout.own_dir().join("revoked.krl");
    for revoked in &facts.revoked {
        let path = revoked.path.clone();
        match &revoked.content {
            Look::Absent => findings.push(W::Missing(path.clone()).at(place(&path))),
            Look::Unreadable(why) => {
                findings.push(W::Unreadable(path.clone(), why.clone()).at(Place::file(&path)));
            }
            Look::Seen(RevokedContent::Broken) => {
                findings.push(W::Broken(path.clone()).at(Place::file(&path)));
            }
            Look::Seen(RevokedContent::Empty) => {
                findings.push(W::Empty(path.clone()).at(Place::file(&path)));
            }
            Look::Seen(RevokedContent::List | RevokedContent::Keys) => {}
        }
    }
    // Where several may be named, ours must be one of them.
    if let Some(other) = facts.revoked.first()
        && facts.is_set_up()
        && facts.revoked.iter().all(|revoked| revoked.path != ours)
    {
        findings.push(W::NotOurs(other.path.clone()).at(place(&other.path)));
    }
    findings
}
