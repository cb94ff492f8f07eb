//! Processes that can not be mistaken for others.
//!
//! A pid alone names whoever has it now. A [`Process`] is a pidfd, taken first, and the start time read
//! after it: where both fit what was known, it is the same process, and whatever is signalled through
//! the pidfd is that process or nobody.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, for as long as the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its number.
    pub(crate) pid: i32,
    /// When it began, in ticks since boot (field 22 of `proc_pid_stat(5)`).
    pub(crate) start: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Which process.
    pub(crate) id: ProcessId,
    /// Its parent.
    pub(crate) parent: i32,
    /// The leader of its session, in the sense of `setsid(2)`.
    pub(crate) session: i32,
    /// The device number of its controlling terminal; 0 if it has none.
    pub(crate) terminal: i32,
}

/// Most bytes that are read of a file in /proc.
const MAX_PROC: u64 = 64 << 10;

/// Reads a small file of /proc at once. It says that it has no size, so who asks for that first reads
/// it in many small pieces: thousands of calls where all processes are looked at.
///
/// # Errors
/// What the kernel says, or that it is no text.
pub(crate) fn read_proc(path: &str) -> io::Result<String> {
    let mut text = String::with_capacity(4096);
    File::open(path)?.take(MAX_PROC).read_to_string(&mut text)?;
    Ok(text)
}

/// What is known of the process that has this number now.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &read_proc(&format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    // The name, field 2, may hold anything, brackets too; field 3 follows the last one.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |place: usize| fields.get(place).and_then(|text| text.parse::<i32>().ok());
    let start = fields.get(19)?.parse().ok()?;
    let (parent, session, terminal) = (number(1)?, number(3)?, number(4)?);
    Some(Stat { id: ProcessId { pid, start }, parent, session, terminal })
}

/// A process that is held by a pidfd.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    fd: OwnedFd,
}

impl Process {
    /// Holds the process that has this number now.
    pub(crate) fn open(pid: i32) -> Option<Process> {
        let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Process::from_parts(pid, fd)
    }

    /// Holds this process, if it still lives.
    pub(crate) fn open_same(id: ProcessId) -> Option<Process> {
        Process::open(id.pid).filter(|process| process.id == id && !process.has_ended())
    }

    /// The process that a pidfd, which somebody passed, refers to, if it lives.
    pub(crate) fn from_pidfd(fd: OwnedFd) -> Option<Process> {
        let info = read_proc(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        Process::from_parts(pid, fd)
    }

    fn from_parts(pid: i32, fd: OwnedFd) -> Option<Process> {
        if pid <= 1 {
            return None;
        }
        let process = Process { id: stat(pid)?.id, fd };
        // It lives now, so the number was its own when the start time was read.
        (!process.has_ended()).then_some(process)
    }

    /// Which process this is.
    pub(crate) fn id(&self) -> ProcessId {
        self.id
    }

    /// Sends a signal; to nobody, if it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Whether it has ended, though its parent may not have been told yet.
    pub(crate) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&at_once)), Ok(ready) if ready > 0)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the process with this number is an sshd that runs as root, from a program that only root
/// can write.
///
/// # Errors
/// Why it is none, as the end of a sentence.
pub(crate) fn check_is_sshd_of_root(pid: i32) -> Result<(), String> {
    let exe = format!("/proc/{pid}/exe");
    let path = fs::read_link(&exe).map_err(|e| format!("its program can not be seen ({e})"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // After an upgrade of openssh the program that runs has no name any more.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    if !["sshd", "sshd-session"].contains(&name) {
        return Err(format!("it is {} and not sshd", path.display()));
    }
    let file = fs::metadata(&exe).map_err(|e| format!("its program can not be seen ({e})"))?;
    if file.uid() != 0 || file.mode() & 0o022 != 0 {
        return Err(format!("others than root can write {}", path.display()));
    }
    let status = read_proc(&format!("/proc/{pid}/status")).unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let mut users = users.split_ascii_whitespace().take(2);
    match (users.next(), users.next()) {
        (Some("0"), Some("0")) => Ok(()),
        _ => Err("it does not run as root".to_owned()),
    }
}

/// Whether a process is `ancestor`, or descends from it.
pub(crate) fn descends_from(pid: i32, ancestor: i32) -> bool {
    // No chain of parents is longer than there are processes; this is longer than any that is sane.
    let parents = std::iter::successors(Some(pid), |pid| Some(stat(*pid)?.parent)).take(1_000);
    parents.take_while(|pid| *pid > 0).any(|pid| pid == ancestor)
}

/// All processes at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot(Vec<Stat>);

impl Snapshot {
    /// Looks at all processes.
    pub(crate) fn take() -> Snapshot {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Snapshot(pids.filter_map(stat).collect())
    }

    /// All that descend from the process with this number, without itself.
    pub(crate) fn descendants(&self, pid: i32) -> Vec<Stat> {
        let mut known = BTreeSet::from([pid]);
        let mut found = Vec::new();
        // A child may have a smaller number than its parent: go on until nothing is added.
        loop {
            let more: Vec<Stat> = self
                .0
                .iter()
                .filter(|stat| known.contains(&stat.parent) && !known.contains(&stat.id.pid))
                .copied()
                .collect();
            if more.is_empty() {
                return found;
            }
            known.extend(more.iter().map(|stat| stat.id.pid));
            found.extend(more);
        }
    }

    /// All of the session (`setsid(2)`) that the process with this number began, without itself. The
    /// number goes to nobody else for as long as there is one of them.
    pub(crate) fn of_session(&self, leader: i32) -> impl Iterator<Item = Stat> {
        self.0.iter().filter(move |s| s.session == leader && s.id.pid != leader).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_the_same_only_with_its_start_time() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process::open(pid).unwrap();
        let id = process.id();
        assert!(Process::open_same(id).is_some());
        let recycled = ProcessId { start: id.start + 1, ..id };
        assert!(Process::open_same(recycled).is_none());
        assert!(!process.has_ended());
        process.signal(Signal::TERM).unwrap();
        let ended = child.wait().unwrap();
        assert!(!ended.success() && process.has_ended());
        // Nobody is hit, and that is no failure.
        process.signal(Signal::KILL).unwrap();
        assert!(Process::open_same(id).is_none() && Process::from_pidfd(process.fd).is_none());
    }

    #[test]
    fn descendants_are_found_whatever_their_names() {
        let odd = "7 (a) b (x)) S 5 7 6 34816 7 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = parse_stat(7, odd).unwrap();
        let id = ProcessId { pid: 7, start: 4711 };
        assert_eq!(stat, Stat { id, parent: 5, session: 6, terminal: 34816 });
        assert_eq!(parse_stat(7, "7 (a) S 5"), None);
        let of = |pid, parent, session| Stat {
            id: ProcessId { pid, start: 1 },
            parent,
            session,
            terminal: 0,
        };
        let all = Snapshot(vec![of(2, 9, 9), of(9, 1, 9), of(3, 2, 3), of(4, 1, 9), of(5, 1, 5)]);
        let pids = |stats: Vec<Stat>| stats.iter().map(|s| s.id.pid).collect::<Vec<_>>();
        assert_eq!(pids(all.descendants(9)), [2, 3]);
        assert_eq!(pids(all.of_session(9).collect()), [2, 4]);
    }

    #[test]
    fn this_test_is_no_sshd_and_descends_from_its_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descends_from(pid, own) && descends_from(own, own) && descends_from(pid, 1));
        assert!(!descends_from(own, pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(check_is_sshd_of_root(own).unwrap_err().contains("not sshd"));
    }
}
