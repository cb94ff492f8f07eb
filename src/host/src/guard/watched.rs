//! One session that runs, or is being ended: what the guard holds of it, and how it ends it.
//!
//! SIGTERM to the monitor ends everything that hangs on the connection; the monitor itself is never
//! killed, since its child, which does the user's work, would live on. What is left one second later is
//! killed: its own child where the user has stopped it, whatever descends from it, and all of the
//! session's own control group. An sshd that root started in it is not the session's ([`others`]).

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cgroup::Cgroups;
use super::event::Cause;
use super::log::{self, Level};
use super::others;
use super::process::{Process, ProcessId, Snapshot};
use super::row::Row;

/// How long after SIGTERM what is left is killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often what is being ended is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How often it is killed again where it does not go, and what has outlived its connection looked at.
const SLOW: Duration = Duration::from_secs(5);

/// A session and the processes held for it.
#[derive(Debug)]
pub(crate) struct Watched {
    /// What is remembered of it.
    pub(crate) row: Row,
    /// The monitor, until it has ended.
    pub(crate) monitor: Option<Process>,
    left: Vec<Process>,
    /// When it is to be looked at again.
    pub(crate) look_at: Option<Instant>,
    kill_at: Option<Instant>,
}

impl Watched {
    /// A session that has just registered.
    pub(crate) fn new(row: Row, monitor: Process) -> Watched {
        Watched { row, monitor: Some(monitor), left: Vec::new(), look_at: None, kill_at: None }
    }

    /// A session that was recorded before the guard started. What does not live any more, or is now
    /// another process by the same number, is not touched.
    pub(crate) fn resume(row: Row, now: Instant) -> Watched {
        let monitor = Process::open_same(row.monitor);
        let left = row.left.iter().filter_map(|id| Process::open_same(*id)).collect();
        let mut watched = Watched { row, monitor, left, look_at: None, kill_at: None };
        if watched.row.ending.is_some() {
            watched.terminate();
            watched.look_at = Some(now);
            watched.kill_at = Some(now + PATIENCE);
        }
        watched
    }

    /// Takes hold of all that must go, and notes it in the row, which the caller records before
    /// [`Watched::terminate`].
    pub(crate) fn begin_end(&mut self, cause: Cause, all: &Snapshot, now: Instant) {
        self.hold(all);
        self.row.ending = Some(cause);
        self.row.warn_at = None;
        self.look_at = Some(now + LOOK);
        self.kill_at = Some(now + PATIENCE);
    }

    /// Takes hold of what descends from the monitor and from what is held already; not of another sshd
    /// that was started there, nor of what one that is held has become.
    fn hold(&mut self, all: &Snapshot) {
        let mut found = Vec::new();
        if let Some(monitor) = &self.monitor {
            found.extend(all.descendants(monitor.id().pid));
            found.extend(all.of_session(monitor.id().pid));
        }
        for process in self.left.iter().filter(|process| !process.has_ended()) {
            found.extend(all.descendants(process.id().pid));
        }
        let monitor = self.row.monitor.pid;
        let pids = found.iter().map(|stat| stat.id.pid);
        let others = others::among(pids.chain(self.left.iter().map(|held| held.id().pid)), monitor);
        let is_own = |id: ProcessId| others.iter().all(|other| other.id != id);
        self.left.retain(|held| is_own(held.id()));
        for stat in found.into_iter().filter(|stat| is_own(stat.id)) {
            if self.left.iter().all(|known| known.id() != stat.id)
                && let Some(process) = Process::open_same(stat.id)
            {
                self.left.push(process);
            }
        }
        self.row.left = self.left.iter().map(Process::id).collect();
    }

    /// Asks the monitor to go. A stopped one must go on to do so.
    pub(crate) fn terminate(&self) {
        let Some(monitor) = &self.monitor else { return };
        for signal in [Signal::TERM, Signal::CONT] {
            if let Err(error) = monitor.signal(signal) {
                log::say(
                    Level::Error,
                    &format!("the session of {} can not be signalled: {error}.", self.row.title()),
                );
            }
        }
    }

    /// The monitor has ended: takes hold of what it has left. Whether there is anything.
    pub(crate) fn note_monitor_ended(&mut self, all: &Snapshot, now: Instant) -> bool {
        let monitor: Option<ProcessId> = self.monitor.take().map(|monitor| monitor.id());
        if self.row.ending.is_some() {
            return !self.is_gone();
        }
        // sshd's own child stays in the session that its monitor began: it lives on if something
        // killed the monitor, and serves the user.
        let orphans = monitor.into_iter().flat_map(|id| all.of_session(id.pid));
        self.left.extend(orphans.filter_map(|stat| Process::open_same(stat.id)));
        self.row.left = self.left.iter().map(Process::id).collect();
        // Mostly these are just about to go, too; what is there later is looked at seldom.
        self.look_at = Some(now + LOOK);
        !self.is_gone()
    }

    /// Does what is due for a session that is being ended, or has outlived its connection. Whether
    /// nothing is left of it.
    pub(crate) fn look(&mut self, cgroups: Option<&Cgroups>, now: Instant) -> bool {
        if self.monitor.as_ref().is_some_and(Process::has_ended) {
            self.monitor = None;
        }
        if self.is_gone() {
            return true;
        }
        let is_ending = self.row.ending.is_some();
        if is_ending && self.kill_at.is_some_and(|at| at <= now) {
            self.kill(cgroups);
            self.kill_at = Some(now + SLOW);
        }
        self.look_at = Some(now + if is_ending { LOOK } else { SLOW });
        false
    }

    /// Takes out of its control group who is not the session's: see [`others`].
    pub(crate) fn free_others(&self, cgroups: Option<&Cgroups>) {
        if let Some(group) = &self.row.cgroup {
            others::take_out(&self.row, group, cgroups);
        }
    }

    fn kill(&mut self, cgroups: Option<&Cgroups>) {
        self.hold(&Snapshot::take());
        self.terminate();
        for process in &self.left {
            // Through its pidfd: itself, or nobody.
            let _ = process.signal(Signal::KILL);
        }
        let Some(group) = &self.row.cgroup else { return };
        let others = others::take_out(&self.row, group, cgroups);
        let killed = match others.as_slice() {
            [] => group.kill(),
            [first, ..] => {
                others::say(&self.row, *first, "it stays in the control group, and is not killed");
                group.kill_all_but(&others)
            }
        };
        if let Err(why) = killed {
            log::say(Level::Error, &format!("what {} left behind stays: {why}.", self.row.title()));
        }
        let stays = |pid: &i32| others.iter().any(|other| other.pid == *pid);
        if !others.is_empty() && group.members().iter().all(stays) {
            // Nothing of the session is in it any more.
            self.row.cgroup = None;
        }
    }

    fn is_gone(&self) -> bool {
        self.monitor.is_none()
            && self.left.iter().all(Process::has_ended)
            && self.row.cgroup.as_ref().is_none_or(|group| !group.is_populated())
    }
}
