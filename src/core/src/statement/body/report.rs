//! The report: what a host tells of the logins it let in by certificates, and of their ends.
//!
//! A host speaks for itself alone: what a report says of another host's certificates is shown
//! nowhere. Reports decide nothing about access.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Nonce, V1, check_kind, check_moment, dated};
use crate::digest::RootFingerprint;
use crate::names::{HostName, Login};
use crate::statement::{Body, Kind};
use crate::time::UnixTime;

/// Most events of one report: they fit [`MAX_BYTES`](crate::statement::MAX_BYTES) at their longest.
pub const MAX_EVENTS: usize = 32;

/// Longest key id in bytes, as in certificates of ours.
const MAX_KEY_ID: usize = 96;

/// What happened on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Happened {
    /// Somebody logged in with a certificate of this CA.
    Login,
    /// That connection ended.
    End,
    /// Somebody logged in with a certificate of the sealed offline key.
    Offline,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Closed {
    /// By itself: the person left, or the network did.
    Closed,
    /// The guard ended it when the access ended.
    Expired,
    /// The guard ended it because its certificate was revoked or given back.
    Revoked,
    /// It was gone when the guard came back: only that it ended is known, not when.
    Unseen,
}

/// One login, or the end of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The connection: the same in its login and its end, and in no other's.
    pub id: Nonce,
    /// What happened.
    pub kind: Happened,
    /// The certificate's serial.
    pub serial: u64,
    /// The certificate's key id: printable ASCII.
    pub key_id: String,
    /// The login on the host.
    pub login: Login,
    /// Where the connection came from.
    pub from: IpAddr,
    /// When, by the host's clock.
    pub at: UnixTime,
    /// Why it ended; null unless it did.
    pub cause: Option<Closed>,
}

impl Event {
    fn check(&self) -> Result<(), String> {
        check_moment("events.at", self.at)?;
        let printable = self.key_id.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if self.key_id.is_empty() || self.key_id.len() > MAX_KEY_ID || !printable {
            return Err(format!(
                "events.key_id: must be 1 to {MAX_KEY_ID} bytes of printable ASCII"
            ));
        }
        match (self.kind, self.cause) {
            (Happened::End, Some(_)) | (Happened::Login | Happened::Offline, None) => Ok(()),
            (Happened::End, None) => Err("events.cause: an end has one".to_owned()),
            (Happened::Login | Happened::Offline, Some(_)) => {
                Err("events.cause: null for what is no end".to_owned())
            }
        }
    }
}

/// A host tells who logged in, and when that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    v: V1,
    r#type: Kind,
    /// The CA told.
    pub ca: RootFingerprint,
    /// The host that tells and signs.
    pub host: HostName,
    /// What happened, in order; 1 to [`MAX_EVENTS`].
    pub events: Vec<Event>,
    /// Events that the host had no room to keep, since it began to count; 0 if none was lost.
    pub lost: u32,
    /// When the report was made.
    pub at: UnixTime,
}

impl Report {
    /// What `host` tells.
    pub fn new(
        ca: RootFingerprint,
        host: HostName,
        events: Vec<Event>,
        lost: u32,
        at: UnixTime,
    ) -> Report {
        Report { v: V1, r#type: Kind::Report, ca, host, events, lost, at }
    }
}

impl Body for Report {
    const KIND: Kind = Kind::Report;

    dated!();

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)?;
        if self.events.is_empty() || self.events.len() > MAX_EVENTS {
            return Err(format!("events: {}; from 1 to {MAX_EVENTS} are told", self.events.len()));
        }
        for (place, event) in self.events.iter().enumerate() {
            event.check()?;
            let told = |earlier: &Event| (earlier.id, earlier.kind) == (event.id, event.kind);
            if self.events.iter().take(place).any(told) {
                return Err(format!("events: the {:?} of {} stands twice", event.kind, event.id));
            }
        }
        Ok(())
    }
}
