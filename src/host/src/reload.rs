//! Makes the running sshd read its configuration again, and waits until it has.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::error::CommandError;

/// What became of the running sshd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It came back with the new configuration.
    Done(Pid),
    /// None was told; why, as a sentence.
    NotRunning(String),
    /// Nothing changed that sshd reads only once.
    NotNeeded,
}

/// How often, and how long a pause between, sshd is looked at until it has come back: 5 s.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// sshd's main file if it is not told another.
const DEFAULT_CONFIG: &str = "/etc/ssh/sshd_config";

/// Sends SIGHUP to the sshd that wrote `pid_file` and serves `config`.
///
/// # Errors
/// If it can not be told, or does not come back.
pub(crate) fn reload(pid_file: &str, config: &Path) -> Result<Reload, CommandError> {
    let Some(pid) = read_pid(pid_file) else {
        return Ok(Reload::NotRunning(format!("No running sshd was found ({pid_file}).")));
    };
    let number = pid.as_raw_nonzero();
    if !is_sshd(pid) {
        return Ok(Reload::NotRunning(format!(
            "No running sshd was found ({pid_file} names {number}, which is none)."
        )));
    }
    let title = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
    if !serves(&String::from_utf8_lossy(&title), config) {
        return Ok(Reload::NotRunning(format!(
            "The running sshd ({number}) was not started with -f {}.",
            config.display()
        )));
    }

    let before = stamp(pid_file);
    rustix::process::kill_process(pid, Signal::HUP).map_err(|e| {
        CommandError::new(format!("The running sshd ({number}) can not be told to reload: {e}."))
            .hint(format!("all files are in place; as root: kill -HUP {number}"))
    })?;
    // It starts itself anew and writes its pid file once it listens again: only then does a login
    // meet the new configuration.
    for _ in 0..LOOKS {
        if stamp(pid_file) != before && read_pid(pid_file) == Some(pid) {
            return Ok(Reload::Done(pid));
        }
        std::thread::sleep(PAUSE);
    }
    Err(CommandError::new(format!("sshd ({number}) did not come back after a reload.")).hint(
        "all files are in place and sshd -t accepts them; see what sshd logged, then start it",
    ))
}

pub(crate) fn read_pid(pid_file: &str) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(pid_file).ok()?.trim().parse().ok()?)
}

/// Tells one writing of a file from the next.
fn stamp(path: &str) -> Option<(u64, i64, i64)> {
    fs::metadata(path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec()))
}

pub(crate) fn is_sshd(pid: Pid) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    // Only root may see where a foreign process's program lies; its short name is for everyone.
    let program = fs::read_link(proc.join("exe")).ok();
    let by_path = program.is_some_and(|path| path.file_name().is_some_and(|name| name == "sshd"));
    by_path || fs::read_to_string(proc.join("comm")).is_ok_and(|name| name.trim() == "sshd")
}

/// What the sshd with this `/proc/PID/cmdline` was started with, its words between NULs or spaces, and
/// whether that is cut short: its title is `sshd: /usr/sbin/sshd -f FILE [listener] ...`, as far as its
/// environment has room for it. In front stands the name of the program, which may be another.
pub(crate) fn started_with(title: &str) -> (&str, bool) {
    // Behind the first NUL of a rewritten title are remains of the old one.
    let first = title.split('\0').next().unwrap_or_default();
    match first.split_once(": ").filter(|(name, _)| !name.contains([' ', '/'])) {
        Some((_, text)) => match text.split_once(" [listener]") {
            Some((text, _)) => (text, false),
            None => (text, true),
        },
        None => (title, false),
    }
}

/// Whether the sshd with this `/proc/PID/cmdline` has `config` as its main file.
fn serves(title: &str, config: &Path) -> bool {
    let (text, is_cut) = started_with(title);
    let words: Vec<&str> = text.split(['\0', ' ']).filter(|word| !word.is_empty()).collect();
    let named = words.iter().enumerate().find_map(|(place, word)| match *word {
        "-f" => words.get(place + 1).copied().map(|file| (file, place + 2)),
        _ => word.strip_prefix("-f").map(|file| (file, place + 1)),
    });
    let config_name = config.to_string_lossy();
    match named {
        Some((file, end)) if is_cut && end == words.len() => config_name.starts_with(file),
        Some((file, _)) => same_file(Path::new(file), config),
        None => !is_cut && !words.is_empty() && same_file(Path::new(DEFAULT_CONFIG), config),
    }
}

/// Whether any sshd is there that has `config` as its main file, by whatever pid file.
pub(crate) fn is_served(config: &Path) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).filter(|pid| is_sshd(*pid)).any(|pid| {
        let title = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        serves(&String::from_utf8_lossy(&title), config)
    })
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one.is_absolute() && real(one) == real(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sshd_of_this_main_file_is_told() {
        let ours = Path::new("/srv/t/sshd_config");
        for title in [
            "sshd: /usr/sbin/sshd -f /srv/t/sshd_config [listener] 0 of 10-100 startups\0",
            "sshd: /usr/sbin/sshd -D -f/srv/t/sshd_config [listener] 0 of 10-100 startups",
            "sshd: /usr/sbin/sshd -f /srv/t/ss\0hd_config\0",
            "own-sshd: /opt/own-sshd -f /srv/t/ss\0hd_config\0",
            "/usr/sbin/sshd\0-D\0-f\0/srv/t/sshd_config\0",
        ] {
            assert!(serves(title, ours), "{title:?}");
        }
        for title in [
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
            "sshd: /usr/sbin/sshd -f /srv/t/sshd [listener] 0 of 10-100 startups",
            "sshd: /usr/sbin/sshd -f /srv/u/ss\0",
            "sshd: /usr/sbin/sshd -f sshd_config [listener] 0 of 10-100 startups",
            "/usr/sbin/sshd\0-D\0",
            "",
        ] {
            assert!(!serves(title, ours), "{title:?}");
        }
        let system = "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups";
        assert!(serves(system, Path::new(DEFAULT_CONFIG)));
        assert!(!serves("", Path::new(DEFAULT_CONFIG)));
    }
}
