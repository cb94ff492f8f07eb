use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::testkit::software_key;

const NS: &str = "request@jit-ssh";

fn sign(secret: &SigningKey, key_blob: &[u8], namespace: &str, message: &[u8]) -> Vec<u8> {
    let raw = secret.sign(&signed_data(namespace, message)).to_bytes();
    let mut signature = wire::Writer::default();
    signature.string(b"ssh-ed25519").string(&raw);
    assemble(key_blob, namespace, &signature.into_bytes())
}

/// A security key in software: signs what hardware would sign, with the flags we choose.
fn sk_sign(secret: &SigningKey, flags: u8, message: &[u8]) -> Vec<u8> {
    let mut blob = wire::Writer::default();
    blob.string(b"sk-ssh-ed25519@openssh.com")
        .string(secret.verifying_key().as_bytes())
        .string(b"ssh:");
    let mut trailer = vec![flags];
    trailer.extend_from_slice(&7u32.to_be_bytes());
    let mut signed = Sha256::digest(b"ssh:").to_vec();
    signed.extend_from_slice(&trailer);
    signed.extend_from_slice(&Sha256::digest(signed_data(NS, message)));
    let mut signature = wire::Writer::default();
    signature
        .string(b"sk-ssh-ed25519@openssh.com")
        .string(&secret.sign(&signed).to_bytes())
        .raw(&trailer);
    assemble(&blob.into_bytes(), NS, &signature.into_bytes())
}

#[test]
fn a_signature_holds_for_its_message_namespace_and_key_only() {
    let (secret, key) = software_key(1);
    let blob = sign(&secret, key.blob(), NS, b"hello");
    let verified = verify(NS, b"hello", &blob).unwrap();
    assert_eq!(verified, SignedBy { key: key.clone(), presence: Presence::Software });
    assert_eq!(verify(NS, b"hellO", &blob).unwrap_err(), SignatureError::Mismatch);
    assert!(matches!(
        verify("decision@jit-ssh", b"hello", &blob),
        Err(SignatureError::Namespace { .. })
    ));
    let (_, other) = software_key(2);
    let stolen = sign(&secret, other.blob(), NS, b"hello");
    assert_eq!(verify(NS, b"hello", &stolen).unwrap_err(), SignatureError::Mismatch);
}

#[test]
fn every_changed_or_added_byte_is_refused() {
    let (secret, key) = software_key(1);
    let blob = sign(&secret, key.blob(), NS, b"hello");
    for place in 0..blob.len() {
        let mut bad = blob.clone();
        bad[place] ^= 1;
        assert!(verify(NS, b"hello", &bad).is_err(), "byte {place}");
        assert!(verify(NS, b"hello", &blob[..place]).is_err(), "cut at {place}");
    }
    let mut longer = blob.clone();
    longer.push(0);
    assert_eq!(verify(NS, b"hello", &longer).unwrap_err(), SignatureError::Form);
}

#[test]
fn a_security_key_must_have_been_touched() {
    let (secret, _) = software_key(3);
    assert_eq!(
        verify(NS, b"m", &sk_sign(&secret, 0x01, b"m")).unwrap().presence,
        Presence::Touched
    );
    assert_eq!(
        verify(NS, b"m", &sk_sign(&secret, 0x05, b"m")).unwrap().presence,
        Presence::UserVerified
    );
    assert_eq!(
        verify(NS, b"m", &sk_sign(&secret, 0x00, b"m")).unwrap_err(),
        SignatureError::NoPresence
    );
    assert_eq!(
        verify(NS, b"m", &sk_sign(&secret, 0x04, b"m")).unwrap_err(),
        SignatureError::NoPresence
    );
    // The flags are signed: lifting them afterwards breaks the signature.
    let mut lifted = sk_sign(&secret, 0x00, b"m");
    let flags = lifted.len() - 5;
    lifted[flags] = 0x01;
    assert_eq!(verify(NS, b"m", &lifted).unwrap_err(), SignatureError::Mismatch);
}

#[test]
fn a_certificate_as_signing_key_is_refused() {
    let (secret, key) = software_key(1);
    let mut cert = wire::Writer::default();
    cert.string(b"ssh-ed25519-cert-v01@openssh.com").raw(&key.blob()[15..]);
    let blob = sign(&secret, &cert.into_bytes(), NS, b"hello");
    assert!(verify(NS, b"hello", &blob).is_err());
}
