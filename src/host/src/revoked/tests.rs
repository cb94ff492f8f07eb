use std::collections::BTreeSet;
use std::process::Command;

use ed25519_dalek::{Signer as _, SigningKey};
use jit_ssh_api::v1::SignedKrl;
use jit_ssh_core::certificate::Serial;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::time::UnixTime;

use super::*;

/// A signer with CA and log keys of its own.
pub(crate) struct Signer {
    number: NonZeroU16,
    ca: SigningKey,
    log: SigningKey,
}

impl Signer {
    pub(crate) fn new(number: u8) -> Signer {
        let key = |salt: u8| SigningKey::from_bytes(&[number ^ salt; 32]);
        Signer { number: u16::from(number).try_into().unwrap(), ca: key(64), log: key(128) }
    }

    pub(crate) fn ca_key(&self) -> CaKey {
        CaKey::from_ed25519(self.ca.verifying_key().as_bytes()).unwrap()
    }

    fn log_key(&self) -> VerifierKey {
        let name = format!("ca.example/{}", self.number);
        VerifierKey::new(&name, self.log.verifying_key().as_bytes()).unwrap()
    }

    pub(crate) fn krl(&self, version: u64, serials: &[u64]) -> Krl {
        let serials: BTreeSet<Serial> =
            serials.iter().map(|index| Serial::new(self.number, *index).unwrap()).collect();
        Krl::new(version, UnixTime(version), self.ca_key(), serials)
    }

    pub(crate) fn signed(&self, krl: &Krl) -> SignedKrl {
        let sign = |text: &[u8]| self.log.sign(text).to_bytes();
        let note = krl::sign(krl, &self.log_key(), sign).unwrap();
        let signer = u32::from(self.number.get());
        SignedKrl { signer, krl: krl.to_bytes().into(), note: note.into_bytes().into() }
    }
}

pub(crate) fn signers(of: &[&Signer]) -> Signers {
    let toml = |signer: &&Signer| {
        let (number, ca, log) = (signer.number, signer.ca_key(), signer.log_key());
        format!("[[signer]]\nnumber = {number}\nca_key = \"{ca}\"\nlog_key = \"{log}\"\n")
    };
    let text: String = of.iter().map(toml).collect();
    Signers::parse(text.as_bytes()).map_err(|problems| problems.to_string()).unwrap()
}

fn lists(of: &[&Signer], krls: Vec<SignedKrl>) -> Result<Lists, String> {
    Lists::verified(&signers(of), &GetKrlResponse { krls })
}

/// What ssh-keygen reads in a file.
fn listed(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked.krl");
    std::fs::write(&path, bytes).unwrap();
    let said = Command::new("ssh-keygen").args(["-Q", "-l", "-f"]).arg(path).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn a_list_is_believed_only_if_its_own_signer_signed_it_for_its_own_ca_key() {
    let (one, two) = (Signer::new(1), Signer::new(2));
    let krl = one.krl(3, &[7]);
    assert_eq!(lists(&[&one], vec![one.signed(&krl)]).unwrap().known, std::slice::from_ref(&krl));
    let refusal = |sent: SignedKrl| lists(&[&one], vec![sent]).unwrap_err();
    assert!(refusal(SignedKrl { signer: 1, ..two.signed(&krl) }).contains("not its own"));
    let of_other_key = Krl::new(3, UnixTime(3), two.ca_key(), BTreeSet::new());
    assert!(refusal(one.signed(&of_other_key)).contains("another CA key"));
    let mut cut = one.signed(&krl);
    cut.note.truncate(cut.note.len() - 9);
    assert!(refusal(cut).contains("not its own"));
    // Whom the bundle does not name has no say.
    let beside = vec![one.signed(&krl), two.signed(&two.krl(1, &[]))];
    assert_eq!(lists(&[&one], beside).unwrap().known, [krl]);
}

#[test]
fn one_file_has_the_list_of_every_signer_and_there_is_always_a_valid_one() {
    let (one, two) = (Signer::new(1), Signer::new(2));
    let both = vec![one.signed(&one.krl(3, &[7])), two.signed(&two.krl(1, &[8, 10]))];
    let (bytes, word) = choose(&lists(&[&one, &two], both).unwrap(), None);
    let said = listed(&bytes);
    for (signer, index) in [(1_u64, 7), (2, 8), (2, 10)] {
        let serial = (signer << 48) | index;
        assert!(said.contains(&format!("serial: {serial}")), "{serial}: {said}");
    }
    assert_eq!(word, None);

    let (bytes, word) = choose(&Lists::unknown(&signers(&[&one])), None);
    assert!(!bytes.is_empty() && word.is_some());
    assert!(!listed(&bytes).contains("serial:"));
}

#[test]
fn what_is_in_place_stays_where_it_is_newer_or_the_ca_lacks_a_list() {
    let (one, two) = (Signer::new(1), Signer::new(2));
    let offered = |version: u64| lists(&[&one], vec![one.signed(&one.krl(version, &[7]))]).unwrap();
    let in_place = Krl::join(&[one.krl(5, &[7, 9])]);
    for (version, stays) in [(4, true), (5, false), (6, false)] {
        let (bytes, word) = choose(&offered(version), Some(&in_place));
        assert_eq!((bytes == in_place, word.is_some()), (stays, stays), "{version}");
    }
    let one_of_two = lists(&[&one, &two], vec![one.signed(&one.krl(6, &[7]))]).unwrap();
    assert_eq!(choose(&one_of_two, Some(&in_place)).0, in_place);
    // What sshd could not read is no reason to keep it.
    for broken in [&in_place[..in_place.len() - 1], b"", b"ssh-ed25519 AAAA"] {
        assert_eq!(choose(&offered(4), Some(broken)), (Krl::join(&[one.krl(4, &[7])]), None));
    }
}
