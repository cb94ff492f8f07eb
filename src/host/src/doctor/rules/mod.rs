//! The rules: from what was seen to what is weak. Pure; each file names the weaknesses of one area,
//! says them in words, and finds them.

pub(crate) mod ca;
pub(super) mod doors;
pub(super) mod guard;
pub(super) mod host_keys;
pub(super) mod krl;
pub(super) mod link;
pub(super) mod pam;
pub(super) mod principals;
pub(super) mod running;
pub(super) mod setting;
pub(super) mod system;

use std::path::Path;

use super::facts::{Asked, Facts};
use super::finding::Finding;
use crate::guard_service;
use crate::layout::DEFAULT_ETC;

/// All that is weak, the worst first.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in [
        system::judge,
        setting::judge,
        doors::judge,
        ca::judge,
        principals::judge,
        krl::judge,
        host_keys::judge,
        running::judge,
        pam::judge,
        guard::judge,
        link::judge,
    ] {
        findings.extend(rule(facts));
    }
    findings.sort_by_key(|finding| finding.weakness.describe().severity);
    findings
}

/// For whom a setting has each of its values: by value, in the order asked.
fn by_value<'a>(
    facts: &'a Facts,
    value: impl Fn(&'a Asked) -> Option<String>,
) -> Vec<(String, String)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for asked in &facts.sshd.asked {
        let Some(value) = value(asked) else {
            continue;
        };
        let who = match &asked.for_match {
            Some(line) => format!("{} under `{line}`", asked.user),
            None => asked.user.clone(),
        };
        match all.iter_mut().find(|(known, _)| *known == value) {
            Some((_, names)) => names.push(who),
            None => all.push((value, vec![who])),
        }
    }
    let everybody = facts.sshd.asked.len();
    let who = |names: Vec<String>| match names.len() == everybody {
        true => "every account".to_owned(),
        false => few(&names),
    };
    all.into_iter().map(|(value, names)| (value, who(names))).collect()
}

/// Some of many names.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let head: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", head.join(", ")),
        _ => head.join(", "),
    }
}

/// How to make a setting count.
fn set(line: &str) -> String {
    format!(
        "write in sshd_config, above every Match and every other line that sets it: {line}; then reload sshd"
    )
}

/// How this host's guard is started anew, wherever it has its files.
fn start_guard(facts: &Facts) -> String {
    let state = facts.link.heard.seen().map(|heard| heard.state.as_path());
    let by_hand = guard_service::by_hand(facts.layout.etc(), &facts.guard.run, state);
    // systemd runs the guard of the system's own sshd alone.
    match facts.layout.etc() == Path::new(DEFAULT_ETC) {
        true => format!("systemctl restart jit-ssh-guard; without systemd: {by_hand}"),
        false => by_hand,
    }
}
