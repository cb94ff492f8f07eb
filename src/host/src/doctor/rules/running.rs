//! The program sshd, and the one that runs.

use std::path::{Path, PathBuf};

use super::few;
use crate::doctor::facts::{Facts, Running};
use crate::doctor::finding::Severity::{Critical, Note, Warning};
use crate::doctor::finding::{Description, Finding, Place};

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunningWeakness {
    /// What version this is, nobody can tell.
    UnknownVersion,
    /// Too old for what jit-ssh writes.
    TooOld(u32, u32),
    /// Old, and lacks what some rules ask for.
    Old(u32, u32),
    /// It does not hold back those who try and try.
    NoPenalties(u32, u32),
    /// It splits principals at commas in places.
    Commas(u32, u32),
    /// None runs.
    NotRunning(String),
    /// It was not started by its full path.
    RelativeProgram(String),
    /// Its main file is not named by its full path.
    RelativeConfig(String),
    /// It was started with another main file.
    OtherConfig(String),
    /// What it read when it started is not what is there now.
    NeedsReload(Vec<PathBuf>),
    /// The program was replaced since it started.
    Replaced,
}

use RunningWeakness as W;

const UPGRADE: &str = "upgrade openssh-server";

impl RunningWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::UnknownVersion => Description::new(
                "OPENSSH_UNKNOWN",
                Note,
                "sshd does not tell its version, so what it lacks is not known here.",
                "see what `sshd -V` says",
            ),
            W::TooOld(major, minor) => Description::new(
                "OPENSSH_TOO_OLD",
                Critical,
                format!(
                    "OpenSSH {major}.{minor} knows no Include and no keys on security keys: jit-ssh needs 8.2 or later."
                ),
                UPGRADE,
            ),
            W::Old(major, minor) => Description::new(
                "OPENSSH_OLD",
                Warning,
                format!(
                    "OpenSSH {major}.{minor} is old: before 8.4 a certificate with `verify-required` is refused, and before 8.5 keyword names differ and old faults stand."
                ),
                UPGRADE,
            ),
            W::NoPenalties(major, minor) => Description::new(
                "OPENSSH_NO_PENALTIES",
                Note,
                format!(
                    "OpenSSH {major}.{minor} does not hold back an address that tries and tries (PerSourcePenalties, from 9.8), and takes the PAM service's name from the name it was started by."
                ),
                UPGRADE,
            ),
            W::Commas(major, minor) => Description::new(
                "OPENSSH_COMMAS",
                Note,
                format!(
                    "OpenSSH {major}.{minor} can be misled by a comma in a certificate's principal where authorized_keys has principals= (mended in 10.3); certificates of this CA have none."
                ),
                UPGRADE,
            ),
            W::NotRunning(pid_file) => Description::new(
                "SSHD_NOT_RUNNING",
                Note,
                format!(
                    "No running sshd was found by {pid_file}: what is said here is of its configuration. A system that starts sshd for each connection has none."
                ),
                "if it should run: systemctl start ssh (or sshd)",
            ),
            W::RelativeProgram(program) => Description::new(
                "SSHD_RELATIVE_PATH",
                Warning,
                format!(
                    "The running sshd was started as `{program}`, not by its full path: it can not start itself anew, so a reload ends it."
                ),
                "start it by its full path: /usr/sbin/sshd",
            ),
            W::RelativeConfig(file) => Description::new(
                "SSHD_RELATIVE_CONFIG",
                Warning,
                format!(
                    "The running sshd was started with -f {file}, which is no full path: after a reload it does not find the file, and ends."
                ),
                "start it with the full path: -f /etc/ssh/sshd_config",
            ),
            W::OtherConfig(file) => Description::new(
                "SSHD_OTHER_CONFIG",
                Critical,
                format!(
                    "The running sshd has {file} for its main file: nothing that is said here of the configuration holds for it."
                ),
                format!(
                    "jit-ssh-host doctor --sshd-config {file}; and set the host up for that file"
                ),
            ),
            W::NeedsReload(files) => {
                let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
                Description::new(
                    "NEEDS_RELOAD",
                    Critical,
                    format!(
                        "The running sshd has not read what changed since it started: {}. What is said here of these files does not hold yet.",
                        few(&names)
                    ),
                    "systemctl reload ssh (or sshd)",
                )
            }
            W::Replaced => Description::new(
                "SSHD_REPLACED",
                Warning,
                "The program sshd was replaced since the running one started: faults that an upgrade mended are still there.",
                "systemctl restart ssh (or sshd); sessions that stand go on",
            ),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = version(facts);
    let (words, is_replaced, stale) = match &facts.running {
        Running::None { pid_file } => {
            findings.push(W::NotRunning(pid_file.clone()).anywhere());
            return findings;
        }
        Running::Found { words, is_replaced, stale, .. } => (words, *is_replaced, stale),
    };
    if let Some(program) = words.first().filter(|program| !program.starts_with('/')) {
        findings.push(W::RelativeProgram(program.clone()).anywhere());
    }
    let named = words.iter().enumerate().find_map(|(place, word)| match word.as_str() {
        "-f" => words.get(place + 1).map(String::as_str),
        _ => word.strip_prefix("-f"),
    });
    let config = facts.layout.config();
    let named = named.unwrap_or("/etc/ssh/sshd_config");
    if !named.starts_with('/') {
        findings.push(W::RelativeConfig(named.to_owned()).anywhere());
    } else if Path::new(named) != config {
        findings.push(W::OtherConfig(named.to_owned()).anywhere());
    }
    if let Some(first) = stale.first() {
        findings.push(W::NeedsReload(stale.clone()).at(Place::file(first)));
    }
    if is_replaced {
        findings.push(W::Replaced.anywhere());
    }
    findings
}

fn version(facts: &Facts) -> Vec<Finding> {
    let Some((major, minor)) = facts.sshd.version else {
        return vec![W::UnknownVersion.anywhere()];
    };
    let is_before = |version: (u32, u32)| (major, minor) < version;
    let mut findings = Vec::new();
    if is_before((8, 2)) {
        findings.push(W::TooOld(major, minor).anywhere());
    } else if is_before((8, 5)) {
        findings.push(W::Old(major, minor).anywhere());
    }
    if is_before((9, 8)) {
        findings.push(W::NoPenalties(major, minor).anywhere());
    }
    if is_before((10, 3)) {
        findings.push(W::Commas(major, minor).anywhere());
    }
    findings
}
