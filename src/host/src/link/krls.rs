//! The newest revocation list of each signer: what comes over the network is believed only if the
//! signer's log key signed it, and never instead of a newer one.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use jit_ssh_api::v1::SignedKrl;
use jit_ssh_core::bundle::Signers;
use jit_ssh_core::krl::Krl;

use crate::revoked::{self, Lists};

/// The newest list of each signer, with the note that proves it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Krls(BTreeMap<NonZeroU16, Proven>);

/// A list, and the note that its signer signed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proven {
    list: Krl,
    note: Vec<u8>,
}

impl Krls {
    /// Takes in what was sent. What does not hold, or is older than what is known, changes nothing;
    /// gives a sentence without its full stop for each.
    pub(crate) fn take(&mut self, signers: &Signers, sent: &[SignedKrl]) -> Vec<String> {
        let problems = sent.iter().filter_map(|sent| self.take_one(signers, sent).err());
        problems.collect()
    }

    fn take_one(&mut self, signers: &Signers, sent: &SignedKrl) -> Result<(), String> {
        let number = u16::try_from(sent.signer).ok().and_then(NonZeroU16::new);
        let signer = number.and_then(|number| signers.get(number));
        let Some(signer) = signer else {
            return Err(format!(
                "a revocation list of signer {}, whom the bundle does not name",
                sent.signer
            ));
        };
        let list = revoked::open(signer, &sent.note)?;
        if let Some(known) = self.0.get(&signer.number) {
            let (found, newest) = (list.version(), known.list.version());
            // One version has one content: another under the same number is no news either.
            if found < newest || (found == newest && list != known.list) {
                return Err(format!(
                    "an old revocation list of signer {}: version {found}, and {newest} is known",
                    signer.number
                ));
            }
        }
        self.0.insert(signer.number, Proven { list, note: sent.note.to_vec() });
        Ok(())
    }

    /// Forgets the lists of signers that the bundle does not name, or gives another CA key: sshd does
    /// not trust them any more either.
    pub(crate) fn keep(&mut self, signers: &Signers) {
        self.0.retain(|number, known| {
            signers.get(*number).is_some_and(|signer| signer.ca_key == *known.list.ca_key())
        });
    }

    /// Takes back what an earlier run wrote by [`Krls::notes`].
    pub(crate) fn restore(&mut self, signers: &Signers, number: NonZeroU16, note: &[u8]) {
        let Some(signer) = signers.get(number) else { return };
        if let Ok(list) = revoked::open(signer, note) {
            self.0.insert(number, Proven { list, note: note.to_vec() });
        }
    }

    /// The notes, by their signer's number.
    pub(crate) fn notes(&self) -> impl Iterator<Item = (NonZeroU16, &[u8])> {
        self.0.iter().map(|(number, known)| (*number, known.note.as_slice()))
    }

    /// What the signers revoked, as far as it is known here.
    pub(crate) fn lists(&self, signers: &Signers) -> Lists {
        let lacking = signers.iter().map(|signer| signer.number);
        let lacking = lacking.filter(|number| !self.0.contains_key(number)).collect();
        Lists::of(self.0.values().map(|known| known.list.clone()).collect(), lacking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revoked::tests::{Signer, signers};

    fn list(of: &Signer, version: u64, serials: &[u64]) -> SignedKrl {
        of.signed(&of.krl(version, serials))
    }

    #[test]
    fn a_list_is_taken_from_its_signer_alone_and_never_an_older_one() {
        let (one, two) = (Signer::new(1), Signer::new(2));
        let known = signers(&[&one]);
        let mut krls = Krls::default();
        assert_eq!(krls.take(&known, &[list(&one, 5, &[7])]), Vec::<String>::new());
        let before = krls.clone();

        let refused = |krls: &mut Krls, sent: SignedKrl, why: &str| {
            let problems = krls.take(&known, &[sent]);
            assert!(problems[0].contains(why), "{problems:?}");
            assert_eq!(*krls, before, "{why}");
        };
        refused(&mut krls, list(&one, 4, &[]), "an old revocation list");
        refused(&mut krls, list(&one, 5, &[7, 8]), "an old revocation list");
        refused(&mut krls, list(&two, 9, &[]), "does not name");
        refused(&mut krls, SignedKrl { signer: 1, ..list(&two, 9, &[]) }, "is not its own");
        refused(&mut krls, one.signed(&two.krl(9, &[])), "another CA key");
        let mut cut = list(&one, 9, &[]);
        cut.note.truncate(cut.note.len() - 3);
        refused(&mut krls, cut, "is not its own");

        // The same again is no problem, and a newer one is taken, though one beside it is not.
        assert_eq!(krls.take(&known, &[list(&one, 5, &[7])]), Vec::<String>::new());
        assert_eq!(krls.take(&known, &[list(&two, 9, &[]), list(&one, 6, &[7, 8])]).len(), 1);
        assert_ne!(krls, before);
    }

    #[test]
    fn what_was_kept_is_read_back_and_a_signer_that_is_gone_takes_its_list_along() {
        let (one, two) = (Signer::new(1), Signer::new(2));
        let both = signers(&[&one, &two]);
        let mut krls = Krls::default();
        krls.take(&both, &[list(&one, 5, &[7])]);
        let in_place = Krl::join([]);
        let file =
            |krls: &Krls, signers: &Signers| revoked::choose(&krls.lists(signers), Some(&in_place));
        let (kept, word) = file(&krls, &both);
        assert_eq!(kept, in_place, "the list of one signer is not known");
        assert!(word.is_some());
        krls.take(&both, &[list(&two, 3, &[])]);
        assert_eq!(file(&krls, &both).1, None);

        // Checked as if it came now.
        let mut again = Krls::default();
        for (number, note) in krls.notes() {
            again.restore(&both, number, note);
            again.restore(&both, number, &note[..note.len() - 1]);
        }
        assert_eq!(again, krls);
        // A signer that is gone is no reason to wait for it, and its list goes with it.
        let only = signers(&[&one]);
        krls.keep(&only);
        let alone = file(&krls, &only).0;
        assert_eq!(Krl::parse(&alone).unwrap(), Krl::parse(&list(&one, 5, &[7]).krl).unwrap());
    }

    #[test]
    fn ssh_keygen_finds_what_either_signer_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Signer::new(1), Signer::new(2));
        let both = signers(&[&one, &two]);
        let mut krls = Krls::default();
        assert!(krls.take(&both, &[list(&one, 5, &[7]), list(&two, 3, &[1, 2])]).is_empty());
        let path = folder.path().join("krl");
        std::fs::write(&path, revoked::choose(&krls.lists(&both), None).0).unwrap();
        let said =
            std::process::Command::new("ssh-keygen").args(["-Q", "-l", "-f"]).arg(path).output();
        let said = String::from_utf8(said.unwrap().stdout).unwrap();
        let serial = |signer: u64, index: u64| (signer << 48 | index).to_string();
        for serial in [serial(1, 7), format!("{}-{}", serial(2, 1), serial(2, 2))] {
            assert!(said.contains(&format!("serial: {serial}")), "{serial} in {said}");
        }
    }
}
