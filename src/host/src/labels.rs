//! SELinux labels of what we write, where there are some. A new file has its folder's label, and the
//! policy may want another: setup asks `restorecon`. A file that is replaced passes its label on, so
//! that guard and link need no other program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, getxattr, setxattr};

/// Where the kernel keeps a file's label.
pub(crate) const XATTR: &str = "security.selinux";

/// No label of SELinux is longer (a page).
const MAX_LABEL: usize = 4096;

/// Gives `new` the label of `old`, which it is about to replace; where `old` is not there or has none,
/// `new` keeps what it has.
///
/// # Errors
/// If the label is another and can not be set where SELinux is on: the file must not be renamed into
/// place under a label by which sshd could not read it.
pub(crate) fn take_over(old: &Path, new: &Path) -> io::Result<()> {
    let Some(label) = label(old).filter(|wanted| label(new).as_ref() != Some(wanted)) else {
        return Ok(());
    };
    match setxattr(new, XATTR, &label, XattrFlags::empty()) {
        // Without SELinux a label is a remnant, and nobody looks at it.
        Err(_) if !Path::new(SELINUX).exists() => Ok(()),
        set => Ok(set?),
    }
}

fn label(path: &Path) -> Option<Vec<u8>> {
    let mut value = vec![0; MAX_LABEL];
    let length = getxattr(path, XATTR, &mut value[..]).ok()?;
    value.get(..length).map(<[u8]>::to_vec)
}

/// Where the kernel shows SELinux if it is on, enforcing or not.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Where `restorecon` lies.
const RESTORECON: [&str; 2] = ["/usr/sbin/restorecon", "/sbin/restorecon"];

/// How labels are set here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Labels {
    /// There are none.
    None,
    /// By this program, as the policy says.
    By(PathBuf),
    /// Nobody knows how.
    Unknown,
}

impl Labels {
    /// Looks whether there are labels here.
    pub(crate) fn find() -> Labels {
        Labels::of(Path::new(SELINUX), &RESTORECON.map(Path::new))
    }

    fn of(selinux: &Path, programs: &[&Path]) -> Labels {
        if !selinux.exists() {
            return Labels::None;
        }
        let found = programs.iter().find(|program| program.is_file());
        found.map_or(Labels::Unknown, |program| Labels::By((*program).to_owned()))
    }

    /// Sets the labels of `paths` as the policy says; a word if that can not be done.
    pub(crate) fn restore(&self, paths: &[&Path]) -> Option<String> {
        let program = match self {
            Labels::By(program) if !paths.is_empty() => program,
            Labels::None | Labels::By(_) => return None,
            Labels::Unknown => {
                return Some(
                    "SELinux is on, and there is no restorecon (package policycoreutils): the labels of the new files are not checked."
                        .to_owned(),
                );
            }
        };
        let output = Command::new(program).args(paths).stdin(Stdio::null()).output();
        let why = match output {
            Ok(output) if output.status.success() => return None,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | "),
            Err(error) => error.to_string(),
        };
        Some(format!("the SELinux labels of the new files could not be set: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn labels_are_set_for_what_was_written_only_where_selinux_is_on() {
        let dir = tempfile::tempdir().unwrap();
        let (on, program) = (dir.path().join("enforce"), dir.path().join("restorecon"));
        assert_eq!(Labels::of(&on, &[&program]), Labels::None);
        fs::write(&on, "1").unwrap();
        assert_eq!(Labels::of(&on, &[&program]), Labels::Unknown);
        assert!(Labels::Unknown.restore(&[&on]).is_some_and(|word| word.contains("restorecon")));

        let script = |last: &str| {
            let text = format!("#!/bin/sh\necho \"$@\" > {0}.said\n{last}\n", program.display());
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("exit 0");
        let labels = Labels::of(&on, &[&program]);
        assert_eq!(labels.restore(&[Path::new("/a"), Path::new("/b")]), None);
        let said = fs::read_to_string(dir.path().join("restorecon.said")).unwrap();
        assert_eq!(said, "/a /b\n");
        script("echo no such policy >&2; exit 1");
        assert!(labels.restore(&[&on]).is_some_and(|word| word.contains("no such policy")));
        assert_eq!(labels.restore(&[]), None);
    }
}
