//! What is ours, in the ssh-agent and (`files.rs`) in files. In the agent that is certificates with our
//! mark in their comment, for the enrolled person, by a CA key that the admins signed. An agent may be
//! shared: what others put there, other persons and other CAs that use jit-ssh included, is neither shown,
//! used nor taken out.
//!
//! - `files.rs`: certificates as files; `destinations.rs`: to which hosts one is bound in the agent.

use jit_ssh_core::bundle::{Permit, Signers};
use jit_ssh_core::certificate::KeyId;
use jit_ssh_core::digest::ShortId;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::names::{ActorId, HostName, Jump, Opens, Principal};
use jit_ssh_core::time::UnixTime;
use ssh_key::Certificate;
use ssh_key::private::KeypairData;
use ssh_key::public::KeyData;

use jit_ssh_api::agent::{Agent, AgentError, Confirm, Constraints, Identity};

use crate::failure::Failure;
use crate::home::Home;

mod destinations;
pub(crate) mod files;

pub(crate) use destinations::{Bounds, bounds};

/// How our comments begin.
const MARK: &str = "jit-ssh:";

/// The critical option that holds a certificate to one command.
const FORCED: &str = "force-command";

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

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// In the ssh-agent, which would use it toward any host.
    Agent,
    /// In the ssh-agent, which uses it toward its hosts alone.
    AgentForItsHosts,
    /// In files, for these hosts.
    Files(Vec<HostName>),
}

impl Loaded {
    /// As `--json` has it.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Loaded::Agent | Loaded::AgentForItsHosts => "agent",
            Loaded::Files(_) => "file",
        }
    }

    /// Whether the agent keeps it from other hosts.
    pub(crate) fn is_bound(&self) -> bool {
        *self == Loaded::AgentForItsHosts
    }
}

/// The command that uses a certificate as this account on this host.
pub(crate) fn command(home: &Home, loaded: &Loaded, principal: &Principal) -> String {
    match loaded {
        Loaded::Agent | Loaded::AgentForItsHosts => format!("ssh {principal}"),
        Loaded::Files(_) => {
            let host = principal.host();
            let (key, certificate) =
                (files::key_path(home, host), files::certificate_path(home, host));
            format!(
                "ssh -i {} -o CertificateFile={} {principal}",
                key.display(),
                certificate.display()
            )
        }
    }
}

/// A certificate of ours.
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
    /// What it opens.
    pub(crate) opens: Opens,
    /// What its sessions may do.
    pub(crate) permit: Vec<Permit>,
    /// The only command it runs, if it is held to one.
    pub(crate) only: Option<String>,
    /// When it begins.
    pub(crate) valid_after: UnixTime,
    /// When it ends.
    pub(crate) valid_before: UnixTime,
    /// When the access ends, as the CA wrote it into the key id.
    pub(crate) access_until: UnixTime,
    /// Where it is.
    pub(crate) loaded: Loaded,
}

impl Held {
    fn read(identity: &Identity, owner: &Owner, unbound: &[Identity]) -> Option<Held> {
        if !is_marked(identity) {
            return None;
        }
        let certificate = Certificate::from_bytes(&identity.blob).ok()?;
        let bound = !unbound.iter().any(|other| other.blob == identity.blob);
        let loaded = if bound { Loaded::AgentForItsHosts } else { Loaded::Agent };
        Held::of(&certificate, identity.blob.clone(), owner, loaded)
    }

    fn of(certificate: &Certificate, blob: Vec<u8>, owner: &Owner, loaded: Loaded) -> Option<Held> {
        let key_id: KeyId = certificate.key_id().parse().ok()?;
        if key_id.subject != owner.id || !owner.certified(certificate) {
            return None;
        }
        let extensions = certificate.extensions();
        let permits =
            Permit::ALL.into_iter().filter(|permit| extensions.contains_key(permit.extension()));
        Some(Held {
            blob,
            serial: certificate.serial(),
            key_id: key_id.to_string(),
            opens: Opens::read(certificate.valid_principals().iter().map(String::as_str))?,
            permit: permits.collect(),
            only: certificate.critical_options().get(FORCED).map(ToString::to_string),
            valid_after: UnixTime(certificate.valid_after()),
            valid_before: UnixTime(certificate.valid_before()),
            access_until: key_id.access_until,
            id: key_id.request,
            loaded,
        })
    }

    /// The commands that use it, one for each account.
    pub(crate) fn commands(&self, home: &Home) -> Vec<String> {
        let usable = |principal: &&Principal| match &self.loaded {
            Loaded::Agent | Loaded::AgentForItsHosts => true,
            Loaded::Files(hosts) => hosts.contains(principal.host()),
        };
        let usable = self.opens.logins().iter().filter(usable);
        usable.map(|one| command(home, &self.loaded, one)).collect()
    }

    /// Whether it is good for all of `wanted`, with at least half of its time left.
    pub(crate) fn is_at_hand(&self, wanted: &[Principal], now: UnixTime) -> bool {
        let whole = self.valid_before.since(self.valid_after.plus_secs(BACKDATED));
        let left = self.valid_before.since(now);
        self.is_good(wanted, now) && left.saturating_mul(2) >= whole
    }

    /// Whether it is good for all of `wanted` at this moment.
    pub(crate) fn is_good(&self, wanted: &[Principal], now: UnixTime) -> bool {
        let opens = self.opens.logins();
        let covers = !opens.is_empty() && wanted.iter().all(|wanted| opens.contains(wanted));
        covers && self.valid_before > now
    }
}

/// Every certificate of ours in the agent that opens accounts.
pub(crate) fn list(agent: &mut Agent, owner: &Owner) -> Result<Vec<Held>, AgentError> {
    let mut held = all(agent, owner)?;
    held.retain(|held| matches!(held.opens, Opens::Logins(_)));
    Ok(held)
}

/// Every certificate of ours in the agent, those for jumps too.
fn all(agent: &mut Agent, owner: &Owner) -> Result<Vec<Held>, AgentError> {
    let all = agent.list()?;
    if !all.iter().any(is_marked) {
        return Ok(Vec::new());
    }
    let unbound = agent.unbound()?;
    Ok(all.iter().filter_map(|identity| Held::read(identity, owner, &unbound)).collect())
}

/// Whether the way that a certificate of another access opens lasts longer than `until`, in the agent or in
/// files: accesses to one host share the way to it.
pub(crate) fn has_jump_beyond(
    home: &Home,
    owner: &Owner,
    jump: &Jump,
    until: UnixTime,
) -> Result<bool, Failure> {
    let Some(certificate) = files::of_jump(home, jump)? else { return Ok(false) };
    if certificate.valid_before() <= until.0 {
        return Ok(false);
    }
    if files::has_private_key(home, jump)? {
        return Ok(true);
    }
    // The pair names a key of the agent's, which may have lost it.
    let blob = certificate.to_bytes().unwrap_or_default();
    let held = Agent::open().and_then(|mut agent| all(&mut agent, owner));
    Ok(held.is_ok_and(|held| held.iter().any(|held| held.blob == blob)))
}

/// Everything of ours, in the agent and in files, found without the network; [`Held::is_at_hand`] then
/// says whether it is good for an access. What of it has ended is removed, wherever it is. That there is no
/// agent is fine; why one that should be there could not be asked is given beside.
pub(crate) fn everywhere(
    home: &Home,
    owner: &Owner,
    now: UnixTime,
) -> Result<(Vec<Held>, Option<AgentError>), Failure> {
    let mut held = files::list(home, owner, now)?;
    match in_agent(owner, now, all) {
        Ok(loaded) => held.extend(loaded),
        Err(AgentError::Absent) => {}
        Err(error) => return Ok((held, Some(error))),
    }
    Ok((held, None))
}

/// The same for whoever asks only whether something is there, and waits for the answer: where a
/// certificate is in the agent, it is not tried whether the agent keeps it to its hosts, for which a
/// second connection has to be made and bound.
pub(crate) fn at_once(home: &Home, owner: &Owner, now: UnixTime) -> Result<Vec<Held>, Failure> {
    let mut held = in_agent(owner, now, |agent, owner| {
        let all = agent.list()?;
        Ok(all.iter().filter_map(|identity| Held::read(identity, owner, &all)).collect())
    })
    .unwrap_or_default();
    held.extend(files::list(home, owner, now)?);
    Ok(held)
}

fn in_agent(
    owner: &Owner,
    now: UnixTime,
    look: impl Fn(&mut Agent, &Owner) -> Result<Vec<Held>, AgentError>,
) -> Result<Vec<Held>, AgentError> {
    let mut agent = Agent::open()?;
    let (good, over): (Vec<Held>, Vec<Held>) =
        look(&mut agent, owner)?.into_iter().partition(|held| held.valid_before > now);
    for held in over {
        // Only an agent that keeps no lifetimes has it still; it may go this very moment.
        let _ = agent.remove(&held.blob);
    }
    Ok(good.into_iter().filter(|held| matches!(held.opens, Opens::Logins(_))).collect())
}

/// How a new certificate is to be held by the agent.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Whether it asks before each use.
    pub(crate) confirm: Confirm,
    /// To which hosts it is bound.
    pub(crate) bounds: Bounds,
}

/// Puts a new certificate into the agent in place of those it supersedes: the expired ones, those
/// of the same request, and those for one of its hosts. (sshd counts every certificate that is offered
/// in vain as a failed attempt.) One for a jump takes the place of those for the same jump. Gives where it
/// is, and those that made place and could still be used.
pub(crate) fn replace(
    agent: &mut Agent,
    owner: &Owner,
    id: ShortId,
    key: &KeypairData,
    certificate: &Certificate,
    terms: &Terms,
    now: UnixTime,
) -> Result<(Loaded, Vec<Held>), AgentError> {
    let blob = certificate.to_bytes().map_err(|_| AgentError::KeyType)?;
    let opens = Opens::read(certificate.valid_principals().iter().map(String::as_str));
    let opens = opens.ok_or(AgentError::KeyType)?;
    let lifetime = UnixTime(certificate.valid_before()).since(now);
    // An agent takes a lifetime of zero as none at all.
    let lifetime = u32::try_from(lifetime).ok().filter(|secs| *secs > 0);
    let lifetime = lifetime.ok_or(AgentError::Refused("take a certificate that has ended"))?;
    let mut displaced = Vec::new();
    for held in all(agent, owner)? {
        let ended = held.valid_before <= now;
        let (over, gives_place) = match (&opens, &held.opens) {
            (Opens::Logins(new), Opens::Logins(old)) => {
                let shares = |one: &Principal| new.iter().any(|new| new.host() == one.host());
                (ended || held.id == id.as_str(), old.iter().any(shares))
            }
            (Opens::Jump(new), Opens::Jump(old)) => (ended || new == old, false),
            (Opens::Logins(_), Opens::Jump(_)) | (Opens::Jump(_), Opens::Logins(_)) => {
                (ended, false)
            }
        };
        if held.blob == blob || !(over || gives_place) {
            continue;
        }
        // It may have ended in this very moment: then it is gone, as wanted.
        let _ = agent.remove(&held.blob);
        if !over && !opens.covers(&held.opens) {
            displaced.push(held);
        }
    }
    let mut constraints =
        Constraints { lifetime, confirm: terms.confirm, destinations: Vec::new() };
    if let Bounds::To(destinations) = &terms.bounds {
        constraints.destinations.clone_from(destinations);
    }
    let mut add = |constraints: &Constraints| agent.add(key, &blob, &comment(id), constraints);
    let added = match add(&constraints) {
        // OpenSSH before 8.9, and others, do not know this constraint.
        Err(AgentError::Refused(_)) if !constraints.destinations.is_empty() => {
            constraints.destinations.clear();
            add(&constraints)
        }
        added => added,
    };
    if matches!(added, Err(AgentError::Dropped)) {
        // Such agents keep the bare key, for good: take it out again if they let us.
        if let Ok(plain) = ssh_key::PublicKey::from(certificate.public_key().clone()).to_bytes() {
            let _ = agent.remove(&plain);
        }
    }
    added?;
    if constraints.destinations.is_empty() {
        return Ok((Loaded::Agent, displaced));
    }
    let unbound = agent.unbound()?.iter().any(|identity| identity.blob == blob);
    Ok((if unbound { Loaded::Agent } else { Loaded::AgentForItsHosts }, displaced))
}

/// Most certificates of ours that an agent offers to any host: sshd ends a connection after 6 that
/// fail (`MaxAuthTries`), and persons have keys of their own.
pub(crate) const MOST_OFFERED: usize = 4;

/// How many of ours the agent would offer to any host: more than sshd lets fail are of no use.
pub(crate) fn offered_anywhere(agent: &mut Agent, owner: &Owner) -> Result<usize, AgentError> {
    Ok(all(agent, owner)?.iter().filter(|held| !held.loaded.is_bound()).count())
}

/// Removes what is ours of these requests; gives how many there were.
pub(crate) fn remove(
    agent: &mut Agent,
    owner: &Owner,
    requests: &[ShortId],
) -> Result<usize, AgentError> {
    let mut theirs = all(agent, owner)?;
    theirs.retain(|held| requests.iter().any(|id| held.id == id.as_str()));
    for held in &theirs {
        agent.remove(&held.blob)?;
    }
    Ok(theirs.len())
}

/// Removes everything of ours; gives how many there were.
pub(crate) fn remove_all(agent: &mut Agent, owner: &Owner) -> Result<usize, AgentError> {
    let ours = all(agent, owner)?;
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
