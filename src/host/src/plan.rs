//! From what the CA says and what is there to what should be there. No I/O: every step says what
//! it replaces, so that it can be shown before, and taken back after.

mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::names::{HostName, Jump, Login, Principal};
use jit_ssh_core::receipt::is_host_certificate;

use crate::config::{self, What};
use crate::content;
use crate::current::{Current, FileState};
use crate::enrolment;
use crate::error::CommandError;
use crate::guard_service;
use crate::layout::Layout;
use crate::pam;
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
    /// The jumps through this host, and where each may go on to, as OpenSSH's `permitopen` has it.
    pub(crate) jumps: BTreeMap<Jump, String>,
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
    /// How the guard comes to work; `None` for a host without one.
    pub(crate) guard: Option<GuardLines>,
    /// The file with this host's certificate; `None` for a host without one.
    pub(crate) host_certificate: Option<Vec<u8>>,
    /// The file with what vouches for this host; `None` for one that hosts.toml lists.
    pub(crate) enrolment: Option<Vec<u8>>,
}

/// What has the guard work.
#[derive(Debug, Clone)]
pub(crate) struct GuardLines {
    /// The line in PAM.
    pub(crate) hook: String,
    /// The unit, and where it is put; `None` where systemd does not run it.
    pub(crate) unit: Option<(PathBuf, String)>,
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
    /// The host certificate that sshd shows afterwards.
    pub(crate) host_certificate: Option<PathBuf>,
    /// What stays as it is and deserves a word.
    pub(crate) warnings: Vec<String>,
}

const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// Plans the set-up of a host. `unit` is where the guard's unit is put, where systemd runs it.
///
/// # Errors
/// If a file in the way is not ours, or the CA offers an older bundle than the one in place.
pub(crate) fn plan_setup(
    layout: &Layout,
    wanted: &Wanted,
    current: &Current,
    unit: Option<&Path>,
) -> Result<Plan, CommandError> {
    let Wanted { facts, settings, guard, host_certificate, enrolment } = wanted;
    for (path, state) in
        [(layout.drop_in(), &current.drop_in), (layout.settings(), &current.settings)]
    {
        if state.as_ref().is_some_and(|state| !content::is_marked(state)) {
            return Err(in_the_way(&path));
        }
    }
    // The drop-in that this plan writes holds jumps to forwards.
    let mut plan = plan_read_at_login(layout, facts, settings, current, Jumps::Held)?;
    let settings_text = settings.render();
    plan.files.extend(file(current, layout.settings(), &current.settings, settings_text));
    match enrolment {
        Some(enrolment) => {
            let old = &current.enrolment;
            plan.files.extend(file(current, layout.enrolment(), old, enrolment.as_slice()));
        }
        None => plan.without_enrolment(layout, current),
    }
    let can_show_one = plan.can_name_one(layout, current, host_certificate.is_some());
    let host_certificate = host_certificate.as_ref().filter(|_| can_show_one);
    if let Some(certificate) = host_certificate {
        plan.files.extend(shown(layout, current, certificate));
    }
    plan.files.extend(dir(current, &layout.drop_in_dir(), false));
    if let Some((path, text)) = guard.as_ref().and_then(|guard| guard.unit.as_ref()) {
        if current.unit.as_ref().is_some_and(|unit| !guard_service::is_ours(unit)) {
            return Err(in_the_way(path));
        }
        plan.files.extend(file(current, path.clone(), &current.unit, text.as_str()));
    } else {
        plan.without_unit(current, unit);
    }

    // The hook first: whoever is let in by a certificate from now on is watched.
    plan.hook(layout, current, guard.as_ref())?;
    let drop_in = content::drop_in(layout, can_show_one);
    if host_certificate.is_some() {
        plan.host_certificate = Some(layout.host_certificate());
    } else {
        plan.without_host_certificate(layout, current);
    }
    plan.switch.extend(file(current, layout.drop_in(), &current.drop_in, drop_in));
    plan.switch.extend(config_step(
        current,
        match config::drop_in_wins(&current.found) {
            true => current.config_without_ours.clone(),
            false => content::with_include(layout, &current.config_without_ours),
        },
    ));
    Ok(plan)
}

/// Plans what sshd reads at every login: CA keys, revoked keys and principals, as the CA says them now.
///
/// # Errors
/// If a file in the way is not ours, or the CA offers an older bundle than the one in place.
pub(crate) fn plan_login(
    layout: &Layout,
    facts: &HostFacts,
    settings: &Settings,
    current: &Current,
) -> Result<Plan, CommandError> {
    let held = current.drop_in.as_ref().is_some_and(content::has_jump_block);
    let jumps = if held { Jumps::Held } else { Jumps::Free };
    plan_read_at_login(layout, facts, settings, current, jumps)
}

/// Whether sshd's configuration holds the account of jumps to forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jumps {
    Held,
    /// It was set up by a version that knew no jumps: it gets none until it is set up again.
    Free,
}

fn plan_read_at_login(
    layout: &Layout,
    facts: &HostFacts,
    settings: &Settings,
    current: &Current,
    jumps: Jumps,
) -> Result<Plan, CommandError> {
    if let Some(state) = &current.user_ca {
        if !content::is_marked(state) {
            return Err(in_the_way(&layout.user_ca()));
        }
        content::check_version(facts, &layout.user_ca(), state)?;
    }
    let mut plan = Plan::default();
    plan.files.extend(dir(current, layout.etc(), false));
    plan.files.extend(dir(current, &layout.own_dir(), true));
    plan.files.extend(dir(current, &layout.principals_dir(), true));
    let keys = content::user_ca(facts, settings.offline_ca.as_ref());
    plan.files.extend(file(current, layout.user_ca(), &current.user_ca, keys));
    let same_ca = current.user_ca.as_ref().is_some_and(|keys| content::is_of_ca(keys, facts.ca));
    let in_place = current.revoked.as_ref().filter(|_| same_ca);
    let (list, word) = revoked::choose(&facts.revoked, in_place.map(|state| &*state.content));
    plan.warnings.extend(word);
    plan.files.extend(file(current, layout.revoked_keys(), &current.revoked, list));
    for login in &facts.logins {
        let old = current.principals.get(login.as_str()).cloned();
        let text = match (login.is_jump(), jumps) {
            (false, _) => content::principals(&Principal::new(login.clone(), facts.name.clone())),
            (true, Jumps::Held) => content::jumps(&facts.jumps),
            (true, Jumps::Free) => {
                if !facts.jumps.is_empty() {
                    plan.warnings.push("sshd was set up by a version that knew no jumps, so nobody can jump through this host: run setup again.".to_owned());
                }
                String::new()
            }
        };
        plan.files.extend(file(current, layout.principals(login), &old, text));
    }
    let (obsolete, words) = obsolete_principals(layout, current, |name| {
        facts.logins.iter().all(|login| login.as_str() != name)
    });
    plan.files.extend(obsolete);
    plan.warnings.extend(words);
    Ok(plan)
}

/// Plans another host certificate in the place of the one that sshd shows, or of none.
///
/// # Errors
/// If the drop-in has sshd look for none.
pub(crate) fn plan_certificate(
    layout: &Layout,
    certificate: &[u8],
    current: &Current,
) -> Result<Plan, CommandError> {
    let line = content::certificate_include_line(layout);
    let looks = |state: &FileState| {
        String::from_utf8_lossy(&state.content).lines().any(|found| found == line.trim_end())
    };
    if !current.drop_in.as_ref().is_some_and(looks) {
        return Err(CommandError::new(format!(
            "sshd would not show this host's certificate: {} does not include {}.",
            layout.drop_in().display(),
            layout.certificate_include().display()
        ))
        .hint("run: jit-ssh-host setup"));
    }
    let files = shown(layout, current, certificate);
    let host_certificate = Some(layout.host_certificate());
    Ok(Plan { files, host_certificate, ..Plan::default() })
}

/// The certificate, and then what has sshd show it.
fn shown(layout: &Layout, current: &Current, certificate: &[u8]) -> Vec<Step> {
    let (path, old) = (layout.host_certificate(), &current.host_certificate);
    let include = (layout.certificate_include(), &current.certificate_include);
    let text = content::certificate_include(layout);
    let steps = [file(current, path, old, certificate), file(current, include.0, include.1, text)];
    steps.into_iter().flatten().collect()
}

fn in_the_way(path: &Path) -> CommandError {
    let path = path.display();
    CommandError::new(format!("{path} is there and was not written by jit-ssh-host."))
        .hint("move it away, then run setup again")
}

/// Plans the way back: what refers to our files goes before they do. `unit` is where the guard's unit
/// is.
///
/// # Errors
/// If the hook can not be taken out of PAM.
pub(crate) fn plan_remove(
    layout: &Layout,
    current: &Current,
    unit: Option<&Path>,
) -> Result<Plan, CommandError> {
    let mut plan = Plan::default();
    plan.hook(layout, current, None)?;
    plan.without_unit(current, unit);
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
    plan.without_host_certificate(layout, current);
    plan.without_enrolment(layout, current);
    plan.last.extend(remove_dir(current, layout.own_dir()));
    // A folder that no Include reads serves nobody but us; one that is read is the system's.
    let was_ours = current.drop_in.as_ref().is_some_and(content::is_marked);
    if was_ours && !config::reads_drop_in(&current.found) {
        plan.last.extend(remove_dir(current, layout.drop_in_dir()));
    }
    Ok(plan)
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

    /// Whether sshd must read its configuration again: host certificates it reads with it, CA keys,
    /// revoked keys and principals at every login; but one that has not heard that there is no list of revoked keys
    /// any more would refuse every key without it.
    pub(crate) fn changes_configuration(&self, layout: &Layout, current: &Current) -> bool {
        let drop_in = layout.drop_in();
        self.removed().contains(&&*layout.revoked_keys())
            || self.changes(&current.config_path)
            || self.changes(&drop_in)
            || self.changes(&layout.host_certificate())
            || self.changes(&layout.certificate_include())
    }

    /// The difference as people see it.
    pub(crate) fn difference(&self) -> String {
        self.steps().map(Step::difference).collect()
    }

    /// Puts the hook into the PAM service, or takes it out of every service it was put into.
    fn hook(
        &mut self,
        layout: &Layout,
        current: &Current,
        guard: Option<&GuardLines>,
    ) -> Result<(), CommandError> {
        for pam in &current.pam {
            let text = pam.text()?;
            let new = match guard.filter(|_| pam.named == layout.pam()) {
                Some(guard) => {
                    let read = |name: &str| pam.included.get(name).cloned();
                    let service = pam::Service { path: &pam.path, text, read: &read };
                    let placed = pam::with_hook(&service, &guard.hook)?;
                    self.warnings.extend(placed.words);
                    placed.text
                }
                None => pam::without_hook(&pam.path, text),
            };
            self.switch.extend(rewritten(&pam.path, &pam.state, new.into_bytes()));
        }
        if guard.is_some() && !current.pam.iter().any(|pam| pam.named == layout.pam()) {
            let path = layout.pam().display();
            return Err(CommandError::new(format!("There is no PAM service file {path}."))
                .named("NO_PAM")
                .hint("nothing is changed; name sshd's with --pam FILE, or set the host up with --guard off"));
        }
        Ok(())
    }

    /// Takes the guard's unit out once nothing asks the guard any more.
    fn without_unit(&mut self, current: &Current, unit: Option<&Path>) {
        if let (Some(path), Some(_)) = (unit, &current.unit) {
            let step = self.without(path.to_owned(), &current.unit, guard_service::is_ours);
            self.last.extend(step);
        }
    }

    /// Whether our drop-in may say `HostCertificate`: sshd refuses that word under a `Match`, and some
    /// `Include` there reads our drop-in too.
    fn can_name_one(&mut self, layout: &Layout, current: &Current, has_one: bool) -> bool {
        let under = current.found.iter().find_map(|found| {
            let is_read = matches!(found.what, What::DropIn | What::Unknown);
            found.under.as_ref().filter(|_| is_read).map(|under| (found, under))
        });
        let Some((found, under)) = under else { return true };
        if !has_one {
            return false;
        }
        self.warnings.push(format!(
            "{}:{} may include {} under `{under}`, where sshd takes no HostCertificate: this host shows none of ours until that line is put elsewhere.",
            found.file.display(),
            found.line,
            layout.drop_in().display()
        ));
        false
    }

    /// Takes this host's certificate out once sshd does not name it any more.
    fn without_host_certificate(&mut self, layout: &Layout, current: &Current) {
        let (path, old) = (layout.certificate_include(), &current.certificate_include);
        let step = self.without(path, old, content::is_marked);
        self.switch.extend(step);
        let is_ours = |state: &FileState| is_host_certificate(&state.content);
        let step = self.without(layout.host_certificate(), &current.host_certificate, is_ours);
        self.last.extend(step);
    }

    /// Takes out what vouched for this host.
    fn without_enrolment(&mut self, layout: &Layout, current: &Current) {
        let is_ours = |state: &FileState| enrolment::is_file(&state.content);
        let step = self.without(layout.enrolment(), &current.enrolment, is_ours);
        self.last.extend(step);
    }

    /// Whether this file is written or removed.
    pub(crate) fn changes(&self, path: &Path) -> bool {
        self.changed().contains(&path) || self.removed().contains(&path)
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
