//! What the guard has to report: logins and ends.

use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::row::{Grant, Row};

/// Something that happened on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// 32 random hex digits: who hears of it twice knows it by them.
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
    /// Its user, or something else than the guard, closed it.
    Closed,
}

impl Event {
    /// Something that happened to a session. The moment is the caller's.
    pub(crate) fn of(row: &Row, kind: Kind, cause: Option<Cause>, at: UnixTime) -> Event {
        let own = row.grants.first();
        Event {
            id: random_id(),
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

fn random_id() -> String {
    let mut bytes = [0u8; 16];
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
        // Fails only before the kernel has any randomness, long before sshd lets anybody in.
        have += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
