use super::*;
use crate::testkit::software_key;

#[test]
fn signer_keys_parse_with_a_comment_and_refuse_what_may_not_sign() {
    let line = software_key(1).1.to_string();
    let key: SignerKey = line.parse().unwrap();
    assert_eq!(key, format!("{line} alice@laptop").parse().unwrap());
    assert_eq!(key.to_string(), line);
    let cert = line.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com ");
    assert!(matches!(cert.parse::<SignerKey>(), Err(KeyError::Certificate(_))));
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ";
    assert_eq!(rsa.parse::<SignerKey>().unwrap_err(), KeyError::Rsa);
    for bad in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!",
        &line.replace("ssh-ed25519 ", "ssh-ed448 "),
        &line[..line.len() - 4],
    ] {
        assert!(bad.parse::<SignerKey>().is_err(), "{bad}");
    }
}

#[test]
fn a_weak_point_is_refused_as_signer_subject_and_ca() {
    let mut blob = wire::Writer::default();
    let mut identity = [0u8; 32];
    identity[0] = 1;
    blob.string(b"ssh-ed25519").string(&identity);
    let line = format!("ssh-ed25519 {}", Base64::encode_string(&blob.into_bytes()));
    assert_eq!(line.parse::<SignerKey>().unwrap_err(), KeyError::Weak);
    assert_eq!(line.parse::<SubjectKey>().unwrap_err(), KeyError::Weak);
    assert_eq!(line.parse::<CaKey>().unwrap_err(), KeyError::Weak);
}

#[test]
fn a_subject_key_has_one_spelling() {
    let line = software_key(2).1.to_string();
    assert!(line.parse::<SubjectKey>().is_ok());
    assert_eq!(format!("{line} c").parse::<SubjectKey>().unwrap_err(), KeyError::NotCanonical);
    assert!(format!(" {line}").parse::<SubjectKey>().is_err());
}

#[test]
fn every_small_order_encoding_is_a_weak_point_or_none_and_is_refused_as_subject() {
    for y in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut bytes = y;
            bytes[31] |= sign;
            assert!(check_order(&bytes).is_err());
            // The foreign judge: what decompresses of these is weak.
            let weak = VerifyingKey::from_bytes(&bytes).map_or(true, |point| point.is_weak());
            assert!(weak, "{bytes:02x?}");
        }
    }
    for seed in 0..64 {
        assert!(check_order(software_key(seed).0.verifying_key().as_bytes()).is_ok());
    }
}

#[test]
fn known_keys_are_bounded_and_refuse_what_parsing_refuses() {
    let mut keys = KnownKeys::default();
    let key = software_key(1).1;
    assert_eq!(keys.key(key.blob()).unwrap(), key);
    assert_eq!(keys.key(key.blob()).unwrap(), key);
    assert!(keys.key(b"junk").is_err());
    assert!(keys.key(b"junk").is_err(), "a refusal is not remembered as a key");
}
