//! All sessions that are watched, and what is due for them when.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use jit_ssh_core::certificate::Presented;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::time::UnixTime;

use super::cgroup::Cgroups;
use super::event::{Cause, Event, Kind};
use super::log::{self, Level};
use super::process::{ProcessId, Snapshot};
use super::protocol::Answer;
use super::revoked::Revoked;
use super::row::Row;
use super::spool::Spool;
use super::state::StateFile;
use super::warning;
use super::watched::Watched;
use crate::clock::Moment;

/// Most events that are told at once: a report holds as many.
const MAX_TOLD: usize = jit_ssh_core::statement::MAX_EVENTS;

/// How often the sessions' control groups are looked through for who is not theirs. The loop goes round
/// once a second while there is a session.
const OTHERS_LOOK: Duration = Duration::from_secs(5);

/// What the loop knows a session by, while it runs.
pub(crate) type Token = u64;

/// The table.
pub(crate) struct Table {
    sessions: BTreeMap<Token, Watched>,
    next: Token,
    file: StateFile,
    spool: Option<Spool>,
    /// When the sessions' control groups are looked through next for who is not theirs.
    others_at: Instant,
}

impl Table {
    /// Takes on what was recorded before. `first` is the smallest token it gives.
    ///
    /// # Errors
    /// If there is a record and it can not be read.
    pub(crate) fn open(
        file: StateFile,
        spool: Option<Spool>,
        first: Token,
        now: Moment,
        instant: Instant,
    ) -> io::Result<Table> {
        let rows = file.read()?;
        file.begin(&rows)?;
        let mut table =
            Table { sessions: BTreeMap::new(), next: first, file, spool, others_at: instant };
        for mut row in rows {
            row.resume(now);
            table.add(Watched::resume(row, instant));
        }
        Ok(table)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &Watched)> {
        self.sessions.iter().map(|(token, watched)| (*token, watched))
    }

    /// The session of this monitor.
    pub(crate) fn of_monitor(&self, monitor: ProcessId) -> Option<(Token, &Row)> {
        let mut rows = self.iter().map(|(token, watched)| (token, &watched.row));
        rows.find(|(_, row)| row.monitor == monitor)
    }

    /// Takes on a new session, which is to be recorded before anybody is told so.
    pub(crate) fn add(&mut self, watched: Watched) -> Token {
        let token = self.next;
        self.next = self.next.saturating_add(1);
        self.sessions.insert(token, watched);
        token
    }

    /// Records the table with these new sessions in it. Whoever takes over from this guard knows of them
    /// when this returns.
    ///
    /// # Errors
    /// If it is not recorded: then they are not taken on.
    pub(crate) fn record_new(&mut self, new: impl Iterator<Item = Token>) -> io::Result<()> {
        let written = self.write();
        if written.is_err() {
            new.for_each(|token| drop(self.sessions.remove(&token)));
        }
        written
    }

    /// The session of a token.
    pub(crate) fn get(&self, token: Token) -> Option<&Watched> {
        self.sessions.get(&token)
    }

    fn write(&self) -> io::Result<()> {
        self.file.write(self.sessions.values().map(|watched| &watched.row))
    }

    /// Records the table after a change that nobody waits for: to end sessions matters more.
    pub(crate) fn record(&self) {
        if let Err(error) = self.write() {
            let path = self.file.path().display();
            log::say(Level::Error, &format!("{path} can not be written: {error}."));
        }
    }

    /// Puts an event into the spool. That it can not be stops nothing.
    pub(crate) fn report(&mut self, event: &Event) {
        let Some(spool) = &mut self.spool else { return };
        let before = spool.dropped();
        if let Err(error) = spool.push(event) {
            log::say(Level::Error, &format!("an event can not be kept for the CA: {error}."));
        }
        if before == 0 && spool.dropped() > 0 {
            log::say(Level::Warning, "the CA is away for long: the oldest events are dropped.");
        }
    }

    /// Makes the events durable.
    pub(crate) fn sync_events(&self) {
        if let Some(Err(error)) = self.spool.as_ref().map(Spool::sync) {
            log::say(Level::Error, &format!("events for the CA may be lost: {error}."));
        }
    }

    /// Moves the end of whatever a verified certificate prolongs. How many it was; if any, the table is
    /// to be recorded.
    pub(crate) fn prolong(&mut self, certificate: &Presented, ca: &CaKey, now: Moment) -> usize {
        let mut moved = 0usize;
        for watched in self.sessions.values_mut() {
            if watched.row.prolong(certificate, ca, now) {
                let (title, until) = (watched.row.title(), watched.row.until());
                log::say(Level::Info, &format!("{title} is prolonged until {until}."));
                moved = moved.saturating_add(1);
            }
        }
        moved
    }

    /// When the wall clock has something for us next.
    pub(crate) fn next_moment(&self) -> Option<UnixTime> {
        self.sessions.values().filter_map(|watched| watched.row.next()).min()
    }

    /// When something is to be looked at next.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.sessions.values().filter_map(|watched| watched.look_at).min()
    }

    /// Warns and ends what is due at `now`, and what is revoked.
    pub(crate) fn act(&mut self, revoked: &Revoked, now: Moment, instant: Instant) {
        let mut due = Vec::new();
        let mut to_warn = Vec::new();
        let mut changed = false;
        for (token, watched) in &mut self.sessions {
            let row = &mut watched.row;
            if row.ending.is_some() {
                continue;
            }
            let before = row.until();
            let cause = match row.revoke(|named| revoked.revokes(named), now) {
                None if row.is_over(now) => Some(Cause::Expired),
                cause => cause,
            };
            changed |= row.until() != before;
            if let Some(cause) = cause {
                due.push((*token, cause));
            } else if row.warn_at.is_some_and(|at| at <= now.wall) {
                row.warn_at = None;
                to_warn.push(*token);
            }
        }
        if due.is_empty() && to_warn.is_empty() && !changed {
            return;
        }
        let all = Snapshot::take();
        self.end(due, &all, instant);
        for row in to_warn.iter().filter_map(|token| self.sessions.get(token)) {
            warning::warn(&row.row, &all, now.wall);
        }
    }

    /// Begins to end these sessions.
    fn end(&mut self, due: Vec<(Token, Cause)>, all: &Snapshot, instant: Instant) {
        for (token, cause) in &due {
            if let Some(watched) = self.sessions.get_mut(token) {
                watched.begin_end(*cause, all, instant);
            }
        }
        // What is left of them must be known to whoever comes after us, before the first goes.
        self.record();
        for (token, cause) in due {
            if let Some(watched) = self.sessions.get(&token) {
                watched.terminate();
                let why = match cause {
                    Cause::Revoked => "the access is revoked",
                    Cause::Expired => "the access is over",
                    Cause::Closed => "the guard is to go",
                };
                log::say(Level::Info, &format!("{} ends: {why}.", watched.row.title()));
            }
        }
    }

    /// Begins to end all sessions.
    pub(crate) fn end_all(&mut self, instant: Instant) {
        let live = self.sessions.iter().filter(|(_, watched)| watched.row.ending.is_none());
        let live: Vec<_> = live.map(|(token, _)| (*token, Cause::Closed)).collect();
        if !live.is_empty() {
            self.end(live, &Snapshot::take(), instant);
        }
    }

    /// The connections of these sessions have closed.
    pub(crate) fn note_monitors_ended(&mut self, ended: &[Token], now: UnixTime, instant: Instant) {
        if ended.is_empty() {
            return;
        }
        let all = Snapshot::take();
        let (mut gone, mut outlived) = (Vec::new(), Vec::new());
        for token in ended {
            let Some(watched) = self.sessions.get_mut(token) else { continue };
            let is_ending = watched.row.ending.is_some();
            if !watched.note_monitor_ended(&all, instant) {
                gone.push(*token);
            } else if !is_ending {
                // What it left, if that does not go at once, ends with the access.
                outlived.push(*token);
            }
        }
        self.finish(&gone, &outlived, now);
    }

    /// Looks at what is due to be looked at.
    pub(crate) fn look(&mut self, cgroups: Option<&Cgroups>, now: UnixTime, instant: Instant) {
        if self.others_at <= instant {
            self.sessions.values().for_each(|watched| watched.free_others(cgroups));
            self.others_at = instant + OTHERS_LOOK;
        }
        let due = self.sessions.iter_mut();
        let due = due.filter(|(_, watched)| watched.look_at.is_some_and(|at| at <= instant));
        let gone: Vec<Token> = due
            .filter_map(|(token, watched)| watched.look(cgroups, instant).then_some(*token))
            .collect();
        self.finish(&gone, &[], now);
    }

    /// What the CA has not heard of yet.
    pub(crate) fn untold(&self) -> Answer {
        let Some(spool) = &self.spool else { return no_spool() };
        match spool.oldest(MAX_TOLD) {
            Ok((next, events)) => Answer::Events { next, dropped: spool.dropped(), events },
            Err(error) => Answer::Unable { why: format!("the spool can not be read: {error}") },
        }
    }

    /// Notes that the CA has heard of all events before the one of this number.
    pub(crate) fn told(&mut self, next: u64) -> Answer {
        let Some(spool) = &mut self.spool else { return no_spool() };
        match spool.taken(next) {
            Ok(()) => Answer::Noted,
            Err(error) => Answer::Unable { why: format!("the spool can not be written: {error}") },
        }
    }

    /// Reports the end of a session, if it is not reported yet.
    fn close(&mut self, token: Token, now: UnixTime) {
        let Some(watched) = self.sessions.get_mut(&token) else { return };
        if !std::mem::replace(&mut watched.row.is_closed, true) {
            let cause = watched.row.ending.unwrap_or(Cause::Closed);
            let event = Event::of(&watched.row, Kind::End, Some(cause), now);
            self.report(&event);
        }
    }

    /// Of some sessions nothing is left, of others only what has outlived their connection. However
    /// many they are, it is one sync and one writing.
    fn finish(&mut self, gone: &[Token], outlived: &[Token], now: UnixTime) {
        if gone.is_empty() && outlived.is_empty() {
            return;
        }
        gone.iter().chain(outlived).for_each(|token| self.close(*token, now));
        self.sync_events();
        for token in gone {
            if let Some(watched) = self.sessions.remove(token)
                && let Some(group) = &watched.row.cgroup
            {
                group.remove();
            }
        }
        self.record();
    }
}

fn no_spool() -> Answer {
    Answer::Unable { why: "there is no spool".into() }
}
