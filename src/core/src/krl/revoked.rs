//! Which certificates were given back or taken away before their access was over: what the next list
//! says, and whether it is time for one. A certificate that has expired lets nobody in any more, but a
//! session that began with it may still run, and the guard ends it by the list.

use std::collections::BTreeMap;

use super::Krl;
use crate::certificate::Serial;
use crate::chain::Issued;
use crate::key::CaKey;
use crate::time::UnixTime;

/// The serials, each with the end of its access.
pub struct Revoked {
    serials: BTreeMap<Serial, UnixTime>,
    /// When the access of the next of them is over.
    next_over: UnixTime,
    /// The list that stands.
    published: Option<Krl>,
    /// Whether another may be due.
    changed: bool,
    /// Whether the last try to publish failed.
    failing: bool,
}

impl Revoked {
    /// Nothing yet, where this list stands.
    pub fn new(published: Option<Krl>) -> Revoked {
        Revoked {
            serials: BTreeMap::new(),
            next_over: UnixTime::MAX,
            published,
            changed: true,
            failing: false,
        }
    }

    /// Adds certificates.
    pub fn add(&mut self, certificates: Vec<Issued>) {
        for issued in certificates {
            let Some(serial) = Serial::from_u64(issued.serial) else { continue };
            self.serials.insert(serial, issued.access_until);
            self.next_over = self.next_over.min(issued.access_until);
            self.changed = true;
        }
    }

    /// Puts these in the place of all.
    pub fn replace(&mut self, certificates: Vec<Issued>) {
        self.serials.clear();
        self.changed = true;
        self.add(certificates);
    }

    /// The list to be published, if it is another than the one that stands. `size` is that of the
    /// log: it grows with every end, and tells which ends the list knows of.
    pub fn due(&mut self, size: u64, ca_key: &CaKey, now: UnixTime) -> Option<Krl> {
        if !self.changed && now < self.next_over {
            return None;
        }
        self.serials.retain(|_, until| *until > now);
        self.next_over = self.serials.values().min().copied().unwrap_or(UnixTime::MAX);
        let serials = self.serials.keys().copied().collect();
        let stands = self.published.as_ref();
        self.changed = stands.is_none_or(|krl| *krl.serials() != serials || krl.ca_key() != ca_key);
        let version = stands.map_or(size, |krl| krl.version().saturating_add(1).max(size));
        self.changed.then(|| Krl::new(version, now, ca_key.clone(), serials))
    }

    /// Notes what came of publishing a list; whether it failed for the first time in a row.
    pub fn note_published(&mut self, krl: Option<Krl>) -> bool {
        let first = krl.is_none() && !self.failing;
        self.failing = krl.is_none();
        if krl.is_some() {
            self.published = krl;
            self.changed = false;
        }
        first
    }
}
