//! From what the CA says and what is there to what should be there. No I/O: every step says what
//! it replaces, so that it can be shown before, and taken back after.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::names::{HostName, Login, Principal};

use crate::config;
use crate::content;
use crate::current::{Current, DirState, FileState, Owner};
use crate::diff;
use crate::error::CommandError;
use crate::layout::Layout;

/// What the verified bundle says of this host.
#[derive(Debug, Clone)]
pub(crate) struct HostFacts {
    /// This host's name in principals.
    pub(crate) name: HostName,
    /// The CA.
    pub(crate) ca: RootFingerprint,
    /// The bundle's version.
    pub(crate) version: u64,
    /// The key of every signer, with its number.
    pub(crate) ca_keys: Vec<(NonZeroU16, CaKey)>,
    /// The accounts that may be asked for.
    pub(crate) logins: BTreeSet<Login>,
}

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

/// All effects in order, and what to tell beforehand.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The effects. What they are good for comes before what refers to it, so that a crash
    /// between two of them leaves sshd with nothing it can not read.
    pub(crate) steps: Vec<Step>,
    /// What stays as it is and deserves a word.
    pub(crate) warnings: Vec<String>,
}

const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// Plans the set-up of a host.
///
/// # Errors
/// If a file in the way is not ours, or the CA offers an older bundle than the one in place.
pub(crate) fn plan_setup(
    layout: &Layout,
    facts: &HostFacts,
    current: &Current,
) -> Result<Plan, CommandError> {
    for (path, state) in
        [(layout.user_ca(), &current.user_ca), (layout.drop_in(), &current.drop_in)]
    {
        if state.as_ref().is_some_and(|state| !content::is_marked(state)) {
            return Err(CommandError::new(format!(
                "{} is there and was not written by jit-ssh-host.",
                path.display()
            ))
            .hint("move it away, then run setup again"));
        }
    }
    if let Some(state) = &current.user_ca {
        content::check_version(facts, &layout.user_ca(), state)?;
    }

    let mut plan = Plan::default();
    plan.dir(current, layout.etc(), false);
    plan.dir(current, &layout.own_dir(), true);
    plan.dir(current, &layout.principals_dir(), true);
    plan.file(current, layout.user_ca(), &current.user_ca, content::user_ca(facts));
    for login in &facts.logins {
        let old = current.principals.get(login.as_str()).cloned();
        let principal = Principal::new(login.clone(), facts.name.clone());
        plan.file(current, layout.principals(login), &old, content::principals(&principal));
    }
    plan.remove_principals(layout, current, |name| {
        facts.logins.iter().all(|login| login.as_str() != name)
    });
    plan.dir(current, &layout.drop_in_dir(), false);
    plan.file(current, layout.drop_in(), &current.drop_in, content::drop_in(layout));
    plan.config(
        current,
        match config::drop_in_wins(&current.found) {
            true => current.config_without_ours.clone(),
            false => content::with_include(layout, &current.config_without_ours),
        },
    );
    Ok(plan)
}

/// Plans the way back: what refers to our files goes before they do.
pub(crate) fn plan_remove(layout: &Layout, current: &Current) -> Plan {
    let mut plan = Plan::default();
    plan.config(current, current.config_without_ours.clone());
    plan.remove_marked(layout.drop_in(), &current.drop_in);
    // A folder that no Include reads serves nobody but us; one that is read is the system's.
    let was_ours = current.drop_in.as_ref().is_some_and(content::is_marked);
    if was_ours && !config::reads_drop_in(&current.found) {
        plan.remove_dir(current, layout.drop_in_dir());
    }
    plan.remove_principals(layout, current, |_| true);
    plan.remove_dir(current, layout.principals_dir());
    plan.remove_marked(layout.user_ca(), &current.user_ca);
    plan.remove_dir(current, layout.own_dir());
    plan
}

impl Plan {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Files written.
    pub(crate) fn changed(&self) -> Vec<&Path> {
        self.steps.iter().filter_map(Step::written).collect()
    }

    /// Files removed.
    pub(crate) fn removed(&self) -> Vec<&Path> {
        self.steps.iter().filter_map(Step::removed).collect()
    }

    /// Whether sshd must read its configuration again. It reads CA keys and principals at every
    /// login.
    pub(crate) fn changes_configuration(&self, layout: &Layout, current: &Current) -> bool {
        let drop_in = layout.drop_in();
        let is_configuration = |path: &&Path| **path == *current.config_path || **path == *drop_in;
        self.changed().iter().chain(&self.removed()).any(is_configuration)
    }

    /// The difference as people see it.
    pub(crate) fn difference(&self) -> String {
        self.steps.iter().map(Step::difference).collect()
    }

    fn dir(&mut self, current: &Current, path: &Path, ours: bool) {
        let old = current.dirs.get(path).copied();
        // The mode of a folder that is not ours is none of our business.
        if old.is_some_and(|old| !ours || old.mode == DIR_MODE) {
            return;
        }
        self.steps.push(Step::Dir { path: path.to_owned(), old, mode: DIR_MODE });
    }

    fn file(&mut self, current: &Current, path: PathBuf, old: &Option<FileState>, text: String) {
        let content = text.into_bytes();
        let same = old.as_ref().is_some_and(|old| {
            old.content == content && old.mode == FILE_MODE && old.owner.user == current.user
        });
        if !same {
            let new = FileContent { content, mode: FILE_MODE, owner: None };
            self.steps.push(Step::Write { path, old: old.clone(), new });
        }
    }

    fn config(&mut self, current: &Current, content: Vec<u8>) {
        let old = &current.config;
        if old.content != content {
            let new = FileContent { content, mode: old.mode, owner: Some(old.owner) };
            let path = current.config_path.clone();
            self.steps.push(Step::Write { path, old: Some(old.clone()), new });
        }
    }

    fn remove_principals(
        &mut self,
        layout: &Layout,
        current: &Current,
        obsolete: impl Fn(&str) -> bool,
    ) {
        for (name, state) in current.principals.iter().filter(|(name, _)| obsolete(name)) {
            let path = layout.principals_dir().join(name);
            if content::is_principals_of(name, state) {
                self.steps.push(Step::Remove { path, old: state.clone() });
            } else {
                self.warnings.push(format!(
                    "{} was not written by jit-ssh-host and stays; it decides who may log in as {name:?}.",
                    path.display()
                ));
            }
        }
    }

    fn remove_marked(&mut self, path: PathBuf, state: &Option<FileState>) {
        match state {
            Some(old) if content::is_marked(old) => {
                self.steps.push(Step::Remove { path, old: old.clone() })
            }
            Some(_) => self
                .warnings
                .push(format!("{} was not written by jit-ssh-host and stays.", path.display())),
            None => {}
        }
    }

    fn remove_dir(&mut self, current: &Current, path: PathBuf) {
        if let Some(&old) = current.dirs.get(&path) {
            self.steps.push(Step::RemoveDir { path, old });
        }
    }
}

impl Step {
    fn written(&self) -> Option<&Path> {
        match self {
            Step::Write { path, .. } => Some(path),
            Step::Dir { .. } | Step::Remove { .. } | Step::RemoveDir { .. } => None,
        }
    }

    fn removed(&self) -> Option<&Path> {
        match self {
            Step::Remove { path, .. } => Some(path),
            Step::Dir { .. } | Step::Write { .. } | Step::RemoveDir { .. } => None,
        }
    }

    fn difference(&self) -> String {
        match self {
            Step::Dir { path, old: Some(old), mode } => {
                format!("folder {}: mode {:04o} -> {mode:04o}\n", path.display(), old.mode)
            }
            Step::Dir { path, old: None, .. } => format!("folder {}: new\n", path.display()),
            Step::RemoveDir { path, .. } => {
                format!("folder {}: removed if empty\n", path.display())
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

#[cfg(test)]
mod tests;
