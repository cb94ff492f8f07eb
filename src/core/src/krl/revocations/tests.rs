use std::num::NonZeroU16;

use super::*;
use crate::certificate::Serial;
use crate::key::CaKey;
use crate::krl::Krl;
use crate::testkit::{START, World, software_key};
use crate::time::UnixTime;
use crate::wire::Writer;

const KEY: [u8; 32] = [7; 32];

fn named<'a>(ca: &'a [u8], serial: u64, key_id: &'a str) -> Named<'a> {
    Named { ca, serial, key_id, key_sha256: &KEY }
}

/// A list with these sections, as (kind, data).
fn list(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(MAGIC).u32(1).u64(3).u64(START.0).u64(0).string(b"").string(b"by hand");
    for (kind, data) in sections {
        out.raw(&[*kind]).string(data);
    }
    out.into_bytes()
}

fn certificates(ca: &[u8], parts: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    let mut out = Writer::default();
    out.string(ca).string(b"");
    for (kind, data) in parts {
        out.raw(&[*kind]).string(data);
    }
    (1, out.into_bytes())
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn what_a_signer_publishes_revokes_its_serials_under_its_key_and_nothing_else() {
    let world = World::default();
    let serial = |index| Serial::new(NonZeroU16::MIN, index).unwrap();
    let serials = [3, 4, 9].map(serial).into_iter().collect();
    let krl = Krl::new(9, START, world.ca_key(), serials);
    let read = Revocations::parse(&krl.to_bytes()).unwrap();
    assert_eq!(read.version(), 9);
    let ca = world.ca_key();
    for (index, expected) in [(2, false), (3, true), (4, true), (5, false), (9, true), (10, false)]
    {
        let serial = serial(index).get();
        assert_eq!(read.revokes(named(ca.blob(), serial, "x")), expected, "{index}");
        assert!(!read.revokes(named(b"another key", serial, "x")));
    }
    let empty = Krl::new(0, START, world.ca_key(), [].into()).to_bytes();
    assert!(!Revocations::parse(&empty).unwrap().revokes(named(ca.blob(), serial(3).get(), "x")));
}

#[test]
fn the_lists_of_several_signers_are_one_file_in_which_each_keeps_to_its_key() {
    let other = software_key(9).0.verifying_key();
    let (one, two) = (World::default().ca_key(), CaKey::from_ed25519(other.as_bytes()).unwrap());
    let list = |version, key: &CaKey, index| {
        let serials = [Serial::new(NonZeroU16::MIN, index).unwrap()].into();
        Krl::new(version, UnixTime(START.0 + version), key.clone(), serials)
    };
    let joined = Krl::join([&list(3, &one, 5), &list(8, &two, 6)]);
    let read = Revocations::parse(&joined).unwrap();
    assert_eq!(read.version(), 8);
    let serial = |index| Serial::new(NonZeroU16::MIN, index).unwrap().get();
    for (key, index, expected) in
        [(&one, 5, true), (&one, 6, false), (&two, 6, true), (&two, 5, false)]
    {
        assert_eq!(read.revokes(named(key.blob(), serial(index), "x")), expected, "{index}");
    }
    assert!(Krl::parse(&joined).is_err(), "no signer publishes such a list");
    let none = Revocations::parse(&Krl::join([])).unwrap();
    assert!(!none.revokes(named(one.blob(), serial(5), "x")));
}

#[test]
fn several_sections_and_every_way_to_name_a_certificate_are_understood() {
    let bitmap = [&5u64.to_be_bytes()[..], &[0, 0, 0, 2, 0b1, 0b1000_0001]].concat();
    let mut id = Writer::default();
    id.string(b"alice/abcdefghjk/1");
    let bytes = list(&[
        certificates(b"one", &[(0x20, numbers(&[100, 7])), (0x21, numbers(&[20, 22]))]),
        certificates(b"two", &[(0x22, bitmap)]),
        certificates(b"", &[(0x23, id.into_bytes())]),
    ]);
    let read = Revocations::parse(&bytes).unwrap();
    let revoked = |ca: &[u8], serial| read.revokes(named(ca, serial, "bob/abcdefghjk/1"));
    for (serial, expected) in
        [(7, true), (100, true), (19, false), (20, true), (21, true), (22, true), (23, false)]
    {
        assert_eq!(revoked(b"one", serial), expected, "one {serial}");
    }
    for (serial, expected) in
        [(4, false), (5, true), (6, false), (12, true), (13, true), (14, false)]
    {
        assert_eq!(revoked(b"two", serial), expected, "two {serial}");
    }
    assert!(read.revokes(named(b"any", 1, "alice/abcdefghjk/1")));
    assert!(!read.revokes(named(b"any", 1, "alice/abcdefghjk/2")));
}

#[test]
fn keys_are_revoked_by_themselves_and_by_their_hash_and_so_is_a_ca() {
    let blob = b"a CA's key".to_vec();
    let mut explicit = Writer::default();
    explicit.string(&blob);
    let by_key = Revocations::parse(&list(&[(2, explicit.into_bytes())])).unwrap();
    assert!(by_key.revokes(named(&blob, 1, "x")) && !by_key.revokes(named(b"other", 1, "x")));
    let mut hashes = Writer::default();
    hashes.string(&KEY);
    let by_hash = Revocations::parse(&list(&[(5, hashes.into_bytes())])).unwrap();
    let other = Named { key_sha256: &[8; 32], ..named(b"ca", 1, "x") };
    assert!(by_hash.revokes(named(b"ca", 1, "x")) && !by_hash.revokes(other));
}

#[test]
fn a_range_to_the_end_of_all_serials_does_not_overflow_and_serial_zero_is_never_meant() {
    let bytes =
        list(&[certificates(b"", &[(0x21, numbers(&[0, u64::MAX])), (0x20, numbers(&[1]))])]);
    let read = Revocations::parse(&bytes).unwrap();
    assert!(read.revokes(named(b"a", u64::MAX, "x")) && read.revokes(named(b"a", 1, "x")));
    assert!(!read.revokes(named(b"a", 0, "x")));
}

#[test]
fn what_is_cut_short_or_not_understood_is_refused() {
    let good = list(&[certificates(b"one", &[(0x20, numbers(&[7]))])]);
    assert!(Revocations::parse(&good).is_ok());
    // The header alone is a list that revokes nothing, as for sshd.
    let header = list(&[]).len();
    for cut in (0..good.len()).filter(|cut| *cut != header) {
        assert_eq!(Revocations::parse(&good[..cut]), Err(Form), "cut at {cut}");
    }
    assert_eq!(Revocations::parse(&[]), Err(Form));
    for (bad, why) in [
        (list(&[certificates(b"one", &[(0x20, vec![0; 9])])]), "form"),
        (list(&[certificates(b"one", &[(0x21, numbers(&[9, 8]))])]), "form"),
        (list(&[certificates(b"one", &[(0x39, vec![])])]), "unknown"),
        (list(&[(3, vec![])]), "unknown"),
        (list(&[(4, vec![])]), "unknown"),
        (list(&[(5, vec![0, 0, 0, 1, 9])]), "form"),
        (list(&[(255, vec![])]), "unknown"),
        (good.iter().enumerate().map(|(at, b)| if at == 11 { 2 } else { *b }).collect(), "unknown"),
    ] {
        match (Revocations::parse(&bad), why) {
            (Err(Form), "form") | (Err(Unknown(_)), "unknown") => {}
            (other, _) => panic!("{why}: {other:?}"),
        }
    }
    let beyond = [&u64::MAX.to_be_bytes()[..], &[0, 0, 0, 1, 2]].concat();
    assert_eq!(Revocations::parse(&list(&[certificates(b"", &[(0x22, beyond)])])), Err(Form));
    assert_eq!(Revocations::parse(&vec![0; MAX_NOTE + 1]), Err(TooLarge));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = Revocations::parse(&[list(&[]), tail].concat());
    }
}
