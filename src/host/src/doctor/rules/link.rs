//! The link to the CA: whether what is revoked arrives on this host.

use jit_ssh_core::time::UnixTime;

use super::start_guard;
use crate::doctor::facts::{Facts, Look};
use crate::doctor::finding::Severity::Warning;
use crate::doctor::finding::{Description, Finding, Place};
use crate::guard_service::Answering;
use crate::settings::Guard;

/// How old the CA's word on revocations may be, in seconds: the link asks every five minutes, whatever it
/// hears by its stream.
const STALE: u64 = 600;

/// How long a link may take for its first word, in seconds.
const FIRST_WORD: u64 = 60;

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkWeakness {
    /// The guard has no link: when the CA was last heard, and how to start it.
    NotRunning { heard: Option<UnixTime>, start: String },
    /// The CA was not heard for too long: since when, and what is in the way.
    Stale { heard: Option<UnixTime>, since: UnixTime, now: UnixTime, problem: Option<String> },
}

use LinkWeakness as W;

const LATER: &str =
    "what is revoked meanwhile still logs in until it expires, and its sessions go on until then.";

impl LinkWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::NotRunning { heard, start } => Description::new(
                "LINK_NOT_RUNNING",
                Warning,
                format!(
                    "The guard has no link to the CA, {}: revocations do not arrive, the host certificate is not renewed, and nothing is reported; {LATER}",
                    match heard {
                        Some(heard) => format!("which was last heard at {}", heard.utc()),
                        None => "which was not heard since this machine started".to_owned(),
                    }
                ),
                format!(
                    "start the guard anew, without --no-link: {start}; if the link ends again, see its last words: journalctl -u jit-ssh-guard"
                ),
            ),
            W::Stale { heard, since, now, problem } => Description::new(
                "REVOCATIONS_STALE",
                Warning,
                format!(
                    "The CA last said what is revoked {}: {LATER} {}",
                    match heard {
                        Some(heard) => format!("at {} ({} ago)", heard.utc(), ago(*now, *heard)),
                        None => format!("before the link began at {}, if ever", since.utc()),
                    },
                    match problem {
                        Some(problem) => format!("The link says: {problem}"),
                        None => "The link says nothing of what is in the way.".to_owned(),
                    }
                ),
                "see that this host reaches the CA (`ca` in host.toml), and that the CA runs; the link tries again by itself",
            ),
        }
    }
}

/// How long ago, in words.
fn ago(now: UnixTime, then: UnixTime) -> String {
    match now.since(then) {
        secs if secs < 2 * 3_600 => format!("{} minutes", secs / 60),
        secs if secs < 2 * 86_400 => format!("{} hours", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}

/// Finds them. Where this host's guard does not answer there is no link either, and that is told of the guard.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let has_guard = facts.settings().is_some_and(|settings| settings.guard != Guard::Off);
    if !has_guard || !facts.is_root || facts.guard.answers != Ok(Answering::Ours) {
        return Vec::new();
    }
    let link = &facts.link;
    let place = || Place::file(&link.file);
    let (heard, runs) = match &link.heard {
        Look::Seen(heard) => (Some(heard), link.runs),
        Look::Absent | Look::Unreadable(_) => (None, false),
    };
    let Some(known) = heard.filter(|_| runs) else {
        let heard = heard.and_then(|heard| heard.heard);
        let start = start_guard(facts);
        return vec![W::NotRunning { heard, start }.at(place())];
    };
    let is_late = match known.heard {
        // Beyond now, the clock was set back since, and nobody knows how long ago it was.
        Some(heard) => facts.now.since(heard) > STALE || heard.since(facts.now) > STALE,
        None => facts.now.since(known.since) > FIRST_WORD,
    };
    if !is_late {
        return Vec::new();
    }
    let (heard, since, problem) = (known.heard, known.since, known.problem.clone());
    vec![W::Stale { heard, since, now: facts.now, problem }.at(place())]
}
