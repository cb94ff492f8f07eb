//! From what the CA says and what is there to what should be there. No I/O: every step says what
//! it replaces, so that it can be shown before, and taken back after.

mod step;

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::names::{HostName, Login, Principal};

use crate::config;
use crate::content;
use crate::current::{Current, FileState};
use crate::error::CommandError;
use crate::layout::Layout;
use crate::revoked::{self, Lists};
use crate::settings::Settings;
pub(crate) use step::{FileContent, Step};

/// What the verified bundle and the signers say of this host.
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
    /// What the signers revoked.
    pub(crate) revoked: Lists,
}

/// How the host shall be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What the CA says.
    pub(crate) facts: HostFacts,
    /// What the command line says.
    pub(crate) settings: Settings,
}

/// All effects, and what to tell beforehand. What others refer to comes before what refers to it,
/// and goes after it: a crash between two effects leaves sshd with nothing it can not read.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Files that nobody reads yet, or that are read at every login.
    pub(crate) files: Vec<Step>,
    /// What makes sshd and PAM use them, or stop using them.
    pub(crate) switch: Vec<Step>,
    /// What nobody uses any more once the running sshd has read its configuration again. Until
    /// then it may: without its list of revoked keys, sshd refuses every key.
    pub(crate) last: Vec<Step>,
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
    wanted: &Wanted,
    current: &Current,
) -> Result<Plan, CommandError> {
    let Wanted { facts, settings } = wanted;
    for (path, state) in [
        (layout.user_ca(), &current.user_ca),
        (layout.drop_in(), &current.drop_in),
        (layout.settings(), &current.settings),
    ] {
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
    plan.files.extend(dir(current, layout.etc(), false));
    plan.files.extend(dir(current, &layout.own_dir(), true));
    plan.files.extend(dir(current, &layout.principals_dir(), true));
    let settings_text = settings.render();
    plan.files.extend(file(current, layout.settings(), &current.settings, settings_text));
    plan.files.extend(file(current, layout.user_ca(), &current.user_ca, content::user_ca(facts)));
    let same_ca = current.user_ca.as_ref().is_some_and(|keys| content::is_of_ca(keys, facts.ca));
    let in_place = current.revoked.as_ref().filter(|_| same_ca);
    let (list, word) = revoked::choose(&facts.revoked, in_place.map(|state| &*state.content));
    plan.warnings.extend(word);
    plan.files.extend(file(current, layout.revoked_keys(), &current.revoked, list));
    for login in &facts.logins {
        let old = current.principals.get(login.as_str()).cloned();
        let principal = Principal::new(login.clone(), facts.name.clone());
        let text = content::principals(&principal);
        plan.files.extend(file(current, layout.principals(login), &old, text));
    }
    let (obsolete, words) = obsolete_principals(layout, current, |name| {
        facts.logins.iter().all(|login| login.as_str() != name)
    });
    plan.files.extend(obsolete);
    plan.warnings.extend(words);
    plan.files.extend(dir(current, &layout.drop_in_dir(), false));

    plan.switch.extend(file(current, layout.drop_in(), &current.drop_in, content::drop_in(layout)));
    plan.switch.extend(config_step(
        current,
        match config::drop_in_wins(&current.found) {
            true => current.config_without_ours.clone(),
            false => content::with_include(layout, &current.config_without_ours),
        },
    ));
    Ok(plan)
}

/// Plans the way back: what refers to our files goes before they do.
pub(crate) fn plan_remove(layout: &Layout, current: &Current) -> Plan {
    let mut plan = Plan::default();
    plan.switch.extend(config_step(current, current.config_without_ours.clone()));
    let drop_in = plan.without(layout.drop_in(), &current.drop_in, content::is_marked);
    plan.switch.extend(drop_in);
    let (principals, words) = obsolete_principals(layout, current, |_| true);
    plan.warnings.extend(words);
    plan.last.extend(principals);
    plan.last.extend(remove_dir(current, layout.principals_dir()));
    for (path, state, is_ours) in [
        (layout.user_ca(), &current.user_ca, content::is_marked as fn(&FileState) -> bool),
        (layout.revoked_keys(), &current.revoked, |state| revoked::is_list(&state.content)),
        (layout.settings(), &current.settings, content::is_marked),
    ] {
        let step = plan.without(path, state, is_ours);
        plan.last.extend(step);
    }
    plan.last.extend(remove_dir(current, layout.own_dir()));
    // A folder that no Include reads serves nobody but us; one that is read is the system's.
    let was_ours = current.drop_in.as_ref().is_some_and(content::is_marked);
    if was_ours && !config::reads_drop_in(&current.found) {
        plan.last.extend(remove_dir(current, layout.drop_in_dir()));
    }
    plan
}

impl Plan {
    /// Every effect, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.files.iter().chain(&self.switch).chain(&self.last)
    }

    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps().next().is_none()
    }

    /// Files written.
    pub(crate) fn changed(&self) -> Vec<&Path> {
        self.steps().filter_map(Step::written).collect()
    }

    /// Files removed.
    pub(crate) fn removed(&self) -> Vec<&Path> {
        self.steps().filter_map(Step::removed).collect()
    }

    /// Whether sshd must read its configuration again. It reads CA keys, revoked keys and
    /// principals at every login.
    pub(crate) fn changes_configuration(&self, layout: &Layout, current: &Current) -> bool {
        let drop_in = layout.drop_in();
        let is_configuration = |path: &&Path| **path == *current.config_path || **path == *drop_in;
        self.changed().iter().chain(&self.removed()).any(is_configuration)
    }

    /// The difference as people see it.
    pub(crate) fn difference(&self) -> String {
        self.steps().map(Step::difference).collect()
    }

    /// Takes a file out if it is ours, or says that it stays.
    fn without(
        &mut self,
        path: PathBuf,
        state: &Option<FileState>,
        is_ours: impl Fn(&FileState) -> bool,
    ) -> Option<Step> {
        let old = state.as_ref()?;
        if is_ours(old) {
            return Some(Step::Remove { path, old: old.clone() });
        }
        let word = format!("{} was not written by jit-ssh-host and stays.", path.display());
        self.warnings.push(word);
        None
    }
}

fn dir(current: &Current, path: &Path, ours: bool) -> Option<Step> {
    let old = current.dirs.get(path).copied();
    // The mode of a folder that is not ours is none of our business.
    if old.is_some_and(|old| !ours || old.mode == DIR_MODE) {
        return None;
    }
    Some(Step::Dir { path: path.to_owned(), old, mode: DIR_MODE })
}

fn file(
    current: &Current,
    path: PathBuf,
    old: &Option<FileState>,
    content: impl Into<Vec<u8>>,
) -> Option<Step> {
    let content = content.into();
    let same = old.as_ref().is_some_and(|old| {
        old.content == content && old.mode == FILE_MODE && old.owner.user == current.user
    });
    let new = FileContent { content, mode: FILE_MODE, owner: None };
    (!same).then(|| Step::Write { path, old: old.clone(), new })
}

fn config_step(current: &Current, content: Vec<u8>) -> Option<Step> {
    rewritten(&current.config_path, &current.config, content)
}

/// A file of somebody else's with another content: mode and owner stay.
fn rewritten(path: &Path, old: &FileState, content: Vec<u8>) -> Option<Step> {
    let new = FileContent { content, mode: old.mode, owner: Some(old.owner) };
    let is_new = old.content != new.content;
    is_new.then(|| Step::Write { path: path.to_owned(), old: Some(old.clone()), new })
}

fn remove_dir(current: &Current, path: PathBuf) -> Option<Step> {
    let old = *current.dirs.get(&path)?;
    Some(Step::RemoveDir { path, old })
}

/// Principals files that go, and a word for each that stays though it should.
fn obsolete_principals(
    layout: &Layout,
    current: &Current,
    is_obsolete: impl Fn(&str) -> bool,
) -> (Vec<Step>, Vec<String>) {
    let (mut steps, mut words) = (Vec::new(), Vec::new());
    for (name, state) in current.principals.iter().filter(|(name, _)| is_obsolete(name)) {
        let path = layout.principals_dir().join(name);
        if content::is_principals_of(name, state) {
            steps.push(Step::Remove { path, old: state.clone() });
        } else {
            words.push(format!(
                "{} was not written by jit-ssh-host and stays; it decides who may log in as {name:?}.",
                path.display()
            ));
        }
    }
    (steps, words)
}

#[cfg(test)]
mod tests;
