//! `jit-ssh-host setup`: makes this host's sshd accept the CA's certificates, or stop doing so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jit_ssh_api::CaUrl;
use jit_ssh_core::names::{HostName, Login};
use serde::Serialize;

use crate::admission::{self, Obstacle, Weight};
use crate::apply::Applied;
use crate::current::{self, Current};
use crate::error::CommandError;
use crate::fetch;
use crate::layout::Layout;
use crate::plan::{self, HostFacts, Plan};
use crate::reload::{self, Reload};
use crate::sshd::{Effective, Sshd};
use crate::verify;

/// Make sshd accept certificates of the CA for this host's logins, and verify that it does.
#[derive(Args)]
#[command(
    after_help = "Shows the difference, writes it, checks with `sshd -t` and `sshd -T` that it is in force and that\n\
    every login can log in with a certificate, puts everything back if not, and reloads sshd.\n\
    Running it again changes nothing.\n\n\
    Example:\n  jit-ssh-host setup --ca 'https://ca.example:7443#SHA256:...' --name prod-host --dry-run\n\n\
    Exit codes: 0 done, 1 error, 2 usage, 7 CA unreachable"
)]
pub(crate) struct SetupArgs {
    /// The CA: https://HOST:PORT#SHA256:..., as `jit-ssh-ca init` prints it
    #[arg(long, value_name = "URL", required_unless_present = "remove")]
    ca: Option<CaUrl>,
    /// This host's name in hosts.toml
    #[arg(long, required_unless_present = "remove")]
    name: Option<HostName>,
    /// Where host files are put, and what they refer to
    #[arg(long, value_name = "DIR", default_value = "/etc/ssh")]
    etc: PathBuf,
    /// sshd's main file [default: sshd_config in --etc]
    #[arg(long, value_name = "FILE")]
    sshd_config: Option<PathBuf>,
    /// The sshd to ask [default: found in PATH, /usr/sbin or /usr/local/sbin]
    #[arg(long, value_name = "PATH")]
    sshd: Option<PathBuf>,
    /// What logins ask of the guard: only `off`, as yet
    #[arg(long, value_enum, default_value_t = Guard::Off, hide_possible_values = true)]
    guard: Guard,
    /// Shows the difference and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Takes out what setup wrote
    #[arg(long)]
    remove: bool,
    /// Prints one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Accepted for scripts: setup asks nothing
    #[arg(long)]
    yes: bool,
}

/// What a login does when the guard is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Guard {
    /// It is refused.
    Required,
    /// It works.
    Optional,
    /// There is no guard.
    Off,
}

/// What happened, as `--json` tells it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: Option<&'a HostName>,
    etc: &'a Path,
    changed: Vec<&'a Path>,
    removed: Vec<&'a Path>,
    reloaded: bool,
    dry_run: bool,
}

/// Runs `jit-ssh-host setup`.
pub(crate) fn cmd_setup(args: &SetupArgs) -> Result<(), CommandError> {
    match args.guard {
        Guard::Off => {}
        Guard::Required | Guard::Optional => {
            return Err(CommandError::usage("This version of jit-ssh-host has no guard.").hint(
                "leave out --guard, or say --guard off: sessions then live on after their certificate ends",
            ));
        }
    }
    let layout = Layout::new(&args.etc, args.sshd_config.as_deref())?;
    let sshd = Sshd::find(args.sshd.as_deref(), layout.config())?;
    let goal = match (&args.ca, &args.name) {
        _ if args.remove => Goal::Removed,
        (Some(ca), Some(name)) => Goal::SetUp(fetch(ca, name, layout.etc())?),
        _ => return Err(CommandError::usage("setup needs --ca and --name.")),
    };
    let done = run(&layout, &sshd, &goal, args.dry_run)?;
    if args.json {
        let report = Report {
            name: args.name.as_ref(),
            etc: layout.etc(),
            changed: done.plan.changed(),
            removed: done.plan.removed(),
            reloaded: done.reloaded,
            dry_run: args.dry_run,
        };
        let json = serde_json::to_string(&report)
            .map_err(|e| CommandError::new(format!("The report can not be written: {e}.")))?;
        println!("{json}");
    }
    Ok(())
}

fn fetch(ca: &CaUrl, name: &HostName, etc: &Path) -> Result<HostFacts, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::new(format!("The network can not be used: {e}.")))?;
    runtime.block_on(fetch::fetch(ca, name, etc))
}

/// How the host shall be.
enum Goal {
    /// As the bundle says.
    SetUp(HostFacts),
    /// As if we had never been here.
    Removed,
}

/// What was done, or would be.
struct Done {
    plan: Plan,
    reloaded: bool,
}

/// Brings the host to its goal. The order is the promise: nothing is written before all that can
/// be known beforehand is known, and nothing stays that sshd does not confirm.
fn run(layout: &Layout, sshd: &Sshd, goal: &Goal, dry_run: bool) -> Result<Done, CommandError> {
    let current = current::read(layout)?;
    sshd.test().map_err(|e| e.hint("it was so before setup; nothing is changed"))?;
    let plan = match goal {
        Goal::SetUp(facts) => plan::plan_setup(layout, facts, &current)?,
        Goal::Removed => plan::plan_remove(layout, &current),
    };
    let logins = logins_to_ask(goal, &current)?;
    foresee(layout, sshd, goal, &current, &plan, &logins)?;
    eprint!("{}", plan.difference());
    if dry_run {
        eprintln!("Dry run: nothing is written.");
        return Ok(Done { plan, reloaded: false });
    }
    if plan.is_empty() {
        confirm(layout, sshd, goal, &current, &logins)?;
        eprintln!("There is nothing to change.");
        return Ok(Done { plan, reloaded: false });
    }

    let applied = Applied::all(&plan.steps)?;
    if let Err(error) = confirm(layout, sshd, goal, &current, &logins) {
        return Err(applied.take_back(error));
    }
    let reloaded = match plan.changes_configuration(layout, &current) {
        true => reload_running(sshd, &logins)?,
        false => {
            eprintln!("Done: sshd reads these files at every login, so it needs no reload.");
            false
        }
    };
    Ok(Done { plan, reloaded })
}

/// The logins sshd is asked about.
fn logins_to_ask(goal: &Goal, current: &Current) -> Result<Vec<Login>, CommandError> {
    let logins: Vec<Login> = match goal {
        Goal::SetUp(facts) => facts.logins.iter().cloned().collect(),
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
) -> Result<(), CommandError> {
    let mut words = plan.warnings.clone();
    let mut shut = Vec::new();
    if let Goal::SetUp(facts) = goal {
        let before =
            logins.iter().map(|login| sshd.effective(login)).collect::<Result<Vec<_>, _>>()?;
        if let Some(before) = before.first() {
            words.extend(verify::pushed_aside(layout, &current.found, before));
            // sshd looks at the real folders, behind symbolic links.
            let etc = fs::canonicalize(layout.etc()).unwrap_or_else(|_| layout.etc().to_owned());
            let mode = |dir: &Path| fs::metadata(dir).ok().map(|found| found.permissions().mode());
            words.extend(verify::open_to_others(before, &etc, mode));
        }
        let asked = facts.logins.iter().zip(&before);
        for (obstacle, logins) in obstacles(asked, current) {
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

/// What stands in the way, with the logins it concerns.
fn obstacles<'a>(
    asked: impl Iterator<Item = (&'a Login, &'a Effective)>,
    current: &Current,
) -> Vec<(Obstacle, Vec<&'a Login>)> {
    // A file that can not be looked at may be there: only root sees everything.
    let exists = |path: &Path| path.try_exists().unwrap_or(true);
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

fn reload_running(sshd: &Sshd, logins: &[Login]) -> Result<bool, CommandError> {
    let Some(login) = logins.first() else {
        return Ok(false);
    };
    let effective = sshd.effective(login)?;
    match reload::reload(effective.get("PidFile"), sshd.config())? {
        Reload::Done(pid) => {
            eprintln!("Done: sshd ({}) has read its new configuration.", pid.as_raw_nonzero());
            Ok(true)
        }
        Reload::NotRunning(why) => {
            eprintln!("Done. {why} The change takes effect when sshd starts.");
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests;
