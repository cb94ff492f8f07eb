//! One session as the guard remembers it, over its own restarts too. No I/O.

use std::fmt;

use jit_ssh_core::certificate::{KeyId, Presented};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::krl::Named;
use jit_ssh_core::names::{ActorId, Jump, Principal};
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::event::Cause;
use super::process::ProcessId;
use crate::clock::Moment;

/// Most certificates one session rests on: its own, and those that prolonged it.
const MAX_GRANTS: usize = 12;

/// Seconds before the end at which the session's terminals are warned.
const NOTICE: u64 = 120;

/// A session that is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// The connection's monitor.
    pub(crate) monitor: ProcessId,
    /// The account.
    pub(crate) login: String,
    /// The address it came from.
    pub(crate) from: String,
    /// When it registered.
    pub(crate) since: UnixTime,
    /// The certificates it rests on: first the one it logged in with.
    pub(crate) grants: Vec<Grant>,
    /// What the certificate let it in as, where that is of our form.
    pub(crate) principal: Option<Entered>,
    /// The digest of the certificate's critical options.
    critical: Digest,
    /// The names of the certificate's extensions.
    extensions: Vec<String>,
    /// The session's own control group, where it has one.
    pub(crate) cgroup: Option<Cgroup>,
    /// When its terminals are to be warned; none once they were.
    pub(crate) warn_at: Option<UnixTime>,
    /// Processes that were left when the monitor ended.
    pub(crate) left: Vec<ProcessId>,
    /// Why it is being ended, once it is.
    pub(crate) ending: Option<Cause>,
    /// Whether its end has been reported already: its connection is closed, what it left is not.
    pub(crate) is_closed: bool,
}

/// A certificate that lets a session be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    ca: CaKey,
    /// Its serial.
    pub(crate) serial: u64,
    /// Its key id, as it stands in it.
    pub(crate) key_id: String,
    key: Digest,
    /// When the access ends.
    pub(crate) until: UnixTime,
    /// The same moment, as the time since boot told it when the guard took this in: a wall clock that is
    /// set back later moves nothing. `None` in a table of a guard that did not know of it.
    #[serde(default)]
    ends_by: Option<u64>,
}

impl Grant {
    /// A certificate of `ca` that lets a session be until `until`.
    pub(crate) fn new(ca: &CaKey, certificate: &Presented, until: UnixTime, now: Moment) -> Grant {
        let ends_by = Some(ends_by(until, now));
        Grant {
            ca: ca.clone(),
            serial: certificate.serial(),
            key_id: certificate.key_id().to_owned(),
            key: Digest(*certificate.named().key_sha256),
            until,
            ends_by,
        }
    }

    /// Whether one of the clocks says that it is over: set forward or back, neither makes it longer.
    fn is_over(&self, now: Moment) -> bool {
        self.until <= now.wall || self.ends_by.is_some_and(|end| end <= now.boot)
    }

    /// What a revocation list can name it by.
    pub(crate) fn named(&self) -> Named<'_> {
        Named {
            ca: self.ca.blob(),
            serial: self.serial,
            key_id: &self.key_id,
            key_sha256: &self.key.0,
        }
    }
}

/// The end by the time since boot. Whole seconds of two clocks: one more, so that it is never early.
fn ends_by(until: UnixTime, now: Moment) -> u64 {
    now.boot.saturating_add(until.since(now.wall)).saturating_add(1)
}

/// What a new session is made of.
pub(crate) struct New<'a> {
    /// Its monitor.
    pub(crate) monitor: ProcessId,
    /// The account.
    pub(crate) login: String,
    /// The address it came from.
    pub(crate) from: String,
    /// What it logged in with.
    pub(crate) certificate: &'a Presented,
    /// The same, as it is remembered.
    pub(crate) grant: Grant,
    /// This host's name, where it is known.
    pub(crate) host: Option<&'a str>,
}

impl Row {
    /// A session that begins now.
    pub(crate) fn new(new: New<'_>, cgroup: Option<Cgroup>, now: Moment) -> Row {
        let New { monitor, login, from, certificate, grant, host } = new;
        let principal = host.and_then(|host| Entered::of(certificate, &login, host));
        let mut row = Row {
            monitor,
            login,
            from,
            since: now.wall,
            grants: vec![grant],
            principal,
            critical: Digest::of(certificate.critical_options()),
            extensions: extensions(certificate),
            cgroup,
            warn_at: None,
            left: Vec::new(),
            ending: None,
            is_closed: false,
        };
        row.plan_warning(now.wall);
        row
    }

    /// A session that was recorded: where its table knew of one clock only, the other counts from now.
    pub(crate) fn resume(&mut self, now: Moment) {
        for grant in &mut self.grants {
            grant.ends_by.get_or_insert(ends_by(grant.until, now));
        }
    }

    /// Whether nothing lets it be any more.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        self.grants.iter().all(|grant| grant.is_over(now))
    }

    /// When it ends.
    pub(crate) fn until(&self) -> UnixTime {
        self.grants.iter().map(|grant| grant.until).max().unwrap_or(UnixTime(0))
    }

    /// The next moment at which something is to be done for it.
    pub(crate) fn next(&self) -> Option<UnixTime> {
        match self.ending {
            Some(_) => None,
            None => Some(self.warn_at.map_or(self.until(), |warn| warn.min(self.until()))),
        }
    }

    fn plan_warning(&mut self, now: UnixTime) {
        let left = self.until().since(now);
        let notice = if left < NOTICE.saturating_mul(2) { left / 2 } else { NOTICE };
        self.warn_at = Some(UnixTime(self.until().0.saturating_sub(notice)));
    }

    /// Moves the end, if `certificate` gives its holder all that this session has, for longer: the same
    /// person, the same `login@host`, the same restrictions, at least the same permits. It never
    /// shortens. What it says must have been verified.
    pub(crate) fn prolong(&mut self, certificate: &Presented, ca: &CaKey, now: Moment) -> bool {
        let (Some(theirs), Some(own)) = (certificate.our_key_id(), self.key_id()) else {
            return false;
        };
        let fits = self.ending.is_none()
            && theirs.subject == own.subject
            && theirs.access_until > self.until()
            && self.principal.as_ref().is_some_and(|own| holds(certificate, own))
            && Digest::of(certificate.critical_options()) == self.critical
            && self.extensions.iter().all(|own| extensions(certificate).contains(own));
        if !fits {
            return false;
        }
        if self.grants.len() >= MAX_GRANTS {
            // The one that ends first says nothing any more; the session's own always stays.
            self.grants.remove(1);
        }
        self.grants.push(Grant::new(ca, certificate, theirs.access_until, now));
        self.plan_warning(now.wall);
        true
    }

    /// Whether this person logged in.
    pub(crate) fn is_of(&self, subject: &ActorId) -> bool {
        self.key_id().is_some_and(|own| own.subject == *subject)
    }

    fn key_id(&self) -> Option<KeyId> {
        self.grants.first()?.key_id.parse().ok()
    }

    /// Takes out what is revoked. Where that is the session's own certificate, or all it still had, it
    /// ends: gives why.
    pub(crate) fn revoke(
        &mut self,
        revoked: impl Fn(Named<'_>) -> bool,
        now: Moment,
    ) -> Option<Cause> {
        if self.grants.first().is_none_or(|own| revoked(own.named())) {
            return Some(Cause::Revoked);
        }
        let before = self.until();
        self.grants.retain(|grant| !revoked(grant.named()));
        if self.until() == before {
            return None;
        }
        self.plan_warning(now.wall);
        self.is_over(now).then_some(Cause::Revoked)
    }
}

/// The principal that let somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Entered {
    /// To a login of this host.
    Login(Principal),
    /// On to one host behind this one.
    Jump(Jump),
}

impl Entered {
    /// What of the certificate's principals is for this login on this host.
    fn of(certificate: &Presented, login: &str, host: &str) -> Option<Entered> {
        let own = format!("{login}@{host}");
        certificate.principals().iter().find_map(|text| match text.parse() {
            Ok(jump) => Some(Entered::Jump(jump)).filter(|_| {
                login == Jump::LOGIN && text.split_once('/').is_some_and(|(at, _)| at == own)
            }),
            Err(_) if *text == own => text.parse().ok().map(Entered::Login),
            Err(_) => None,
        })
    }
}

impl fmt::Display for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entered::Login(principal) => principal.fmt(f),
            Entered::Jump(jump) => jump.fmt(f),
        }
    }
}

fn holds(certificate: &Presented, principal: &Entered) -> bool {
    let principal = principal.to_string();
    certificate.principals().contains(&principal)
}

fn extensions(certificate: &Presented) -> Vec<String> {
    let names = certificate.extensions().into_iter();
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

impl Row {
    /// Whose session it is, for the log.
    pub(crate) fn title(&self) -> String {
        let own = self.grants.first();
        let key_id = own.map(|grant| grant.key_id.chars().filter(|c| c.is_ascii_graphic()));
        let key_id: String = key_id.into_iter().flatten().take(96).collect();
        format!("{key_id} as {} from {} (sshd {})", self.login, self.from, self.monitor.pid)
    }
}
