//! Where the signer's keys lie: `STATE/signer/`, readable by nobody else. `jit-ssh-ca init` makes them.
//!
//! - `ca_key`, `log_key`: Ed25519, OpenSSH private key files, mode 0600;
//! - `host_ca_key`: the same; without it there are no host certificates;
//! - `signer.json`: the signer's number and its log's name;
//! - `root.json`: its own copy of the root.

use std::fs;
use std::num::NonZeroU16;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use jit_ssh_core::certificate::Linted;
use jit_ssh_core::certificate::host::HostLinted;
use jit_ssh_core::key::{CaKey, HostCaKey};
use jit_ssh_core::root::Root;
use serde::{Deserialize, Serialize};
use ssh_key::private::{KeypairData, PrivateKey};
use zeroize::Zeroizing;

use crate::log::LogKey;

/// The file of the CA key.
pub const CA_KEY: &str = "ca_key";
/// The file of the host CA key. It may be missing: a signer of before there were host certificates.
pub const HOST_CA_KEY: &str = "host_ca_key";
/// The file of the log key.
pub const LOG_KEY: &str = "log_key";
/// The file of the signer's number and its log's name.
pub const IDENTITY: &str = "signer.json";
/// The file of the root.
pub const ROOT: &str = "root.json";

/// All the signer holds. No `Debug`: two of its fields are secrets, wiped when dropped.
pub struct Keys {
    /// The signer's number.
    pub number: NonZeroU16,
    /// The user CA key.
    pub ca: UserCa,
    /// Its public half.
    pub ca_key: CaKey,
    /// The host CA key, if there is one.
    pub host_ca: Option<HostCa>,
    /// Its public half.
    pub host_ca_key: Option<HostCaKey>,
    /// The log key.
    pub log: LogKey,
    /// The root of trust.
    pub root: Root,
}

/// The user CA key. It signs what passed the lint of user certificates and nothing else.
pub struct UserCa(SigningKey);

/// The host CA key. It signs what passed the lint of host certificates and nothing else.
pub struct HostCa(SigningKey);

impl UserCa {
    /// The key with this seed.
    pub fn new(key: SigningKey) -> UserCa {
        UserCa(key)
    }

    /// Signs a user certificate; `None` if the signature does not verify, which is broken hardware.
    pub(crate) fn sign(&self, tbs: &Linted) -> Option<[u8; 64]> {
        sign(&self.0, tbs.bytes())
    }
}

impl HostCa {
    /// The key with this seed.
    pub fn new(key: SigningKey) -> HostCa {
        HostCa(key)
    }

    /// Signs a host certificate; `None` if the signature does not verify, which is broken hardware.
    pub(crate) fn sign(&self, tbs: &HostLinted) -> Option<[u8; 64]> {
        sign(&self.0, tbs.bytes())
    }
}

fn sign(key: &SigningKey, bytes: &[u8]) -> Option<[u8; 64]> {
    let signature = key.sign(bytes);
    let sound = key.verifying_key().verify_strict(bytes, &signature).is_ok();
    sound.then(|| signature.to_bytes())
}

/// What `signer.json` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    v: u8,
    number: NonZeroU16,
    log: String,
}

impl Identity {
    /// The signer with this number, whose log has this name.
    pub fn new(number: NonZeroU16, log: &str) -> Identity {
        Identity { v: 1, number, log: log.to_owned() }
    }
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
    let host_ca = dir.join(HOST_CA_KEY);
    let host_ca = if host_ca.exists() { Some(read_seed(&host_ca)?) } else { None };
    if let Some(seed) = &host_ca {
        ensure!(**seed != ca.to_bytes(), "the CA key and the host CA key must not be the same");
        ensure!(**seed != *log_seed, "the host CA key and the log key must not be the same");
    }
    let host_ca = host_ca.map(|seed| SigningKey::from_bytes(&seed));
    let point = host_ca.as_ref().map(SigningKey::verifying_key);
    Ok(Keys {
        number: identity.number,
        ca_key: CaKey::from_ed25519(ca.verifying_key().as_bytes())?,
        ca: UserCa(ca),
        host_ca_key: point.map(|point| HostCaKey::from_ed25519(point.as_bytes())).transpose()?,
        host_ca: host_ca.map(HostCa),
        log: LogKey::from_seed(&identity.log, &log_seed)?,
        root: Root::parse(&read(ROOT)?)?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use jit_ssh_core::testkit::World;
    use ssh_key::LineEnding;
    use ssh_key::private::Ed25519Keypair;
    use std::os::unix::fs::PermissionsExt as _;

    /// A signer's folder with keys from these seeds.
    fn folder(ca: u8, log: u8) -> tempfile::TempDir {
        folder_with(&[(CA_KEY, ca), (LOG_KEY, log)])
    }

    fn folder_with(keys: &[(&str, u8)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for &(name, seed) in keys {
            let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32]));
            let pem = PrivateKey::new(pair, "x").unwrap().to_openssh(LineEnding::LF).unwrap();
            let path = dir.path().join(name);
            fs::write(&path, pem.as_bytes()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let identity = Identity::new(NonZeroU16::MIN, "jit-ssh/test/1");
        fs::write(dir.path().join(IDENTITY), serde_json::to_vec(&identity).unwrap()).unwrap();
        fs::write(dir.path().join(ROOT), World::default().root.to_bytes()).unwrap();
        dir
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = folder(1, 2);
        let path = dir.path().join(CA_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(dir.path()).err().unwrap().to_string().contains("0600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load(dir.path()).is_ok());
    }

    #[test]
    fn one_key_for_both_purposes_is_refused() {
        assert!(load(folder(1, 2).path()).is_ok());
        assert!(load(folder(1, 1).path()).err().unwrap().to_string().contains("the same"));
    }

    #[test]
    fn a_host_ca_key_is_optional_its_own_and_as_private_as_the_others() {
        let with = |seed| folder_with(&[(CA_KEY, 1), (LOG_KEY, 2), (HOST_CA_KEY, seed)]);
        assert!(load(folder(1, 2).path()).unwrap().host_ca_key.is_none());
        let dir = with(3);
        assert!(load(dir.path()).unwrap().host_ca_key.is_some());
        for same in [1, 2] {
            assert!(load(with(same).path()).err().unwrap().to_string().contains("the same"));
        }
        let path = dir.path().join(HOST_CA_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(dir.path()).err().unwrap().to_string().contains("0600"));
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load(dir.path()).is_err(), "a damaged key is not the same as none");
    }
}
