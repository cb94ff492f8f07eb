//! This host's settings, the files of ours, the clock and what the kernel offers.

use std::path::{Path, PathBuf};

use super::few;
use crate::doctor::facts::{Facts, Kind, Look};
use crate::doctor::finding::Severity::{Critical, Note, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};
use crate::settings::{self, Guard};

/// Where logind notes who lingers.
pub(crate) const LINGER: &str = "/var/lib/systemd/linger";

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SystemWeakness {
    /// There is no `host.toml`.
    NotSetUp,
    /// `host.toml` can not be read: why.
    SettingsUnreadable(String),
    /// `host.toml` says what nobody understands: why.
    SettingsMalformed(String),
    /// Not everything could be seen.
    NotRoot,
    /// Others may write to a file or folder that decides who gets in.
    Open(PathBuf, u32),
    /// Somebody else owns one.
    Owner(PathBuf, u32),
    /// Something in our folder is neither file nor folder.
    Strange(PathBuf),
    /// The clock is not kept right.
    ClockFree,
    /// Nothing tells whether it is.
    ClockUnknown,
    /// Programs that detach can not be found again.
    NoCgroup,
    /// systemd runs services for logins of this host without anybody being logged in.
    Lingering(Vec<String>),
}

use SystemWeakness as W;

impl SystemWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::NotSetUp => Description::new(
                "NOT_SET_UP",
                Critical,
                "This host is not set up: there is no host.toml, so nothing of jit-ssh is promised here.",
                "jit-ssh-host setup --ca URL --name NAME",
            ),
            W::SettingsUnreadable(why) => Description::new(
                "SETTINGS_UNREADABLE",
                Critical,
                format!("host.toml can not be read: {why}. Hook and guard do not know what they are to do."),
                "run as root; if it persists, run jit-ssh-host setup again",
            ),
            W::SettingsMalformed(why) => Description::new(
                "SETTINGS_MALFORMED",
                Critical,
                format!("host.toml does not say how this host is set up: {why}. Hook and guard refuse it."),
                "run jit-ssh-host setup again; it writes the file anew",
            ),
            W::NotRoot => Description::new(
                "NOT_ROOT",
                Warning,
                "This ran without root's rights: sshd could not be asked everything, and host keys, people's authorized_keys and the guard's socket could not all be seen. What is not told may still be weak.",
                "run it as root: sudo jit-ssh-host doctor",
            ),
            W::Open(path, mode) => Description::new(
                "OPEN_TO_OTHERS",
                Critical,
                format!(
                    "Others than its owner may write to {} (mode {mode:04o}): they can change who gets in, and with StrictModes sshd ignores the principals files below such a folder.",
                    path.display()
                ),
                match mode & 0o1000 {
                    0 => format!("chmod go-w {}", path.display()),
                    _ => "use an --etc that is not below such a folder, /etc/ssh for one".to_owned(),
                },
            ),
            W::Owner(path, owner) => Description::new(
                "FOREIGN_OWNER",
                Critical,
                format!(
                    "{} belongs to user {owner} and not to root: that user can change who gets in.",
                    path.display()
                ),
                format!("chown root:root {}", path.display()),
            ),
            W::Strange(path) => Description::new(
                "NOT_A_FILE",
                Warning,
                format!("{} is neither a plain file nor a folder: nobody of ours made it.", path.display()),
                format!("look at it, then remove it: rm {}", path.display()),
            ),
            W::ClockFree => Description::new(
                "CLOCK_NOT_SYNCHRONISED",
                Warning,
                "The clock is not kept right by anything: certificates and grants begin and end by it.",
                "start a time service, such as: systemctl enable --now systemd-timesyncd",
            ),
            W::ClockUnknown => Description::new(
                "CLOCK_UNKNOWN",
                Note,
                "Nothing here tells whether the clock is kept right; in a container, its host does that.",
                "see that the clock's keeper runs: certificates and grants begin and end by the clock",
            ),
            W::NoCgroup => Description::new(
                "NO_CGROUP_V2",
                Warning,
                "There is no cgroup v2 here: programs that detach from their session (nohup, tmux) survive its end.",
                "boot with systemd.unified_cgroup_hierarchy=1",
            )
            .breaks(Effect::Survivors),
            W::Lingering(logins) => Description::new(
                "LINGERING",
                Warning,
                format!(
                    "systemd keeps running services for {} when nobody is logged in: what a session starts by `systemd-run --user`, or as a timer, is not part of it and survives its end.",
                    few(logins)
                ),
                "if nothing needs it: loginctl disable-linger LOGIN",
            )
            .breaks(Effect::Lingering),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = facts.layout.own_dir().join(settings::FILE);
    match &facts.settings {
        Look::Absent => findings.push(W::NotSetUp.at(Place::file(&file))),
        Look::Unreadable(why) => {
            findings.push(W::SettingsUnreadable(why.clone()).at(Place::file(&file)));
        }
        Look::Seen(Err(error)) => {
            let place = Place { file, line: error.line };
            findings.push(W::SettingsMalformed(error.problem.clone()).at(place));
        }
        Look::Seen(Ok(_)) => {}
    }
    if !facts.is_root {
        findings.push(W::NotRoot.anywhere());
    }
    if facts.is_set_up() {
        for node in &facts.nodes {
            let place = || Place::file(&node.path);
            if node.is_open() {
                findings.push(W::Open(node.path.clone(), node.mode).at(place()));
            }
            if node.owner != 0 {
                findings.push(W::Owner(node.path.clone(), node.owner).at(place()));
            }
            if !matches!(node.kind, Kind::File | Kind::Dir) {
                findings.push(W::Strange(node.path.clone()).at(place()));
            }
        }
    }
    match facts.clock_synchronised {
        Some(true) => {}
        Some(false) => findings.push(W::ClockFree.anywhere()),
        None => findings.push(W::ClockUnknown.anywhere()),
    }
    let has_guard = facts.settings().is_some_and(|settings| settings.guard != Guard::Off);
    if has_guard && !facts.has_cgroup_v2 {
        findings.push(W::NoCgroup.anywhere());
    }
    let ours = |login: &&String| facts.principals.iter().any(|file| file.login == **login);
    let lingering: Vec<String> = facts.lingering.iter().filter(ours).cloned().collect();
    if has_guard && !lingering.is_empty() {
        findings.push(W::Lingering(lingering).at(Place::file(Path::new(LINGER))));
    }
    findings
}
