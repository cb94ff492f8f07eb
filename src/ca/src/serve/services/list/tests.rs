use jit_ssh_core::chain::Chain;
use jit_ssh_core::lifecycle::Status;
use jit_ssh_core::statement::{Cause, End, Nonce, Request, Verified};

use super::*;
use crate::serve::sessions::Reach;
use crate::serve::store::RecordKind;
use crate::serve::testworld::{
    ALICE, NOW, bundle, in_force, known, record, request, root, store, verified,
};

/// A request of alice, made at a moment.
fn made_at(at: UnixTime) -> Verified<Request> {
    let mut body = request(1).body().clone();
    (body.at, body.nonce) = (at, Nonce([2; 16]));
    verified(ALICE, &body)
}

/// That alice took it back at once.
fn taken_back(request: &Verified<Request>) -> Verified<End> {
    let (by, digest) = ("alice".parse().unwrap(), request.digest());
    let end = End::new(root().fingerprint(), by, digest, Cause::Cancel, None, request.body().at);
    verified(ALICE, &end)
}

fn records(
    request: &Verified<Request>,
    end: Option<&Verified<End>>,
) -> Vec<crate::serve::store::Record> {
    let (kind, digest) = (RecordKind::request(request.body()), request.digest());
    let end = end.map(|end| record(RecordKind::End, digest, "alice", end));
    std::iter::once(record(kind, digest, "alice", request)).chain(end).collect()
}

fn ids(page: &v1::ListResponse) -> Vec<&str> {
    page.accesses.iter().map(|access| access.digest.as_str()).collect()
}

#[tokio::test]
async fn a_page_that_looked_at_many_in_vain_says_where_to_go_on_and_nothing_is_hidden() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let in_force = Standing::alone(Arc::new(in_force(bundle())));
    let caller = Caller { id: "auditor".parse().unwrap(), reach: Reach::Everything };
    let pending = made_at(NOW);
    store.append(records(&pending, None)).await.unwrap();
    for later in 1..=300 {
        let request = made_at(NOW.plus_secs(later));
        store.append(records(&request, Some(&taken_back(&request)))).await.unwrap();
    }
    let wanted = |open_only, look_at| Wanted {
        caller: &caller,
        in_force: &in_force,
        scope: v1::Scope::All,
        open_only,
        since: UnixTime(0),
        now: NOW.plus_secs(310),
        look_at,
    };
    let eras = Eras::of(&[]);
    let shelves = Shelves { eras: &eras, memory: &memory, store: &*store };
    let mut after = None;
    let mut pages = 0;
    loop {
        pages += 1;
        assert!(pages < 10, "it goes round in circles");
        let page = page(shelves, &wanted(true, 128), after, 10).await.unwrap();
        if page.accesses.is_empty() {
            assert!(page.more, "what is older was hidden after {pages} pages");
            after = Some(page.next.parse().unwrap());
            continue;
        }
        assert_eq!(ids(&page), [pending.digest().to_string()]);
        assert!(!page.more && page.next.is_empty());
        break;
    }
    assert_eq!(pages, 3);
    // With all of them wanted, pages are full, and each is listed once.
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = page(shelves, &wanted(false, 128), after, 70).await.unwrap();
        listed.extend(page.accesses.iter().map(|access| access.digest.clone()));
        if !page.more {
            break;
        }
        after = Some(page.next.parse().unwrap());
    }
    assert_eq!(listed.len(), 301);
    listed.dedup();
    assert_eq!(listed.len(), 301);
}

#[tokio::test]
async fn what_others_read_before_does_not_change_what_somebody_is_shown() {
    let (_folder, store) = store();
    let memory = Memory::new(root().fingerprint(), []);
    let in_force = Standing::alone(Arc::new(in_force(bundle())));
    let bob = Caller { id: "bob".parse().unwrap(), reach: Reach::Own };
    let (waits, over) = (request(1), made_at(NOW.plus_secs(1)));
    let end = taken_back(&over);
    store.append(records(&waits, None)).await.unwrap();
    store.append(records(&over, Some(&end))).await.unwrap();
    memory.take_in(&*store, known(1)).await.unwrap();
    let wanted = |now| Wanted {
        caller: &bob,
        in_force: &in_force,
        scope: v1::Scope::All,
        open_only: false,
        since: UnixTime(0),
        now,
        look_at: MAX_LOOKED_AT,
    };
    let eras = Eras::of(&[]);
    let shelves = Shelves { eras: &eras, memory: &memory, store: &*store };
    let list = async |now| {
        let page = page(shelves, &wanted(now), None, 10).await.unwrap();
        ids(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = list(NOW.plus_secs(2)).await;
    assert_eq!(before, [waits.digest().to_string()]);
    // alice looks at the one she took back: it is in memory now, and bob could have decided it.
    let looked = memory.get(&*store, over.digest()).await.unwrap().unwrap();
    assert_eq!(looked.chain.ends().len(), 1);
    assert_eq!(list(NOW.plus_secs(2)).await, before);
    // The one that waits is still in memory when it has lapsed, until the next sweep.
    assert!(memory.peek(waits.digest()).is_some());
    assert!(list(NOW.plus_secs(3_602)).await.is_empty());
    assert!(matches!(
        evaluate(&Chain::new(waits), &in_force.bundle, NOW.plus_secs(3_602)).status,
        Status::LapsedUndecided
    ));
}
