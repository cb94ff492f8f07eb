//! Looks at a host: everything [`Facts`] holds. Nothing is judged here, and nothing is changed.
//!
//! `files.rs` looks at files, `keys.rs` at accounts and their keys, `host_certificate.rs` into host
//! certificates, `running.rs` for the sshd that runs.

mod files;
mod host_certificate;
pub(crate) mod keys;
mod running;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use jit_ssh_core::krl::Krl;
use jit_ssh_core::time::UnixTime;

use super::directives::{self, Directive};
use super::facts::{
    Asked, Facts, GuardFacts, LinkFacts, Look, PamFacts, PrincipalsFile, Revoked, RevokedContent,
    SshdFacts,
};
use super::pam_stack;
use super::rules::{ca, system};
use crate::config;
use crate::current::Disk;
use crate::guard::protocol;
use crate::guard_service;
use crate::layout::Layout;
use crate::link::heard::{self, Heard};
use crate::settings::{self, Settings, SettingsError};
use crate::sshd::{Effective, Sshd};

/// Where to look.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Which files are ours.
    pub(super) layout: Layout,
    /// The sshd to ask.
    pub(super) sshd: Sshd,
    /// The PAM service file.
    pub(super) pam: PathBuf,
    /// The folder of the guard's socket.
    pub(super) guard_dir: PathBuf,
}

/// What `host.toml` in `etc` says.
pub(super) fn settings(etc: &Path) -> Look<Result<Settings, SettingsError>> {
    match files::read(&etc.join("jit-ssh").join(settings::FILE)) {
        Look::Seen(state) => Look::Seen(settings::parse(&String::from_utf8_lossy(&state.content))),
        Look::Absent => Look::Absent,
        Look::Unreadable(why) => Look::Unreadable(why),
    }
}

/// Looks at everything.
pub(super) fn look(places: &Places) -> Facts {
    let layout = &places.layout;
    let accounts = keys::accounts();
    let principals = principals(layout, &accounts);
    let sshd = sshd(places, &principals);
    let in_force = |keyword: &str| -> Vec<PathBuf> {
        let values = sshd.asked.first().map_or(&[][..], |asked| asked.effective.all(keyword));
        values.iter().filter(|value| *value != "none").map(PathBuf::from).collect()
    };
    let host_keys: Vec<_> = in_force("HostKey")
        .into_iter()
        .map(|path| (path.clone(), files::host_key(&path)))
        .collect();
    let there = host_keys.iter().filter(|(_, look)| !matches!(look, Look::Absent));
    let public_keys = host_certificate::public_keys(there.map(|(path, _)| path.as_path()));
    let host_certificates: Vec<_> = in_force("HostCertificate")
        .into_iter()
        .map(|path| (path.clone(), host_certificate::read(&path)))
        .collect();
    let mut read_at_start: Vec<PathBuf> = config_files(layout, &sshd.directives);
    let nodes = files::nodes(layout, &read_at_start);
    read_at_start.extend(host_keys.iter().map(|(path, _)| path.clone()));
    read_at_start.extend(host_certificates.iter().map(|(path, _)| path.clone()));
    let running = match sshd.asked.first() {
        Some(asked) => {
            running::find(asked.effective.get("PidFile"), layout.config(), &read_at_start)
        }
        None => running::find("/run/sshd.pid", layout.config(), &read_at_start),
    };
    let pam = pam(&places.pam);
    let run = guard_dir(&pam, &places.guard_dir);
    Facts {
        layout: layout.clone(),
        is_root: rustix::process::geteuid().is_root(),
        now: now(),
        settings: settings(layout.etc()),
        running,
        user_ca: files::read(&layout.user_ca()),
        drop_in: files::read(&layout.drop_in()),
        nodes,
        revoked: revoked(&sshd.asked),
        standing: keys::standing(&accounts, &sshd.asked),
        host_keys,
        public_keys,
        host_certificates,
        guard: guard(&run, layout.etc()),
        link: link(&run),
        pam,
        clock_synchronised: clock_synchronised(),
        has_cgroup_v2: has_cgroup_v2(),
        lingering: lingering(),
        principals,
        sshd,
    }
}

#[allow(clippy::disallowed_methods)] // The one place of `doctor` that asks the clock.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

fn sshd(places: &Places, principals: &[PrincipalsFile]) -> SshdFacts {
    let layout = &places.layout;
    let main = files::read(layout.config());
    let text = main.seen().map(|state| String::from_utf8_lossy(&state.content).into_owned());
    let text = text.unwrap_or_default();
    let all = directives::read(layout.config(), &text, &Disk);
    let found = config::read(layout.config(), &text, &layout.drop_in(), &Disk);

    let logins: Vec<String> = principals.iter().map(|file| file.login.clone()).collect();
    let plain = |user: &str| {
        let at = "host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22,rdomain=";
        (user.to_owned(), format!("user={user},{at}"), None)
    };
    let mut questions = vec![plain("root")];
    questions.extend(logins.iter().filter(|login| *login != "root").map(|login| plain(login)));
    let mut unasked = Vec::new();
    for line in all.iter().filter(|line| line.is("Match")) {
        let under = line.under.clone().unwrap_or_default();
        match directives::connection_for(&under, &logins) {
            Some((user, connection)) => {
                if !questions.iter().any(|(_, known, _)| *known == connection) {
                    questions.push((user, connection, Some(under)));
                }
            }
            None if line.value().eq_ignore_ascii_case("all") => {}
            None => unasked.push(under),
        }
    }

    let mut refused = places.sshd.test().err().map(|error| first_line(&error.to_string()));
    let mut asked = Vec::new();
    for (user, connection, for_match) in questions {
        match places.sshd.effective_where(&connection) {
            Ok(effective) => {
                let is_login = logins.contains(&user);
                asked.push(Asked { user, for_match, is_login, effective });
            }
            // A connection that was made up may be one that this sshd can not be asked about.
            Err(_) if for_match.is_some() => unasked.extend(for_match),
            Err(error) => {
                refused.get_or_insert_with(|| first_line(&error.to_string()));
                break;
            }
        }
    }
    // Who may not read the host's keys hears that there are none.
    let is_root = rustix::process::geteuid().is_root();
    refused.take_if(|said| !is_root && said.contains("no hostkeys available"));
    let version = places.sshd.version_text().and_then(|text| version(&text));
    SshdFacts { version, refused, asked, directives: all, found, unasked }
}

fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).trim_end_matches('.').to_owned() + "."
}

/// The two numbers of `OpenSSH_9.2p1 Debian-2, OpenSSL ...`.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.strip_prefix("OpenSSH_")?.split_once('.')?;
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest.get(..end)?.parse().ok()?))
}

/// The main file and all it includes.
fn config_files(layout: &Layout, directives: &[Directive]) -> Vec<PathBuf> {
    let mut files = vec![layout.config().to_owned()];
    for line in directives {
        if !files.contains(&line.file) {
            files.push(line.file.clone());
        }
    }
    files
}

fn principals(layout: &Layout, accounts: &[keys::Account]) -> Vec<PrincipalsFile> {
    let entries = std::fs::read_dir(layout.principals_dir());
    let mut all: Vec<PrincipalsFile> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| {
            let login = entry.file_name().into_string().ok()?;
            let content = match files::read(&entry.path()) {
                Look::Seen(state) => Look::Seen(state.content),
                Look::Absent => Look::Absent,
                Look::Unreadable(why) => Look::Unreadable(why),
            };
            let mode = files::node(&entry.path()).seen().map_or(0, |node| node.mode);
            let has_account = keys::is_known(&login, accounts);
            Some(PrincipalsFile { login, content, mode, has_account })
        })
        .collect();
    all.retain(|file| !file.login.ends_with(crate::apply::TEMPORARY));
    all.sort_by(|one, other| one.login.cmp(&other.login));
    all
}

fn revoked(asked: &[Asked]) -> Vec<Revoked> {
    let mut all: Vec<Revoked> = Vec::new();
    let value = |effective: &Effective| effective.get("RevokedKeys").to_owned();
    for value in asked.iter().map(|asked| value(&asked.effective)).filter(|v| v != "none") {
        // One path, spaces and all; or several, which some versions take.
        let paths: Vec<PathBuf> = match Path::new(&value).exists() {
            true => vec![PathBuf::from(&value)],
            false => value.split_whitespace().map(PathBuf::from).collect(),
        };
        for path in paths {
            if all.iter().all(|known| known.path != path) {
                let content = match files::read(&path) {
                    Look::Seen(state) => Look::Seen(revoked_content(&path, &state.content)),
                    Look::Absent => Look::Absent,
                    Look::Unreadable(why) => Look::Unreadable(why),
                };
                all.push(Revoked { path, content });
            }
        }
    }
    all
}

/// What sshd makes of a file of revoked keys: a list by its first bytes, or else lines of keys.
fn revoked_content(path: &Path, content: &[u8]) -> RevokedContent {
    if content.is_empty() {
        return RevokedContent::Empty;
    }
    if !content.starts_with(b"SSHKRL\n\0") {
        let text = String::from_utf8_lossy(content);
        return match text.lines().all(ca::reads_on_after) {
            true => RevokedContent::Keys,
            false => RevokedContent::Broken,
        };
    }
    // One of several signers is no list of ours in its one encoding; OpenSSH is the judge then.
    let is_read = Krl::parse(content).is_ok() || {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-Q", "-l", "-f"]).arg(path);
        keygen.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        keygen.status().is_ok_and(|status| status.success())
    };
    if is_read { RevokedContent::List } else { RevokedContent::Broken }
}

fn pam(file: &Path) -> PamFacts {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let included = |name: &str| {
        // libpam looks for bare names in its own folder.
        let places = [dir.join(name), Path::new("/etc/pam.d").join(name)];
        let path = places.into_iter().find(|path| path.is_file())?;
        let text = std::fs::read(&path).ok()?;
        Some((path, String::from_utf8_lossy(&text).into_owned()))
    };
    let lines = match files::read(file) {
        Look::Absent => Look::Absent,
        Look::Unreadable(why) => Look::Unreadable(why),
        Look::Seen(state) => {
            let text = String::from_utf8_lossy(&state.content);
            match pam_stack::read(file, &text, &included) {
                Ok(lines) => Look::Seen(lines),
                Err(why) => Look::Unreadable(why),
            }
        }
    };
    let mut paths = vec![file.to_owned()];
    for line in lines.seen().into_iter().flatten() {
        if !paths.contains(&line.file) {
            paths.push(line.file.clone());
        }
    }
    let nodes = paths.iter().filter_map(|path| files::node(path).seen().cloned()).collect();
    let hook = lines.seen().and_then(|lines| lines.iter().find_map(|line| line.hook()));
    let program = hook.map(files::up_to_root).unwrap_or_default();
    PamFacts { file: file.to_owned(), nodes, program, lines }
}

/// Where the hook looks for the guard.
fn guard_dir(pam: &PamFacts, usual: &Path) -> PathBuf {
    let lines = pam.lines.seen().into_iter().flatten();
    let told = lines.filter_map(|line| line.hook_option("--run")).next();
    told.unwrap_or(usual).to_owned()
}

fn guard(run: &Path, etc: &Path) -> GuardFacts {
    let socket = files::node(&protocol::socket_path(run));
    let answers = guard_service::answering(run, etc);
    GuardFacts { run: run.to_owned(), dir: files::node(run), socket, answers }
}

fn link(run: &Path) -> LinkFacts {
    let heard = match heard::read(run) {
        Ok(Ok(heard)) => Look::Seen(heard),
        Ok(Err(why)) => Look::Unreadable(why),
        Err(e) if e.kind() == ErrorKind::NotFound => Look::Absent,
        Err(e) => Look::Unreadable(e.to_string()),
    };
    let runs = heard.seen().is_some_and(Heard::runs);
    LinkFacts { file: heard::path(run), heard, runs }
}

fn has_cgroup_v2() -> bool {
    // Beside the old hierarchies, it is mounted elsewhere than alone.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.contains(" - cgroup2 "))
}

/// The accounts that linger: logind keeps a file for each.
fn lingering() -> Vec<String> {
    let entries = std::fs::read_dir(system::LINGER).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn clock_synchronised() -> Option<bool> {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    // It asks the kernel, whoever keeps the clock.
    let mut timedatectl = Command::new("timedatectl");
    timedatectl.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null());
    let output = timedatectl.output().ok().filter(|output| output.status.success())?;
    match output.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_sshd_says() {
        for (text, expected) in [
            ("OpenSSH_9.2, OpenSSL 3.0.19 27 Jan 2026", Some((9, 2))),
            ("OpenSSH_8.4p1 Debian-5+deb11u3, OpenSSL 1.1.1w", Some((8, 4))),
            ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1", Some((10, 0))),
            ("unknown option -- V", None),
            ("OpenSSH_x.y", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn revoked_keys_are_a_list_keys_nothing_or_broken() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("krl");
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
        let at = UnixTime(1_790_000_000);
        let list = Krl::new(1, at, key.parse().unwrap(), Default::default()).to_bytes();
        let short = list.get(..list.len() - 1).unwrap();
        for (content, expected) in [
            (&list[..], RevokedContent::List),
            (short, RevokedContent::Broken),
            (b"SSHKRL", RevokedContent::Broken),
            (b"", RevokedContent::Empty),
            (key.as_bytes(), RevokedContent::Keys),
            (b"# none\n", RevokedContent::Keys),
            (b"nonsense\n", RevokedContent::Broken),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(revoked_content(&path, content), expected);
        }
    }
}
