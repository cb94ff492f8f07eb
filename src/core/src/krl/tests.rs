use std::num::NonZeroU16;

use ed25519_dalek::Signer as _;

use super::*;
use crate::log::{Checkpoint, EMPTY_ROOT, SignedCheckpoint};
use crate::testkit::{LOG_NAME, START, World};

fn serial(index: u64) -> Serial {
    Serial::new(NonZeroU16::MIN, index).unwrap()
}

fn list(world: &World, indexes: &[u64]) -> Krl {
    Krl::new(9, START, world.ca_key(), indexes.iter().map(|index| serial(*index)).collect())
}

fn note(world: &World, krl: &Krl) -> String {
    sign(krl, &world.log_key(), |text| world.log.sign(text).to_bytes()).unwrap()
}

#[test]
fn a_list_parses_back_and_has_one_encoding() {
    let world = World::default();
    for indexes in [&[][..], &[5], &[7, 3, 1 << 40]] {
        let krl = list(&world, indexes);
        let bytes = krl.to_bytes();
        assert_eq!(Krl::parse(&bytes).unwrap(), krl);
        for cut in 0..bytes.len() {
            assert_eq!(Krl::parse(&bytes[..cut]), Err(KrlError::Form), "cut at {cut}");
        }
        assert_eq!(Krl::parse(&[&bytes[..], &[0]].concat()), Err(KrlError::Form));
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            // What is still a list says something else: the note's signature tells.
            assert_ne!(Krl::parse(&bad).ok(), Some(krl.clone()), "byte {place}");
        }
    }
    // In another order, and with a repeat: OpenSSH would read it, we do not.
    let good = list(&world, &[3, 7]).to_bytes();
    let at = good.len() - 16;
    let (head, serials) = good.split_at(at);
    let (three, seven) = serials.split_at(8);
    assert!(Krl::parse(&[head, three, seven].concat()).is_ok());
    assert_eq!(Krl::parse(&[head, seven, three].concat()), Err(KrlError::Form));
    assert_eq!(Krl::parse(&[head, three, three].concat()), Err(KrlError::Form));
    // Serial 0 can not be revoked.
    assert_eq!(Krl::parse(&[head, &[0; 8], seven].concat()), Err(KrlError::Form));
}

#[test]
fn only_the_log_key_makes_a_list_believed() {
    let world = World::default();
    let krl = list(&world, &[5]);
    let good = note(&world, &krl);
    assert_eq!(open(good.as_bytes(), &world.log_key()).unwrap(), krl);
    // Signed by another key of the same name; for another log; changed; cut short.
    let ca = &world.ca;
    let other = VerifierKey::new(LOG_NAME, ca.verifying_key().as_bytes()).unwrap();
    let foreign = sign(&krl, &other, |text| ca.sign(text).to_bytes()).unwrap();
    assert!(matches!(open(foreign.as_bytes(), &world.log_key()), Err(KrlError::Note(_))));
    assert!(open(good.as_bytes(), &other).is_err());
    assert!(open(good.replace("\n9\n", "\n8\n").as_bytes(), &world.log_key()).is_err());
    assert!(open(&good.as_bytes()[..good.len() - 9], &world.log_key()).is_err());
}

#[test]
fn what_the_key_signed_of_another_form_is_no_list() {
    let world = World::default();
    let key = world.log_key();
    let signed = |text: &str| {
        let signature = world.log.sign(text.as_bytes()).to_bytes();
        Note::assemble(text, &key, signature).unwrap().to_string()
    };
    let text = sign_text(&list(&world, &[5]), &key);
    assert!(open(signed(&text).as_bytes(), &key).is_ok());
    for (bad, why) in [
        (text.replace("\n9\n", "\n8\n"), "version"),
        (text.replace("\n9\n", "\n09\n"), "version"),
        (text.replace(&START.to_string(), "1790000001"), "date"),
        (format!("{text}more\n"), "four lines"),
        (text.replacen("/krl\n", "/other\n", 1), "other"),
        (text.replacen("/krl\n", "\n", 1), LOG_NAME),
        (text.replace("U1NIS1JM", "%%%%%%%%"), "base64"),
    ] {
        assert_ne!(bad, text);
        let error = open(signed(&bad).as_bytes(), &key).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn a_list_is_never_taken_for_a_checkpoint_nor_the_other_way_round() {
    let world = World::default();
    let key = world.log_key();
    let sign_bytes = |text: &[u8]| world.log.sign(text).to_bytes();
    for indexes in [&[][..], &[5]] {
        let list = note(&world, &list(&world, indexes));
        assert!(open(list.as_bytes(), &key).is_ok());
        assert!(matches!(
            SignedCheckpoint::open(list.as_bytes(), &key),
            Err(NoteError::Checkpoint(_))
        ));
    }
    let checkpoint = Checkpoint::new(LOG_NAME, 9, EMPTY_ROOT).unwrap();
    let signed = SignedCheckpoint::sign(checkpoint, &key, sign_bytes).unwrap();
    assert!(SignedCheckpoint::open(signed.note().as_bytes(), &key).is_ok());
    assert!(matches!(open(signed.note().as_bytes(), &key), Err(KrlError::Text(_))));
    // The first lines differ, even where somebody would read on leniently.
    let text = sign_text(&list(&world, &[]), &key);
    assert_ne!(text.lines().next(), Some(LOG_NAME));
}

#[test]
fn a_long_list_is_read_and_an_endless_one_is_not() {
    let world = World::default();
    let all: Vec<u64> = (1..100_000).collect();
    let long = note(&world, &list(&world, &all));
    assert_eq!(open(long.as_bytes(), &world.log_key()).unwrap().serials().len(), all.len());
    let endless = [long.as_bytes(), &vec![b'\n'; MAX_NOTE]].concat();
    assert!(open(&endless, &world.log_key()).is_err());
}
