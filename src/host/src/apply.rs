//! Carries out a plan's steps, and takes them back.
//!
//! A file is whole at every moment: it is written beside its place, synced, and renamed. So a
//! crash leaves each file either as it was or as it shall be.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::current::{FileState, Owner};
use crate::error::CommandError;
use crate::labels;
use crate::plan::{FileContent, Step};

/// How the names of files end that are not in their place yet. sshd's `*.conf` does not read them.
pub(crate) const TEMPORARY: &str = ".jit-ssh-new";

/// The steps done so far. Dropping it keeps them.
#[derive(Default)]
pub(crate) struct Applied<'a> {
    done: Vec<&'a Step>,
}

impl<'a> Applied<'a> {
    /// Carries out all steps, or none: what was done before a failure is taken back.
    ///
    /// # Errors
    /// Names the step that failed.
    pub(crate) fn all(steps: &'a [Step]) -> Result<Applied<'a>, CommandError> {
        match Applied::default().and(steps) {
            (applied, Ok(())) => Ok(applied),
            (applied, Err(error)) => Err(applied.take_back(error)),
        }
    }

    /// Carries out further steps up to the first that fails. Nothing is taken back yet.
    pub(crate) fn and(self, steps: &'a [Step]) -> (Applied<'a>, Result<(), CommandError>) {
        let mut applied = self;
        for step in steps {
            match apply(step) {
                Ok(true) => applied.done.push(step),
                Ok(false) => {}
                Err(error) => {
                    let mut failed = CommandError::new(format!(
                        "{} can not be changed: {error}.",
                        step.path().display()
                    ));
                    if error.kind() == ErrorKind::PermissionDenied {
                        failed = failed.hint("run setup as root");
                    }
                    // The failed step itself may be half done: its file is whole, old or new.
                    applied.done.push(step);
                    return (applied, Err(failed));
                }
            }
        }
        (applied, Ok(()))
    }

    /// Puts everything back as it was, the last step first, and says so in `error`.
    pub(crate) fn take_back(self, error: CommandError) -> CommandError {
        let mut failures = Vec::new();
        for step in self.done.into_iter().rev() {
            if let Err(error) = undo(step) {
                failures.push(format!("{} ({error})", step.path().display()));
            }
        }
        if failures.is_empty() {
            return error.hint("everything was put back as it was; nothing is changed");
        }
        error.hint(format!(
            "NOT everything could be put back: look at {} before sshd starts anew",
            failures.join(", ")
        ))
    }
}

impl Step {
    /// What the step changes.
    fn path(&self) -> &Path {
        match self {
            Step::Dir { path, .. }
            | Step::Write { path, .. }
            | Step::Remove { path, .. }
            | Step::RemoveDir { path, .. } => path,
        }
    }
}

/// Whether there was something to do.
fn apply(step: &Step) -> io::Result<bool> {
    match step {
        Step::Dir { path, old: None, mode } => make_dir(path, *mode, None)?,
        Step::Dir { path, old: Some(_), mode } => set_mode(path, *mode)?,
        Step::Write { path, new, .. } => write(path, new)?,
        Step::Remove { path, .. } => remove(path)?,
        Step::RemoveDir { path, .. } => match fs::remove_dir(path) {
            Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => return Ok(false),
            done => done?,
        },
    }
    Ok(true)
}

fn undo(step: &Step) -> io::Result<()> {
    match step {
        Step::Dir { path, old: None, .. } => absent(fs::remove_dir(path)),
        Step::Dir { path, old: Some(old), .. } => set_mode(path, old.mode),
        Step::Write { path, old: None, .. } => absent(remove(path)),
        Step::Write { path, old: Some(old), .. } | Step::Remove { path, old } => restore(path, old),
        Step::RemoveDir { path, old } => match path.is_dir() {
            true => Ok(()),
            false => make_dir(path, old.mode, Some(old.owner)),
        },
    }
}

/// Writes the old state, unless it is there: a step that failed may have changed nothing, and
/// then there may be no right to write either.
fn restore(path: &Path, old: &FileState) -> io::Result<()> {
    if fs::read(path).is_ok_and(|content| content == old.content)
        && fs::metadata(path)?.permissions().mode() & 0o7777 == old.mode
    {
        return Ok(());
    }
    let content = old.content.clone();
    write(path, &FileContent { content, mode: old.mode, owner: Some(old.owner) })
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_dir(path: &Path, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    // What the umask took away, sshd needs: it reads principals as the user who logs in.
    set_mode(path, mode)?;
    set_owner(&File::open(path)?, owner)?;
    sync_parent(path)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Puts a whole file in the place of another, or of none, for the user this process runs as.
///
/// # Errors
/// What the system says; then the file is as it was.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write(path, &FileContent { content: content.to_vec(), mode, owner: None })
}

/// The same for a file that need not outlive this boot of the machine: whole for every process at every
/// moment, killed ones among them, but not synced.
///
/// # Errors
/// What the system says; then the file is as it was.
pub(crate) fn replace_for_this_boot(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let new = FileContent { content: content.to_vec(), mode, owner: None };
    put(path, &new, |_| Ok(()))
}

fn write(path: &Path, new: &FileContent) -> io::Result<()> {
    put(path, new, File::sync_all)?;
    sync_parent(path)
}

fn put(
    path: &Path,
    new: &FileContent,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}{TEMPORARY}"));
    absent(fs::remove_file(&temporary))?;
    let written = write_new(&temporary, new).and_then(|file| {
        sync(&file)?;
        labels::take_over(path, &temporary)?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, new: &FileContent) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&new.content)?;
    set_owner(&file, new.owner)?;
    // After the owner: changing that clears bits of the mode.
    file.set_permissions(Permissions::from_mode(new.mode))?;
    Ok(file)
}

fn set_owner(file: &File, owner: Option<Owner>) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let Some(Owner { user, group }) = owner else {
        return Ok(());
    };
    let found = file.metadata()?;
    if found.uid() == user && found.gid() == group {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(user), Some(group))
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn write_step(path: PathBuf, old: Option<FileState>, content: &str) -> Step {
        let new = FileContent { content: content.into(), mode: 0o644, owner: None };
        Step::Write { path, old, new }
    }

    #[test]
    fn a_step_that_fails_takes_back_those_before_it() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        set_mode(&file, 0o600).unwrap();
        let found = fs::metadata(&file).unwrap();
        let owner = {
            use std::os::unix::fs::MetadataExt as _;
            Owner { user: found.uid(), group: found.gid() }
        };
        let old = FileState { content: "old".into(), mode: 0o600, owner };
        let mut steps = vec![
            Step::Dir { path: dir.path().join("new"), old: None, mode: 0o755 },
            write_step(dir.path().join("new/file"), None, "new"),
            write_step(file.clone(), Some(old), "new"),
        ];
        let before = |path: &str| fs::read_to_string(dir.path().join(path)).ok();

        steps.push(write_step(dir.path().join("absent/file"), None, "never"));
        assert!(Applied::all(&steps).is_err());
        assert_eq!((before("file").as_deref(), before("new/file")), (Some("old"), None));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join("new").exists());

        // The neighbour: the same steps without the one that fails.
        steps.pop();
        Applied::all(&steps).unwrap();
        assert_eq!(
            (before("file").as_deref(), before("new/file").as_deref()),
            (Some("new"), Some("new"))
        );
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_label() {
        let dir = TempDir::new().unwrap();
        let (labelled, plain) = (dir.path().join("labelled"), dir.path().join("plain"));
        fs::write(&labelled, "old").unwrap();
        fs::write(&plain, "old").unwrap();
        let label = b"system_u:object_r:etc_t:s0\0";
        let label_of = |path: &Path| {
            let mut value = [0u8; 64];
            let length = rustix::fs::getxattr(path, labels::XATTR, &mut value[..]).ok()?;
            value.get(..length).map(<[u8]>::to_vec)
        };
        let flags = rustix::fs::XattrFlags::empty();
        if let Err(error) = rustix::fs::setxattr(&labelled, labels::XATTR, label, flags) {
            eprintln!("skipped: no label can be set here ({error})");
            return;
        }
        let before = label_of(&plain);
        replace(&labelled, b"new", 0o644).unwrap();
        replace(&plain, b"new", 0o644).unwrap();
        assert_eq!(label_of(&labelled).as_deref(), Some(&label[..]));
        assert_eq!(label_of(&plain), before);
        // One that is not there yet is labelled as the system does.
        let new = dir.path().join("new");
        replace(&new, b"new", 0o644).unwrap();
        assert_eq!(label_of(&new), before);
    }

    #[test]
    fn a_folder_with_foreign_files_stays() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("folder");
        let owner = Owner { user: 0, group: 0 };
        let old = crate::current::DirState { mode: 0o755, owner };
        fs::create_dir(&path).unwrap();
        fs::write(path.join("foreign"), "").unwrap();
        let step = [Step::RemoveDir { path: path.clone(), old }];
        Applied::all(&step).unwrap();
        assert!(path.exists());
        fs::remove_file(path.join("foreign")).unwrap();
        Applied::all(&step).unwrap();
        assert!(!path.exists());
    }
}
