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
    statement(request_kind(by), name, name, by, at)
}

fn request_kind(subject: &str) -> RecordKind {
    RecordKind::Request { subject: subject.parse().unwrap(), extends: None, break_glass: false }
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
        of: of.map_or(Of::Everyone, |of| Of::Own(of.parse().unwrap())),
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
    assert_eq!(names(&list(recent).await), ["4", "3", "2"]);
}

async fn pages_follow_each_other_by_when_requests_were_made_whenever_they_came(place: &impl Place) {
    let store = place.open();
    // Made in the same second, and come in another order than they were made in.
    for (name, at) in [("a", 20), ("b", 20), ("c", 10), ("d", 30), ("e", 20), ("f", 10)] {
        store.append(vec![request(name, "alice", at)]).await.unwrap();
    }
    let whole = store.list(query(None, None, 10)).await.unwrap();
    let whole: Vec<String> = names(&whole).iter().map(ToString::to_string).collect();
    assert_eq!(whole[0], "d");
    assert_eq!(whole.len(), 6);
    for of in [None, Some("alice")] {
        let (mut paged, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = store.list(query(of, after.as_deref(), 2)).await.unwrap();
            let Some(last) = names(&page).last().map(ToString::to_string) else { break };
            paged.extend(names(&page).iter().map(ToString::to_string));
            after = Some(last);
        }
        assert_eq!(paged, whole);
    }
}

async fn what_a_person_spoke_of_is_found_by_page_whatever_came_first(place: &impl Place) {
    let store = place.open();
    let said = |kind, name, request| statement(kind, name, request, "bob", 50);
    store.append(vec![said(RecordKind::Decision, "d1", "1")]).await.unwrap();
    for (name, by, at) in
        [("1", "alice", 10), ("2", "alice", 20), ("3", "bob", 30), ("4", "alice", 40)]
    {
        store.append(vec![request(name, by, at)]).await.unwrap();
    }
    let spoken = vec![
        said(RecordKind::End, "e1", "1"),
        said(RecordKind::End, "e3", "3"),
        said(RecordKind::Decision, "d4", "4"),
    ];
    store.append(spoken).await.unwrap();
    let list = async |person: &str, after: Option<&str>, limit| {
        let of = Of::Concerning(person.parse().unwrap());
        store.list(ListQuery { of, ..query(None, after, limit) }).await.unwrap()
    };
    assert_eq!(names(&list("bob", None, 10).await), ["4", "3", "1"]);
    assert_eq!(names(&list("bob", None, 2).await), ["4", "3"]);
    assert_eq!(names(&list("bob", Some("3"), 2).await), ["1"]);
    assert_eq!(names(&list("alice", None, 10).await), ["4", "2", "1"]);
    assert_eq!(names(&list("carol", None, 10).await), [""; 0]);
    // What somebody merely spoke of is not their own.
    assert_eq!(names(&store.list(query(Some("bob"), None, 10)).await.unwrap()), ["3"]);
}

async fn extensions_are_found_with_what_they_prolong(place: &impl Place) {
    let store = place.open();
    let first = Digest::of(b"r");
    let extension = |name, at| {
        let kind = RecordKind::Request {
            subject: "alice".parse().unwrap(),
            extends: Some(first),
            break_glass: false,
        };
        statement(kind, name, name, "alice", at)
    };
    // An extension may come to be known before what it prolongs.
    store.append(vec![extension("later", 30), extension("sooner", 20)]).await.unwrap();
    store.append(vec![request("r", "alice", 10), request("s", "alice", 10)]).await.unwrap();
    let found = store.chain(first).await.unwrap().unwrap();
    let expected = [(UnixTime(20), Digest::of(b"sooner")), (UnixTime(30), Digest::of(b"later"))];
    assert_eq!(found.extensions, expected);
    assert_eq!(store.chain(Digest::of(b"s")).await.unwrap().unwrap().extensions, []);
}

async fn break_glass_is_unreviewed_until_another_person_decides(place: &impl Place) {
    let store = place.open();
    let kind =
        RecordKind::Request { subject: "alice".parse().unwrap(), extends: None, break_glass: true };
    let broken = |name, at| statement(kind.clone(), name, name, "alice", at);
    store.append(vec![broken("late", 20), broken("early", 10)]).await.unwrap();
    store.append(vec![request("usual", "alice", 5), certificate("late", 1, 21)]).await.unwrap();
    let unreviewed = async || names(&store.unreviewed().await.unwrap()).join(" ");
    assert_eq!(unreviewed().await, "early late");
    // One's own word, an end, and a word on another request are no review.
    let said = |kind, name, request, by| statement(kind, name, request, by, 30);
    let none = vec![
        said(RecordKind::Decision, "own", "late", "alice"),
        said(RecordKind::End, "end", "late", "bob"),
        said(RecordKind::Decision, "other", "usual", "bob"),
    ];
    store.append(none).await.unwrap();
    assert_eq!(unreviewed().await, "early late");
    store.append(vec![said(RecordKind::Decision, "review", "late", "bob")]).await.unwrap();
    assert_eq!(unreviewed().await, "early");
}

async fn the_latest_waits_under_a_rule_are_told_and_each_request_counts_once(place: &impl Place) {
    let store = place.open();
    let approval = |name: u32, rule: &str, wait| {
        Record::Approval(ApprovalRecord {
            request: Digest::of(&name.to_be_bytes()),
            rule: rule.parse().unwrap(),
            at: UnixTime(u64::from(name)),
            wait,
        })
    };
    let waits = async |rule: &str| store.waits(rule.parse().unwrap()).await.unwrap();
    assert_eq!(waits("prod").await, [0; 0]);
    store.append((0..30).map(|name| approval(name, "prod", name)).collect()).await.unwrap();
    store.append(vec![approval(99, "other", 7), approval(29, "prod", 500)]).await.unwrap();
    assert_eq!(waits("prod").await, (10..30).rev().collect::<Vec<u32>>());
    assert_eq!(waits("other").await, [7]);
}

async fn a_person_finds_what_a_machine_asked_for_them(place: &impl Place) {
    let store = place.open();
    store.append(vec![statement(request_kind("alice"), "r", "r", "bastion", 10)]).await.unwrap();
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

async fn what_hosts_tell_is_found_by_request_and_kept_once(place: &impl Place) {
    let (r, s) = (Digest::of(b"r"), Digest::of(b"s"));
    let report = |name: &str, about: &[Digest]| {
        Record::Report(ReportRecord {
            digest: Digest::of(name.as_bytes()),
            at: UnixTime(10),
            about: about.iter().copied().map(id_number).collect(),
            bytes: Bytes::copy_from_slice(name.as_bytes()),
            signature: Bytes::from_static(b"host"),
        })
    };
    let store = place.open();
    store.append(vec![report("both", &[r, s, r]), report("one", &[s])]).await.unwrap();
    store.append(vec![report("both", &[r, s]), report("none", &[])]).await.unwrap();
    store.close();
    let store = place.open();
    let told = async |request| -> Vec<String> {
        let found = store.reports(request).await.unwrap();
        found.into_iter().map(|report| String::from_utf8(report.bytes).unwrap()).collect()
    };
    assert_eq!(told(r).await, ["both"]);
    assert_eq!(told(s).await, ["both", "one"]);
    assert_eq!(told(Digest::of(b"t")).await, Vec::<String>::new());
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

async fn bundles_are_listed_by_when_they_came_and_the_earliest_moment_stays(place: &impl Place) {
    let store = place.open();
    let bundle = |name: &'static str, since: u64| StoredBundle {
        since: UnixTime(since),
        statement: Bytes::from_static(name.as_bytes()),
        signatures: vec![Bytes::from_static(b"one"), Bytes::new()],
    };
    assert_eq!(store.bundles().await.unwrap(), []);
    // Those of one second stay in the order in which they came.
    let later = ["f", "c", "e", "d"].map(|name| bundle(name, 20));
    let first = [bundle("b", 20), bundle("a", 12), bundle("a", 10), bundle("a", 30)];
    for noted in first.into_iter().chain(later.clone()) {
        store.append(vec![Record::Bundle(noted)]).await.unwrap();
    }
    store.close();
    let found = place.open().bundles().await.unwrap();
    let expected = [bundle("a", 10), bundle("b", 20)].into_iter().chain(later);
    assert_eq!(found, expected.collect::<Vec<_>>());
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

async fn hosts_and_tokens_come_back_in_the_order_in_which_they_came(place: &impl Place) {
    let store = place.open();
    let enrolment = |name: &str, at: u64| {
        Record::Enrolment(EnrolmentRecord {
            digest: Digest::of(name.as_bytes()),
            at: UnixTime(at),
            bytes: Bytes::copy_from_slice(name.as_bytes()),
            signature: Bytes::from_static(b"s"),
        })
    };
    for (name, at) in [("token", 10), ("old", 5), ("host", 20), ("token", 10)] {
        store.append(vec![enrolment(name, at)]).await.unwrap();
    }
    store.close();
    let store = place.open();
    let found = store.enrolments(UnixTime(9)).await.unwrap();
    let bytes: Vec<_> = found.iter().map(|one| one.bytes.as_slice()).collect();
    assert_eq!(bytes, [&b"token"[..], b"host"]);
    assert_eq!(found[0].signature, b"s");
    assert!(store.enrolments(UnixTime(20)).await.unwrap().is_empty());
    // They are no requests.
    assert!(store.ids().await.unwrap().is_empty());
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
    pages_follow_each_other_by_when_requests_were_made_whenever_they_came
    what_a_person_spoke_of_is_found_by_page_whatever_came_first
    extensions_are_found_with_what_they_prolong
    break_glass_is_unreviewed_until_another_person_decides
    the_latest_waits_under_a_rule_are_told_and_each_request_counts_once
    a_person_finds_what_a_machine_asked_for_them
    requests_are_found_by_the_beginning_of_their_id
    what_may_still_be_open_is_told_apart
    what_hosts_tell_is_found_by_request_and_kept_once
    hosts_and_tokens_come_back_in_the_order_in_which_they_came
    marks_only_rise
    one_proposal_stands_at_a_time
    bundles_are_listed_by_when_they_came_and_the_earliest_moment_stays
    what_is_asked_is_done_though_nobody_waits
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_one_of_this_version_is_not() {
    let place = sqlite();
    place.open().close();
    place.open().close();
    let path = place.0.path().join("test.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path).err().unwrap().to_string();
    assert!(error.contains("version 99"), "{error}");
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
