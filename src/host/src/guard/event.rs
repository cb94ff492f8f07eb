//! What the guard has to report: logins and ends.

use jit_ssh_core::digest::Digest;
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::row::{Grant, Row};

/// Something that happened on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// 32 hex digits that are this connection's, and no other's of this host: the same in its login and
    /// its end. Who hears of one twice knows it by them.
    pub(crate) id: String,
    /// What.
    pub(crate) kind: Kind,
    /// The serial of the certificate that was logged in with.
    pub(crate) serial: u64,
    /// Its key id, as it stands in it.
    pub(crate) key_id: String,
    /// The account.
    pub(crate) login: String,
    /// The address it came from.
    pub(crate) from: String,
    /// When.
    pub(crate) at: UnixTime,
    /// Why it ended; none for what is no end.
    pub(crate) cause: Option<Cause>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Somebody logged in.
    Login,
    /// A session ended.
    End,
    /// Somebody logged in by the sealed offline key.
    Offline,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cause {
    /// The access was over.
    Expired,
    /// The certificate was revoked. A list does not tell an access that was taken away from one that
    /// was given back; the CA does.
    Revoked,
    /// Its user closed it, or root (`setup --end-sessions`), or something else that is no end of access.
    Closed,
}

impl Event {
    /// Something that happened to a session. The moment is the caller's.
    pub(crate) fn of(row: &Row, kind: Kind, cause: Option<Cause>, at: UnixTime) -> Event {
        let own = row.grants.first();
        Event {
            id: connection(row),
            kind,
            serial: own.map_or(0, |grant: &Grant| grant.serial),
            key_id: own.map(|grant| grant.key_id.clone()).unwrap_or_default(),
            login: row.login.clone(),
            from: row.from.clone(),
            at,
            cause,
        }
    }
}

/// What tells a connection from every other one of this host, over boots too: its monitor and the moment
/// it registered.
fn connection(row: &Row) -> String {
    let told = format!("{:?} {} {}", row.monitor, row.since, row.from);
    let mut id = Digest::of(told.as_bytes()).to_string();
    id.truncate(32);
    id
}
