//! Who had a name before: a host that has gone may still tell, for a time, what it saw while it was there.

use std::collections::{BTreeSet, HashMap};

use super::register::MAX_ENROLLED;
use crate::key::SubjectKey;
use crate::names::HostName;
use crate::statement::{Host, Verified};
use crate::time::UnixTime;

/// How long after it has gone, in seconds, a host is still heard of what it saw while it was there: a week,
/// as a CA may be away for days.
pub const HEARD_AFTER_END: u32 = 7 * 86_400;

/// A machine that had a name, and when.
#[derive(Debug, Clone)]
struct Former {
    key: SubjectKey,
    since: UnixTime,
    /// When it ended, or another machine took the name.
    until: UnixTime,
}

/// The machines that had names, for [`HEARD_AFTER_END`]; at most [`MAX_ENROLLED`].
#[derive(Debug, Clone, Default)]
pub(super) struct FormerHosts {
    by_name: HashMap<HostName, Vec<Former>>,
    ends: BTreeSet<(UnixTime, HostName)>,
}

impl FormerHosts {
    /// Those that had a name: the key of each, from when, and until when.
    pub(super) fn of<'f>(
        &'f self,
        name: &'f HostName,
    ) -> impl Iterator<Item = (&'f SubjectKey, UnixTime, UnixTime)> {
        let former = self.by_name.get(name).into_iter().flatten();
        former.map(|former| (&former.key, former.since, former.until))
    }

    /// The same of these names alone.
    pub(super) fn only(&self, names: &[HostName]) -> FormerHosts {
        let of = |name: &HostName| Some((name.clone(), self.by_name.get(name)?.clone()));
        let by_name = names.iter().filter_map(of).collect();
        FormerHosts { by_name, ends: BTreeSet::new() }
    }

    /// Adds one that had its name from `since` until `until`.
    pub(super) fn keep(&mut self, host: &Verified<Host>, since: UnixTime, until: UnixTime) {
        if self.ends.len() >= MAX_ENROLLED {
            self.forget_first();
        }
        let (name, key) = (host.body().name.clone(), host.body().key.clone());
        self.ends.insert((until.plus_secs(HEARD_AFTER_END), name.clone()));
        self.by_name.entry(name).or_default().push(Former { key, since, until });
    }

    /// Forgets those that are heard no more.
    pub(super) fn forget(&mut self, now: UnixTime) {
        while self.is_stale(now) {
            self.forget_first();
        }
    }

    /// Whether there is one to forget.
    pub(super) fn is_stale(&self, now: UnixTime) -> bool {
        self.ends.first().is_some_and(|(over_at, _)| *over_at < now)
    }

    fn forget_first(&mut self) {
        let Some((over_at, name)) = self.ends.pop_first() else { return };
        if let Some(former) = self.by_name.get_mut(&name) {
            former.retain(|former| former.until.plus_secs(HEARD_AFTER_END) > over_at);
            if former.is_empty() {
                self.by_name.remove(&name);
            }
        }
    }
}
