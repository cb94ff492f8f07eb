//! Where the signer's keys lie: `STATE/signer/`, readable by nobody else.
//!
//! - `ca_key`, `log_key`: Ed25519, OpenSSH private key files, mode 0600;
//! - `signer.json`: the signer's number and its log's name;
//! - `root.json`: its own copy of the root.

use std::fs;
use std::io::Write as _;
use std::num::NonZeroU16;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use ed25519_dalek::SigningKey;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::log::VerifierKey;
use jit_ssh_core::root::Root;
use serde::{Deserialize, Serialize};
use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
use zeroize::Zeroizing;

use crate::log::LogKey;

const CA_KEY: &str = "ca_key";
const LOG_KEY: &str = "log_key";
const IDENTITY: &str = "signer.json";
const ROOT: &str = "root.json";

/// The public halves of a signer's keys: what `signers.toml` lists.
#[derive(Debug, Clone)]
pub struct PublicKeys {
    /// Certifies.
    pub ca_key: CaKey,
    /// Signs log checkpoints.
    pub log_key: VerifierKey,
}

/// All the signer holds. No `Debug`: two of its fields are secrets, wiped when dropped.
pub struct Keys {
    /// The signer's number.
    pub number: NonZeroU16,
    /// The user CA key.
    pub ca: SigningKey,
    /// Its public half.
    pub ca_key: CaKey,
    /// The log key.
    pub log: LogKey,
    /// The root of trust.
    pub root: Root,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    v: u8,
    number: NonZeroU16,
    log: String,
}

/// Makes a signer's folder with fresh keys.
///
/// # Errors
/// If the folder has keys already: they are never overwritten.
pub fn create(
    dir: &Path,
    number: NonZeroU16,
    log_name: &str,
    root: &Root,
) -> anyhow::Result<PublicKeys> {
    if !dir.exists() {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    }
    let ca_seed = new_seed(&dir.join(CA_KEY))?;
    let log_seed = new_seed(&dir.join(LOG_KEY))?;
    let identity = serde_json::to_vec(&Identity { v: 1, number, log: log_name.to_owned() })?;
    write_new(&dir.join(IDENTITY), &identity)?;
    write_new(&dir.join(ROOT), &root.to_bytes())?;
    let ca = SigningKey::from_bytes(&ca_seed);
    Ok(PublicKeys {
        ca_key: CaKey::from_ed25519(ca.verifying_key().as_bytes())?,
        log_key: LogKey::from_seed(log_name, &log_seed)?.verifier().clone(),
    })
}

/// Reads a signer's folder.
///
/// # Errors
/// If something is missing, malformed, or readable by others.
pub fn load(dir: &Path) -> anyhow::Result<Keys> {
    let read = |name: &str| {
        fs::read(dir.join(name))
            .with_context(|| format!("cannot read {}", dir.join(name).display()))
    };
    let identity: Identity =
        serde_json::from_slice(&read(IDENTITY)?).context("signer.json is malformed")?;
    ensure!(identity.v == 1, "signer.json has version {}; this is version 1", identity.v);
    let ca = SigningKey::from_bytes(&*read_seed(&dir.join(CA_KEY))?);
    let log_seed = read_seed(&dir.join(LOG_KEY))?;
    ensure!(ca.to_bytes() != *log_seed, "the CA key and the log key must not be the same");
    Ok(Keys {
        number: identity.number,
        ca_key: CaKey::from_ed25519(ca.verifying_key().as_bytes())?,
        ca,
        log: LogKey::from_seed(&identity.log, &log_seed)?,
        root: Root::parse(&read(ROOT)?)?,
    })
}

fn new_seed(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *seed).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let pair = Ed25519Keypair::from_seed(&seed);
    let pem = PrivateKey::new(KeypairData::Ed25519(pair), "jit-ssh")?.to_openssh(LineEnding::LF)?;
    write_new(path, pem.as_bytes())?;
    Ok(seed)
}

fn read_seed(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    use std::os::unix::fs::MetadataExt as _;
    let shown = path.display();
    let mode = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.mode();
    if mode & 0o077 != 0 {
        bail!("{shown} can be read by others (mode {:o}); make it 0600", mode & 0o777);
    }
    let pem = Zeroizing::new(fs::read(path).with_context(|| format!("cannot read {shown}"))?);
    let key = PrivateKey::from_openssh(&*pem)
        .map_err(|_| anyhow::anyhow!("{shown} is not an OpenSSH private key"))?;
    match key.key_data() {
        KeypairData::Ed25519(pair) => Ok(Zeroizing::new(pair.private.to_bytes())),
        _ => bail!("{shown} is not an unencrypted Ed25519 key"),
    }
}

fn write_new(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_ssh_core::root::Admin;
    use std::os::unix::fs::PermissionsExt as _;

    fn root() -> Root {
        let key = SigningKey::from_bytes(&[9; 32]);
        let line = CaKey::from_ed25519(key.verifying_key().as_bytes()).unwrap().to_string();
        let admin = Admin { id: "ann".parse().unwrap(), key: line.parse().unwrap() };
        Root::new(vec![admin], 1, String::new()).unwrap()
    }

    #[test]
    fn created_keys_load_and_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let one = NonZeroU16::MIN;
        let public = create(dir.path(), one, "jit-ssh/test/1", &root()).unwrap();
        let keys = load(dir.path()).unwrap();
        assert_eq!(keys.ca_key, public.ca_key);
        assert_eq!(keys.log.verifier().to_string(), public.log_key.to_string());
        assert!(create(dir.path(), one, "jit-ssh/test/1", &root()).is_err());
        assert_eq!(load(dir.path()).unwrap().ca_key, public.ca_key);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), NonZeroU16::MIN, "jit-ssh/test/1", &root()).unwrap();
        let path = dir.path().join(CA_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(dir.path()).err().unwrap().to_string().contains("0600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load(dir.path()).is_ok());
    }
}
