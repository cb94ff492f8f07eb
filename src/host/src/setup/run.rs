//! The order of effects, which is the promise of `setup`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jit_ssh_core::names::Login;

use crate::admission::{self, Obstacle, Weight};
use crate::apply::Applied;
use crate::current::{self, Current};
use crate::error::CommandError;
use crate::layout::Layout;
use crate::plan::{self, Plan, Wanted};
use crate::reload::{self, Reload};
use crate::sshd::{Effective, Sshd};
use crate::verify::{self, MayReplace};

/// How the host shall be.
pub(super) enum Goal {
    /// As the bundle says.
    SetUp(Box<Wanted>),
    /// As if we had never been here.
    Removed,
}

/// What the command line says besides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// Nothing is written.
    pub(super) dry_run: bool,
    /// What of others may be pushed aside.
    pub(super) may_replace: MayReplace,
}

/// What was done, or would be.
pub(super) struct Done {
    /// The effects.
    pub(super) plan: Plan,
    /// Whether the running sshd has read its configuration anew.
    pub(super) reloaded: bool,
}

/// Brings the host to its goal. The order is the promise: nothing is written before all that can
/// be known beforehand is known, and nothing stays that sshd does not confirm.
///
/// # Errors
/// What is in the way. What was changed is put back, unless the error says otherwise.
pub(super) fn run(
    layout: &Layout,
    sshd: &Sshd,
    goal: &Goal,
    told: Told,
) -> Result<Done, CommandError> {
    let current = current::read(layout)?;
    sshd.test().map_err(|e| e.hint("it was so before setup; nothing is changed"))?;
    let plan = match goal {
        Goal::SetUp(wanted) => plan::plan_setup(layout, wanted, &current)?,
        Goal::Removed => plan::plan_remove(layout, &current),
    };
    let logins = logins_to_ask(goal, &current)?;
    foresee(layout, sshd, goal, &current, &plan, &logins, told)?;
    eprint!("{}", plan.difference());
    if told.dry_run {
        eprintln!("Dry run: nothing is written.");
        return Ok(Done { plan, reloaded: false });
    }
    if plan.is_empty() {
        confirm(layout, sshd, goal, &current, &logins)?;
        eprintln!("There is nothing to change.");
        return Ok(Done { plan, reloaded: false });
    }

    let applied = Applied::all(&plan.files)?.and(&plan.switch)?;
    if let Err(error) = confirm(layout, sshd, goal, &current, &logins) {
        return Err(applied.take_back(error));
    }
    let reload = match plan.changes_configuration(layout, &current) {
        true => reload_running(sshd, &logins)?,
        false => Reload::NotNeeded,
    };
    let is_in_use = matches!(reload, Reload::NotRunning(_)) && reload::is_served(layout.config());
    match is_in_use && !plan.last.is_empty() {
        false => drop(Applied::all(&plan.last)?),
        // Whoever it is, it may have read our drop-in: without its files it would refuse every key.
        true => eprintln!(
            "warning: an sshd that could not be told to reload uses {}: our files stay until it is started anew; then run this again.",
            layout.config().display()
        ),
    }
    eprintln!("{}", in_words(&reload));
    Ok(Done { plan, reloaded: matches!(reload, Reload::Done(_)) })
}

/// The logins sshd is asked about.
fn logins_to_ask(goal: &Goal, current: &Current) -> Result<Vec<Login>, CommandError> {
    let logins: Vec<Login> = match goal {
        Goal::SetUp(wanted) => wanted.facts.logins.iter().cloned().collect(),
        Goal::Removed => current.principals.keys().filter_map(|name| name.parse().ok()).collect(),
    };
    if !logins.is_empty() {
        return Ok(logins);
    }
    let root = "root".parse().map_err(|e| CommandError::new(format!("{e}.")))?;
    Ok(vec![root])
}

/// Says what deserves a word, and refuses a host on which no certificate could log in.
fn foresee(
    layout: &Layout,
    sshd: &Sshd,
    goal: &Goal,
    current: &Current,
    plan: &Plan,
    logins: &[Login],
    told: Told,
) -> Result<(), CommandError> {
    let mut words = plan.warnings.clone();
    let mut shut = Vec::new();
    if let Goal::SetUp(wanted) = goal {
        let before =
            logins.iter().map(|login| sshd.effective(login)).collect::<Result<Vec<_>, _>>()?;
        if let Some(before) = before.first() {
            verify::may_replace(layout, &current.found, before, told.may_replace, holds_something)?;
            words.extend(verify::pushed_aside(layout, &current.found, before));
            // sshd looks at the real folders, behind symbolic links.
            let etc = fs::canonicalize(layout.etc()).unwrap_or_else(|_| layout.etc().to_owned());
            let mode = |dir: &Path| fs::metadata(dir).ok().map(|found| found.permissions().mode());
            words.extend(verify::open_to_others(before, &etc, mode));
        }
        let asked = wanted.facts.logins.iter().zip(&before);
        for (obstacle, logins) in obstacles(layout, asked, current) {
            let names: Vec<_> = logins.iter().map(|login| login.as_str()).collect();
            let names = names.join(", ");
            match obstacle.weight {
                Weight::Doubt => {
                    words.push(format!("Logins as {names}: {}.", obstacle.problem));
                }
                Weight::Shut => shut.push((names, obstacle)),
            }
        }
    }
    for word in words {
        eprintln!("warning: {word}");
    }
    if shut.is_empty() {
        return Ok(());
    }
    let sentence = |(names, obstacle): &(String, Obstacle)| {
        format!("No certificate could log in as {names}: {}.", obstacle.problem)
    };
    let message = shut.iter().map(sentence).collect::<Vec<_>>().join(" ");
    let error = CommandError::new(message).named("NO_LOGIN").hint("nothing is changed");
    Err(shut.into_iter().fold(error, |error, (_, obstacle)| error.hint(obstacle.way_out)))
}

/// Whether there is anything in a file but white space and comments; if nobody can tell, there is.
fn holds_something(path: &Path) -> bool {
    match fs::read(path) {
        Ok(content) => content.split(|byte| *byte == b'\n').any(|line| {
            let line = line.trim_ascii();
            !line.is_empty() && !line.starts_with(b"#")
        }),
        Err(e) => e.kind() != ErrorKind::NotFound,
    }
}

/// What stands in the way, with the logins it concerns.
fn obstacles<'a>(
    layout: &Layout,
    asked: impl Iterator<Item = (&'a Login, &'a Effective)>,
    current: &Current,
) -> Vec<(Obstacle, Vec<&'a Login>)> {
    // A file that can not be looked at may be there: only root sees everything.
    // Ours is written anew where it is missing.
    let exists = |path: &Path| path == layout.revoked_keys() || path.try_exists().unwrap_or(true);
    let mut all: Vec<(Obstacle, Vec<&Login>)> = Vec::new();
    for (login, effective) in asked {
        for obstacle in admission::obstacles(login, &current.found, effective, exists) {
            match all.iter_mut().find(|(known, _)| *known == obstacle) {
                Some((_, logins)) => logins.push(login),
                None => all.push((obstacle, vec![login])),
            }
        }
    }
    all
}

/// Has sshd confirm that the goal is reached.
fn confirm(
    layout: &Layout,
    sshd: &Sshd,
    goal: &Goal,
    current: &Current,
    logins: &[Login],
) -> Result<(), CommandError> {
    sshd.test()?;
    for login in logins {
        let effective = sshd.effective(login)?;
        match goal {
            Goal::SetUp(_) => verify::in_force(layout, &current.found, login, &effective)?,
            Goal::Removed => verify::gone(layout, &current.found, login, &effective)?,
        }
    }
    Ok(())
}

fn reload_running(sshd: &Sshd, logins: &[Login]) -> Result<Reload, CommandError> {
    let Some(login) = logins.first() else {
        return Ok(Reload::NotNeeded);
    };
    let effective = sshd.effective(login)?;
    reload::reload(effective.get("PidFile"), sshd.config())
}

fn in_words(reload: &Reload) -> String {
    match reload {
        Reload::Done(pid) => {
            format!("Done: sshd ({}) has read its new configuration.", pid.as_raw_nonzero())
        }
        Reload::NotRunning(why) => {
            format!("Done. {why} The change takes effect when sshd starts.")
        }
        Reload::NotNeeded => {
            "Done: sshd reads these files at every login, so it needs no reload.".to_owned()
        }
    }
}
