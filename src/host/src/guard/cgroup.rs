//! The control group (cgroup v2) of a connection: whoever it starts stays in it, detached or not.
//!
//! A group is a connection's own if systemd-logind made it for the session and nobody else was in it
//! when the connection registered, or if the guard made it. The guard makes one only where it may: at
//! the root of the hierarchy where it runs there itself, or below its own group where systemd has
//! handed that over (`Delegate=`). Whatever is killed is checked once more: same folder, not the root,
//! and not a group that holds the guard.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::process::{Process, ProcessId, descends_from, read_proc, stat};

/// A connection's own group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    /// Its folder.
    path: PathBuf,
    /// The folder's number: a group of the same name made later is another.
    ino: u64,
    /// Whether the guard made it, and takes it away.
    made: bool,
}

/// The hierarchy of this machine, and where the guard may make groups.
#[derive(Debug)]
pub(crate) struct Cgroups {
    mount: PathBuf,
    base: Option<PathBuf>,
}

impl Cgroups {
    /// Finds the hierarchy; `None` if there is no cgroup v2 here.
    pub(crate) fn find() -> Option<Cgroups> {
        let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        let own = group_of("self")?;
        let dir = folder(&mount, &own);
        let base = match own.as_str() {
            "/" => Some(mount.join("jit-ssh")),
            _ if is_delegated(&dir) => Some(dir.join("sessions")),
            _ => None,
        };
        Some(Cgroups { mount, base })
    }

    /// Takes away empty groups that an earlier guard made and did not live to remove.
    pub(crate) fn tidy(&self, now: UnixTime) {
        for entry in self.base.iter().flat_map(fs::read_dir).flatten().flatten() {
            let made = entry.metadata().ok().filter(|found| found.is_dir());
            let made = made.and_then(|found| u64::try_from(found.mtime()).ok());
            // A young one may just be about to be filled.
            if made.is_some_and(|made| now.since(UnixTime(made)) > 60) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    /// The connection's own group: the one it is in, or one made for it. `None` if neither can be.
    pub(crate) fn own_of(&self, monitor: ProcessId) -> Option<Cgroup> {
        let path = group_of(&monitor.pid.to_string())?;
        let dir = folder(&self.mount, &path);
        if is_logind_scope(&path) && holds_only(&dir, monitor.pid) {
            return Some(Cgroup { ino: fs::metadata(&dir).ok()?.ino(), path: dir, made: false });
        }
        self.make(monitor).ok()
    }

    /// Moves a process to where the guard itself is: at the root of the hierarchy, or in the group that
    /// systemd has handed over. Both are nobody's session, and neither is ever killed.
    ///
    /// # Errors
    /// If there is no such place, or the process has gone.
    pub(crate) fn take_home(&self, id: ProcessId) -> io::Result<()> {
        let home = self.base.as_ref().and_then(|base| base.parent());
        let home = home.ok_or(io::ErrorKind::Unsupported)?;
        // Held, so that its number was its own when it was written.
        let process = Process::open_same(id).ok_or(io::ErrorKind::NotFound)?;
        fs::write(home.join("cgroup.procs"), process.id().pid.to_string())
    }

    fn make(&self, monitor: ProcessId) -> io::Result<Cgroup> {
        let base = self.base.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        fs::create_dir_all(base)?;
        let path = base.join(format!("{}-{}", monitor.pid, monitor.start));
        match fs::create_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if let Err(error) = fs::write(path.join("cgroup.procs"), monitor.pid.to_string()) {
            // Nothing is in it.
            let _ = fs::remove_dir(&path);
            return Err(error);
        }
        Ok(Cgroup { ino: fs::metadata(&path)?.ino(), path, made: true })
    }
}

impl Cgroup {
    /// Whether it is still the group that was recorded.
    fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.ino)
    }

    /// Whether somebody is in it, or in a group below it.
    pub(crate) fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        self.is_there() && events.lines().any(|line| line == "populated 1")
    }

    /// Who is in it, below it too.
    pub(crate) fn members(&self) -> Vec<i32> {
        if self.is_there() { members(&self.path) } else { Vec::new() }
    }

    /// Kills everybody in it at once, if that can hit nobody else.
    ///
    /// # Errors
    /// Why it was left alone.
    pub(crate) fn kill(&self) -> Result<(), String> {
        if !self.is_there() {
            return Ok(());
        }
        self.check_is_a_sessions()?;
        match fs::write(self.path.join("cgroup.kill"), "1") {
            Ok(()) => Ok(()),
            // Linux before 5.14 has no such file.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.kill_one_by_one(&[]);
                Ok(())
            }
            Err(e) => Err(format!("{} can not be killed: {e}", self.path.display())),
        }
    }

    /// Kills everybody in it but these, one by one.
    ///
    /// # Errors
    /// Why it was left alone.
    pub(crate) fn kill_all_but(&self, others: &[ProcessId]) -> Result<(), String> {
        if self.is_there() {
            self.check_is_a_sessions()?;
            self.kill_one_by_one(others);
        }
        Ok(())
    }

    fn check_is_a_sessions(&self) -> Result<(), String> {
        let held = group_of("self").and_then(|own| {
            let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
            Some((folder(&mount, &own), mount))
        });
        let (own, mount) = held.ok_or("the guard can not see its own control group")?;
        if own.starts_with(&self.path) || self.path == mount || !self.path.starts_with(&mount) {
            return Err(format!("{} holds others than the session", self.path.display()));
        }
        Ok(())
    }

    fn kill_one_by_one(&self, others: &[ProcessId]) {
        for pid in self.members() {
            let Some(process) = Process::open(pid) else { continue };
            if others.contains(&process.id()) {
                continue;
            }
            // The pidfd is held; if the number is still in the group, it is the member.
            if self.members().contains(&pid) {
                let _ = process.signal(rustix::process::Signal::KILL);
            }
        }
    }

    /// Takes the folder away, if the guard made it and nobody is in it.
    pub(crate) fn remove(&self) {
        if self.made && self.is_there() && !self.is_populated() {
            remove_below(&self.path);
        }
    }
}

/// The group of a process (a number, or `self`) within cgroup v2.
fn group_of(process: &str) -> Option<String> {
    let text = read_proc(&format!("/proc/{process}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Outside of the part of the hierarchy that is visible here.
    (path.starts_with('/') && !path.starts_with("/..")).then(|| path.to_owned())
}

fn folder(mount: &Path, group: &str) -> PathBuf {
    match group.trim_start_matches('/') {
        "" => mount.to_owned(),
        below => mount.join(below),
    }
}

/// Where cgroup v2 is mounted whole, by `/proc/self/mountinfo`.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let is_whole = root == "/" && after.split(' ').next() == Some("cgroup2");
        is_whole.then(|| PathBuf::from(point))
    })
}

/// `/user.slice/user-1000.slice/session-3.scope`: one for each session, made by systemd-logind.
fn is_logind_scope(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "user.slice", user, session] => {
            user.starts_with("user-")
                && user.ends_with(".slice")
                && session.starts_with("session-")
                && session.ends_with(".scope")
        }
        _ => false,
    }
}

fn holds_only(dir: &Path, monitor: i32) -> bool {
    let members = members(dir);
    !members.is_empty() && members.iter().all(|pid| is_nobody_elses(*pid, monitor))
}

/// Whether a member is the connection's. One that was listed and has gone since, such as a helper of
/// another PAM module, is nobody's.
fn is_nobody_elses(pid: i32, monitor: i32) -> bool {
    descends_from(pid, monitor) || stat(pid).is_none()
}

fn members(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(members(&entry.path()));
        }
    }
    found
}

fn remove_below(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    // A group that is not empty stays.
    let _ = fs::remove_dir(dir);
}

/// Whether systemd has handed this group over to its unit.
fn is_delegated(dir: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0u8; 8];
        rustix::fs::getxattr(dir, *name, &mut value[..])
            .is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scope_of_logind_counts_as_a_sessions_own() {
        assert!(is_logind_scope("/user.slice/user-1000.slice/session-3.scope"));
        for other in [
            "/",
            "/system.slice/ssh.service",
            "/user.slice/user-1000.slice",
            "/user.slice/user-1000.slice/user@1000.service",
            "/user.slice/user-1000.slice/user@1000.service/session-3.scope",
            "/user.slice/user-1000.slice/session-3.scope/below",
            "/system.slice/session-3.scope",
        ] {
            assert!(!is_logind_scope(other), "{other}");
        }
    }

    #[test]
    fn a_member_that_has_gone_is_nobodys_and_a_stranger_is_somebody() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(is_nobody_elses(own, own) && is_nobody_elses(pid, own));
        assert!(!is_nobody_elses(1, own) && !is_nobody_elses(own, pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_nobody_elses(pid, own));
    }

    #[test]
    fn the_hierarchy_is_found_where_it_is_mounted_whole() {
        let unified = "25 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let part = "25 30 0:22 /docker/x /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n";
        let old = "26 30 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert_eq!(mount_point(&format!("{old}{unified}")), Some("/sys/fs/cgroup".into()));
        assert_eq!(mount_point(&format!("{old}{part}")), None);
    }

    #[test]
    fn the_guards_own_group_and_one_that_was_made_anew_are_left_alone() {
        let Some(cgroups) = Cgroups::find() else {
            eprintln!("skipped: there is no cgroup v2 here");
            return;
        };
        let own = folder(&cgroups.mount, &group_of("self").unwrap());
        let ino = fs::metadata(&own).unwrap().ino();
        let group = Cgroup { path: own.clone(), ino, made: true };
        assert!(group.kill().unwrap_err().contains("holds others"), "{}", own.display());
        // Another number: it is not even looked at, and we live.
        let anew = Cgroup { ino: ino + 1, ..group };
        assert_eq!((anew.kill(), anew.members()), (Ok(()), vec![]));
    }
}
