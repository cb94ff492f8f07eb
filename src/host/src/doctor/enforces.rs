//! What a host really enforces, in words: the promises of jit-ssh, less what the findings break.
//! Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::facts::Facts;
use super::finding::{Effect, Finding};
use crate::settings::Guard;

/// A promise, and how far it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Enforced {
    /// What is enforced: `login`, `session`, `channels` or `detached`.
    pub(super) enforces: &'static str,
    /// How far, in words.
    pub(super) how: String,
}

/// The four promises.
pub(super) fn enforced(facts: &Facts, findings: &[Finding]) -> Vec<Enforced> {
    let effects: Vec<Effect> = findings.iter().map(|f| f.weakness.describe().effect).collect();
    let promise = |enforces, how| Enforced { enforces, how };
    vec![
        promise("login", login(facts, &effects)),
        promise("session", session(facts, &effects)),
        promise("channels", channels(facts, &effects)),
        promise("detached", detached(facts, &effects)),
    ]
}

fn login(facts: &Facts, effects: &[Effect]) -> String {
    let doors: BTreeSet<&str> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Door(door) => Some(*door),
            _ => None,
        })
        .collect();
    let doors: Vec<&str> = doors.into_iter().collect();
    let shut = effects.iter().find_map(|effect| match effect {
        Effect::Shut(why) => Some(*why),
        _ => None,
    });
    let name = facts.settings().map(|settings| settings.name.as_str());
    let certificates = if facts.sshd.refused.is_some() {
        return "unknown: sshd refuses its configuration".to_owned();
    } else if facts.sshd.asked.is_empty() {
        return "unknown: sshd could not be asked without root's rights".to_owned();
    } else if !facts.is_set_up() {
        "nothing of jit-ssh: this host is not set up".to_owned()
    } else if let Some(why) = shut {
        format!("certificates by this CA are refused, for some logins at least: {why}")
    } else if effects.contains(&Effect::Unscoped) {
        "certificates by this CA, and not for principals of this host only".to_owned()
    } else {
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        format!("certificates by this CA, for principals of this host{name} only")
    };
    match doors.is_empty() {
        true => certificates,
        false => format!("{certificates}; and besides: {}", doors.join(", ")),
    }
}

/// Why sessions go on when the grant ends, if they do.
fn unended(facts: &Facts, effects: &[Effect]) -> Option<&'static str> {
    let broken = effects.iter().find_map(|effect| match effect {
        Effect::Unended(why) => Some(*why),
        _ => None,
    });
    match facts.settings() {
        None => broken.or(Some("no guard is known of")),
        Some(_) => broken,
    }
}

fn session(facts: &Facts, effects: &[Effect]) -> String {
    match (unended(facts, effects), facts.settings().map(|settings| settings.guard)) {
        (Some(why), _) => format!("go on after the grant ends: {why}"),
        (None, Some(Guard::Optional)) => {
            "end with the grant, but those begun while the guard is down (guard optional, PAM hook in place)".to_owned()
        }
        (None, _) => "end with the grant (guard required, PAM hook in place)".to_owned(),
    }
}

fn channels(facts: &Facts, effects: &[Effect]) -> String {
    match unended(facts, effects) {
        Some(_) => "forwards, and new channels over a connection that stands, go on after the grant ends: sshd looks at certificates at login only".to_owned(),
        None => "forwards, and new channels over a connection that stands, end with the session".to_owned(),
    }
}

fn detached(facts: &Facts, effects: &[Effect]) -> String {
    let hook = facts.pam.lines.seen();
    let has_session_cgroup =
        hook.is_some_and(|lines| lines.iter().any(|line| line.calls("pam_systemd.so")));
    if unended(facts, effects).is_some() {
        "programs that detach (nohup, tmux) go on: nobody ends them".to_owned()
    } else if !facts.has_cgroup_v2 || effects.contains(&Effect::Survivors) {
        "programs that detach (nohup, tmux) survive the session: their cgroup is not known"
            .to_owned()
    } else if has_session_cgroup && effects.contains(&Effect::Lingering) {
        "programs that detach (nohup, tmux) end with the session's cgroup, but not what a lingering login has systemd start"
            .to_owned()
    } else if has_session_cgroup {
        "programs that detach (nohup, tmux) end with the session's cgroup".to_owned()
    } else {
        "programs that detach (nohup, tmux) end with the session only where it has a cgroup of its own: PAM does not call pam_systemd".to_owned()
    }
}
