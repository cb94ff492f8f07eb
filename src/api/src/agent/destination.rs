//! To which hosts an identity in the agent is bound (OpenSSH `PROTOCOL.agent`, section 2, from 8.9 on).
//!
//! ssh tells the agent, by a signature of the host's key, whom it is connected to; the agent then neither
//! lists nor uses what is bound to other hosts. A bound identity that is listed on a connection that is
//! said to lead to nobody's host was not bound at all: so that can be seen, see [`Agent::unbound`].

use rand::Rng as _;
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

use super::wire::Writer;
use super::{Agent, AgentError, EXTENSION_FAILURE, FAILURE, Identity, PROMPT, SUCCESS};

/// The constraint's name.
const RESTRICT: &[u8] = b"restrict-destination-v00@openssh.com";
/// The extension by which a connection is bound to a host.
const SESSION_BIND: &[u8] = b"session-bind@openssh.com";
const EXTENSION: u8 = 27;

/// One way an identity may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// From which host, with the agent forwarded to it; `None`: from the agent's own machine.
    pub from: Option<Hop>,
    /// As which account; `None` for any.
    pub login: Option<String>,
    /// To which host.
    pub to: Hop,
}

/// A host, as its keys tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its name, which a host certificate must have among its principals.
    pub name: String,
    /// Any of these keys will do.
    pub keys: Vec<HopKey>,
}

/// A key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HopKey {
    /// Its own, in wire encoding.
    Own(Vec<u8>),
    /// That of the CA of its certificate, in wire encoding.
    Ca(Vec<u8>),
}

/// Writes the constraint's name and value.
pub(super) fn write(message: &mut Writer, destinations: &[Destination]) {
    let mut all = Writer::default();
    for destination in destinations {
        let mut one = Writer::default();
        one.string(hop(None, destination.from.as_ref()).bytes());
        one.string(hop(destination.login.as_deref(), Some(&destination.to)).bytes());
        // Reserved.
        one.string(b"");
        all.string(one.bytes());
    }
    message.string(RESTRICT).string(all.bytes());
}

fn hop(login: Option<&str>, hop: Option<&Hop>) -> Writer {
    let mut out = Writer::default();
    out.string(login.unwrap_or_default().as_bytes());
    out.string(hop.map_or("", |hop| hop.name.as_str()).as_bytes());
    // Reserved.
    out.string(b"");
    for key in hop.iter().flat_map(|hop| &hop.keys) {
        match key {
            HopKey::Own(blob) => out.string(blob).byte(0),
            HopKey::Ca(blob) => out.string(blob).byte(1),
        };
    }
    out
}

impl Agent {
    /// What the agent would use toward any host at all: all it holds but what it keeps to other hosts.
    /// Asked on a connection of its own, which counts as one to a host that nobody knows.
    ///
    /// # Errors
    /// [`AgentError`] if it does not answer.
    pub fn unbound(&self) -> Result<Vec<Identity>, AgentError> {
        let mut other = self.again()?;
        // An agent that does not know of hosts binds nothing to them.
        other.bind_to_nobody()?;
        other.list()
    }

    /// Says that this connection leads to a host whose key was made a moment ago.
    fn bind_to_nobody(&mut self) -> Result<bool, AgentError> {
        let (mut seed, mut session) = ([0u8; 32], [0u8; 32]);
        rand::rng().fill_bytes(&mut seed);
        rand::rng().fill_bytes(&mut session);
        let pair = Ed25519Keypair::from_seed(&seed);
        let mut key = Writer::default();
        key.string(b"ssh-ed25519").string(&pair.public.0);
        let signature =
            sign(&PrivateKey::from(pair.clone()), &session).ok_or(AgentError::Garbled)?;
        let mut signed = Writer::default();
        signed.string(b"ssh-ed25519").string(&signature);
        let mut message = Writer::message(EXTENSION);
        message.string(SESSION_BIND).string(key.bytes()).string(&session);
        // Not forwarded.
        message.string(signed.bytes()).byte(0);
        match self.ask(&message, PROMPT)?.as_slice() {
            [SUCCESS] => Ok(true),
            [FAILURE | EXTENSION_FAILURE] => Ok(false),
            _ => Err(AgentError::Garbled),
        }
    }
}

pub(super) fn sign(key: &impl ssh_key::SigningKey, data: &[u8]) -> Option<Vec<u8>> {
    Some(key.try_sign(data).ok()?.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Confirm, Constraints};
    use crate::testkit::TestAgent;
    use ssh_key::Algorithm;

    #[test]
    fn openssh_keeps_what_is_bound_from_other_hosts_and_that_is_seen() {
        let agent = TestAgent::start();
        let options = ["-I", "x", "-n", "deploy@prod-host", "-V", "-1m:+5m"];
        let add = |name: &str, destinations: Vec<Destination>| {
            let key = agent.key(name, Algorithm::Ed25519);
            let blob = agent.certify(name, &options).to_bytes().unwrap();
            let terms = Constraints { lifetime: 300, confirm: Confirm::Never, destinations };
            agent.connect().add(key.key_data(), &blob, "jit-ssh:x", &terms).unwrap();
            blob
        };
        let host = agent.key("host", Algorithm::Ed25519).public_key().to_bytes().unwrap();
        let hop = |name: &str| Hop {
            name: name.to_owned(),
            keys: vec![HopKey::Own(host.clone()), HopKey::Ca(host.clone())],
        };
        let to = |from: Option<&str>, name| Destination {
            from: from.map(hop),
            login: Some("deploy".to_owned()),
            to: hop(name),
        };
        let bound = add("bound", vec![to(None, "prod-host"), to(Some("prod-host"), "db")]);
        let free = add("free", Vec::new());
        assert!(agent.connect().holds(&bound).unwrap() && agent.connect().holds(&free).unwrap());
        let unbound = agent.connect().unbound().unwrap();
        assert_eq!(unbound.into_iter().map(|held| held.blob).collect::<Vec<_>>(), [free]);
    }
}
