//! What a session's terminals are told before it ends.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use jit_ssh_core::time::UnixTime;
use rustix::fs::OFlags;

use super::others;
use super::process::{Snapshot, Stat};
use super::row::{Entered, Row};

/// The major device number of pseudo terminals (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS_MAJOR: u32 = 136;

/// Tells the terminals of a session when it will end. Never waits: who stopped their terminal by
/// Ctrl-S is not told.
pub(crate) fn warn(row: &Row, all: &Snapshot, now: UnixTime) {
    let text = sentence(row, now);
    for terminal in terminals(&members(row, all)) {
        write(terminal, &text);
    }
}

/// Tells everybody who has a terminal (`wall`).
pub(crate) fn wall(text: &str) {
    for entry in fs::read_dir("/dev/pts").into_iter().flatten().flatten() {
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            write(number, text);
        }
    }
}

/// All processes of a session: what its monitor started, and who is in its own control group, without
/// those who only seem to be of it.
fn members(row: &Row, all: &Snapshot) -> Vec<Stat> {
    let mut members = all.descendants(row.monitor.pid);
    let group = row.cgroup.iter().flat_map(|group| group.members());
    members.extend(group.filter_map(super::process::stat));
    let others = others::among(members.iter().map(|stat| stat.id.pid), row.monitor.pid);
    members.retain(|stat| others.iter().all(|other| other.id != stat.id));
    members
}

/// The numbers of the pseudo terminals that control these processes.
fn terminals(members: &[Stat]) -> BTreeSet<u32> {
    members
        .iter()
        .filter_map(|stat| number(u32::from_ne_bytes(stat.terminal.to_ne_bytes())))
        .collect()
}

/// The N of `/dev/pts/N` with this device number: 12 bits of major between two parts of the minor.
fn number(device: u32) -> Option<u32> {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    (major == PTS_MAJOR).then_some(minor)
}

fn write(terminal: u32, text: &str) {
    let path = PathBuf::from(format!("/dev/pts/{terminal}"));
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let flags = i32::from_ne_bytes(flags.bits().to_ne_bytes());
    let Ok(mut file) = OpenOptions::new().write(true).custom_flags(flags).open(&path) else {
        return;
    };
    // Only a terminal: whatever else lies there is not ours to write to.
    let is_terminal = file.metadata().is_ok_and(|found| {
        let device = u32::try_from(found.rdev()).ok().and_then(number);
        device == Some(terminal)
    });
    if is_terminal {
        let _ = file.write(text.as_bytes());
    }
}

fn sentence(row: &Row, now: UnixTime) -> String {
    let until = row.until();
    let left = until.since(now);
    let left = match left {
        0..=90 => format!("{left} seconds"),
        _ => format!("{} minutes", left.saturating_add(30) / 60),
    };
    let more = match &row.principal {
        Some(Entered::Login(principal)) => format!(
            " To stay longer, where you ran ssh: jit-ssh login {} --as {} --extend",
            principal.host(),
            principal.login()
        ),
        // Nobody can ask for a jump; whoever has one is logged in to what is behind.
        Some(Entered::Jump(_)) | None => String::new(),
    };
    let time = until.0 % 86_400;
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!(
        "\r\n*** jit-ssh: this session ends in {left}, at {hour:02}:{minute:02}:{second:02} UTC.{more} ***\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_by_their_device_numbers() {
        assert_eq!(number(136 << 8 | 7), Some(7));
        assert_eq!(number(136 << 8 | 0xff), Some(255));
        assert_eq!(number(1 << 20 | 136 << 8), Some(256));
        for other in [0, 4 << 8 | 1, 5 << 8, 135 << 8, 137 << 8] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
