//! How it goes between this host and its CA, in a file beside the guard's socket: the link writes it, and
//! `doctor` reads it. Nobody decides anything by it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::apply;
use crate::guard::process::{self, Process, ProcessId};
#[cfg(test)]
use crate::layout::DEFAULT_STATE;
use crate::layout::Folders;

/// The file's name in the guard's run folder.
const FILE: &str = "link.json";

/// The only version of the file there is.
const VERSION: u32 = 1;

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heard {
    v: u32,
    /// The link that wrote it; none if it could not tell which process it is.
    pub(crate) link: Option<ProcessId>,
    /// Since when that one runs.
    pub(crate) since: UnixTime,
    /// When the CA last said what every signer revoked, and sshd's list was made to say it. Kept from
    /// link to link.
    pub(crate) heard: Option<UnixTime>,
    /// What has been in the way since, as sentences.
    pub(crate) problem: Option<String>,
    /// Where guard and link keep what they keep.
    pub(crate) state: PathBuf,
}

impl Heard {
    /// What a link knows that begins now: what the one before it heard.
    pub(super) fn begin(folders: &Folders, now: UnixTime) -> Heard {
        let before = read(&folders.run).ok().and_then(Result::ok);
        let own = i32::try_from(std::process::id()).ok().and_then(process::stat);
        Heard {
            v: VERSION,
            link: own.map(|stat| stat.id),
            since: now,
            heard: before.and_then(|before| before.heard),
            problem: None,
            state: folders.state.clone(),
        }
    }

    /// Notes that all lists are known, and in place.
    pub(super) fn note(&mut self, now: UnixTime) {
        (self.heard, self.problem) = (Some(now), None);
    }

    /// Notes what is in the way.
    pub(super) fn note_problem(&mut self, problem: &str) {
        self.problem = Some(problem.replace('\n', " "));
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the folder takes no file.
    pub(crate) fn write(&self, run: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        apply::replace_for_this_boot(&path(run), &text, 0o600)
    }

    /// What this process would write as a link that has heard the CA at `heard`.
    #[cfg(test)]
    pub(crate) fn example(since: UnixTime, heard: Option<UnixTime>) -> Heard {
        let folders =
            Folders { etc: "/e".into(), run: "/none".into(), state: DEFAULT_STATE.into() };
        Heard { heard, ..Heard::begin(&folders, since) }
    }

    /// Whether the link that wrote it runs.
    pub(crate) fn runs(&self) -> bool {
        self.link.is_some_and(|link| Process::open_same(link).is_some())
    }
}

/// Where the file is.
pub(crate) fn path(run: &Path) -> PathBuf {
    run.join(FILE)
}

/// What the link wrote last, if it says anything that is understood.
///
/// # Errors
/// If it can not be read.
pub(crate) fn read(run: &Path) -> io::Result<Result<Heard, String>> {
    let text = fs::read(path(run))?;
    let heard: Result<Heard, _> = serde_json::from_slice(&text);
    Ok(match heard {
        Ok(heard) if heard.v == VERSION => Ok(heard),
        Ok(heard) => Err(format!("v is {}, and only {VERSION} is known here", heard.v)),
        Err(error) => Err(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_knows_what_the_last_one_heard_and_not_what_was_in_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let [etc, run, state] = ["etc", "run", "state"].map(|name| dir.path().join(name));
        fs::create_dir(&run).unwrap();
        let folders = Folders { etc, run: run.clone(), state: state.clone() };
        let mut first = Heard::begin(&folders, UnixTime(10));
        assert_eq!((first.heard, first.runs()), (None, true));
        first.note(UnixTime(20));
        first.note_problem("The CA\nis away.");
        first.write(&run).unwrap();
        assert_eq!(read(&run).unwrap().unwrap(), first);
        assert_eq!(first.problem.as_deref(), Some("The CA is away."));

        let next = Heard::begin(&folders, UnixTime(30));
        assert_eq!((next.since, next.heard, next.problem), (UnixTime(30), first.heard, None));
        assert_eq!(next.state, state);
        // A number that somebody else has by now is not the link.
        let other = first.link.map(|link| ProcessId { start: link.start + 1, ..link });
        assert!(!Heard { link: other, ..first.clone() }.runs());
        assert!(!Heard { link: None, ..first.clone() }.runs());

        let text = fs::read_to_string(path(&run)).unwrap();
        for bad in [text.replace("\"v\":1", "\"v\":2"), text.replace('}', ",\"x\":1}"), "{}".into()]
        {
            fs::write(path(&run), bad).unwrap();
            assert!(read(&run).unwrap().is_err());
            assert_eq!(Heard::begin(&folders, UnixTime(30)).heard, None);
        }
        fs::remove_file(path(&run)).unwrap();
        assert!(read(&run).is_err());
    }
}
