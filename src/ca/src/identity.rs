//! The admin's signing key: an OpenSSH key file, or a key the ssh-agent holds.
//!
//! The agent client here only lists and signs. Keys it does not know stay opaque bytes, so one odd
//! key in the agent hides no other.

use std::env;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::root::Root;
use jit_ssh_core::sshsig;
use jit_ssh_core::statement::Kind;
use ssh_key::encoding::Encode as _;
use ssh_key::{HashAlg, PrivateKey};

use crate::failure::Failure;
use crate::terminal::harmless;

/// An admin of the root, and the means to sign as this admin.
pub(crate) struct Identity {
    admin: ActorId,
    key: SignerKey,
    holder: Holder,
}

enum Holder {
    File(Box<PrivateKey>),
    Agent(Agent),
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
    pub(crate) fn sign(&mut self, kind: Kind, statement: &[u8]) -> anyhow::Result<Vec<u8>> {
        let namespace = kind.namespace();
        let blob = match &mut self.holder {
            Holder::File(private) => {
                private.sign(&namespace, HashAlg::Sha512, statement)?.encode_vec()?
            }
            Holder::Agent(agent) => {
                let data = sshsig::signed_data(&namespace, statement);
                let signature = agent.sign(self.key.blob(), &data)?;
                sshsig::assemble(self.key.blob(), &namespace, &signature)
            }
        };
        let by = sshsig::verify(&namespace, statement, &blob)?;
        ensure!(by.key == self.key, "the signature is by another key than was asked for");
        Ok(blob)
    }

    fn of_file(path: &Path, root: &Root) -> anyhow::Result<Identity> {
        let shown = path.display();
        let text = read_key_file(path)?;
        if text.starts_with("-----BEGIN ") {
            let private = PrivateKey::from_openssh(&text)
                .map_err(|_| Failure::error(format!("{shown} is not an OpenSSH private key.")))?;
            if private.is_encrypted() {
                return Err(Failure::error(format!("{shown} is protected by a passphrase."))
                    .hint(format!("ssh-add {shown}, and leave --identity away or name {shown}.pub"))
                    .into());
            }
            let key = SignerKey::from_blob(&private.public_key().to_bytes()?)
                .with_context(|| format!("{shown} can not sign"))?;
            if key.is_security_key() {
                return Err(Failure::error(format!("{shown} needs its security key to sign."))
                    .hint(format!("ssh-add {shown}, and name {shown}.pub"))
                    .into());
            }
            let admin = admin_of(&key, root)?;
            return Ok(Identity { admin, key, holder: Holder::File(Box::new(private)) });
        }
        let key: SignerKey =
            text.trim_end().parse().with_context(|| format!("{shown} can not be used"))?;
        let admin = admin_of(&key, root)?;
        let mut agent = Agent::connect()?;
        if !agent.keys()?.iter().any(|blob| blob == key.blob()) {
            return Err(Failure::error(format!("the ssh-agent does not hold the key of {shown}."))
                .hint("add the private half with ssh-add")
                .into());
        }
        Ok(Identity { admin, key, holder: Holder::Agent(agent) })
    }

    fn of_agent(root: &Root) -> anyhow::Result<Identity> {
        Identity::held_by(Agent::connect()?, root)
    }

    fn held_by(mut agent: Agent, root: &Root) -> anyhow::Result<Identity> {
        let held = agent.keys()?;
        // In the root's order, so that the choice does not hang on the agent's.
        match root.admins().iter().find(|admin| held.iter().any(|blob| blob == admin.key.blob())) {
            Some(admin) => {
                let (admin, key) = (admin.id.clone(), admin.key.clone());
                Ok(Identity { admin, key, holder: Holder::Agent(agent) })
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

/// Reads a key file, which is short.
///
/// # Errors
/// If it can not be read, is too long, or is not text.
pub(crate) fn read_key_file(path: &Path) -> anyhow::Result<String> {
    const MAX: u64 = 64 * 1024;
    let shown = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX + 1).read_to_string(&mut text))
        .with_context(|| format!("cannot read {shown}"))?;
    ensure!(text.len() as u64 <= MAX, "{shown} is too long for a key file");
    Ok(text)
}

/// An ssh-agent (draft-ietf-sshm-ssh-agent), for listing and signing.
struct Agent(UnixStream);

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// What OpenSSH's agent takes and gives at most.
const MAX_MESSAGE: usize = 256 * 1024;
/// Time to find the security key and touch it.
const PATIENCE: Duration = Duration::from_secs(120);

impl Agent {
    fn connect() -> anyhow::Result<Agent> {
        let Some(path) = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) else {
            return Err(Failure::error("there is no ssh-agent: SSH_AUTH_SOCK is not set.")
                .hint("start one with: eval \"$(ssh-agent)\", or name a key file with --identity")
                .into());
        };
        let stream = UnixStream::connect(&path).with_context(|| {
            format!("cannot reach the ssh-agent at {}", Path::new(&path).display())
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Agent(stream))
    }

    /// The public key blobs the agent holds, whatever they are.
    fn keys(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let answer = self.call(&[REQUEST_IDENTITIES])?;
        let rest = answer.strip_prefix(&[IDENTITIES_ANSWER]);
        let rest = rest.context("the ssh-agent does not list its keys; is it locked?")?;
        parse_list(rest).context("the ssh-agent's list of keys is garbled")
    }

    /// Has the agent sign; gives the signature in wire encoding.
    fn sign(&mut self, key: &[u8], data: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut message = vec![SIGN_REQUEST];
        push(&mut message, key)?;
        push(&mut message, data)?;
        message.extend_from_slice(&[0; 4]);
        let answer = self.call(&message)?;
        match answer.strip_prefix(&[SIGN_RESPONSE]).and_then(take) {
            Some((signature, [])) => Ok(signature.to_vec()),
            _ => Err(Failure::error("the ssh-agent did not sign.")
                .hint("is it locked, or did it want a touch or a confirmation?")
                .into()),
        }
    }

    fn call(&mut self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.exchange(message).map_err(|error| {
            let told = harmless(&error.to_string());
            anyhow::anyhow!("the ssh-agent does not answer: {told}")
        })
    }

    fn exchange(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut frame = Vec::with_capacity(message.len() + 4);
        push(&mut frame, message).map_err(io::Error::other)?;
        self.0.write_all(&frame)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(io::Error::other("its answer is too long"));
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) -> anyhow::Result<()> {
    let Some(length) = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_MESSAGE)
    else {
        bail!("this is too long for an ssh-agent");
    };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// A string of SSH wire encoding, and what follows it.
fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn parse_list(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (blob, after) = take(rest)?;
        let (_comment, after) = take(after)?;
        keys.push(blob.to_vec());
        rest = after;
    }
    rest.is_empty().then_some(keys)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::thread;

    use jit_ssh_core::root::Admin;
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
            fs::write(&path, private(seed).to_openssh(LineEnding::LF).unwrap()).unwrap();
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

    /// A real ssh-agent, which ends with the value.
    struct RealAgent {
        process: std::process::Child,
        socket: std::path::PathBuf,
    }

    impl RealAgent {
        fn start(dir: &Path) -> RealAgent {
            let socket = dir.join("agent");
            let process = Command::new("ssh-agent")
                .args(["-D", "-a"])
                .arg(&socket)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..500 {
                if socket.exists() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
            RealAgent { process, socket }
        }

        fn add(&self, dir: &Path, seed: u8) {
            let path = dir.join(format!("key{seed}"));
            private(seed).write_openssh_file(&path, LineEnding::LF).unwrap();
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(&path).env("SSH_AUTH_SOCK", &self.socket);
            assert!(add.status().unwrap().success());
        }

        fn connect(&self) -> Agent {
            Agent(UnixStream::connect(&self.socket).unwrap())
        }
    }

    impl Drop for RealAgent {
        fn drop(&mut self) {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
    }

    #[test]
    fn a_real_agent_signs_for_the_admin_it_holds_and_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let agent = RealAgent::start(dir.path());
        agent.add(dir.path(), 2);
        assert!(Identity::held_by(agent.connect(), &root()).is_err());
        agent.add(dir.path(), 1);
        let mut identity = Identity::held_by(agent.connect(), &root()).unwrap();
        let blob = identity.sign(Kind::Bundle, b"hello").unwrap();
        assert_eq!(sshsig::verify("bundle@jit-ssh", b"hello", &blob).unwrap().key, public(1));
    }

    #[test]
    fn the_list_survives_foreign_blobs_and_a_garbled_one_is_refused() {
        let mut list = vec![0, 0, 0, 2];
        for part in [b"odd".as_slice(), b"", public(1).blob(), b"comment"] {
            push(&mut list, part).unwrap();
        }
        assert_eq!(parse_list(&list).unwrap(), [b"odd".to_vec(), public(1).blob().to_vec()]);
        for bad in [&list[..list.len() - 1], &[0, 0, 0, 1], &[0, 0, 0, 0, 1], &[]] {
            assert!(parse_list(bad).is_none());
        }
    }
}
