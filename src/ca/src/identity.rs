//! The admin's signing key: an OpenSSH key file, or a key the ssh-agent holds.

use std::io::Write as _;
use std::path::Path;

use jit_ssh_api::agent::Agent;
use jit_ssh_api::own_key::{KeyFile, KeyFileError, OwnKey, SigningError, TOUCH};
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::Kind;

use crate::failure::Failure;

/// An admin of the root, and the means to sign as this admin.
pub(crate) struct Identity {
    admin: ActorId,
    own: OwnKey,
}

impl Identity {
    /// The key in `file`, or else the first key of the ssh-agent that belongs to an admin.
    ///
    /// # Errors
    /// If there is no such key, or it is no admin's.
    pub(crate) fn find(file: Option<&Path>, root: &Root) -> anyhow::Result<Identity> {
        match file {
            Some(file) => Identity::of_file(file, root),
            None => Identity::of_agent(root),
        }
    }

    /// The admin's id.
    pub(crate) fn admin(&self) -> &ActorId {
        &self.admin
    }

    /// Signs the exact bytes of a statement; gives the SSHSIG blob.
    ///
    /// # Errors
    /// If the agent refuses, or what came back is no signature by this key.
    pub(crate) fn sign(&mut self, kind: Kind, statement: &[u8]) -> Result<Vec<u8>, SigningError> {
        announce(self.own.key());
        self.own.sign(kind, statement)
    }

    fn of_file(path: &Path, root: &Root) -> anyhow::Result<Identity> {
        match KeyFile::read(path).map_err(|error| refused(path, &error))? {
            KeyFile::Private(own) => Ok(Identity { admin: admin_of(own.key(), root)?, own }),
            KeyFile::Public(key) => {
                let admin = admin_of(&key, root)?;
                let mut agent = Agent::open()?;
                if !agent.holds(key.blob())? {
                    return Err(SigningError::NotHeld(key.fingerprint()).into());
                }
                Ok(Identity { admin, own: OwnKey::in_agent(agent, key) })
            }
        }
    }

    fn of_agent(root: &Root) -> anyhow::Result<Identity> {
        Identity::held_by(Agent::open()?, root)
    }

    fn held_by(mut agent: Agent, root: &Root) -> anyhow::Result<Identity> {
        let held = agent.list()?;
        // In the root's order, so that the choice does not hang on the agent's.
        match root
            .admins()
            .iter()
            .find(|admin| held.iter().any(|held| held.blob == admin.key.blob()))
        {
            Some(admin) => {
                let own = OwnKey::in_agent(agent, admin.key.clone());
                Ok(Identity { admin: admin.id.clone(), own })
            }
            None => Err(Failure::error("none of the ssh-agent's keys is an admin's.")
                .hint(known_admins(root))
                .hint("add such a key with ssh-add, or name its file with --identity")
                .into()),
        }
    }
}

fn admin_of(key: &SignerKey, root: &Root) -> anyhow::Result<ActorId> {
    match root.admin_of(key) {
        Some(admin) => Ok(admin.id.clone()),
        None => Err(Failure::error(format!("the key {} is no admin's.", key.fingerprint()))
            .hint(known_admins(root))
            .into()),
    }
}

fn known_admins(root: &Root) -> String {
    let admins: Vec<String> =
        root.admins().iter().map(|a| format!("{} ({})", a.id, a.key.fingerprint())).collect();
    format!("the admins are {}", admins.join(", "))
}

/// A key file that is not taken, and the way out.
pub(crate) fn refused(path: &Path, error: &KeyFileError) -> Failure {
    let shown = path.display();
    let failure = Failure::error(format!("{shown}: {error}."));
    match error {
        KeyFileError::Encrypted | KeyFileError::SecurityKey => {
            failure.hint(format!("ssh-add {shown}, and leave --identity away or name {shown}.pub"))
        }
        KeyFileError::OpenToOthers(_) => failure.hint(format!("chmod 600 {shown}")),
        _ => failure,
    }
}

/// Says that a touch is waited for, where the key is a security key.
pub(crate) fn announce(key: &SignerKey) {
    if key.is_security_key() {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(std::io::stderr().lock(), "{TOUCH}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jit_ssh_api::testkit::TestAgent;
    use jit_ssh_core::root::Admin;
    use jit_ssh_core::sshsig;
    use ssh_key::LineEnding;

    use super::*;
    use crate::testkeys::{private, public};

    fn root() -> Root {
        let admin = Admin { id: "ann".parse().unwrap(), key: public(1) };
        Root::new(vec![admin], 1, String::new()).unwrap()
    }

    #[test]
    fn a_file_signs_if_its_key_is_an_admins_and_not_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (seed, good) in [(1, true), (2, false)] {
            private(seed).write_openssh_file(&path, LineEnding::LF).unwrap();
            let found = Identity::find(Some(&path), &root());
            assert_eq!(found.is_ok(), good);
            if let Ok(mut identity) = found {
                let blob = identity.sign(Kind::Session, b"hello").unwrap();
                let by = sshsig::verify("session@jit-ssh", b"hello", &blob).unwrap();
                assert_eq!((by.key, identity.admin().as_str()), (public(1), "ann"));
            }
        }
        fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n").unwrap();
        assert!(Identity::find(Some(&path), &root()).is_err());
    }

    #[test]
    fn a_real_agent_signs_for_the_admin_it_holds_and_for_nobody_else() {
        let agent = TestAgent::start();
        let add = |name: &str, seed: u8| {
            agent.put(name, &private(seed));
            agent.run("ssh-add", &["-q", name]);
        };
        add("stranger", 2);
        assert!(Identity::held_by(agent.connect(), &root()).is_err());
        add("ann", 1);
        let mut identity = Identity::held_by(agent.connect(), &root()).unwrap();
        let blob = identity.sign(Kind::Bundle, b"hello").unwrap();
        assert_eq!(sshsig::verify("bundle@jit-ssh", b"hello", &blob).unwrap().key, public(1));
    }
}
