//! The order of effects, which is the promise of `setup`.

use std::collections::BTreeSet;
use std::path::Path;

use jit_ssh_core::names::Login;

use super::foresee;
use crate::apply::Applied;
use crate::config::{Found, What};
use crate::current::{self, Current};
use crate::doctor::directives;
use crate::error::CommandError;
use crate::guard_service::{self, GuardService, Starting};
use crate::labels::Labels;
use crate::layout::{DEFAULT_STATE, Layout};
use crate::pam;
use crate::plan::{self, GuardLines, Plan, Step, Wanted};
use crate::reload::{self, Reload};
use crate::settings::Guard;
use crate::sshd::Sshd;
use crate::verify::{self, MayReplace};

/// The host that is set up.
pub(super) struct Host<'a> {
    /// Which files are ours.
    pub(super) layout: &'a Layout,
    /// Its sshd.
    pub(super) sshd: &'a Sshd,
    /// Its guard.
    pub(super) guard: &'a dyn GuardService,
    /// Its SELinux labels.
    pub(super) labels: &'a Labels,
}

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
    /// There may be no way in but our certificates.
    pub(super) allow_lock_out: bool,
    /// What becomes of live sessions where the guard goes.
    pub(super) live_sessions: LiveSessions,
}

/// What becomes of the sessions that a guard watches when it is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LiveSessions {
    /// As long as there are any, it does not go.
    #[default]
    Refuse,
    /// They end first.
    End,
    /// They go on, and nothing ends them.
    Leave,
}

/// What was done, or would be.
pub(super) struct Done {
    /// The effects.
    pub(super) plan: Plan,
    /// Whether the running sshd has read its configuration anew.
    pub(super) reloaded: bool,
}

/// Brings the host to its goal. The order is the promise: nothing is written before all that can
/// be known beforehand is known, no login asks a guard that does not answer, and nothing stays that
/// sshd does not confirm.
///
/// # Errors
/// What is in the way. What was changed is put back, unless the error says otherwise.
pub(super) fn run(host: &Host<'_>, goal: &Goal, told: Told) -> Result<Done, CommandError> {
    let Host { layout, sshd, .. } = host;
    let warn = |word: &str| eprintln!("warning: {word}");
    let Prepared { current, plan, logins, other_ways } = prepare(host, goal, told, &warn)?;
    eprint!("{}", plan.difference());
    for way in &other_ways {
        eprintln!("Besides certificates of this CA, there is a way in: {way}.");
    }
    if told.dry_run {
        eprintln!("Dry run: nothing is written.");
        return Ok(Done { plan, reloaded: false });
    }
    let is_changed = host.guard.unit().is_some_and(|unit| plan.changes(unit));
    let starting = Starting::new(host.guard, current.unit.as_ref(), is_changed);
    if plan.is_empty() {
        start_guard(host, goal, &starting)?;
        confirm(host, goal, &current, &plan, &logins)?;
        eprintln!("There is nothing to change.");
        return Ok(Done { plan, reloaded: false });
    }

    let applied = Applied::all(&plan.files)?;
    label(host, &plan.files);
    let take_back = |applied: Applied<'_>, error| {
        if guard_wanted(goal).is_none() {
            return applied.take_back(error);
        }
        starting.stop_new();
        let error = applied.take_back(error);
        starting.restore();
        error
    };
    if let Err(error) = start_guard(host, goal, &starting) {
        return Err(take_back(applied, error));
    }
    let (applied, done) = applied.and(&plan.switch);
    label(host, &plan.switch);
    if let Err(error) = done.and_then(|()| confirm(host, goal, &current, &plan, &logins)) {
        return Err(take_back(applied, error));
    }
    let reload = match plan.changes_configuration(layout, &current) {
        true => reload_running(sshd, &logins)?,
        false => Reload::NotNeeded,
    };
    let ends = guard_wanted(goal).is_none() && told.live_sessions == LiveSessions::End;
    finish(host, &plan, &reload, ends)?;
    eprintln!("{}", in_words(&reload));
    Ok(Done { plan, reloaded: matches!(reload, Reload::Done(_)) })
}

/// Says what would be in the way of the goal, as [`run`] will find it. Nothing is written.
///
/// # Errors
/// What is in the way.
pub(super) fn preview(host: &Host<'_>, goal: &Goal, told: Told) -> Result<(), CommandError> {
    prepare(host, goal, told, &|_| ()).map(|_| ())
}

/// What is known before anything is written.
struct Prepared {
    current: Current,
    plan: Plan,
    logins: Vec<Login>,
    /// Ways in that are left besides our certificates, in words.
    other_ways: Vec<String>,
}

fn prepare(
    host: &Host<'_>,
    goal: &Goal,
    told: Told,
    say: &dyn Fn(&str),
) -> Result<Prepared, CommandError> {
    let Host { layout, sshd, .. } = host;
    let current = current::read(layout, host.guard.unit())?;
    sshd.test().map_err(|e| e.hint("it was so before setup; nothing is changed"))?;
    let plan = match goal {
        Goal::SetUp(wanted) => plan::plan_setup(layout, wanted, &current, host.guard.unit())?,
        Goal::Removed => plan::plan_remove(layout, &current, host.guard.unit())?,
    };
    let logins = logins_to_ask(goal, &current)?;
    let other_ways = foresee::foresee(host, goal, &current, &plan, &logins, told, say)?;
    Ok(Prepared { current, plan, logins, other_ways })
}

/// Takes out what nobody uses any more; before that, where it shall, what the guard watches.
fn finish(
    host: &Host<'_>,
    plan: &Plan,
    reload: &Reload,
    ends_sessions: bool,
) -> Result<(), CommandError> {
    let config = host.layout.config();
    let is_in_use = matches!(reload, Reload::NotRunning(_)) && reload::is_served(config);
    if is_in_use && !plan.last.is_empty() {
        // Whoever it is, it may have read our drop-in: without its files it would refuse every key.
        eprintln!(
            "warning: an sshd that could not be told to reload uses {}: our files stay until it is started anew; then run this again.",
            config.display()
        );
        return Ok(());
    }
    // Nobody asks the guard any more: these are the last.
    if ends_sessions && host.guard.sessions().map_or(true, |sessions| sessions.count > 0) {
        host.guard.end_sessions().map_err(|why| {
            CommandError::new(format!("The sessions that the guard watches may live on: {why}."))
                .named("LIVE_SESSIONS")
                .hint("its hook is taken out, and the guard still runs; run this again")
        })?;
    }
    let unit = host.guard.unit().filter(|unit| plan.removed().contains(unit));
    if unit.is_some() {
        guard_service::stop(host.guard)?;
    }
    Applied::all(&plan.last)?;
    if unit.is_some() {
        // systemd forgets the unit by itself at the next boot.
        let _ = host.guard.systemctl(&["daemon-reload"]);
        eprintln!(
            "What the CA was not told yet, and its newest lists, stay in {DEFAULT_STATE}: remove it if nobody wants them."
        );
    }
    Ok(())
}

/// What the goal says of the guard, where it wants one.
pub(super) fn guard_wanted(goal: &Goal) -> Option<(&GuardLines, &Wanted)> {
    match goal {
        Goal::SetUp(wanted) => wanted.guard.as_ref().map(|lines| (lines, &**wanted)),
        Goal::Removed => None,
    }
}

/// Has the guard run, where the goal wants one. Where it is optional, a word is enough.
fn start_guard(host: &Host<'_>, goal: &Goal, starting: &Starting<'_>) -> Result<(), CommandError> {
    let Some((_, wanted)) = guard_wanted(goal) else {
        return Ok(());
    };
    match starting.start(&foresee::guard_by_hand(host.layout)) {
        Err(error) if wanted.settings.guard == Guard::Optional => {
            eprintln!("warning: until the guard runs, no session is ended\n{error}");
            Ok(())
        }
        done => done,
    }
}

fn label(host: &Host<'_>, steps: &[Step]) {
    let paths: Vec<&Path> = steps.iter().filter_map(Step::written).collect();
    if let Some(word) = host.labels.restore(&paths) {
        eprintln!("warning: {word}");
    }
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

/// Has sshd confirm that the goal is reached, and reads PAM's file again.
fn confirm(
    host: &Host<'_>,
    goal: &Goal,
    current: &Current,
    plan: &Plan,
    logins: &[Login],
) -> Result<(), CommandError> {
    let Host { layout, sshd, .. } = host;
    sshd.test()?;
    for login in logins {
        let effective = sshd.effective(login)?;
        match goal {
            Goal::SetUp(_) => {
                verify::in_force(layout, &current.found, login, &effective)?;
                verify::jumps_held(login, &effective)?;
            }
            Goal::Removed => verify::gone(layout, &current.found, login, &effective)?,
        }
        verify::host_certificate(layout, plan.host_certificate.as_deref(), &effective)?;
    }
    if let Goal::SetUp(_) = goal {
        elsewhere(host, current, logins)?;
    }
    let Some((lines, _)) = guard_wanted(goal) else {
        return Ok(());
    };
    let file = current::pam_file(layout.pam())?
        .ok_or_else(|| CommandError::new(format!("{} went away.", layout.pam().display())))?;
    let read = |name: &str| file.included.get(name).cloned();
    pam::check(&pam::Service { path: &file.path, text: file.text()?, read: &read }, &lines.hook)
}

/// Asks sshd about connections that a `Match` with a setting of ours fits. There, others may be
/// trusted instead of this CA; but where it is trusted, its certificates must meet our rules.
fn elsewhere(host: &Host<'_>, current: &Current, logins: &[Login]) -> Result<(), CommandError> {
    let names: Vec<String> = logins.iter().map(ToString::to_string).collect();
    let is_setting = |found: &&Found| matches!(found.what, What::Setting { .. });
    let matches = current.found.iter().filter(is_setting).filter_map(|found| found.under.as_ref());
    for under in matches.collect::<BTreeSet<_>>() {
        let Some((user, connection)) = directives::connection_for(under, &names) else { continue };
        let Some(login) = logins.iter().find(|login| login.as_str() == user) else { continue };
        // A connection that was made up may be one that this sshd can not be asked about.
        let Ok(effective) = host.sshd.effective_where(&connection) else { continue };
        if effective.get("TrustedUserCAKeys") == host.layout.trusted_user_ca_keys() {
            verify::in_force(host.layout, &current.found, login, &effective)?;
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
            "Done: sshd and PAM read these files at every login, so sshd needs no reload."
                .to_owned()
        }
    }
}
