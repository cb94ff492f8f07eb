//! What can be known before anything is written: whatever would leave a host that nobody can use, or
//! that says less than it seems, is refused or told here.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jit_ssh_core::names::Login;

use super::run::{Goal, Host, LiveSessions, Told, guard_wanted};
use crate::admission::{self, Obstacle, Weight};
use crate::current::{Current, Disk};
use crate::doctor::directives;
use crate::error::CommandError;
use crate::guard_service::{self, Answering, Sessions};
use crate::layout::Layout;
use crate::link::heard;
use crate::lock_out;
use crate::plan::{Plan, Wanted};
use crate::sshd::{Effective, Sshd};
use crate::verify;

/// Says what deserves a word, by `say`, and refuses what must not be.
///
/// # Errors
/// If no certificate could log in, something of others would go unsaid, the hook would never run, there
/// are sessions that nothing would end any more, or there would be no other way in. Gives the other ways in,
/// where it looked for them.
pub(super) fn foresee(
    host: &Host<'_>,
    goal: &Goal,
    current: &Current,
    plan: &Plan,
    logins: &[Login],
    told: Told,
    say: &dyn Fn(&str),
) -> Result<Vec<String>, CommandError> {
    let mut words = plan.warnings.clone();
    let mut refusal = Ok(());
    if let Goal::SetUp(wanted) = goal {
        let effective = |login| host.sshd.effective(login);
        let before = logins.iter().map(effective).collect::<Result<Vec<_>, _>>()?;
        words.extend(settings_of_others(host.layout, current, &before, told)?);
        if wanted.guard.is_some() {
            before.iter().try_for_each(|before| pam_is_used(host, before))?;
            words.extend(pam_is_used_elsewhere(host, current, logins)?);
        }
        let (doubts, shut) = admitted(host.layout, wanted, current, &before);
        words.extend(doubts);
        refusal = shut;
    }
    for word in words {
        say(&word);
    }
    refusal?;
    if guard_wanted(goal).is_none() && !plan.is_empty() {
        sessions_end(host, told.live_sessions, say)?;
    }
    if plan.switch.is_empty() || told.allow_lock_out {
        return Ok(Vec::new());
    }
    another_way(host.sshd, goal)
}

/// Refuses to let a guard go that has sessions to end, unless it was said what becomes of them.
fn sessions_end(
    host: &Host<'_>,
    told: LiveSessions,
    say: &dyn Fn(&str),
) -> Result<(), CommandError> {
    let refused = |message: String| {
        CommandError::new(message).named("LIVE_SESSIONS").hint("nothing is changed")
    };
    let leave =
        "or let them go on until their users leave, whatever their access says: --leave-sessions";
    let Sessions { count, is_ours_among } = match host.guard.sessions() {
        Ok(Sessions { count: 0, .. }) => return Ok(()),
        Ok(sessions) => sessions,
        Err(_) if told == LiveSessions::Leave => return Ok(()),
        Err(why) => {
            let message =
                format!("Nobody can tell which sessions the guard would have to end: {why}.");
            return Err(refused(message)
                .hint("end them (loginctl, or the sshd of each), then say so: --leave-sessions"));
        }
    };
    let some = match count {
        1 => "1 live session".to_owned(),
        _ => format!("{count} live sessions"),
    };
    match told {
        LiveSessions::Refuse => Err(refused(format!(
            "The guard watches {some}, and without it nothing would end what goes on after its access has ended."
        ))
        .hint("wait until they have ended, or end them now: --end-sessions")
        .hint(leave)),
        LiveSessions::End if is_ours_among => Err(refused(format!(
            "--end-sessions would end {some}, and this setup runs in one of them."
        ))
        .hint("run it by another way in: a console, or a key of an administrator")
        .hint(leave)),
        LiveSessions::End => host.guard.answers().and_then(Answering::not_of_another).map_err(|why| {
            refused(format!("The guard can not end {some}: {why}."))
                .hint("start it, then run this again")
                .hint(leave)
        }),
        LiveSessions::Leave => {
            let verb = if count == 1 { "goes" } else { "go" };
            say(&format!("{some} {verb} on, and without the guard nothing ends what its access does not."));
            Ok(())
        }
    }
}

/// What of others is pushed aside, or beats ours.
fn settings_of_others(
    layout: &Layout,
    current: &Current,
    before: &[Effective],
    told: Told,
) -> Result<Vec<String>, CommandError> {
    let Some(before) = before.first() else {
        return Ok(Vec::new());
    };
    verify::may_replace(layout, &current.found, before, told.may_replace, holds_something)?;
    let mut words = verify::pushed_aside(layout, &current.found, before);
    // sshd looks at the real folders, behind symbolic links.
    let etc = fs::canonicalize(layout.etc()).unwrap_or_else(|_| layout.etc().to_owned());
    let mode = |dir: &Path| fs::metadata(dir).ok().map(|found| found.permissions().mode());
    words.extend(verify::open_to_others(before, &etc, mode));
    Ok(words)
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

/// Refuses a hook that sshd would never have called.
fn pam_is_used(host: &Host<'_>, before: &Effective) -> Result<(), CommandError> {
    let off = "nothing is changed; or set the host up with --guard off: sessions then live on after their certificate ends";
    if before.get("UsePAM") != "yes" {
        return Err(CommandError::new(format!(
            "`UsePAM {}` is in force: sshd would not call the guard's hook, and no session would be ended.",
            before.get("UsePAM")
        ))
        .named("NO_PAM")
        .hint(format!("set `UsePAM yes` in {}, then run setup again", host.layout.config().display()))
        .hint(off));
    }
    let (service, file) = (host.sshd.pam_service(before), host.layout.pam());
    if file.file_name().is_some_and(|name| name == service.as_str()) {
        return Ok(());
    }
    Err(CommandError::new(format!(
        "sshd uses the PAM service `{service}`, for some logins at least, and would not read {}.",
        file.display()
    ))
    .named("OTHER_PAM_SERVICE")
    .hint(format!(
        "where it is one for all of them, name its file: --pam {}",
        file.with_file_name(&service).display()
    ))
    .hint("where a Match makes it another for some, take PAMServiceName out of that")
    .hint(off))
}

/// The same for connections that only a `Match` with a `PAMServiceName` of its own fits; a word for each about
/// which sshd can not be asked.
fn pam_is_used_elsewhere(
    host: &Host<'_>,
    current: &Current,
    logins: &[Login],
) -> Result<Vec<String>, CommandError> {
    let names: Vec<String> = logins.iter().map(ToString::to_string).collect();
    let text = String::from_utf8_lossy(&current.config.content);
    let mut words = Vec::new();
    for line in directives::read(&current.config_path, &text, &Disk) {
        let Some(under) = line.under.as_ref().filter(|_| line.is("PAMServiceName")) else {
            continue;
        };
        match directives::connection_for(under, &names) {
            Some((user, connection)) if names.contains(&user) => {
                if let Ok(effective) = host.sshd.effective_where(&connection) {
                    pam_is_used(host, &effective)?;
                }
            }
            // Of an account that has no certificates of ours.
            Some(_) => {}
            None => words.push(format!(
                "{}:{}: under `{under}` sshd uses the PAM service `{}`: logins that this fits would not be watched.",
                line.file.display(),
                line.line,
                line.value()
            )),
        }
    }
    Ok(words)
}

/// Doubts about logins by certificate in words, and a refusal where none could log in.
fn admitted(
    layout: &Layout,
    wanted: &Wanted,
    current: &Current,
    before: &[Effective],
) -> (Vec<String>, Result<(), CommandError>) {
    let (mut words, mut shut) = (Vec::new(), Vec::new());
    for (obstacle, logins) in obstacles(layout, wanted.facts.logins.iter().zip(before), current) {
        let names: Vec<_> = logins.iter().map(|login| login.as_str()).collect();
        let names = names.join(", ");
        match obstacle.weight {
            Weight::Doubt => words.push(format!("Logins as {names}: {}.", obstacle.problem)),
            Weight::Shut => shut.push((names, obstacle)),
        }
    }
    if shut.is_empty() {
        return (words, Ok(()));
    }
    let sentence = |(names, obstacle): &(String, Obstacle)| {
        format!("No certificate could log in as {names}: {}.", obstacle.problem)
    };
    let message = shut.iter().map(sentence).collect::<Vec<_>>().join(" ");
    let error = CommandError::new(message).named("NO_LOGIN").hint("nothing is changed");
    let error = shut.into_iter().fold(error, |error, (_, obstacle)| error.hint(obstacle.way_out));
    (words, Err(error))
}

/// What stands in the way, with the logins it concerns.
fn obstacles<'a>(
    layout: &Layout,
    asked: impl Iterator<Item = (&'a Login, &'a Effective)>,
    current: &Current,
) -> Vec<(Obstacle, Vec<&'a Login>)> {
    // A file that can not be looked at may be there: only root sees everything. Ours is written anew
    // where it is missing.
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

/// Refuses where our certificates would be, or have been, the only way in; else gives the others.
fn another_way(sshd: &Sshd, goal: &Goal) -> Result<Vec<String>, CommandError> {
    let ways = lock_out::other_ways(sshd)?;
    if !ways.certain.is_empty() {
        return Ok(ways.certain);
    }
    let message = match goal {
        Goal::SetUp(_) => {
            "No other way in would be left than certificates of this CA, as root or as somebody who becomes root by sudo: if CA, guard or PAM fail, nobody gets in to mend it."
        }
        Goal::Removed => {
            "Certificates of this CA are the only way in, as root or as somebody who becomes root by sudo: without them, nobody gets in any more."
        }
    };
    let error = CommandError::new(message)
        .named("LOCK_OUT")
        .hint("nothing is changed; keep a key of an administrator for an emergency, or a password and a console");
    let error = match ways.uncertain.is_empty() {
        true => error,
        false => error.hint(format!(
            "whether these let anybody in can not be told here, so they do not count: {}",
            ways.uncertain.join("; ")
        )),
    };
    Err(error.hint(
        "if there is a way that sshd does not know of (a console), or that you have tried, say so with --allow-lock-out",
    ))
}

/// How somebody starts the guard, as it was started before where that is known.
pub(super) fn guard_by_hand(layout: &Layout) -> String {
    let before = heard::read(layout.run()).ok().and_then(Result::ok);
    let state = before.as_ref().map(|heard| heard.state.as_path());
    guard_service::by_hand(layout.etc(), layout.run(), state)
}
