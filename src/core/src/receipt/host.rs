//! What a host checks before it shows a certificate to clients.

use super::{Receipt, ReceiptError, in_log, signature};
use crate::bundle::Signers;
use crate::certificate::Serial;
use crate::certificate::host::{HostContext, HostIdentity, HostPrincipal, check};
use crate::entry::Entry;
use crate::statement::MAX_SKEW;
use crate::time::UnixTime;

/// A host certificate that passed.
#[derive(Debug, Clone)]
pub struct AcceptedHost {
    /// The certificate.
    pub certificate: ssh_key::Certificate,
    /// Its serial.
    pub serial: u64,
    /// What the host may be called, sorted.
    pub principals: Vec<HostPrincipal>,
    /// When it begins.
    pub valid_after: UnixTime,
    /// When it ends.
    pub valid_before: UnixTime,
    /// From when on it is to be renewed.
    pub renew_at: UnixTime,
}

/// Checks a received certificate against the host it should be for, at `now`.
///
/// # Errors
/// [`ReceiptError`] says what does not fit; such a certificate must not be used.
pub fn check_host(
    receipt: &Receipt<'_>,
    identity: &HostIdentity,
    signers: &Signers,
    now: UnixTime,
) -> Result<AcceptedHost, ReceiptError> {
    let (number, signer) = in_log(receipt, signers)?;
    let ca = signer.host_ca_key.as_ref().ok_or(ReceiptError::NoHostCa(receipt.signer))?;
    let Entry::HostCertificate(entry) = Entry::parse(receipt.entry)? else {
        return Err(ReceiptError::OtherEntry("it is about something else"));
    };
    let serial = Serial::new(number, receipt.index)
        .filter(|serial| serial.get() == entry.serial)
        .ok_or(ReceiptError::OtherEntry("its serial is another"))?;
    if entry.host != identity.name || entry.statement != identity.statement {
        return Err(ReceiptError::OtherEntry("it is about another host"));
    }
    let tbs = entry.tbs.0;
    let signature = signature(receipt.certificate, &tbs).ok_or(ReceiptError::Signature)?;
    ca.point().verify_strict(&tbs, &signature).map_err(|_| ReceiptError::Signature)?;

    let linted = check(tbs, HostContext { identity, serial, ca, at: entry.at })?;
    let facts = linted.facts();
    if facts.valid_before <= now || now.plus_secs(MAX_SKEW) < facts.valid_after {
        return Err(ReceiptError::NotNow);
    }
    // The parser that made the request for it must read it too.
    let certificate = ssh_key::Certificate::from_bytes(receipt.certificate)
        .map_err(|_| ReceiptError::Signature)?;
    Ok(AcceptedHost {
        certificate,
        serial: serial.get(),
        principals: facts.principals.clone(),
        valid_after: facts.valid_after,
        valid_before: facts.valid_before,
        renew_at: facts.half_life(),
    })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer as _;

    use super::*;
    use crate::certificate::assemble;
    use crate::certificate::host::{authorize_host, build, lint};
    use crate::digest::Digest;
    use crate::log::{Checkpoint, Growth, RightEdge, SignedCheckpoint, leaf_hash};
    use crate::testkit::{LOG_NAME, POLICY, START, World, host_key};

    /// All that a host receives, to be spoilt.
    struct Received {
        identity: HostIdentity,
        signers: Signers,
        certificate: Vec<u8>,
        entry: Vec<u8>,
        index: u64,
        checkpoint: String,
        proof: Vec<Vec<u8>>,
        signer: u32,
    }

    fn receive() -> Received {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        let name = "prod-host".parse().unwrap();
        let serial = Serial::new(std::num::NonZeroU16::MIN, 2).unwrap();
        let yes = authorize_host(&name, &bundle, START).unwrap();
        let identity = yes.identity().clone();
        let ca = world.host_ca_key();
        let context = HostContext { identity: &identity, serial, ca: &ca, at: START };
        let tbs = lint(build(yes, serial, [9; 32], &ca), context).unwrap();
        let bytes = tbs.bytes().to_vec();
        let entry =
            Entry::host_certificate(START, serial, name, None, Digest::of(b"b"), bytes).to_bytes();
        let leaves = vec![leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(&entry)];
        let growth = Growth::new(&RightEdge::empty(), leaves);
        let proof = growth.inclusion_proof(2).unwrap();
        let tree = Checkpoint::new(LOG_NAME, 3, growth.edge().root()).unwrap();
        let sign = |text: &[u8]| world.log.sign(text).to_bytes();
        let checkpoint = SignedCheckpoint::sign(tree, &world.log_key(), sign).unwrap();
        Received {
            identity,
            certificate: assemble(tbs.bytes(), &world.host_ca.sign(tbs.bytes()).to_bytes()),
            signers: bundle.signers,
            entry,
            index: 2,
            checkpoint: checkpoint.note().to_owned(),
            proof: proof.iter().map(|hash| hash.0.to_vec()).collect(),
            signer: 1,
        }
    }

    impl Received {
        fn check(&self, now: UnixTime) -> Result<AcceptedHost, ReceiptError> {
            let receipt = Receipt {
                certificate: &self.certificate,
                entry: &self.entry,
                index: self.index,
                checkpoint: self.checkpoint.as_bytes(),
                proof: self.proof.iter().map(Vec::as_slice).collect(),
                signer: self.signer,
            };
            check_host(&receipt, &self.identity, &self.signers, now)
        }
    }

    #[test]
    fn a_sound_receipt_is_accepted_for_as_long_as_it_is_valid() {
        let received = receive();
        let accepted = received.check(START).unwrap();
        let names: Vec<&str> = accepted.principals.iter().map(HostPrincipal::as_str).collect();
        assert_eq!(names, ["prod-host", "prod.example.com", "www"]);
        assert_eq!(accepted.serial, 1 << 48 | 2);
        assert!(accepted.certificate.cert_type().is_host());
        assert_eq!(accepted.valid_before, START.plus_secs(7 * 86_400));
        assert_eq!(accepted.renew_at, START.plus_secs((7 * 86_400 - 3_600) / 2));
        // Some days later it is still the one to be shown; the clock may be behind by more than for
        // people.
        assert!(received.check(START.plus_secs(7 * 86_400 - 1)).is_ok());
        assert_eq!(received.check(START.plus_secs(7 * 86_400)).unwrap_err(), ReceiptError::NotNow);
        assert!(received.check(START.minus_secs(3_600 + MAX_SKEW)).is_ok());
        assert!(received.check(START.minus_secs(3_600 + MAX_SKEW + 1)).is_err());
    }

    #[test]
    fn whatever_is_changed_on_the_way_is_refused() {
        let spoil = |change: &dyn Fn(&mut Received)| {
            let mut received = receive();
            change(&mut received);
            received.check(START).map(|_| ()).unwrap_err()
        };
        for place in 0..receive().certificate.len() {
            spoil(&|r| r.certificate[place] ^= 1);
        }
        for place in 0..receive().entry.len() {
            spoil(&|r| r.entry[place] ^= 1);
        }
        spoil(&|r| r.index += 1);
        spoil(&|r| r.signer = 2);
        spoil(&|r| r.proof[0][0] ^= 1);
        spoil(&|r| r.checkpoint = r.checkpoint.replace("\n3\n", "\n4\n"));
        spoil(&|r| r.identity.name = "prod-db".parse().unwrap());
        spoil(&|r| r.identity.statement = Some(Digest::of(b"h")));
        spoil(&|r| r.identity.key = host_key(92));
        spoil(&|r| r.identity.aliases.push("x".parse().unwrap()));
        spoil(&|r| r.identity.aliases.clear());
        spoil(&|r| r.identity.address = None);
    }

    #[test]
    fn the_user_ca_key_does_not_vouch_for_hosts() {
        let world = World::default();
        let mut received = receive();
        let length = received.certificate.len() - 64 - 4 - 11 - 4 - 4;
        let tbs = received.certificate[..length].to_vec();
        received.certificate = assemble(&tbs, &world.ca.sign(&tbs).to_bytes());
        assert_eq!(received.check(START).unwrap_err(), ReceiptError::Signature);

        let files = world.files(POLICY);
        let signers = String::from_utf8(files.signers).unwrap();
        let line = signers.lines().find(|line| line.starts_with("host_ca_key")).unwrap();
        received.signers = Signers::parse(signers.replace(line, "").as_bytes()).unwrap();
        assert_eq!(received.check(START).unwrap_err(), ReceiptError::NoHostCa(1));
    }
}
