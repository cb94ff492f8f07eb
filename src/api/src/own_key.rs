//! A person's own key, in a file or in the ssh-agent, and statements signed with it.
//!
//! Promises: no signature leaves here that does not verify by the very key it was asked of, and a
//! key file's text is wiped after reading. It knows neither who the person is nor which of several
//! keys to take: its callers do.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jit_ssh_core::key::{KeyError, SignerKey};
use jit_ssh_core::sshsig::{self, SignatureError};
use jit_ssh_core::statement::Kind;
use ssh_key::encoding::Encode as _;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, PrivateKey};
use zeroize::Zeroizing;

use crate::agent::{Agent, AgentError};

/// Longest key file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// What who signs with a security key is to be told, just before.
pub const TOUCH: &str = "touch your security key now";

/// A key, and the means to sign with it.
pub struct OwnKey {
    key: SignerKey,
    holder: Holder,
}

enum Holder {
    File(Box<PrivateKey>),
    Agent(Agent),
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The ssh-agent did not do its part.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The ssh-agent does not hold the key with this fingerprint.
    #[error("the ssh-agent does not hold the key {0}")]
    NotHeld(String),
    /// The private key in the file can not be used.
    #[error("the key can not sign: {0}")]
    Unusable(#[from] ssh_key::Error),
    /// What was made is no signature of the statement.
    #[error("the signature just made does not hold: {0}")]
    Untrue(#[from] SignatureError),
    /// The signature is sound, but by another key.
    #[error("the signature just made does not hold: the key {found} signed, not {expected}")]
    OtherKey {
        /// The fingerprint of the key that signed.
        found: String,
        /// The fingerprint of the key that should have.
        expected: String,
    },
}

impl OwnKey {
    /// The key `key` in the agent. Whether it is there shows when it signs; see [`Agent::holds`].
    pub fn in_agent(agent: Agent, key: SignerKey) -> OwnKey {
        OwnKey { key, holder: Holder::Agent(agent) }
    }

    /// The Ed25519 key of this seed.
    pub fn of_seed(seed: &[u8; 32]) -> OwnKey {
        let pair = Ed25519Keypair::from_seed(seed);
        let private = PrivateKey::from(pair);
        let blob = private.public_key().to_bytes();
        let blob = blob.expect("a key that was just made has an encoding");
        let key = SignerKey::from_blob(&blob);
        let key = key.expect("the public half of a seed is no weak point");
        OwnKey { key, holder: Holder::File(Box::new(private)) }
    }

    /// Its public half.
    pub fn key(&self) -> &SignerKey {
        &self.key
    }

    /// Signs the exact bytes of a statement, and verifies the signature before anybody else sees it;
    /// gives the signature blob (SSHSIG).
    ///
    /// # Errors
    /// [`SigningError`] if the agent does not have the key or refuses, or if what it gives is no
    /// signature by this key.
    pub fn sign(&mut self, kind: Kind, statement: &[u8]) -> Result<Vec<u8>, SigningError> {
        let namespace = kind.namespace();
        let blob = match &mut self.holder {
            Holder::File(private) => {
                let signature = private.sign(namespace, HashAlg::Sha512, statement)?;
                signature.encode_vec().map_err(ssh_key::Error::from)?
            }
            Holder::Agent(agent) => {
                let data = sshsig::signed_data(namespace, statement);
                let signature = sign_by_agent(agent, &self.key, &data)?;
                sshsig::assemble(self.key.blob(), namespace, &signature)
            }
        };
        let by = sshsig::verify(namespace, statement, &blob)?;
        if by.key == self.key {
            return Ok(blob);
        }
        let (found, expected) = (by.key.fingerprint(), self.key.fingerprint());
        Err(SigningError::OtherKey { found, expected })
    }
}

fn sign_by_agent(agent: &mut Agent, key: &SignerKey, data: &[u8]) -> Result<Vec<u8>, SigningError> {
    match agent.sign(key.blob(), data) {
        // Agents say the same "no" to a missing key and to a missing touch.
        Err(AgentError::Refused(_)) if !agent.holds(key.blob())? => {
            Err(SigningError::NotHeld(key.fingerprint()))
        }
        signed => Ok(signed?),
    }
}

/// What a key file holds.
pub enum KeyFile {
    /// An unencrypted private key: it signs by itself.
    Private(OwnKey),
    /// A public key: the ssh-agent has to hold the private half.
    Public(SignerKey),
}

/// Why a file is not taken as a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("there is no such file")]
    Absent,
    /// It can not be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// A folder, a device, a pipe: nothing that keeps a key.
    #[error("this is not a regular file")]
    NotRegular,
    /// A private key that is not its owner's alone.
    #[error("others can read this private key (its mode is {0:04o}, where ssh wants 0600)")]
    OpenToOthers(u32),
    /// It is longer than a key file can be.
    #[error("this is too long for a key file")]
    TooLong,
    /// It holds something else.
    #[error("this is neither an OpenSSH private key nor a public key line")]
    Foreign,
    /// It needs a passphrase, which is the agent's business.
    #[error("the private key is encrypted")]
    Encrypted,
    /// It is the handle of a security key.
    #[error("a security key signs through the ssh-agent only")]
    SecurityKey,
    /// It is a key of a type that may not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl KeyFile {
    /// Reads a private key in OpenSSH's format, or the first line of a `.pub` file.
    ///
    /// # Errors
    /// [`KeyFileError`] if it can not be read, is a private key that others can read, or holds
    /// nothing that could sign here.
    pub fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
        KeyFile::of(path, |access| is_open(access.mode))
    }

    /// The same for a host's own key, which some systems let their helper of ssh read, too.
    ///
    /// # Errors
    /// As for [`KeyFile::read`].
    pub fn read_host_key(path: &Path) -> Result<KeyFile, KeyFileError> {
        KeyFile::of(path, |access| {
            let is_key_group = is_group_of_host_keys(access.group);
            is_open_host_key(access.mode, access.owner, is_key_group)
        })
    }

    fn of(path: &Path, is_open: impl Fn(Access) -> bool) -> Result<KeyFile, KeyFileError> {
        let (text, access) = read_file(path)?;
        if !is_private(&text) {
            let line = text.lines().next().unwrap_or_default().trim_end();
            return Ok(KeyFile::Public(line.parse()?));
        }
        let private = open_private(&text, access.mode, is_open(access))?;
        let blob = private.public_key().to_bytes().map_err(|_| KeyFileError::Foreign)?;
        let key = SignerKey::from_blob(&blob)?;
        if private.is_encrypted() {
            return Err(KeyFileError::Encrypted);
        }
        if key.is_security_key() {
            return Err(KeyFileError::SecurityKey);
        }
        Ok(KeyFile::Private(OwnKey { key, holder: Holder::File(Box::new(private)) }))
    }
}

/// What a key file holds, whether or not it could sign here.
pub enum AnyKeyFile {
    /// A private key, perhaps encrypted.
    Private(Box<PrivateKey>),
    /// Other text: a public key, if it is one.
    Other(Zeroizing<String>),
}

impl AnyKeyFile {
    /// Reads a private key in OpenSSH's format, of whatever type, or other text.
    ///
    /// # Errors
    /// [`KeyFileError`] if it can not be read, or is a private key that others can read.
    pub fn read(path: &Path) -> Result<AnyKeyFile, KeyFileError> {
        let (text, access) = read_file(path)?;
        if is_private(&text) {
            let private = open_private(&text, access.mode, is_open(access.mode))?;
            return Ok(AnyKeyFile::Private(Box::new(private)));
        }
        Ok(AnyKeyFile::Other(text))
    }
}

fn is_private(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}

/// Parses a private key, and refuses one that others can read: ssh uses no such key either.
fn open_private(text: &str, mode: u32, is_open: bool) -> Result<PrivateKey, KeyFileError> {
    let private = PrivateKey::from_openssh(text).map_err(|_| KeyFileError::Foreign)?;
    if is_open {
        return Err(KeyFileError::OpenToOthers(mode));
    }
    Ok(private)
}

/// As `sshkey_perm_ok` asks of every private key.
fn is_open(mode: u32) -> bool {
    mode & 0o077 != 0
}

/// Whether others than those who may can read or change a private host key with this mode and owner.
/// Red Hat's sshd takes one of root's that the group `ssh_keys` reads, for the set-gid program
/// `ssh-keysign`, which nobody else can use; `is_key_group` says whether that is the file's group.
pub fn is_open_host_key(mode: u32, owner: u32, is_key_group: bool) -> bool {
    is_open(if owner == 0 && is_key_group { mode & !0o040 } else { mode })
}

/// Whether a group is the one that some systems have for host keys.
pub fn is_group_of_host_keys(group: u32) -> bool {
    fs::read_to_string("/etc/group").is_ok_and(|groups| names_key_group(&groups, group))
}

/// The same, by the text of `group(5)`.
fn names_key_group(groups: &str, group: u32) -> bool {
    let mut named = groups.lines().filter_map(|line| line.strip_prefix("ssh_keys:"));
    named.any(|rest| rest.split(':').nth(1).is_some_and(|id| id.parse() == Ok(group)))
}

/// Reads the text of a key file, of at most 64 KiB; it is wiped when dropped.
///
/// # Errors
/// [`KeyFileError`] if it can not be read, is too long, or is not text.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    read_file(path).map(|(text, _)| text)
}

/// Who may do what with a file: permission bits, user and group.
#[derive(Clone, Copy)]
struct Access {
    mode: u32,
    owner: u32,
    group: u32,
}

/// The text of a key file, and who may do what with it.
fn read_file(path: &Path) -> Result<(Zeroizing<String>, Access), KeyFileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Absent,
        io::ErrorKind::InvalidData => KeyFileError::Foreign,
        _ => KeyFileError::Unreadable(error),
    };
    // Before opening: a pipe without a writer would never let go of us.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(KeyFileError::NotRegular);
    }
    let limit = MAX_FILE.saturating_add(1);
    // All the room at once, so that no half-read copy of a secret is left behind by growing.
    let room = usize::try_from(limit).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(room));
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let access = Access { mode: found.mode() & 0o7777, owner: found.uid(), group: found.gid() };
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    if text.len() == room { Err(KeyFileError::TooLong) } else { Ok((text, access)) }
}

#[cfg(test)]
mod tests;
