use super::*;
use crate::serve::store::{Record, RecordKind, StatementRecord};
use crate::serve::testworld::{BOB, NOW, approval, bundle, known, request, store};

fn record(nonce: u8) -> Record {
    let statement = request(nonce);
    let body = statement.body();
    Record::Statement(StatementRecord {
        kind: RecordKind::Request { subject: body.subject.clone() },
        digest: statement.digest(),
        request: statement.digest(),
        by: body.by.clone(),
        at: body.at,
        bytes: prost::bytes::Bytes::copy_from_slice(statement.bytes()),
        signature: prost::bytes::Bytes::copy_from_slice(statement.signature()),
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
    let memory = Memory::new([]);
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
    let memory = Memory::new(store.ids().await.unwrap());
    assert!(memory.claim(&*store, namesake(digest)).await.is_err());
    assert!(memory.claim(&*store, request(2).digest()).await.is_ok());
}

#[tokio::test]
async fn an_id_whose_request_was_refused_is_free_again() {
    let (_folder, store) = store();
    let memory = Memory::new([]);
    let digest = request(1).digest();
    drop(memory.claim(&*store, digest).await.unwrap());
    assert!(memory.claim(&*store, namesake(digest)).await.is_ok());
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_from_the_store() {
    let (_folder, store) = store();
    let memory = Memory::new([]);
    let digest = request(1).digest();
    assert!(memory.get(&*store, digest).await.unwrap().is_none());
    let certificate = Record::Certificate { request: digest, issued: issued(7) };
    store.append(vec![record(1), certificate]).await.unwrap();
    let found = memory.get(&*store, digest).await.unwrap().unwrap();
    assert_eq!(found.issued, [issued(7)]);
    assert!(memory.peek(digest).is_some());
    assert!(memory.undecided().is_empty());
}

#[tokio::test]
async fn adding_again_loses_nothing_and_adds_what_is_new() {
    let memory = Memory::new([]);
    let digest = memory.add(known(1)).chain.digest();
    assert_eq!(memory.undecided().len(), 1);
    memory.change(digest, |known| known.add_issued(issued(8)));
    let mut other = known(1);
    other.add_issued(issued(7));
    other.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    memory.add(other);
    let whole = memory.add(known(1));
    assert_eq!(whole.issued, [issued(7), issued(8)]);
    assert_eq!(whole.chain.decisions().len(), 1);
    assert!(memory.undecided().is_empty());
}

#[tokio::test]
async fn what_can_be_decided_stays_and_the_rest_leaves_when_idle() {
    let memory = Memory::new([]);
    let open = memory.add(known(1)).chain.digest();
    let mut used = known(2);
    used.add_issued(issued(7));
    let used = memory.add(used).chain.digest();
    memory.sweep(&bundle(), NOW);
    assert!(memory.peek(used).is_some(), "it was asked for just now");
    for slot in memory.inner().known.values_mut() {
        slot.touched = slot.touched.checked_sub(LINGER * 2).unwrap();
    }
    memory.sweep(&bundle(), NOW);
    assert!(memory.peek(open).is_some());
    assert!(memory.peek(used).is_none());
}

#[tokio::test]
async fn certified_requests_take_a_bounded_room_and_undecided_ones_are_never_crowded_out() {
    let memory = Memory::new([]);
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
