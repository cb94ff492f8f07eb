//! The bundle with the hosts that are there beside it: the one place where a host is looked up.

use super::register::{Enrolled, Joined, SLACK};
use crate::bundle::{Bundle, Host};
use crate::key::SignerKey;
use crate::names::HostName;
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;

/// What requests are held against: the bundle in force, and the hosts that joined.
///
/// A bundle alone is a view in which nobody joined: then those hosts are unknown, and refused.
#[derive(Debug, Clone, Copy)]
pub struct View<'b> {
    /// The bundle in force.
    pub bundle: &'b Bundle,
    enrolled: Option<&'b Enrolled>,
}

impl<'b> From<&'b Bundle> for View<'b> {
    fn from(bundle: &'b Bundle) -> View<'b> {
        View { bundle, enrolled: None }
    }
}

/// A host that is there.
#[derive(Debug, Clone, Copy)]
pub enum Found<'b> {
    /// `hosts.toml` lists it.
    Listed(&'b Host),
    /// It joined by itself.
    Joined(&'b Joined),
}

impl<'b> Found<'b> {
    /// Its name, labels and logins.
    pub fn host(self) -> &'b Host {
        match self {
            Found::Listed(host) => host,
            Found::Joined(joined) => joined.host(),
        }
    }

    /// From when on it is not there any more; `None` while `hosts.toml` lists it.
    pub fn until(self) -> Option<UnixTime> {
        match self {
            Found::Listed(_) => None,
            Found::Joined(joined) => Some(joined.statement().body().until),
        }
    }

    /// Whether it is the machine that a request of this date meant. A name comes back with another
    /// key: what was asked for the old machine, and approved for it, is not for the new one.
    pub fn was_there(self, at: UnixTime) -> bool {
        match self {
            Found::Listed(_) => true,
            Found::Joined(joined) => joined.since() <= at.plus_secs(SLACK),
        }
    }
}

impl<'b> View<'b> {
    /// The bundle in force with the hosts that joined.
    pub fn new(bundle: &'b Bundle, enrolled: &'b Enrolled) -> View<'b> {
        View { bundle, enrolled: Some(enrolled) }
    }

    /// The host with this name, if it is there at `now`.
    ///
    /// # Errors
    /// [`Reason::PolicyRefused`]: it is unknown, or why it is not there any more.
    pub fn host(self, name: &HostName, now: UnixTime) -> Result<Found<'b>, Refusal> {
        if let Some(host) = self.bundle.hosts.get(name) {
            return Ok(Found::Listed(host));
        }
        let joined = self.enrolled.and_then(|known| known.there(name, self.bundle, now));
        let unknown = format!("there is no host {name} in the bundle");
        match joined {
            Some(Ok(joined)) => Ok(Found::Joined(joined)),
            None => Err(Refusal::new(Reason::PolicyRefused, format!("{unknown}."))),
            Some(Err(why)) => {
                Err(Refusal::new(Reason::PolicyRefused, format!("{unknown}, and {}", why.message)))
            }
        }
    }

    /// Whether the machine with this key may say at `now` what it sees, or saw, as the host `name`: for a
    /// joined one as long as it is there, and for a time afterwards ([`Enrolled::is_heard`]).
    pub fn is_heard(self, name: &HostName, key: &SignerKey, now: UnixTime) -> bool {
        match self.bundle.hosts.get(name) {
            Some(host) => is_key_of(host, key),
            None => self.enrolled.is_some_and(|known| known.is_heard(name, key, now)),
        }
    }

    /// Whether what was seen on the host `name` at `at` is for the machine with this key to tell: the one
    /// that had the name then, and none that has it since. Of listed hosts, the bundle knows the key of now.
    pub fn speaks_of(self, name: &HostName, key: &SignerKey, at: UnixTime) -> bool {
        match self.bundle.hosts.get(name) {
            Some(host) => is_key_of(host, key),
            None => self.enrolled.is_some_and(|known| known.had(name, key, at)),
        }
    }

    /// All hosts that are there at `now`: those that are listed, then those that joined.
    pub fn hosts(self, now: UnixTime) -> impl Iterator<Item = Found<'b>> {
        let joined = self.enrolled.into_iter().flat_map(Enrolled::iter);
        let there = joined.filter_map(move |joined| self.host(&joined.host().name, now).ok());
        let there = there.filter(|found| matches!(found, Found::Joined(_)));
        self.bundle.hosts.iter().map(Found::Listed).chain(there)
    }

    /// From when on one of these hosts is not there any more, at the earliest.
    pub(crate) fn until(self, names: &[HostName], now: UnixTime) -> Option<UnixTime> {
        names.iter().filter_map(|name| self.host(name, now).ok()?.until()).min()
    }
}

fn is_key_of(host: &Host, key: &SignerKey) -> bool {
    host.key.as_ref().is_some_and(|own| own.blob() == key.blob())
}
