//! Requests whose subject key must outlive this process: one file each in the runtime folder,
//! until the grant ends. `notes.rs`: access that is live, without its keys.

use std::path::{Path, PathBuf};

use jit_ssh_api::own_key::{AnyKeyFile, KeyFileError};
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::key::SubjectKey;
use jit_ssh_core::lifecycle;
use jit_ssh_core::names::Principal;
use jit_ssh_core::statement::{self, Request, Verified};
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};
use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use crate::failure::{Failure, Outcome};
use crate::held;
use crate::home::{self, Home};
use crate::identity::refused;
use crate::view::RequestRef;

mod notes;

#[cfg(test)]
pub(crate) use notes::tests::live_for;
pub(crate) use notes::{Live, live, note, noted};

const FOLDER: &str = "grants";

/// A request of ours, and the key it is about.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The request as signed.
    pub(crate) request: Verified<Request>,
    /// The key to be certified.
    pub(crate) subject: Subject,
    /// When the access ends that this request prolongs, if it prolongs one: as this machine verified
    /// it.
    pub(crate) prolongs: Option<UnixTime>,
    /// Where its certificates are to be kept.
    pub(crate) keeping: Keeping,
}

/// Where a certificate is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keeping {
    /// In the ssh-agent, bound to its hosts where that can be; else in files.
    #[default]
    Agent,
    /// In the ssh-agent, which asks before each use; nowhere else.
    Confirmed,
    /// In the ssh-agent, for any host; else in files.
    Unbound,
    /// In files.
    Files,
}

/// The private half of what is to be certified.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A key made for this request alone.
    Fresh(Box<PrivateKey>),
    /// A key of the person's, in a file.
    File(KeyFile),
}

/// A key file as `--key` names it: a private key or a public one.
#[derive(Debug)]
pub(crate) struct KeyFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    key: SubjectKey,
    private: Option<Box<PrivateKey>>,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    request: String,
    signature: Base64Bytes,
    /// The fresh private key in OpenSSH's format, or null.
    private_key: Option<String>,
    /// The person's key file, or null.
    key_file: Option<PathBuf>,
    /// When the access ends that the request prolongs, or null.
    #[serde(default)]
    prolongs: Option<UnixTime>,
    #[serde(default)]
    keeping: Keeping,
    /// When this file can go.
    until: UnixTime,
}

impl Drop for Stored {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.private_key);
    }
}

impl Subject {
    /// A fresh Ed25519 key.
    pub(crate) fn fresh() -> Result<Subject, Failure> {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519);
        let key = key.map_err(|e| Failure::new(Outcome::Error, "KEY", e.to_string()))?;
        Ok(Subject::Fresh(Box::new(key)))
    }

    /// The public half.
    pub(crate) fn public(&self) -> Result<SubjectKey, Failure> {
        match self {
            Subject::Fresh(key) => subject_key(key.public_key()),
            Subject::File(file) => Ok(file.key.clone()),
        }
    }
}

impl KeyFile {
    /// Reads a private or public key file.
    pub(crate) fn read(path: &Path) -> Result<KeyFile, Failure> {
        let path = std::path::absolute(path).map_err(|e| Failure::file(path, e))?;
        let problem = |problem: &dyn std::fmt::Display| Failure::file(&path, format!("{problem}."));
        let text = match AnyKeyFile::read(&path).map_err(|e| refused(&path, &e))? {
            AnyKeyFile::Private(private) => {
                let key = subject_key(private.public_key())?;
                return Ok(KeyFile { path, key, private: Some(private) });
            }
            AnyKeyFile::Other(text) => text,
        };
        let mut words = text.split_ascii_whitespace();
        let (kind, base64) = words.next().zip(words.next()).unwrap_or_default();
        let key = format!("{kind} {base64}").parse().map_err(|e| problem(&e))?;
        let private = match path.extension() {
            Some(end) if end == "pub" => private_half(&path.with_extension(""), &key)?,
            _ => None,
        };
        Ok(KeyFile { path, key, private })
    }

    /// The private half, if it can be read without asking for a passphrase.
    pub(crate) fn keypair(&self) -> Option<&KeypairData> {
        self.private.as_ref().map(|private| private.key_data())
    }

    /// The file of the private half, whether or not it can be read without asking: a security key's
    /// handle too. `None` if only the ssh-agent can have it.
    pub(crate) fn private_path(&self) -> Option<PathBuf> {
        let private = self.private.as_ref()?;
        let named = self.path.extension().is_some_and(|end| end == "pub");
        let beside = self.path.with_extension("");
        let beside = Some(beside).filter(|path| named && private_half_lies(path, private));
        Some(beside.unwrap_or_else(|| self.path.clone()))
    }
}

/// The private half of `key`, if it lies at `path`, as ssh-keygen puts it; else the key is elsewhere.
fn private_half(path: &Path, key: &SubjectKey) -> Result<Option<Box<PrivateKey>>, Failure> {
    let private = match AnyKeyFile::read(path) {
        Ok(AnyKeyFile::Private(private)) => Some(private),
        Err(error @ KeyFileError::OpenToOthers(_)) => return Err(refused(path, &error)),
        Ok(AnyKeyFile::Other(_)) | Err(_) => None,
    };
    Ok(private.filter(|private| subject_key(private.public_key()).is_ok_and(|own| own == *key)))
}

fn private_half_lies(path: &Path, private: &PrivateKey) -> bool {
    matches!(AnyKeyFile::read(path), Ok(AnyKeyFile::Private(there)) if there.public_key() == private.public_key())
}

fn subject_key(key: &ssh_key::PublicKey) -> Result<SubjectKey, Failure> {
    let refused = |e: &dyn std::fmt::Display| Failure::new(Outcome::Error, "KEY", format!("{e}."));
    let bare = ssh_key::PublicKey::from(key.key_data().clone());
    let line = bare.to_openssh().map_err(|e| refused(&e))?;
    line.trim_end().parse().map_err(|e| refused(&e))
}

impl Grant {
    /// The request's full digest.
    pub(crate) fn digest(&self) -> Digest {
        self.request.digest()
    }

    /// Every `login@host` asked for.
    pub(crate) fn principals(&self) -> Vec<Principal> {
        principals(self.request.body())
    }

    /// Whether it asks for exactly this.
    pub(crate) fn is_for(&self, wanted: &[Principal]) -> bool {
        let asked = self.principals();
        asked.len() == wanted.len() && wanted.iter().all(|principal| asked.contains(principal))
    }

    /// Keeps it until `until`.
    pub(crate) fn store(&self, home: &Home, until: UnixTime) -> Result<(), Failure> {
        let path = path_of(home, &self.digest());
        let failed = |e: &dyn std::fmt::Display| Failure::file(&path, e);
        let (private_key, key_file) = match &self.subject {
            Subject::Fresh(key) => {
                let text = key.to_openssh(LineEnding::LF).map_err(|e| failed(&e))?;
                (Some(text.to_string()), None)
            }
            Subject::File(file) => (None, Some(file.path.clone())),
        };
        let stored = Stored {
            v: 1,
            request: text_of(&self.request).map_err(|e| failed(&e))?,
            signature: Base64Bytes(self.request.signature().to_vec()),
            private_key,
            key_file,
            prolongs: self.prolongs,
            keeping: self.keeping,
            until,
        };
        let bytes = serde_json::to_vec(&stored).map(zeroize::Zeroizing::new);
        home::write(&path, &bytes.map_err(|e| failed(&e))?)
    }

    /// Takes its key out of the runtime folder.
    pub(crate) fn forget(&self, home: &Home) -> Result<(), Failure> {
        forget(home, &self.digest())
    }

    fn load(path: &Path, ca: &RootFingerprint, now: UnixTime) -> Option<Grant> {
        let bytes = home::read(path).ok()??;
        let stored: Stored = serde_json::from_slice(&bytes).ok()?;
        if stored.v != 1 || stored.until <= now {
            return None;
        }
        let request = statement::open(stored.request.as_bytes(), &stored.signature.0, ca).ok()?;
        let subject = match (&stored.private_key, &stored.key_file) {
            (Some(text), None) => Subject::Fresh(Box::new(PrivateKey::from_openssh(text).ok()?)),
            (None, Some(path)) => Subject::File(KeyFile::read(path).ok()?),
            _ => return None,
        };
        let grant = Grant { request, subject, prolongs: stored.prolongs, keeping: stored.keeping };
        (grant.subject.public().ok()? == grant.request.body().key).then_some(grant)
    }
}

/// The signed bytes, which are one line of text.
fn text_of(request: &Verified<Request>) -> Result<String, std::string::FromUtf8Error> {
    String::from_utf8(request.bytes().to_vec())
}

/// Every `login@host` of a request.
pub(crate) fn principals(request: &Request) -> Vec<Principal> {
    lifecycle::principals(&request.hosts, &request.logins)
}

fn path_of(home: &Home, digest: &Digest) -> PathBuf {
    home.runtime(FOLDER).join(format!("{digest}.json"))
}

/// Takes the key of one request out of the runtime folder.
pub(crate) fn forget(home: &Home, digest: &Digest) -> Result<(), Failure> {
    home::remove(&path_of(home, digest))
}

/// Everything kept for this CA, oldest request first. What is over, or unreadable, is removed.
pub(crate) fn list(
    home: &Home,
    ca: &RootFingerprint,
    now: UnixTime,
) -> Result<Vec<Grant>, Failure> {
    let mut grants = Vec::new();
    for path in home::files_of(&home.runtime(FOLDER))? {
        match Grant::load(&path, ca, now) {
            Some(grant) => grants.push(grant),
            None => home::remove(&path)?,
        }
    }
    grants.sort_by_key(|grant| grant.request.body().at);
    Ok(grants)
}

/// What is kept of the request that is named so; nothing where several could be meant.
pub(crate) fn find(
    home: &Home,
    ca: &RootFingerprint,
    named: &RequestRef,
    now: UnixTime,
) -> Result<Option<Grant>, Failure> {
    let mut found = list(home, ca, now)?;
    found.retain(|grant| named.names(&grant.request));
    Ok(found.pop().filter(|_| found.is_empty()))
}

/// Removes all that is kept of a request: its key, its certificate in a file, and that it is live.
pub(crate) fn forget_access(home: &Home, digest: &Digest) -> Result<(), Failure> {
    held::files::remove_request(home, digest.short_id().as_str())?;
    notes::forget(home, digest)?;
    forget(home, digest)
}

/// Removes every key of a request from the runtime folder, and what was noted; gives how many keys.
pub(crate) fn forget_all(home: &Home) -> Result<usize, Failure> {
    let keys = home::files_of(&home.runtime(FOLDER))?;
    for path in keys.iter().chain(&notes::files(home)?) {
        home::remove(path)?;
    }
    Ok(keys.len())
}

#[cfg(test)]
pub(crate) mod tests;
