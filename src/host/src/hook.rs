//! The program that PAM calls at each login: which it is, and whether only its owner decides what it
//! does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::CommandError;
use crate::layout::{DEFAULT_ETC, DEFAULT_RUN, Layout, is_plain};
use crate::pam;

/// The running program, if PAM may call it as root.
///
/// # Errors
/// If others may write to it or to a folder above it, or its path is not plain.
pub(crate) fn program() -> Result<PathBuf, CommandError> {
    let running = std::env::current_exe().map_err(|e| {
        CommandError::new(format!("The place of this program can not be told: {e}."))
    })?;
    checked(&running)
}

/// The real path of `program`, if nobody but root and this user can change what stands there.
///
/// # Errors
/// If others may write to it or to a folder above it, or its path is not plain.
pub(crate) fn checked(program: &Path) -> Result<PathBuf, CommandError> {
    let unusable = |path: &Path, e: io::Error| {
        CommandError::new(format!("{} can not be looked at: {e}.", path.display()))
    };
    let real = fs::canonicalize(program).map_err(|e| unusable(program, e))?;
    let user = rustix::process::geteuid().as_raw();
    for path in real.ancestors() {
        let found = fs::metadata(path).map_err(|e| unusable(path, e))?;
        if found.mode() & 0o022 == 0 && (found.uid() == 0 || found.uid() == user) {
            continue;
        }
        return Err(CommandError::new(format!(
            "{} (mode {:04o}, user {}) can be changed by others, and PAM would run {} as root at each login.",
            path.display(),
            found.mode() & 0o7777,
            found.uid(),
            real.display()
        ))
        .named("PROGRAM_OPEN")
        .hint("nothing is changed; install jit-ssh-host where only root writes, as in /usr/local/bin, and run setup from there"));
    }
    if !is_plain(&real) {
        return Err(CommandError::new(format!(
            "The path {} has characters that mean something else to PAM.",
            real.display()
        ))
        .hint("nothing is changed; install jit-ssh-host as /usr/local/bin/jit-ssh-host"));
    }
    Ok(real)
}

/// The line for the PAM service that calls `program`.
pub(crate) fn line(layout: &Layout, program: &Path) -> String {
    pam::hook_line(program, &arguments(layout))
}

/// How the hook and the guard are told where files are, where they are not in the usual place.
pub(crate) fn arguments(layout: &Layout) -> Vec<String> {
    places(layout.etc(), layout.run())
}

/// The same for host files in `etc` and the guard's socket in `run`.
pub(crate) fn places(etc: &Path, run: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    for (option, path, usual) in [("--etc", etc, DEFAULT_ETC), ("--run", run, DEFAULT_RUN)] {
        if path != Path::new(usual) {
            arguments.extend([option.to_owned(), path.display().to_string()]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_that_others_can_change_is_refused() {
        let exe = std::env::current_exe().unwrap();
        let dir = tempfile::TempDir::new_in(exe.parent().unwrap()).unwrap();
        let folder = dir.path().join("bin");
        let program = folder.join("jit-ssh-host");
        fs::create_dir(&folder).unwrap();
        fs::write(&program, "").unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&program, 0o755);
        mode(&folder, 0o755);
        let real = fs::canonicalize(&program).unwrap();
        assert_eq!(checked(&program).unwrap(), real);
        for (path, open) in
            [(&program, 0o757), (&program, 0o775), (&folder, 0o777), (&folder, 0o1777)]
        {
            mode(path, open);
            let error = checked(&program).unwrap_err().to_string();
            assert!(error.contains("can be changed by others"), "{error}");
            mode(path, 0o755);
        }
        assert_eq!(checked(&program).unwrap(), real);
        let odd = folder.join("jit ssh");
        fs::copy(&program, &odd).unwrap();
        assert!(checked(&odd).is_err());
    }

    #[test]
    fn only_unusual_places_are_named() {
        let usual = Layout::new(Path::new("/etc/ssh"), None).unwrap();
        let program = Path::new("/usr/bin/jit-ssh-host");
        assert!(line(&usual, program).ends_with(" quiet /usr/bin/jit-ssh-host session"));
        let other = Layout::new(Path::new("/srv/ssh"), None).unwrap().with_run(Path::new("/srv/r"));
        assert!(line(&other.unwrap(), program).ends_with(" session --etc /srv/ssh --run /srv/r"));
    }
}
