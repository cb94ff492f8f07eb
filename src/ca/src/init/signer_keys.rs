//! The signer's folder with fresh keys, as `jit_ssh_signer::keys` reads it: only what `init` does
//! once, so it is no part of the process that holds the keys afterwards.

use std::num::NonZeroU16;
use std::path::Path;

use anyhow::Context as _;
use jit_ssh_core::key::{CaKey, HostCaKey};
use jit_ssh_core::log::VerifierKey;
use jit_ssh_core::root::Root;
use jit_ssh_signer::keys::{self, Identity};
use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
use zeroize::Zeroizing;

use super::state::{private_folder, write};

/// The public halves of a signer's keys: what `signers.toml` lists.
#[derive(Debug, Clone)]
pub(super) struct PublicKeys {
    /// Certifies.
    pub(super) ca_key: CaKey,
    /// Certifies hosts.
    pub(super) host_ca_key: HostCaKey,
    /// Signs log checkpoints and revocation lists.
    pub(super) log_key: VerifierKey,
}

/// Makes a signer's folder with fresh keys.
///
/// # Errors
/// If the folder is there already: keys are never overwritten.
pub(super) fn create(
    dir: &Path,
    number: NonZeroU16,
    log_name: &str,
    root: &Root,
) -> anyhow::Result<PublicKeys> {
    private_folder(dir)?;
    for name in [keys::CA_KEY, keys::HOST_CA_KEY, keys::LOG_KEY] {
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        let pem = PrivateKey::new(pair, "jit-ssh")?.to_openssh(LineEnding::LF)?;
        write(&dir.join(name), pem.as_bytes(), 0o600)?;
    }
    let identity = serde_json::to_vec(&Identity::new(number, log_name))?;
    write(&dir.join(keys::IDENTITY), &identity, 0o600)?;
    write(&dir.join(keys::ROOT), &root.to_bytes(), 0o600)?;
    // As the signer will read it: what it could not use is not listed.
    let made = keys::load(dir)?;
    let host_ca_key = made.host_ca_key.context("the host CA key was not made")?;
    Ok(PublicKeys { ca_key: made.ca_key, host_ca_key, log_key: made.log.verifier().clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkeys::public;
    use jit_ssh_core::root::Admin;

    #[test]
    fn created_keys_load_are_never_the_same_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin { id: "ann".parse().unwrap(), key: public(1) };
        let root = Root::new(vec![admin], 1, String::new()).unwrap();
        let make =
            |name: &str| create(&dir.path().join(name), NonZeroU16::MIN, "jit-ssh/test/1", &root);
        let (one, two) = (make("one").unwrap(), make("two").unwrap());
        assert_ne!(one.ca_key, two.ca_key);
        assert_ne!(one.log_key, two.log_key);
        assert_ne!(one.host_ca_key, two.host_ca_key);
        assert_ne!(one.host_ca_key.to_string(), one.ca_key.to_string());
        let before = keys::load(&dir.path().join("one")).unwrap();
        assert_eq!(
            (&before.ca_key, before.host_ca_key.as_ref()),
            (&one.ca_key, Some(&one.host_ca_key))
        );
        assert_eq!(*before.log.verifier(), one.log_key);
        assert!(make("one").is_err());
        assert_eq!(keys::load(&dir.path().join("one")).unwrap().ca_key, one.ca_key);
    }
}
