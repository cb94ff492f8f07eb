//! A client of ssh-agent (draft-ietf-sshm-ssh-agent, OpenSSH `PROTOCOL.agent`).
//!
//! Promises: what others put into the agent stays opaque bytes, so nothing of theirs can make a
//! listing fail; every answer is bounded in size and time; and what was added is read back, since
//! some agents say yes and drop it (facts.md, 3). It knows nothing of requests, of the CA, or of which
//! identities are whose. It blocks: an async program calls it where nothing else has to go on.
//!
//! - `wire.rs`: the encoding;
//! - `destination.rs`: to which hosts an identity is bound, and whether the agent keeps to it;
//! - `lent.rs`: the other side: an agent of this process's own, for one login.

mod destination;
mod lent;
mod wire;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh_key::private::KeypairData;
use zeroize::Zeroizing;

use self::wire::{Reader, Writer};

pub use self::destination::{Destination, Hop, HopKey};
pub use self::lent::{Lent, Use};

/// How long the agent may take for anything but signing.
const PROMPT: Duration = Duration::from_secs(10);
/// How long signing may take: a security key waits for a touch, `ssh-add -c` for a yes.
const TOUCH: Duration = Duration::from_secs(120);
/// Longest message, as in OpenSSH (`AGENT_MAX_LEN`).
const MAX_MESSAGE: usize = 256 << 10;

const FAILURE: u8 = 5;
const EXTENSION_FAILURE: u8 = 28;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const REMOVE_IDENTITY: u8 = 18;
const ADD_ID_CONSTRAINED: u8 = 25;
const CONSTRAIN_LIFETIME: u8 = 1;
const CONSTRAIN_CONFIRM: u8 = 2;
const CONSTRAIN_EXTENSION: u8 = 255;

/// Why the agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is none.
    #[error("there is no ssh-agent: SSH_AUTH_SOCK is not set")]
    Absent,
    /// There is a name, but nobody behind it.
    #[error("the ssh-agent at {} can not be reached: {problem}", socket.display())]
    Connect {
        /// Its socket.
        socket: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// It went away.
    #[error("the ssh-agent broke off: {0}")]
    Broken(io::Error),
    /// It took longer than it may.
    #[error("the ssh-agent did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It said something that is no answer.
    #[error("the ssh-agent gave an answer that makes no sense")]
    Garbled,
    /// It said no.
    #[error("the ssh-agent refused to {0}")]
    Refused(&'static str),
    /// It said yes and did not do it.
    #[error("the ssh-agent said it took the certificate, but does not list it")]
    Dropped,
    /// A kind of private key that can not be added with a certificate.
    #[error("keys of this type can not be added to the ssh-agent with a certificate")]
    KeyType,
}

impl AgentError {
    /// What the person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            AgentError::Absent => "start one in this shell: eval \"$(ssh-agent)\"",
            AgentError::Connect { .. } | AgentError::Broken(_) | AgentError::Garbled => {
                "check SSH_AUTH_SOCK; `ssh-add -l` should list your keys"
            }
            AgentError::Silent(_) => {
                "does it wait for a touch or a question on a screen? `ssh-add -l` should list your keys at once"
            }
            AgentError::Refused(_) => {
                "is the agent locked, or did it want a touch or a confirmation?"
            }
            AgentError::Dropped => {
                "gpg-agent and some desktop agents do this; use OpenSSH's ssh-agent"
            }
            AgentError::KeyType => "use an Ed25519 or ECDSA key",
        }
    }
}

/// What the agent holds: a public key or certificate, as opaque bytes, and the comment on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key or certificate in wire encoding.
    pub blob: Vec<u8>,
    /// The comment, hostile characters included.
    pub comment: String,
}

/// On which terms the agent is to hold an identity.
#[derive(Debug, Clone)]
pub struct Constraints {
    /// For how many seconds. Zero is taken by agents as for ever: do not give it.
    pub lifetime: u32,
    /// Whether the agent asks on a screen before each use.
    pub confirm: Confirm,
    /// The only ways it may be used; empty for anywhere.
    pub destinations: Vec<Destination>,
}

/// Whether an agent asks before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// At each use (`ssh-add -c`).
    EachUse,
    /// Never.
    Never,
}

/// A connection to the person's ssh-agent.
#[derive(Debug)]
pub struct Agent(UnixStream);

impl Agent {
    /// Connects to the agent at `SSH_AUTH_SOCK`.
    ///
    /// # Errors
    /// [`AgentError::Absent`] without that variable; else as [`Agent::at`].
    pub fn open() -> Result<Agent, AgentError> {
        match std::env::var_os("SSH_AUTH_SOCK") {
            Some(socket) if !socket.is_empty() => Agent::at(Path::new(&socket)),
            _ => Err(AgentError::Absent),
        }
    }

    /// Connects to the agent behind `socket`.
    ///
    /// # Errors
    /// [`AgentError::Connect`] if nobody answers there.
    pub fn at(socket: &Path) -> Result<Agent, AgentError> {
        let connect = |problem| AgentError::Connect { socket: socket.to_owned(), problem };
        let stream = UnixStream::connect(socket).map_err(connect)?;
        stream.set_write_timeout(Some(PROMPT)).map_err(connect)?;
        Ok(Agent(stream))
    }

    /// Another connection to the same agent.
    ///
    /// # Errors
    /// [`AgentError::Connect`] if nobody answers there any more.
    pub fn again(&self) -> Result<Agent, AgentError> {
        let address = self.0.peer_addr().map_err(AgentError::Broken)?;
        Agent::at(address.as_pathname().ok_or(AgentError::Absent)?)
    }

    /// Everything the agent holds.
    ///
    /// # Errors
    /// [`AgentError`] if it refuses (a locked one does), breaks off, or lists what makes no sense.
    pub fn list(&mut self) -> Result<Vec<Identity>, AgentError> {
        let answer = self.ask(&Writer::message(REQUEST_IDENTITIES), PROMPT)?;
        let mut reader = Reader::new(&answer);
        match reader.byte() {
            Some(IDENTITIES_ANSWER) => identities(&mut reader).ok_or(AgentError::Garbled),
            Some(FAILURE) => Err(AgentError::Refused("list what it holds")),
            _ => Err(AgentError::Garbled),
        }
    }

    /// Whether the agent holds the key or certificate `blob`.
    ///
    /// # Errors
    /// As [`Agent::list`].
    pub fn holds(&mut self, blob: &[u8]) -> Result<bool, AgentError> {
        Ok(self.list()?.iter().any(|identity| identity.blob == blob))
    }

    /// Has the agent sign `data` with the key `blob`; gives the signature in wire encoding. Waits up
    /// to two minutes, since a person may have to find the security key and touch it.
    ///
    /// # Errors
    /// [`AgentError::Refused`] if it has no such key, or the person said no.
    pub fn sign(&mut self, blob: &[u8], data: &[u8]) -> Result<Vec<u8>, AgentError> {
        let mut message = Writer::message(SIGN_REQUEST);
        message.string(blob).string(data).u32(0);
        let answer = self.ask(&message, TOUCH)?;
        let mut reader = Reader::new(&answer);
        match (reader.byte(), reader.string()) {
            (Some(SIGN_RESPONSE), Some(signature)) if reader.is_empty() => Ok(signature.to_vec()),
            (Some(FAILURE), _) => Err(AgentError::Refused("sign with this key")),
            _ => Err(AgentError::Garbled),
        }
    }

    /// Adds a certificate with its private key on these terms, and reads it back.
    ///
    /// # Errors
    /// [`AgentError::KeyType`] for a key that can not be added; [`AgentError::Refused`] from an agent that
    /// does not know a constraint; [`AgentError::Dropped`] if it says yes, but does not list the
    /// certificate then.
    pub fn add(
        &mut self,
        key: &KeypairData,
        certificate: &[u8],
        comment: &str,
        terms: &Constraints,
    ) -> Result<(), AgentError> {
        let kind = Reader::new(certificate).string().ok_or(AgentError::Garbled)?;
        let mut message = Writer::message(ADD_ID_CONSTRAINED);
        message.string(kind).string(certificate);
        match key {
            KeypairData::Ed25519(pair) => {
                let both = Zeroizing::new(pair.to_bytes());
                message.string(&pair.public.0).string(both.as_slice());
            }
            KeypairData::Ecdsa(pair) => {
                message.mpint(pair.private_key_bytes());
            }
            _ => return Err(AgentError::KeyType),
        }
        message.string(comment.as_bytes()).byte(CONSTRAIN_LIFETIME).u32(terms.lifetime);
        if terms.confirm == Confirm::EachUse {
            message.byte(CONSTRAIN_CONFIRM);
        }
        if !terms.destinations.is_empty() {
            message.byte(CONSTRAIN_EXTENSION);
            destination::write(&mut message, &terms.destinations);
        }
        self.done(&message, "take the certificate on these terms")?;
        if self.holds(certificate)? { Ok(()) } else { Err(AgentError::Dropped) }
    }

    /// Removes the key or certificate `blob`.
    ///
    /// # Errors
    /// [`AgentError::Refused`] if it is not there.
    pub fn remove(&mut self, blob: &[u8]) -> Result<(), AgentError> {
        let mut message = Writer::message(REMOVE_IDENTITY);
        message.string(blob);
        self.done(&message, "remove a certificate")
    }

    fn done(&mut self, message: &Writer, what: &'static str) -> Result<(), AgentError> {
        match self.ask(message, PROMPT)?.as_slice() {
            [SUCCESS] => Ok(()),
            [FAILURE] => Err(AgentError::Refused(what)),
            _ => Err(AgentError::Garbled),
        }
    }

    fn ask(&mut self, message: &Writer, patience: Duration) -> Result<Vec<u8>, AgentError> {
        let len = u32::try_from(message.bytes().len()).map_err(|_| AgentError::Garbled)?;
        self.send(&len.to_be_bytes(), message.bytes()).map_err(|e| broken(e, PROMPT))?;
        self.0.set_read_timeout(Some(patience)).map_err(AgentError::Broken)?;
        let mut len = [0u8; 4];
        self.0.read_exact(&mut len).map_err(|e| broken(e, patience))?;
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len == 0 || len > MAX_MESSAGE {
            return Err(AgentError::Garbled);
        }
        let mut answer = vec![0; len];
        self.0.read_exact(&mut answer).map_err(|e| broken(e, patience))?;
        Ok(answer)
    }

    fn send(&mut self, len: &[u8], body: &[u8]) -> io::Result<()> {
        self.0.write_all(len)?;
        self.0.write_all(body)
    }
}

/// What it means that reading or writing failed, when `patience` was the limit.
fn broken(error: io::Error, patience: Duration) -> AgentError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AgentError::Silent(patience),
        _ => AgentError::Broken(error),
    }
}

fn identities(reader: &mut Reader<'_>) -> Option<Vec<Identity>> {
    let count = reader.u32()?;
    let mut identities = Vec::new();
    for _ in 0..count {
        let blob = reader.string()?.to_vec();
        let comment = String::from_utf8_lossy(reader.string()?).into_owned();
        identities.push(Identity { blob, comment });
    }
    reader.is_empty().then_some(identities)
}

#[cfg(test)]
mod tests;
