//! Which identities in the ssh-agent are ours: certificates with the comment `jit-ssh:<id>`.

use jit_ssh_core::digest::ShortId;
use jit_ssh_core::names::Principal;
use jit_ssh_core::time::UnixTime;
use ssh_key::Certificate;
use ssh_key::private::KeypairData;

use jit_ssh_api::agent::{Agent, AgentError, Identity};

/// How our comments begin.
const MARK: &str = "jit-ssh:";

/// How long before now certificates begin, so that clocks may differ (design, section 9).
const BACKDATED: u32 = 60;

/// Whether an identity in the agent is one of ours, as its comment says.
pub(crate) fn is_ours(identity: &Identity) -> bool {
    identity.comment.starts_with(MARK)
}

/// The comment on a certificate of the request `id`.
fn comment(id: ShortId) -> String {
    format!("{MARK}{id}")
}

/// A certificate of ours in the agent.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// The short id of its request, as its comment says.
    pub(crate) id: String,
    /// The certificate in wire encoding.
    pub(crate) blob: Vec<u8>,
    /// Its serial.
    pub(crate) serial: u64,
    /// Its key id.
    pub(crate) key_id: String,
    /// Its principals.
    pub(crate) principals: Vec<Principal>,
    /// When it begins.
    pub(crate) valid_after: UnixTime,
    /// When it ends.
    pub(crate) valid_before: UnixTime,
}

impl Held {
    fn read(identity: &Identity) -> Option<Held> {
        let id = identity.comment.strip_prefix(MARK)?.to_owned();
        let certificate = Certificate::from_bytes(&identity.blob).ok()?;
        let principals = certificate.valid_principals().iter().map(|text| text.parse().ok());
        Some(Held {
            id,
            blob: identity.blob.clone(),
            serial: certificate.serial(),
            key_id: certificate.key_id().to_owned(),
            principals: principals.collect::<Option<_>>()?,
            valid_after: UnixTime(certificate.valid_after()),
            valid_before: UnixTime(certificate.valid_before()),
        })
    }

    /// When the access ends: the last part of the key id; the certificate's own end without one.
    pub(crate) fn access_until(&self) -> UnixTime {
        let last = self.key_id.rsplit('/').next().and_then(|text| text.parse().ok());
        last.map_or(self.valid_before, UnixTime)
    }

    /// Whether it is good for all of `wanted`, with at least half of its time left.
    pub(crate) fn is_at_hand(&self, wanted: &[Principal], now: UnixTime) -> bool {
        let whole = self.valid_before.since(self.valid_after.plus_secs(BACKDATED));
        let left = self.valid_before.since(now);
        covers(&self.principals, wanted) && left > 0 && left.saturating_mul(2) >= whole
    }
}

fn covers(wide: &[Principal], narrow: &[Principal]) -> bool {
    narrow.iter().all(|principal| wide.contains(principal))
}

/// Every certificate of ours in the agent.
pub(crate) fn list(agent: &mut Agent) -> Result<Vec<Held>, AgentError> {
    Ok(agent.list()?.iter().filter_map(Held::read).collect())
}

/// Puts a new certificate into the agent in place of those it supersedes: the expired ones, those
/// of the same request, and those for nothing but the same logins on the same hosts. (sshd counts
/// every stale certificate that is offered as a failed attempt.)
pub(crate) fn replace(
    agent: &mut Agent,
    id: ShortId,
    key: &KeypairData,
    certificate: &Certificate,
    now: UnixTime,
) -> Result<(), AgentError> {
    let blob = certificate.to_bytes().map_err(|_| AgentError::KeyType)?;
    let principals: Vec<Principal> =
        certificate.valid_principals().iter().filter_map(|text| text.parse().ok()).collect();
    for held in list(agent)? {
        let stale = held.valid_before <= now
            || held.id == id.as_str()
            || covers(&principals, &held.principals);
        if stale && held.blob != blob {
            // It may have ended in this very moment: then it is gone, as wanted.
            let _ = agent.remove(&held.blob);
        }
    }
    let lifetime = UnixTime(certificate.valid_before()).since(now);
    // An agent takes a lifetime of zero as none at all.
    let lifetime = u32::try_from(lifetime).ok().filter(|secs| *secs > 0);
    let lifetime = lifetime.ok_or(AgentError::Refused("take a certificate that has ended"))?;
    let added = agent.add(key, &blob, &comment(id), lifetime);
    if matches!(added, Err(AgentError::Dropped)) {
        // Such agents keep the bare key, for good: take it out again if they let us.
        if let Ok(plain) = ssh_key::PublicKey::from(certificate.public_key().clone()).to_bytes() {
            let _ = agent.remove(&plain);
        }
    }
    added
}

/// Removes everything of ours; gives how many there were.
pub(crate) fn remove_all(agent: &mut Agent) -> Result<usize, AgentError> {
    let ours: Vec<Identity> = agent.list()?.into_iter().filter(is_ours).collect();
    for identity in &ours {
        agent.remove(&identity.blob)?;
    }
    Ok(ours.len())
}

/// Whether the agent can take this kind of key with a certificate.
pub(crate) fn fits_agent(key: &KeypairData) -> bool {
    matches!(key, KeypairData::Ed25519(_) | KeypairData::Ecdsa(_))
}

#[cfg(test)]
mod tests;
