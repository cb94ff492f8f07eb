//! What in the ssh-agent is ours: certificates with our mark in their comment, for the enrolled
//! person, by a CA key that the admins signed. An agent may be shared: what others put there, other
//! persons and other CAs that use jit-ssh included, is neither shown, used nor taken out.

use jit_ssh_core::bundle::{Permit, Signers};
use jit_ssh_core::certificate::KeyId;
use jit_ssh_core::digest::ShortId;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::names::{ActorId, Principal};
use jit_ssh_core::time::UnixTime;
use ssh_key::Certificate;
use ssh_key::private::KeypairData;
use ssh_key::public::KeyData;

use jit_ssh_api::agent::{Agent, AgentError, Identity};

/// How our comments begin.
const MARK: &str = "jit-ssh:";

/// How long before now certificates begin, so that clocks may differ (design, section 9).
const BACKDATED: u32 = 60;

/// Whether an identity in the agent was put there by a jit-ssh, whoever's, as its comment says.
pub(crate) fn is_marked(identity: &Identity) -> bool {
    identity.comment.starts_with(MARK)
}

/// The comment on a certificate of the request `id`.
fn comment(id: ShortId) -> String {
    format!("{MARK}{id}")
}

/// Whose certificates are ours.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// The enrolled person.
    pub(crate) id: ActorId,
    /// The signers of their CA; `None` if they are not known: then nothing is recognised.
    pub(crate) signers: Option<Signers>,
}

impl Owner {
    /// Whether a signer of the CA made this certificate.
    fn certified(&self, certificate: &Certificate) -> bool {
        let KeyData::Ed25519(key) = certificate.signature_key() else { return false };
        let Ok(key) = CaKey::from_ed25519(&key.0) else { return false };
        self.signers.as_ref().is_some_and(|signers| signers.trusts_ca(&key))
            && certificate.verify_signature().is_ok()
    }
}

/// A certificate of ours in the agent.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// The short id of its request, as the CA wrote it into the key id.
    pub(crate) id: String,
    /// The certificate in wire encoding.
    pub(crate) blob: Vec<u8>,
    /// Its serial.
    pub(crate) serial: u64,
    /// Its key id.
    pub(crate) key_id: String,
    /// Its principals.
    pub(crate) principals: Vec<Principal>,
    /// What its sessions may do.
    pub(crate) permit: Vec<Permit>,
    /// When it begins.
    pub(crate) valid_after: UnixTime,
    /// When it ends.
    pub(crate) valid_before: UnixTime,
    /// When the access ends, as the CA wrote it into the key id.
    pub(crate) access_until: UnixTime,
}

impl Held {
    fn read(identity: &Identity, owner: &Owner) -> Option<Held> {
        if !is_marked(identity) {
            return None;
        }
        let certificate = Certificate::from_bytes(&identity.blob).ok()?;
        let key_id: KeyId = certificate.key_id().parse().ok()?;
        if key_id.subject != owner.id || !owner.certified(&certificate) {
            return None;
        }
        let principals = certificate.valid_principals().iter().map(|text| text.parse().ok());
        let extensions = certificate.extensions();
        let permits =
            Permit::ALL.into_iter().filter(|permit| extensions.contains_key(permit.extension()));
        Some(Held {
            blob: identity.blob.clone(),
            serial: certificate.serial(),
            key_id: key_id.to_string(),
            principals: principals.collect::<Option<_>>()?,
            permit: permits.collect(),
            valid_after: UnixTime(certificate.valid_after()),
            valid_before: UnixTime(certificate.valid_before()),
            access_until: key_id.access_until,
            id: key_id.request,
        })
    }

    /// Whether it is good for all of `wanted`, with at least half of its time left.
    pub(crate) fn is_at_hand(&self, wanted: &[Principal], now: UnixTime) -> bool {
        let whole = self.valid_before.since(self.valid_after.plus_secs(BACKDATED));
        let left = self.valid_before.since(now);
        self.is_good(wanted, now) && left.saturating_mul(2) >= whole
    }

    /// Whether it is good for all of `wanted` at this moment.
    pub(crate) fn is_good(&self, wanted: &[Principal], now: UnixTime) -> bool {
        covers(&self.principals, wanted) && self.valid_before > now
    }
}

fn covers(wide: &[Principal], narrow: &[Principal]) -> bool {
    narrow.iter().all(|principal| wide.contains(principal))
}

/// Every certificate of ours in the agent.
pub(crate) fn list(agent: &mut Agent, owner: &Owner) -> Result<Vec<Held>, AgentError> {
    Ok(agent.list()?.iter().filter_map(|identity| Held::read(identity, owner)).collect())
}

/// Puts a new certificate into the agent in place of those it supersedes: the expired ones, those
/// of the same request, and those for nothing but the same logins on the same hosts. (sshd counts
/// every stale certificate that is offered as a failed attempt.)
pub(crate) fn replace(
    agent: &mut Agent,
    owner: &Owner,
    id: ShortId,
    key: &KeypairData,
    certificate: &Certificate,
    now: UnixTime,
) -> Result<(), AgentError> {
    let blob = certificate.to_bytes().map_err(|_| AgentError::KeyType)?;
    let principals: Vec<Principal> =
        certificate.valid_principals().iter().filter_map(|text| text.parse().ok()).collect();
    for held in list(agent, owner)? {
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

/// Removes what is ours of these requests; gives how many there were.
pub(crate) fn remove(
    agent: &mut Agent,
    owner: &Owner,
    requests: &[ShortId],
) -> Result<usize, AgentError> {
    let mut theirs = list(agent, owner)?;
    theirs.retain(|held| requests.iter().any(|id| held.id == id.as_str()));
    for held in &theirs {
        agent.remove(&held.blob)?;
    }
    Ok(theirs.len())
}

/// Removes everything of ours; gives how many there were.
pub(crate) fn remove_all(agent: &mut Agent, owner: &Owner) -> Result<usize, AgentError> {
    let ours = list(agent, owner)?;
    for held in &ours {
        agent.remove(&held.blob)?;
    }
    Ok(ours.len())
}

/// Whether the agent can take this kind of key with a certificate.
pub(crate) fn fits_agent(key: &KeypairData) -> bool {
    matches!(key, KeypairData::Ed25519(_) | KeypairData::Ecdsa(_))
}

#[cfg(test)]
mod tests;
