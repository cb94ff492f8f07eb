//! Looks for the sshd that runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::doctor::facts::Running;
use crate::reload::{self, started_with};

/// Looks for the sshd that `pid_file` names, and for which of the files it reads when it starts are
/// newer than its last start or reload.
pub(super) fn find(pid_file: &str, config: &Path, read_at_start: &[PathBuf]) -> Running {
    let none = || Running::None { pid_file: pid_file.to_owned() };
    let Some(pid) = reload::read_pid(pid_file).filter(|pid| reload::is_sshd(*pid)) else {
        return none();
    };
    let pid = pid.as_raw_nonzero().get();
    // sshd writes it each time it has read its configuration.
    let Ok(read_at) = fs::metadata(pid_file).map(|found| (found.mtime(), found.mtime_nsec()))
    else {
        return none();
    };
    let changed = |path: &&PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| (found.ctime(), found.ctime_nsec()) > read_at)
    };
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    Running::Found {
        pid,
        words: words(&String::from_utf8_lossy(&title), config),
        is_replaced: program.to_string_lossy().ends_with(" (deleted)"),
        stale: read_at_start.iter().filter(changed).cloned().collect(),
    }
}

/// The words sshd was started with, by its `/proc/PID/cmdline`. Another name for `config` is given as
/// `config` itself.
fn words(title: &str, config: &Path) -> Vec<String> {
    let (text, is_cut) = started_with(title);
    let mut words: Vec<String> =
        text.split(['\0', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let name = config.to_string_lossy();
    let real = |path: &str| fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let last = words.len().saturating_sub(1);
    for (place, word) in words.iter_mut().enumerate() {
        let (option, file) = match word.strip_prefix("-f") {
            Some(file) => ("-f", file),
            None => ("", word.as_str()),
        };
        if !file.starts_with('/') {
            continue;
        }
        let is_cut_here = is_cut && place == last && place > 0 && name.starts_with(file);
        if is_cut_here || real(file) == real(&name) {
            *word = format!("{option}{name}");
        }
    }
    // Where even the option is cut off, nothing says it is another file.
    let is_named = words.iter().any(|word| word.starts_with("-f"));
    if is_cut && (!is_named || words.last().is_some_and(|word| word == "-f")) {
        words.retain(|word| word != "-f");
        words.push(format!("-f{name}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_was_started_with_is_read_from_its_title() {
        let config = Path::new("/srv/t/sshd_config");
        for (title, expected) in [
            (
                "sshd: /usr/sbin/sshd -f /srv/t/sshd_config [listener] 0 of 10-100 startups\0-D\0",
                &["/usr/sbin/sshd", "-f", "/srv/t/sshd_config"][..],
            ),
            ("/usr/sbin/sshd\0-D\0-f\0x\0", &["/usr/sbin/sshd", "-D", "-f", "x"]),
            ("sshd: sshd -D [listener] 0 of 10-100 startups", &["sshd", "-D"]),
            (
                "own-sshd: /opt/own-sshd -D [listener] 0 of 10-100 startups",
                &["/opt/own-sshd", "-D"],
            ),
            (
                "sshd: /usr/sbin/sshd -f /srv/t/ss\0hd",
                &["/usr/sbin/sshd", "-f", "/srv/t/sshd_config"],
            ),
            ("sshd: /usr/sbin/ss\0", &["/usr/sbin/ss", "-f/srv/t/sshd_config"]),
            ("sshd: /usr/sbin/sshd -f\0", &["/usr/sbin/sshd", "-f/srv/t/sshd_config"]),
        ] {
            assert_eq!(words(title, config), expected, "{title:?}");
        }
    }
}
