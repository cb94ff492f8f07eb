//! A stand-in for `pam_systemd`: systemd-logind moves each login into a scope of its own before our hook
//! runs, with or without us. So does this, into groups of the same names, and nothing else of what
//! logind does: what a login with nothing of ours pays for logind itself is left out on both sides.

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_tests::guarded::cgroup2_mount;

/// The user whose slice it is: nobody has this number, so no logind manages it.
const USER: u32 = 4_294_000;

/// The slice, for as long as this lives.
pub(crate) struct Scopes {
    slice: PathBuf,
}

impl Scopes {
    /// `None` where groups can not be made: there is no cgroup v2 here, or it is not ours to change.
    pub(crate) fn new() -> Option<Scopes> {
        let slice = cgroup2_mount()?.join(format!("user.slice/user-{USER}.slice"));
        fs::create_dir_all(&slice).ok()?;
        Some(Scopes { slice })
    }

    /// The line in PAM that has each login moved.
    pub(crate) fn pam_line(&self) -> String {
        let own = std::env::current_exe().unwrap();
        let (own, slice) = (own.display(), self.slice.display());
        format!("session required pam_exec.so type=open_session quiet {own} enter-scope {slice}\n")
    }

    /// The scope of the process with this number.
    pub(crate) fn of(&self, pid: u32) -> PathBuf {
        scope(&self.slice, pid)
    }
}

impl Drop for Scopes {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.slice).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.slice);
        // Stays where others are below it.
        let _ = self.slice.parent().map(fs::remove_dir);
    }
}

/// Moves the process that waits for this one, the connection's monitor, into a scope of its own.
pub(crate) fn enter(slice: &Path) {
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
    let scope = scope(slice, parent.try_into().unwrap());
    move_into(&scope, parent.try_into().unwrap());
}

/// Moves a process into a group that is made for it.
pub(crate) fn move_into(group: &Path, pid: u32) {
    fs::create_dir(group).unwrap();
    fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
}

fn scope(slice: &Path, pid: u32) -> PathBuf {
    slice.join(format!("session-{pid}.scope"))
}
