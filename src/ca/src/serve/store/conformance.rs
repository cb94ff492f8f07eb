//! What every store must do. Run for each kind there is.

use jit_ssh_core::chain::Issued;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;

use super::sqlite::SqliteStore;
use super::*;

/// A place in which a store can be opened again and again.
trait Place {
    type Store: Store;

    fn open(&self) -> Self::Store;
}

struct SqliteFile(tempfile::TempDir);

impl Place for SqliteFile {
    type Store = SqliteStore;

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.0.path().join("test.db")).unwrap()
    }
}

fn sqlite() -> SqliteFile {
    SqliteFile(tempfile::tempdir().unwrap())
}

fn statement(kind: RecordKind, name: &str, request: &str, by: &str, at: u64) -> Record {
    Record::Statement(StatementRecord {
        kind,
        digest: Digest::of(name.as_bytes()),
        request: Digest::of(request.as_bytes()),
        by: by.parse().unwrap(),
        at: UnixTime(at),
        bytes: Bytes::copy_from_slice(name.as_bytes()),
        signature: Bytes::copy_from_slice(by.as_bytes()),
    })
}

fn request(name: &str, by: &str, at: u64) -> Record {
    statement(RecordKind::Request { subject: by.parse().unwrap() }, name, name, by, at)
}

fn issued(serial: u64, at: u64) -> Issued {
    let (valid_before, access_until) = (UnixTime(at + 60), UnixTime(at + 600));
    Issued { serial, at: UnixTime(at), valid_before, access_until }
}

fn certificate(request: &str, serial: u64, at: u64) -> Record {
    Record::Certificate { request: Digest::of(request.as_bytes()), issued: issued(serial, at) }
}

fn names(chains: &[StoredChain]) -> Vec<&str> {
    chains.iter().map(|chain| std::str::from_utf8(&chain.request.bytes).unwrap()).collect()
}

fn query(of: Option<&str>, after: Option<&str>, limit: u32) -> ListQuery {
    ListQuery {
        of: of.map(|of| of.parse().unwrap()),
        since: None,
        after: after.map(|after| Digest::of(after.as_bytes())),
        limit,
    }
}

async fn a_chain_comes_back_whole_after_a_restart(place: &impl Place) {
    let store = place.open();
    let chain = vec![
        request("r", "alice", 10),
        statement(RecordKind::Decision, "d", "r", "bob", 11),
        statement(RecordKind::End, "e", "r", "alice", 12),
        certificate("r", u64::MAX, 14),
        certificate("r", 7, 13),
    ];
    store.append(chain).await.unwrap();
    store.close();
    let store = place.open();
    let found = store.chain(Digest::of(b"r")).await.unwrap().unwrap();
    assert_eq!(found.request.bytes, b"r");
    assert_eq!(found.request.signature, b"alice");
    assert_eq!(found.decisions.len(), 1);
    assert_eq!(found.ends.len(), 1);
    assert_eq!(found.issued, [issued(7, 13), issued(u64::MAX, 14)]);
    assert_eq!(store.chain(Digest::of(b"other")).await.unwrap(), None);
}

async fn adding_again_changes_nothing(place: &impl Place) {
    let store = place.open();
    for _ in 0..3 {
        store.append(vec![request("r", "alice", 10), certificate("r", 7, 13)]).await.unwrap();
    }
    let all = store.list(query(None, None, 10)).await.unwrap();
    assert_eq!(names(&all), ["r"]);
    assert_eq!(all[0].issued.len(), 1);
}

async fn what_came_before_its_request_is_kept_and_found_with_it(place: &impl Place) {
    let store = place.open();
    store.append(vec![statement(RecordKind::Decision, "d", "r", "bob", 11)]).await.unwrap();
    assert_eq!(store.chain(Digest::of(b"r")).await.unwrap(), None);
    store.append(vec![request("r", "alice", 10)]).await.unwrap();
    assert_eq!(store.chain(Digest::of(b"r")).await.unwrap().unwrap().decisions.len(), 1);
}

async fn lists_are_newest_first_by_page_and_by_person(place: &impl Place) {
    let store = place.open();
    for (name, by, at) in
        [("1", "alice", 10), ("2", "bob", 20), ("3", "alice", 30), ("4", "alice", 40)]
    {
        store.append(vec![request(name, by, at)]).await.unwrap();
    }
    let list = async |query| store.list(query).await.unwrap();
    assert_eq!(names(&list(query(None, None, 10)).await), ["4", "3", "2", "1"]);
    assert_eq!(names(&list(query(None, None, 2)).await), ["4", "3"]);
    assert_eq!(names(&list(query(None, Some("3"), 2)).await), ["2", "1"]);
    assert_eq!(names(&list(query(None, Some("1"), 2)).await), [""; 0]);
    assert_eq!(names(&list(query(Some("alice"), None, 10)).await), ["4", "3", "1"]);
    assert_eq!(names(&list(query(Some("alice"), Some("4"), 1)).await), ["3"]);
    assert_eq!(names(&list(query(Some("carol"), None, 10)).await), [""; 0]);
    let recent = ListQuery { since: Some(UnixTime(20)), ..query(None, None, 10) };
    assert_eq!(names(&list(recent).await), ["4", "3"]);
}

async fn a_person_finds_what_a_machine_asked_for_them(place: &impl Place) {
    let store = place.open();
    let kind = RecordKind::Request { subject: "alice".parse().unwrap() };
    store.append(vec![statement(kind, "r", "r", "bastion", 10)]).await.unwrap();
    for of in ["alice", "bastion"] {
        assert_eq!(names(&store.list(query(Some(of), None, 10)).await.unwrap()), ["r"]);
    }
}

async fn requests_are_found_by_the_beginning_of_their_id(place: &impl Place) {
    let store = place.open();
    store.append(vec![request("r", "alice", 10), request("s", "alice", 11)]).await.unwrap();
    store.append(vec![statement(RecordKind::Decision, "d", "r", "bob", 11)]).await.unwrap();
    let digest = Digest::of(b"r");
    let id = digest.short_id().to_string();
    for length in 4..=10 {
        let range = IdRange::of(&id[..length].parse().unwrap());
        assert_eq!(store.requests_with(range).await.unwrap(), [digest]);
    }
    assert_eq!(IdRange::of(&id.parse().unwrap()), IdRange::only(digest));
    assert_eq!(store.requests_with(IdRange::only(Digest::of(b"d"))).await.unwrap(), []);
    let mut ids = store.ids().await.unwrap();
    ids.dedup();
    ids.sort_unstable();
    let mut expected = [id_number(digest), id_number(Digest::of(b"s"))];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

async fn what_may_still_be_open_is_told_apart(place: &impl Place) {
    let store = place.open();
    store.append(vec![request("old", "alice", 10), request("used", "alice", 20)]).await.unwrap();
    store.append(vec![request("open", "alice", 20), certificate("used", 1, 21)]).await.unwrap();
    assert_eq!(names(&store.uncertified(UnixTime(10)).await.unwrap()), ["open"]);
    assert_eq!(names(&store.uncertified(UnixTime(9)).await.unwrap()), ["old", "open"]);
}

async fn marks_only_rise(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.mark(1).await.unwrap(), 0);
    for (size, expected) in [(5, 5), (3, 5), (9, 9)] {
        store.append(vec![Record::Mark { signer: 1, size }]).await.unwrap();
        assert_eq!(store.mark(1).await.unwrap(), expected);
    }
    assert_eq!(store.mark(2).await.unwrap(), 0);
}

async fn one_proposal_stands_at_a_time(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.proposal().await.unwrap(), None);
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let first = Proposal {
        statement: bytes("1"),
        signatures: vec![bytes("a"), bytes(""), bytes("bc")],
        people: bytes("p"),
        hosts: bytes("h"),
        policy: bytes(""),
        signers: bytes("s"),
        since: UnixTime(7),
    };
    let second = Proposal { statement: bytes("2"), ..first.clone() };
    for proposal in [Some(first), Some(second), None] {
        store.append(vec![Record::Proposal(proposal.clone())]).await.unwrap();
        assert_eq!(store.proposal().await.unwrap(), proposal);
    }
}

async fn what_is_asked_is_done_though_nobody_waits(place: &impl Place) {
    let store = place.open();
    for serial in 0..1000 {
        drop(store.append(vec![certificate("r", serial, 5)]));
    }
    store.probe().await.unwrap();
    store.append(vec![request("r", "alice", 10)]).await.unwrap();
    assert_eq!(store.chain(Digest::of(b"r")).await.unwrap().unwrap().issued.len(), 1000);
    store.close();
    assert!(store.append(vec![request("s", "alice", 10)]).await.is_err());
}

macro_rules! conform {
    ($($promise:ident)*) => {
        mod sqlite_conforms {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise(&super::sqlite()).await;
                }
            )*
        }
    };
}

conform! {
    a_chain_comes_back_whole_after_a_restart
    adding_again_changes_nothing
    what_came_before_its_request_is_kept_and_found_with_it
    lists_are_newest_first_by_page_and_by_person
    a_person_finds_what_a_machine_asked_for_them
    requests_are_found_by_the_beginning_of_their_id
    what_may_still_be_open_is_told_apart
    marks_only_rise
    one_proposal_stands_at_a_time
    what_is_asked_is_done_though_nobody_waits
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_one_of_this_version_is_not() {
    let place = sqlite();
    place.open().close();
    place.open().close();
    let path = place.0.path().join("test.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 2).unwrap();
    let error = SqliteStore::open(&path).err().unwrap().to_string();
    assert!(error.contains("version 2"), "{error}");
}

#[tokio::test]
async fn a_store_that_fails_says_so_and_heals_when_the_fault_clears() {
    let place = sqlite();
    let store = place.open();
    let path = place.0.path().join("test.db");
    let breaker = rusqlite::Connection::open(&path).unwrap();
    breaker
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON statements BEGIN SELECT raise(FAIL, 'disk full'); END")
        .unwrap();
    assert!(store.append(vec![certificate("r", 1, 1), request("r", "alice", 1)]).await.is_err());
    breaker.execute_batch("DROP TRIGGER full").unwrap();
    store.append(vec![request("r", "alice", 1)]).await.unwrap();
    // All or none: the certificate of the failed batch is not there.
    assert_eq!(store.chain(Digest::of(b"r")).await.unwrap().unwrap().issued, []);
}

#[tokio::test]
async fn a_row_that_can_not_be_is_named_with_file_table_and_way_out_and_its_neighbours_are_read() {
    let place = sqlite();
    let store = place.open();
    store.append(vec![request("r", "alice", 10), request("s", "alice", 11)]).await.unwrap();
    let path = place.0.path().join("test.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("UPDATE statements SET digest = x'00' WHERE seq = 2").unwrap();
    let error = store.uncertified(UnixTime(0)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("test.db: table statements, row 2 "), "{text}");
    assert!(error.hint().unwrap().contains("made anew from the log"));
    assert!(store.chain(Digest::of(b"r")).await.unwrap().is_some());
    assert!(matches!(store.list(query(None, None, 1)).await, Err(StoreError::Damaged(_))));
}

#[test]
fn a_file_that_is_no_database_is_told_with_the_way_out_and_a_missing_one_is_made() {
    let place = sqlite();
    let path = place.0.path().join("test.db");
    std::fs::write(&path, "this is no database at all".repeat(100)).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(error.to_string().contains("test.db: "), "{error}");
    assert!(error.hint().is_some(), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(SqliteStore::open(&path).is_ok());
}
