//! Who signs: the enrolled person and the key, in the ssh-agent or in a file.

use std::path::{Path, PathBuf};

use jit_ssh_core::key::SignerKey;
use jit_ssh_core::sshsig;
use jit_ssh_core::statement::{self, Body};
use serde::{Deserialize, Serialize};
use ssh_key::encoding::Encode as _;
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, PrivateKey};

use crate::agent::{Agent, AgentError};
use crate::failure::{Failure, Outcome};
use crate::held;
use crate::home;

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
        let bytes =
            home::read(&file)?.ok_or_else(|| Failure::file(&file, "there is no such file."))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| not_a_key(&file))?;
        if !text.contains("PRIVATE KEY-----") {
            let key = text.lines().next().unwrap_or_default().trim_end().parse::<SignerKey>();
            let key = key.map_err(|e| Failure::file(&file, format!("{e}.")))?;
            if !Agent::open()?.list()?.iter().any(|held| held.blob == key.blob()) {
                return Err(not_in_agent(&key)
                    .hint(format!("ssh-add {}", file.with_extension("").display())));
            }
            return Ok(Identity { key, file: None });
        }
        let private = PrivateKey::from_openssh(text).map_err(|_| not_a_key(&file))?;
        let blob = private.public_key().to_bytes().map_err(|_| not_a_key(&file))?;
        let key = SignerKey::from_blob(&blob).map_err(|e| Failure::file(&file, format!("{e}.")))?;
        let by_agent_only = |why| {
            let file = file.display();
            Err(Failure::new(Outcome::Error, "KEY", format!("{file}: {why}."))
                .hint(format!("ssh-add {file}, and name {file}.pub in its place")))
        };
        match private.key_data() {
            KeypairData::Encrypted(_) => by_agent_only("the private key is encrypted"),
            KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_) => {
                by_agent_only("a security key signs through the ssh-agent only")
            }
            _ => Ok(Identity { key, file: Some(file) }),
        }
    }

    /// The only key in the ssh-agent that can sign statements.
    pub(crate) fn only_one_in_agent() -> Result<Identity, Failure> {
        let held = Agent::open()?.list()?;
        let mut usable: Vec<(SignerKey, String)> = held
            .into_iter()
            .filter(|identity| !held::is_ours(identity))
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
        let namespace = T::KIND.namespace();
        let signature = match &self.file {
            Some(file) => self.sign_by_file(file, &namespace, &bytes)?,
            None => self.sign_by_agent(&mut Agent::open()?, &namespace, &bytes)?,
        };
        match sshsig::verify(&namespace, &bytes, &signature) {
            Ok(by) if by.key == self.key => Ok(Signed { bytes, signature }),
            Ok(by) => Err(bad_signature(format!(
                "the key {} signed, not {}",
                by.key.fingerprint(),
                self.key.fingerprint()
            ))),
            Err(error) => Err(bad_signature(error.to_string())),
        }
    }

    fn sign_by_agent(
        &self,
        agent: &mut Agent,
        namespace: &str,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let data = sshsig::signed_data(namespace, bytes);
        match agent.sign(self.key.blob(), &data) {
            Ok(signature) => Ok(sshsig::assemble(self.key.blob(), namespace, &signature)),
            // Agents say the same "no" to a missing key and to a missing touch.
            Err(refused @ AgentError::Refused(_)) => {
                let there = agent.list()?.iter().any(|held| held.blob == self.key.blob());
                if there { Err(refused.into()) } else { Err(not_in_agent(&self.key)) }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sign_by_file(&self, file: &Path, namespace: &str, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let unusable = |e: &dyn std::fmt::Display| Failure::file(file, format!("{e}."));
        let text = home::read(file)?
            .ok_or_else(|| unusable(&"the key file this person was enrolled with is gone"))?;
        let key = PrivateKey::from_openssh(text.as_slice()).map_err(|e| unusable(&e))?;
        let signature = key.sign(namespace, HashAlg::Sha512, bytes).map_err(|e| unusable(&e))?;
        signature.encode_vec().map_err(|e| unusable(&e))
    }
}

fn bad_signature(problem: String) -> Failure {
    Failure::new(
        Outcome::Agent,
        "BAD_SIGNATURE",
        format!("the signature just made does not hold: {problem}."),
    )
    .hint("nothing was sent; try another ssh-agent or key")
}

fn not_in_agent(key: &SignerKey) -> Failure {
    let message = format!("the ssh-agent does not hold the key {}.", key.fingerprint());
    Failure::new(Outcome::Agent, "AGENT", message).hint("ssh-add your key")
}

fn not_a_key(file: &Path) -> Failure {
    Failure::file(file, "this is neither an OpenSSH private key nor a public key line.")
        .hint("an old PEM key becomes an OpenSSH one by: ssh-keygen -p -f FILE")
}

#[cfg(test)]
mod tests;
