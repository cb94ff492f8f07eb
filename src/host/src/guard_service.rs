//! The guard as a service of this host: installed and started under systemd; elsewhere somebody
//! starts it by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::current::FileState;
use crate::error::CommandError;
use crate::guard::cgroup::Cgroup;
use crate::guard::process::{Process, descends_from};
use crate::guard::protocol::{self, Answer, Ask};
use crate::guard::row::Row;
use crate::guard::state::StateFile;
use crate::hook;
use crate::layout::{DEFAULT_ETC, DEFAULT_STATE, Layout};

/// The service's name.
const SERVICE: &str = "jit-ssh-guard.service";

/// There where systemd is the running system.
const SYSTEMD: &str = "/run/systemd/system";

/// How long a guard may take until it answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// How long sessions may take to end; each has a second before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(50);

/// The sessions of a guard that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sessions {
    /// How many there are.
    pub(crate) count: usize,
    /// Whether this program runs in one of them.
    pub(crate) is_ours_among: bool,
}

/// The guard of this host, as `setup` sees it.
pub(crate) trait GuardService {
    /// Where its unit is put; `None` where systemd does not run it.
    fn unit(&self) -> Option<&Path>;

    /// Tells systemd something.
    ///
    /// # Errors
    /// What it says.
    fn systemctl(&self, arguments: &[&str]) -> Result<(), String>;

    /// Which guard answers on its socket.
    ///
    /// # Errors
    /// Why none does, as the end of a sentence.
    fn answers(&self) -> Result<Answering, String>;

    /// The sessions that live, by the table it keeps, whether it runs or not.
    ///
    /// # Errors
    /// If nobody can tell, as the end of a sentence.
    fn sessions(&self) -> Result<Sessions, String>;

    /// Has it end all sessions, and waits until none is left.
    ///
    /// # Errors
    /// Why there may be some, as the end of a sentence.
    fn end_sessions(&self) -> Result<(), String>;

    /// Waits until one answers, or for long enough.
    ///
    /// # Errors
    /// Why none does, as the end of a sentence.
    fn wait(&self) -> Result<Answering, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.answers() {
                Err(_) if Instant::now() < until => std::thread::sleep(PAUSE),
                answer => return answer,
            }
        }
    }
}

/// The guard that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answering {
    /// The one of this host's files.
    Ours,
    /// One that goes by the host files in another folder.
    Other(PathBuf),
    /// One of an older version, which does not say by which files it goes.
    Older,
}

impl Answering {
    /// Refuses a guard whose sessions are those of another host: they are not this one's to end.
    ///
    /// # Errors
    /// Whose it is, as the end of a sentence.
    pub(crate) fn not_of_another(self) -> Result<(), String> {
        match self {
            Answering::Ours | Answering::Older => Ok(()),
            Answering::Other(etc) => {
                Err(format!("what answers is the guard of the host files in {}", etc.display()))
            }
        }
    }
}

/// The guard that answers in `run`, as seen by who goes by the host files in `etc`.
///
/// # Errors
/// Why none does, as the end of a sentence.
pub(crate) fn answering(run: &Path, etc: &Path) -> Result<Answering, String> {
    match protocol::ask(run, &Ask::Status, None, Instant::now() + ANSWER_PATIENCE)? {
        Answer::Status { etc: None, .. } => Ok(Answering::Older),
        Answer::Status { etc: Some(its), .. } => {
            // The same folder may have two names.
            let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            Ok(if real(&its) == real(etc) { Answering::Ours } else { Answering::Other(its) })
        }
        Answer::Unable { why } | Answer::Refused { why } => Err(format!("it says that {why}")),
        Answer::Registered | Answer::Prolonged { .. } | Answer::Events { .. } | Answer::Noted => {
            Err("what answers there is not the guard".to_owned())
        }
    }
}

/// The real one.
pub(crate) struct System {
    unit: Option<PathBuf>,
    run: PathBuf,
    etc: PathBuf,
}

impl System {
    /// The guard of this host. A layout elsewhere than in `/etc/ssh` is no business of systemd's.
    pub(crate) fn find(layout: &Layout) -> System {
        let is_system = layout.etc() == Path::new(DEFAULT_ETC) && Path::new(SYSTEMD).is_dir();
        let unit = is_system.then(|| Path::new("/etc/systemd/system").join(SERVICE));
        System { unit, run: layout.run().to_owned(), etc: layout.etc().to_owned() }
    }
}

impl GuardService for System {
    fn unit(&self) -> Option<&Path> {
        self.unit.as_deref()
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|e| format!("systemctl can not be run: {e}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "systemctl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ")
            )),
        }
    }

    fn answers(&self) -> Result<Answering, String> {
        answering(&self.run, &self.etc)
    }

    fn sessions(&self) -> Result<Sessions, String> {
        let unknown = |e| format!("{} can not be read: {e}", self.run.display());
        let file = StateFile::new(&self.run);
        let rows = file.and_then(|file| file.read_of_any_boot()).map_err(unknown)?;
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        Ok(Sessions {
            count: rows.iter().filter(|row| is_live(row)).count(),
            is_ours_among: rows.iter().any(|row| holds(row, own)),
        })
    }

    fn end_sessions(&self) -> Result<(), String> {
        self.answers()?.not_of_another()?;
        let until = Instant::now() + END_PATIENCE;
        loop {
            match self.ask(&Ask::End)? {
                0 => return Ok(()),
                left if Instant::now() >= until => {
                    return Err(format!("{left} sessions do not end"));
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl System {
    /// How many sessions the guard says it watches.
    fn ask(&self, ask: &Ask) -> Result<usize, String> {
        match protocol::ask(&self.run, ask, None, Instant::now() + ANSWER_PATIENCE)? {
            Answer::Status { sessions, .. } => Ok(sessions),
            Answer::Unable { why } | Answer::Refused { why } => Err(format!("it says that {why}")),
            Answer::Registered
            | Answer::Prolonged { .. }
            | Answer::Events { .. }
            | Answer::Noted => Err("what answers there is not the guard".to_owned()),
        }
    }
}

/// Whether anything of a session that was recorded is there still.
fn is_live(row: &Row) -> bool {
    Process::open_same(row.monitor).is_some()
        || row.left.iter().any(|id| Process::open_same(*id).is_some())
        || row.cgroup.as_ref().is_some_and(Cgroup::is_populated)
}

/// Whether a process is part of a session.
fn holds(row: &Row, pid: i32) -> bool {
    let descends = Process::open_same(row.monitor).is_some() && descends_from(pid, row.monitor.pid);
    descends || row.cgroup.as_ref().is_some_and(|group| group.members().contains(&pid))
}

/// How somebody starts the guard without systemd; `state` is where it kept what it keeps, where that is known.
pub(crate) fn by_hand(etc: &Path, run: &Path, state: Option<&Path>) -> String {
    let mut words = vec!["jit-ssh-host guard".to_owned()];
    words.extend(hook::places(etc, run));
    if let Some(state) = state.filter(|state| *state != Path::new(DEFAULT_STATE)) {
        words.extend(["--state".to_owned(), state.display().to_string()]);
    }
    words.join(" ")
}

/// The unit for this host, from the one that is shipped.
pub(crate) fn unit(template: &str, layout: &Layout, program: &Path) -> String {
    let arguments: String =
        hook::arguments(layout).into_iter().map(|argument| format!(" {argument}")).collect();
    let start = format!("ExecStart={} guard{arguments}", program.display());
    let lines = template.lines().map(|line| match line.starts_with("ExecStart=") {
        true => start.as_str(),
        false => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Whether a unit file is one that setup wrote.
pub(crate) fn is_ours(state: &FileState) -> bool {
    let first = state.content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    first.starts_with(b"# jit-ssh:")
}

/// A guard that is made to run, and what there was before.
pub(crate) struct Starting<'a> {
    service: &'a dyn GuardService,
    was_there: bool,
    is_changed: bool,
}

impl<'a> Starting<'a> {
    /// `was` is the unit that was there; `is_changed` says whether it is another by now.
    pub(crate) fn new(
        service: &'a dyn GuardService,
        was: Option<&FileState>,
        is_changed: bool,
    ) -> Starting<'a> {
        Starting { service, was_there: was.is_some(), is_changed }
    }

    /// Has the guard run, with the unit that is in place. `by_hand` is how somebody starts it.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn start(&self, by_hand: &str) -> Result<(), CommandError> {
        let refused = |why: String| {
            CommandError::new(format!("The guard does not run: {why}.")).named("NO_GUARD")
        };
        let hint = match self.service.unit() {
            Some(_) => "see: journalctl -u jit-ssh-guard".to_owned(),
            None => {
                format!("there is no systemd here: start it as root, and at each boot: {by_hand}")
            }
        };
        let told = match self.service.unit() {
            None => Ok(()),
            Some(_) => self.have_systemd_start_it(),
        };
        match told.and_then(|()| self.service.wait()) {
            Ok(Answering::Ours) => Ok(()),
            Ok(Answering::Other(etc)) => Err(CommandError::new(format!(
                "The guard that answers goes by the host files in {}, and not by those of this host: it would know neither its CA keys nor what is revoked.",
                etc.display()
            ))
            .named("OTHER_GUARD")
            .hint(format!(
                "one guard serves one --etc: end that one, or give each its own --run DIR, to guard and setup; then: {by_hand}"
            ))),
            Ok(Answering::Older) => Err(CommandError::new(
                "The guard that answers is of an older version, and does not say which host it serves.",
            )
            .named("OLD_GUARD")
            .hint(format!(
                "end it and start this version's, which takes on its sessions: {by_hand}"
            ))),
            Err(why) => Err(refused(why).hint(hint)),
        }
    }

    fn have_systemd_start_it(&self) -> Result<(), String> {
        // A guard that is started anew resumes its deadlines; no session notices. One that hangs, or is
        // of an older version, would stay as it is by `start`.
        let runs = !self.is_changed && self.service.answers() == Ok(Answering::Ours);
        let verb = if runs { "start" } else { "restart" };
        self.service.systemctl(&["daemon-reload"])?;
        self.service.systemctl(&["enable", SERVICE])?;
        self.service.systemctl(&[verb, SERVICE])
    }

    /// Ends a guard that was not there before; to be called while its unit still is.
    pub(crate) fn stop_new(&self) {
        if self.service.unit().is_some() && !self.was_there {
            // What is left of it does no harm, and the first failure is the one to tell.
            let _ = self.service.systemctl(&["disable", "--now", SERVICE]);
        }
    }

    /// Has the guard of before run again, once its unit is as it was.
    pub(crate) fn restore(&self) {
        if self.service.unit().is_some() && self.is_changed {
            let _ = self.service.systemctl(&["daemon-reload"]);
            if self.was_there {
                let _ = self.service.systemctl(&["restart", SERVICE]);
            }
        }
    }
}

/// Ends the guard, whose unit goes next, and has systemd take away its folder in `/run`.
///
/// # Errors
/// What systemd says.
pub(crate) fn stop(service: &dyn GuardService) -> Result<(), CommandError> {
    service
        .systemctl(&["disable", "--now", SERVICE])
        .map_err(|why| CommandError::new(format!("The guard can not be stopped: {why}.")))?;
    // Socket and table of sessions outlive the service, for its next start: there will be none.
    // What is left where systemd can not do it does no harm, and goes at the next boot.
    let _ = service.systemctl(&["clean", "--what=runtime", SERVICE]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testguard::TestGuard;

    #[test]
    fn only_a_guard_that_says_how_it_goes_answers_and_says_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (run, etc, link) = (dir.path(), dir.path().join("etc"), dir.path().join("link"));
        fs::create_dir(&etc).unwrap();
        std::os::unix::fs::symlink(&etc, &link).unwrap();
        let system = System { unit: None, run: run.to_owned(), etc: etc.clone() };
        assert!(system.answers().is_err());
        for answer in [r#"{"answer":"unable","why":"x"}"#, r#"{"answer":"noted"}"#, "hello"] {
            let _guard = TestGuard::answering(run, answer);
            assert!(system.answers().is_err(), "{answer}");
        }
        let _guard = TestGuard::answering(run, r#"{"answer":"status","sessions":0}"#);
        assert_eq!(system.answers(), Ok(Answering::Older));
        for (serves, expected) in [
            (etc.clone(), Answering::Ours),
            (link, Answering::Ours),
            ("/none".into(), Answering::Other("/none".into())),
        ] {
            let _guard = TestGuard::serving(run, &serves);
            assert_eq!(system.answers(), Ok(expected));
            // Those of another host are not ended by who asks in this one's name.
            let refused = system.end_sessions().unwrap_err();
            assert_eq!(
                refused.contains("the guard of the host files"),
                serves == Path::new("/none")
            );
        }
    }

    #[test]
    fn the_unit_that_is_shipped_is_known_again_and_starts_one_program() {
        let layout = Layout::new(Path::new(DEFAULT_ETC), None).unwrap();
        let text = unit(crate::guard::UNIT, &layout, Path::new("/opt/jit-ssh-host"));
        let owner = crate::current::Owner { user: 0, group: 0 };
        let state = |text: &str| FileState { content: text.into(), mode: 0o644, owner };
        assert!(is_ours(&state(&text)) && !is_ours(&state("[Unit]\n")));
        let starts: Vec<_> = text.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        assert_eq!(starts, ["ExecStart=/opt/jit-ssh-host guard"]);
    }

    #[test]
    fn the_unit_starts_this_program_with_these_places() {
        let template =
            "# jit-ssh: x\n[Service]\nExecStart=/usr/local/bin/jit-ssh-host guard\nA=b\n";
        let layout = Layout::new(Path::new("/srv/ssh"), None).unwrap();
        assert_eq!(
            unit(template, &layout, Path::new("/usr/bin/jit-ssh-host")),
            "# jit-ssh: x\n[Service]\nExecStart=/usr/bin/jit-ssh-host guard --etc /srv/ssh\nA=b\n"
        );
    }
}
