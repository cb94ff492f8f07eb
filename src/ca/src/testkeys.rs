//! Keys made from a seed, and statements signed with them, for the tests of this crate.

use jit_ssh_core::key::{CaKey, SignerKey};
use jit_ssh_core::statement::{self, Body};
use ssh_key::encoding::Encode as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, PrivateKey};

/// A software Ed25519 key.
pub(crate) fn private(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "x").unwrap()
}

/// Its public half.
pub(crate) fn public(seed: u8) -> SignerKey {
    SignerKey::from_blob(&private(seed).public_key().to_bytes().unwrap()).unwrap()
}

/// Its public half as a CA key.
pub(crate) fn ca_key(seed: u8) -> CaKey {
    public(seed).to_string().parse().unwrap()
}

/// The SSHSIG blob of that key over the statement's bytes.
pub(crate) fn sign<T: Body>(seed: u8, bytes: &[u8]) -> Vec<u8> {
    private(seed).sign(T::KIND.namespace(), HashAlg::Sha512, bytes).unwrap().encode_vec().unwrap()
}

/// A statement's bytes and its signature.
pub(crate) fn signed<T: Body>(seed: u8, body: &T) -> (Vec<u8>, Vec<u8>) {
    let bytes = statement::encode(body).unwrap();
    let signature = sign::<T>(seed, &bytes);
    (bytes, signature)
}
