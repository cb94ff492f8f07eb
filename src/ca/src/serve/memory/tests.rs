use jit_ssh_core::chain::Issued;
use jit_ssh_core::refusal::Reason;
use jit_ssh_core::statement::{Decision, Verified};

use super::inner::MAX_CERTIFIED;
use super::*;
use crate::serve::store::{Record, RecordKind, StatementRecord};
use crate::serve::testworld::{
    ALICE, BOB, NOW, PERSONS, approval, bundle, bundle_changed, known, request, root, store,
    verified,
};

fn record(nonce: u8) -> Record {
    let statement = request(nonce);
    let body = statement.body();
    Record::Statement(StatementRecord {
        kind: RecordKind::request(body),
        digest: statement.digest(),
        request: statement.digest(),
        by: body.by.clone(),
        at: body.at,
        bytes: prost::bytes::Bytes::copy_from_slice(statement.bytes()),
        signature: prost::bytes::Bytes::copy_from_slice(statement.signature()),
    })
}

fn decision_record(approval: &Verified<Decision>, signature: &[u8]) -> Record {
    Record::Statement(StatementRecord {
        kind: RecordKind::Decision,
        digest: approval.digest(),
        request: approval.body().request,
        by: approval.body().by.clone(),
        at: approval.body().at,
        bytes: prost::bytes::Bytes::copy_from_slice(approval.bytes()),
        signature: prost::bytes::Bytes::copy_from_slice(signature),
    })
}

fn issued(serial: u64) -> Issued {
    let (valid_before, access_until) = (NOW.plus_secs(60), NOW.plus_secs(600));
    Issued { serial, at: NOW, valid_before, access_until }
}

/// A digest with the id of `digest`, and another one.
fn namesake(digest: Digest) -> Digest {
    let mut bytes = digest.0;
    bytes[31] ^= 1;
    Digest(bytes)
}

#[tokio::test]
async fn an_id_is_for_one_request_while_it_arrives_and_ever_after() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let (first, digest) = (record(1), request(1).digest());
    let claim = memory.claim(&*store, digest).await.unwrap();
    // The same request twice at a time is the same request; another one with its id is not.
    assert!(memory.claim(&*store, digest).await.is_ok());
    let refused = memory.claim(&*store, namesake(digest)).await.err().unwrap();
    assert_eq!(refused.reason, Reason::IdTaken);
    store.append(vec![first]).await.unwrap();
    drop(claim);
    let refused = memory.claim(&*store, namesake(digest)).await.err().unwrap();
    assert_eq!(refused.reason, Reason::IdTaken);
    assert!(memory.claim(&*store, digest).await.unwrap().stands_in_store());
    // After a restart the store knows which ids there are.
    let memory = Memory::new(root().fingerprint(), store.ids().await.unwrap());
    assert!(memory.claim(&*store, namesake(digest)).await.is_err());
    assert!(memory.claim(&*store, request(2).digest()).await.is_ok());
}

#[tokio::test]
async fn an_id_whose_request_was_refused_is_free_again() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let digest = request(1).digest();
    drop(memory.claim(&*store, digest).await.unwrap());
    assert!(memory.claim(&*store, namesake(digest)).await.is_ok());
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_from_the_store() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let digest = request(1).digest();
    assert!(memory.get(&*store, digest).await.unwrap().is_none());
    let certificate = Record::Certificate { request: digest, issued: issued(7) };
    store.append(vec![record(1), certificate]).await.unwrap();
    let found = memory.get(&*store, digest).await.unwrap().unwrap();
    assert_eq!(found.issued, [issued(7)]);
    assert!(memory.peek(digest).is_some());
    assert!(memory.waiting().is_empty());
}

#[tokio::test]
async fn adding_again_loses_nothing_and_adds_what_is_new() {
    let memory = Memory::new(root().fingerprint(), []);
    let digest = memory.add(known(1)).chain.digest();
    assert_eq!(memory.waiting().len(), 1);
    memory.change(digest, |known| known.add_issued(issued(8)));
    let mut other = known(1);
    other.add_issued(issued(7));
    other.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    memory.add(other);
    let whole = memory.add(known(1));
    assert_eq!(whole.issued, [issued(7), issued(8)]);
    assert_eq!(whole.chain.decisions().len(), 1);
    assert!(memory.waiting().is_empty());
}

#[tokio::test]
async fn what_can_be_decided_stays_and_the_rest_leaves_when_idle() {
    let memory = Memory::new(root().fingerprint(), []);
    let open = memory.add(known(1)).chain.digest();
    let mut used = known(2);
    used.add_issued(issued(7));
    let used = memory.add(used).chain.digest();
    memory.sweep((&bundle()).into(), NOW);
    assert!(memory.peek(used).is_some(), "it was asked for just now");
    for slot in memory.inner().known.values_mut() {
        slot.touched = slot.touched.checked_sub(LINGER * 2).unwrap();
    }
    memory.sweep((&bundle()).into(), NOW);
    assert!(memory.peek(open).is_some());
    assert!(memory.peek(used).is_none());
}

#[tokio::test]
async fn certified_requests_take_a_bounded_room_and_undecided_ones_are_never_crowded_out() {
    let memory = Memory::new(root().fingerprint(), []);
    let open = memory.add(known(0)).chain.digest();
    let crowd = |inner: &mut Inner, count: usize| {
        for _ in 0..count {
            inner.note_certified(Digest::of(b"some other request"));
        }
    };
    let mut used = known(1);
    used.add_issued(issued(7));
    let used = memory.add(used).chain.digest();
    crowd(&mut memory.inner(), MAX_CERTIFIED - 1);
    assert!(memory.peek(used).is_some());
    crowd(&mut memory.inner(), 1);
    assert!(memory.peek(used).is_none());
    assert!(memory.peek(open).is_some());
}

#[tokio::test]
async fn a_forged_approval_in_the_store_shows_nothing_as_approved_and_a_true_one_does() {
    let standing = async |approved: &Verified<Decision>, signature: &[u8]| {
        let (_folder, store) = store();
        let memory = Memory::new(root().fingerprint(), []);
        store.append(vec![record(1), decision_record(approved, signature)]).await.unwrap();
        let digest = request(1).digest();
        let mut found = memory.get(&*store, digest).await.unwrap().unwrap();
        for _ in 0..2 {
            let again = store.chain(digest).await.unwrap().unwrap();
            found = Arc::new(memory.read(&*store, again).await.unwrap().unwrap());
        }
        evaluate(&found.chain, &bundle(), NOW.plus_secs(61)).status
    };
    let digest = request(1).digest();
    let bobs = approval(digest, "bob", BOB);
    assert_eq!(standing(&bobs, bobs.signature()).await, Status::Approved);
    // Bob's words and key beside a signature of his over something else.
    let other = approval(request(2).digest(), "bob", BOB);
    assert_eq!(standing(&bobs, other.signature()).await, Status::Pending);
    // Bob's words, truly signed, by somebody else.
    let alices = approval(digest, "bob", ALICE);
    assert_eq!(standing(&alices, alices.signature()).await, Status::Pending);
}

#[tokio::test]
async fn a_request_nobody_signed_is_not_read_from_the_store() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let (Record::Statement(good), Record::Statement(mut forged)) = (record(1), record(2)) else {
        unreachable!()
    };
    forged.signature = good.signature.clone();
    store.append(vec![Record::Statement(good), Record::Statement(forged)]).await.unwrap();
    assert!(memory.get(&*store, request(1).digest()).await.unwrap().is_some());
    assert!(memory.get(&*store, request(2).digest()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_had_lapsed_waits_again_once_its_rule_gives_it_more_time() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    store.append(vec![record(1)]).await.unwrap();
    let now = NOW.plus_secs(3_700);
    let strict = bundle();
    memory.take_up(&*store, Some((&strict).into()), now).await.unwrap();
    assert!(memory.waiting().is_empty());
    // Clocks follow the bundle in force: what is told, and what the signer does.
    let patient = bundle_changed(2, &PERSONS, |policy| {
        policy.replace("decide_within = \"1h\"", "decide_within = \"2h\"")
    });
    memory.take_up(&*store, Some((&patient).into()), now).await.unwrap();
    assert_eq!(memory.waiting().len(), 1);
    let chain = &memory.waiting()[0].chain.clone();
    assert_eq!(evaluate(chain, &strict, now).status, Status::LapsedUndecided);
    assert_eq!(evaluate(chain, &patient, now).status, Status::Pending);
}

#[tokio::test]
async fn all_that_prolongs_a_request_falls_with_it_and_nothing_else_does() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let prolonging = |nonce: u8, of: &Known| {
        let mut body = request(nonce).body().clone();
        body.extends = Some(of.chain.digest());
        Known::new(Chain::new(verified(ALICE, &body)))
    };
    let (first, other) = (known(1), known(4));
    let second = prolonging(2, &first);
    let third = prolonging(3, &second);
    for known in [&first, &second, &third, &other] {
        memory.take_in(&*store, known.clone()).await.unwrap();
    }
    let falling = async |known: &Known| {
        let whole = memory.get(&*store, known.chain.digest()).await.unwrap().unwrap();
        let falling = memory.falling_with(&*store, &whole).await.unwrap();
        falling.iter().map(|known| known.chain.digest()).collect::<Vec<_>>()
    };
    assert_eq!(falling(&first).await, [second.chain.digest(), third.chain.digest()]);
    assert_eq!(falling(&third).await, []);
    assert_eq!(falling(&other).await, []);
}
