use ed25519_dalek::Signer as _;

use super::*;
use crate::authorize::authorize;
use crate::certificate::{Context as LintContext, build, lint};
use crate::chain::Chain;
use crate::digest::Digest;
use crate::log::{Checkpoint, Growth, RightEdge};
use crate::testkit::{LOG_NAME, POLICY, START, World};

/// All that a client receives, to be spoilt.
struct Received {
    world: World,
    signers: Signers,
    request: Verified<Request>,
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
    let request =
        world.alice.verified(&world.request(&world.alice, "test-host", "deploy", 600, START));
    let yes = authorize(&Chain::new(request.clone()), &bundle, START).unwrap();
    let index = 3;
    let serial = Serial::new(NonZeroU16::MIN, index).unwrap();
    let ca = world.ca_key();
    let tbs = build(yes, serial, [9; 32], &ca);
    let context = LintContext {
        request: &request,
        scope: &Scope::Access,
        serial,
        ca: &ca,
        now: START,
        prolongs: None,
    };
    let tbs = lint(tbs, context).unwrap();
    let entry = Entry::certificate(
        START,
        serial,
        request.digest(),
        tbs.rule().clone(),
        Digest::of(b"bundle"),
        tbs.bytes().to_vec(),
    )
    .to_bytes();
    let leaves =
        vec![leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c"), leaf_hash(&entry), leaf_hash(b"d")];
    let growth = Growth::new(&RightEdge::empty(), leaves);
    let proof = growth.inclusion_proof(index).unwrap();
    let tree = Checkpoint::new(LOG_NAME, 5, growth.edge().root()).unwrap();
    let checkpoint =
        SignedCheckpoint::sign(tree, &world.log_key(), |text| world.log.sign(text).to_bytes())
            .unwrap();
    let signature = world.ca.sign(tbs.bytes()).to_bytes();
    Received {
        signers: bundle.signers,
        certificate: certificate::assemble(tbs.bytes(), &signature),
        entry,
        index,
        checkpoint: checkpoint.note().to_owned(),
        proof: proof.iter().map(|hash| hash.0.to_vec()).collect(),
        signer: 1,
        request,
        world,
    }
}

impl Received {
    fn check(&self, now: UnixTime) -> Result<Accepted, ReceiptError> {
        let receipt = Receipt {
            certificate: &self.certificate,
            entry: &self.entry,
            index: self.index,
            checkpoint: self.checkpoint.as_bytes(),
            proof: self.proof.iter().map(Vec::as_slice).collect(),
            signer: self.signer,
        };
        check(&receipt, &self.request, &Scope::Access, &self.signers, None, now)
    }
}

#[test]
fn a_sound_receipt_is_accepted_and_says_what_it_holds() {
    let received = receive();
    let accepted = received.check(START).unwrap();
    assert_eq!(accepted.opens.texts()[0], "deploy@test-host");
    assert_eq!(accepted.access_until, START.plus_secs(600));
    assert_eq!(accepted.serial, 1 << 48 | 3);
    // The client's clock may be off by what statements may be.
    assert!(received.check(START.minus_secs(170)).is_ok());
    assert!(received.check(START.minus_secs(181)).is_err());
    assert!(received.check(START.plus_secs(600)).is_err(), "it is over");
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
    spoil(&|r| r.signer = 0);
    spoil(&|r| r.signer = 1 << 16 | 1);
    spoil(&|r| r.proof.truncate(1));
    spoil(&|r| r.proof[0][0] ^= 1);
    spoil(&|r| r.proof[0].truncate(31));
    spoil(&|r| r.proof.push(vec![0; 32]));
    spoil(&|r| r.checkpoint = r.checkpoint.replace("\n5\n", "\n6\n"));
    // Signed by a CA key or logged under a log key that the bundle does not name.
    assert_eq!(
        spoil(&|r| {
            let other = ed25519_dalek::SigningKey::from_bytes(&[33; 32]);
            let length = r.certificate.len() - 64 - 4 - 11 - 4 - 4;
            let tbs = r.certificate[..length].to_vec();
            r.certificate = certificate::assemble(&tbs, &other.sign(&tbs).to_bytes());
        }),
        ReceiptError::Signature
    );
    assert!(matches!(
        spoil(&|r| {
            let other = ed25519_dalek::SigningKey::from_bytes(&[34; 32]);
            let key =
                crate::log::VerifierKey::new(LOG_NAME, other.verifying_key().as_bytes()).unwrap();
            let open = SignedCheckpoint::open(r.checkpoint.as_bytes(), &r.world.log_key()).unwrap();
            let forged = SignedCheckpoint::sign(open.checkpoint().clone(), &key, |t| {
                other.sign(t).to_bytes()
            });
            r.checkpoint = forged.unwrap().note().to_owned();
        }),
        ReceiptError::Checkpoint(_)
    ));
}

#[test]
fn a_certificate_for_another_request_is_refused() {
    let mut received = receive();
    let world = World::default();
    let mut other = world.request(&world.alice, "test-host", "deploy", 600, START);
    other.nonce = crate::statement::Nonce([8; 16]);
    received.request = world.alice.verified(&other);
    assert!(matches!(received.check(START), Err(ReceiptError::OtherEntry(_))));
}
