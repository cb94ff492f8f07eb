//! One effect on the disk, and how people see it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::current::{DirState, FileState, Owner};
use crate::diff;

/// One effect. `old` is what it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes a folder, or sets its mode.
    Dir {
        /// Where.
        path: PathBuf,
        /// What is there.
        old: Option<DirState>,
        /// Its permission bits.
        mode: u32,
    },
    /// Writes a file.
    Write {
        /// Where.
        path: PathBuf,
        /// What is there.
        old: Option<FileState>,
        /// What shall be there.
        new: FileContent,
    },
    /// Removes a file.
    Remove {
        /// Where.
        path: PathBuf,
        /// What is there.
        old: FileState,
    },
    /// Removes a folder, if nothing is left in it.
    RemoveDir {
        /// Where.
        path: PathBuf,
        /// What is there.
        old: DirState,
    },
}

/// What a file shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileContent {
    /// Its bytes.
    pub(crate) content: Vec<u8>,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Its owner; `None` for the user this process runs as.
    pub(crate) owner: Option<Owner>,
}

impl Step {
    pub(crate) fn written(&self) -> Option<&Path> {
        match self {
            Step::Write { path, .. } => Some(path),
            Step::Dir { .. } | Step::Remove { .. } | Step::RemoveDir { .. } => None,
        }
    }

    pub(crate) fn removed(&self) -> Option<&Path> {
        match self {
            Step::Remove { path, .. } => Some(path),
            Step::Dir { .. } | Step::Write { .. } | Step::RemoveDir { .. } => None,
        }
    }

    pub(super) fn difference(&self) -> String {
        match self {
            Step::Dir { path, old: Some(old), mode } => {
                format!("folder {}: mode {:04o} -> {mode:04o}\n", path.display(), old.mode)
            }
            Step::Dir { path, old: None, .. } => format!("folder {}: new\n", path.display()),
            Step::RemoveDir { path, .. } => {
                format!("folder {}: removed if empty\n", path.display())
            }
            Step::Remove { path, old } if is_binary(&old.content) => {
                format!(
                    "--- {}\n+++ (absent)\nbinary, {} bytes\n",
                    path.display(),
                    old.content.len()
                )
            }
            Step::Write { path, old, new } if is_binary(&new.content) => {
                let was = old.as_ref().map_or("absent".to_owned(), |old| {
                    format!("{} bytes, mode {:04o}", old.content.len(), old.mode)
                });
                let is = format!("{} bytes, mode {:04o}", new.content.len(), new.mode);
                format!("--- {0}\n+++ {0}\nbinary, {was} -> {is}\n", path.display())
            }
            Step::Remove { path, old } => {
                let head = format!("--- {}\n+++ (absent)\n", path.display());
                head + &diff::hunk(&old.content, b"")
            }
            Step::Write { path, old: None, new } => {
                let head = format!("--- (absent)\n+++ {}\n", path.display());
                head + &diff::hunk(b"", &new.content)
            }
            Step::Write { path, old: Some(old), new } => {
                let path = path.display();
                let mut out = format!("--- {path}\n+++ {path}\n");
                if old.mode != new.mode {
                    let _ = writeln!(out, "mode {:04o} -> {:04o}", old.mode, new.mode);
                }
                let hunk = diff::hunk(&old.content, &new.content);
                if hunk.is_empty() && old.mode == new.mode {
                    let _ = writeln!(out, "owner: user {} -> the user of setup", old.owner.user);
                }
                out + &hunk
            }
        }
    }
}

/// Whether a content is nothing to read, like a list of revoked keys.
fn is_binary(content: &[u8]) -> bool {
    content.contains(&0)
}
