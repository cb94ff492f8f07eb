//! Who signs: the enrolled person and the key, in the ssh-agent or in a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jit_ssh_api::agent::{Agent, AgentError};
use jit_ssh_api::own_key::{KeyFile, KeyFileError, OwnKey, SigningError, TOUCH};
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::statement::{self, Body};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::held;

/// The key statements are signed with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Its public half.
    pub(crate) key: SignerKey,
    /// The file with the private half; null if the ssh-agent has it.
    pub(crate) file: Option<PathBuf>,
}

/// A statement with its signature.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// The exact bytes.
    pub(crate) bytes: Vec<u8>,
    /// The signature blob (SSHSIG).
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    /// As it is sent.
    pub(crate) fn to_message(&self) -> jit_ssh_api::v1::SignedStatement {
        jit_ssh_api::v1::SignedStatement {
            statement: self.bytes.clone().into(),
            signatures: vec![self.signature.clone().into()],
        }
    }
}

impl Identity {
    /// The identity in `file`: an unencrypted private key, or the public half of a key that the
    /// ssh-agent must hold.
    pub(crate) fn from_file(file: &Path) -> Result<Identity, Failure> {
        let file = std::path::absolute(file).map_err(|e| Failure::file(file, e))?;
        let key = match KeyFile::read(&file).map_err(|e| refused(&file, &e))? {
            KeyFile::Private(own) => {
                return Ok(Identity { key: own.key().clone(), file: Some(file) });
            }
            KeyFile::Public(key) => key,
        };
        if Agent::open()?.holds(key.blob())? {
            return Ok(Identity { key, file: None });
        }
        let not_held = Failure::from(SigningError::NotHeld(key.fingerprint()));
        Err(not_held.hint(format!("ssh-add {}", file.with_extension("").display())))
    }

    /// The only key in the ssh-agent that can sign statements.
    pub(crate) fn only_one_in_agent() -> Result<Identity, Failure> {
        let held = Agent::open()?.list()?;
        let mut usable: Vec<(SignerKey, String)> = held
            .into_iter()
            .filter(|identity| !held::is_marked(identity))
            .filter_map(|identity| {
                Some((SignerKey::from_blob(&identity.blob).ok()?, identity.comment))
            })
            .collect();
        if let [_] = usable.as_slice() {
            let only = usable.pop().map(|(key, _)| Identity { key, file: None });
            return Ok(only.expect("there is exactly one"));
        }
        if usable.is_empty() {
            return Err(Failure::new(
                Outcome::Agent,
                "AGENT",
                "the ssh-agent holds no key that can sign here (Ed25519, ECDSA P-256 or P-384, or a security key).",
            )
            .hint("ssh-add your key, or name its file with --identity"));
        }
        let choices =
            usable.iter().map(|(key, comment)| format!("{comment} ({})", key.fingerprint()));
        let choices = choices.collect::<Vec<_>>().join(", ");
        Err(Failure::usage(format!(
            "the ssh-agent holds {} keys that can sign here: {choices}.",
            usable.len()
        ))
        .hint("choose one by its public key file: --identity FILE.pub"))
    }

    /// Encodes and signs a statement, and verifies the signature before anybody else sees it.
    pub(crate) fn sign<T: Body>(&self, body: &T) -> Result<Signed, Failure> {
        let bytes = statement::encode(body)?;
        let mut own = self.own_key()?;
        if !self.key.is_security_key() {
            let signature = own.sign(T::KIND, &bytes)?;
            return Ok(Signed { bytes, signature });
        }
        // Whoever has no terminal hears it too: without the touch nothing goes on.
        let _ = writeln!(std::io::stderr().lock(), "{TOUCH}");
        let signature = own.sign(T::KIND, &bytes).map_err(untouched)?;
        Ok(Signed { bytes, signature })
    }

    /// The key as it lies there now, to sign with.
    fn own_key(&self) -> Result<OwnKey, Failure> {
        let Some(file) = &self.file else {
            return Ok(OwnKey::in_agent(Agent::open()?, self.key.clone()));
        };
        match KeyFile::read(file) {
            Ok(KeyFile::Private(own)) if *own.key() == self.key => Ok(own),
            Ok(KeyFile::Private(own)) => {
                let (found, expected) = (own.key().fingerprint(), self.key.fingerprint());
                Err(SigningError::OtherKey { found, expected }.into())
            }
            Ok(KeyFile::Public(_)) => Err(refused(file, &KeyFileError::Foreign)),
            Err(KeyFileError::Absent) => {
                let gone = "the key file this person was enrolled with is gone.";
                Err(Failure::file(file, gone))
            }
            Err(error) => Err(refused(file, &error)),
        }
    }
}

/// Why a security key did not sign, in its own terms.
fn untouched(error: SigningError) -> Failure {
    let why = match &error {
        SigningError::Agent(AgentError::Silent(limit)) => {
            format!("nobody touched the security key within {} s.", limit.as_secs())
        }
        SigningError::Agent(AgentError::Refused(_)) => {
            "the security key did not sign: it was not touched in time, it is not plugged in, or the ssh-agent can not ask for its PIN.".to_owned()
        }
        _ => return error.into(),
    };
    Failure::new(Outcome::Agent, "TOUCH", why).hint(
        "plug it in and try again; a key that wants a PIN needs SSH_ASKPASS for the ssh-agent",
    )
}

/// A key file that is not taken, and the way out.
pub(crate) fn refused(file: &Path, error: &KeyFileError) -> Failure {
    match error {
        KeyFileError::OpenToOthers(_) => {
            let hint = format!("chmod 600 {}", file.display());
            Failure::file(file, format!("{error}.")).hint(hint)
        }
        KeyFileError::Encrypted | KeyFileError::SecurityKey => {
            let file = file.display();
            Failure::new(Outcome::Error, "KEY", format!("{file}: {error}."))
                .hint(format!("ssh-add {file}, and name {file}.pub in its place"))
        }
        KeyFileError::Foreign => Failure::file(file, format!("{error}."))
            .hint("an old PEM key becomes an OpenSSH one by: ssh-keygen -p -f FILE"),
        _ => Failure::file(file, format!("{error}.")),
    }
}

#[cfg(test)]
mod tests;
