//! Every kind of access, as the report tells it.

use jit_ssh_core::statement::{Cause, Request};
use jit_ssh_core::time::UnixTime;
use jit_ssh_core::usage::Use;

use super::*;
use crate::history::testlog::{POLICY, TestLog, at, full};

fn rows(log: &TestLog, since: UnixTime, now: UnixTime) -> Vec<Row> {
    let history = History::read(&log.folder(), since).unwrap();
    assert_eq!(history.gaps, Vec::<String>::new());
    let rows = history.requests.iter().filter_map(|past| Row::of(past, None, now));
    rows.filter(|row| row.lasts_until(since)).collect()
}

fn without_id(row: &Row) -> String {
    let words = row.in_words();
    words.split_once("  ").unwrap().1.to_owned()
}

#[test]
fn every_access_is_told_with_its_leave_and_its_end() {
    let rows = rows(&full(), UnixTime(0), at(1300));
    let words: Vec<String> = rows.iter().map(without_id).collect();
    let parent = rows[0].in_words()[..10].to_owned();
    assert_eq!(
        words,
        [
            "alice  deploy@web-1  2026-09-21 14:13:50 UTC to 2026-09-21 14:23:40 UTC  rule prod, approved by bob; 2 certificates; expired  because INC-42 disk full".to_owned(),
            format!("alice  deploy@web-1  2026-09-21 14:20:20 UTC to 2026-09-21 14:33:40 UTC  rule prod, approved by carol, prolonging {parent}; 1 certificate; expired  because INC-42 disk full"),
            "dave  deploy@test-1  2026-09-21 14:23:21 UTC to 2026-09-21 14:25:00 UTC  rule test-auto, by itself; 1 certificate; released by dave (enough)  because INC-42 disk full".to_owned(),
            "alice  deploy@web-2  2026-09-21 14:26:50 UTC to 2026-09-21 14:29:10 UTC  rule prod, break-glass, reviewed by bob; 1 certificate; revoked by carol (enough)  because INC-42 disk full; nobody answers".to_owned(),
            "dave  deploy@web-1  2026-09-21 14:30:10 UTC to 2026-09-21 14:40:10 UTC  rule prod, approved by erin; no certificate yet; not used yet  because INC-42 disk full".to_owned(),
        ],
        "neither who was denied nor who waits had access"
    );
}

#[test]
fn what_is_live_is_told_so_and_what_was_over_before_is_left_out() {
    let log = full();
    let live = rows(&log, at(0), at(500));
    assert!(live[0].in_words().contains("; live  because"), "{}", live[0].in_words());
    // The first access ended at 620, the extension at 1220; the others were over or began later.
    let late = rows(&log, at(1215), at(1200));
    assert_eq!(late.len(), 2);
    assert!(late[0].in_words().contains("prolonging"));
}

#[test]
fn an_extension_falls_with_what_it_prolongs() {
    for (cause, by, how) in [
        (Cause::Revoke, "carol", "revoked by carol"),
        (Cause::Release, "alice", "released by alice"),
    ] {
        let mut log = TestLog::new(POLICY);
        let base = log.request(10, "alice", "web-1", |_| ());
        log.approve(20, "bob", &base);
        log.certify(30, &base);
        let extends = |request: &mut Request, of| request.extends = Some(of);
        let second = log.request(400, "alice", "web-1", |r| extends(r, base.digest()));
        log.approve(410, "carol", &second);
        log.certify(420, &second);
        let third = log.request(430, "alice", "web-1", |r| extends(r, second.digest()));
        log.approve(440, "carol", &third);
        log.certify(450, &third);
        // Prolongs it too, and nobody ever used it.
        let unused = log.request(460, "alice", "web-1", |r| extends(r, base.digest()));
        log.approve(470, "carol", &unused);
        let other = log.request(475, "dave", "test-1", |_| ());
        log.certify(476, &other);

        let before = rows(&log, UnixTime(0), at(480));
        assert_eq!(before.len(), 5);
        assert!(before[1].in_words().contains("1 certificate; live  because"));

        log.end(490, by, &base, cause);
        let after = rows(&log, UnixTime(0), at(500));
        let words: Vec<String> = after.iter().map(Row::in_words).collect();
        assert_eq!(words.len(), 4, "{words:?}");
        let fallen = format!("to {}  rule prod", crate::terminal::utc(at(490)));
        for word in &words[..3] {
            assert!(word.contains(&fallen), "{word}");
            assert!(word.contains(&format!("1 certificate; {how} (enough)  because")), "{word}");
        }
        assert!(words[3].contains("1 certificate; live  because"), "{}", words[3]);
    }
}

#[test]
fn the_end_of_an_extension_is_its_own() {
    let mut log = TestLog::new(POLICY);
    let base = log.request(10, "alice", "web-1", |_| ());
    log.approve(20, "bob", &base);
    log.certify(30, &base);
    let second = log.request(400, "alice", "web-1", |request| {
        request.extends = Some(base.digest());
    });
    log.approve(410, "carol", &second);
    log.certify(420, &second);
    // The extension's own end leaves what it prolongs as it was.
    log.end(490, "alice", &second, Cause::Release);
    let rows = rows(&log, UnixTime(0), at(500));
    assert!(rows[0].in_words().contains("; live  because"), "{}", rows[0].in_words());
    assert!(rows[1].in_words().contains("; released by alice"), "{}", rows[1].in_words());
}

#[test]
fn a_window_that_has_not_opened_is_not_begun_and_not_unused() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "alice", "web-1", |request| {
        request.not_before = Some(at(5_000));
        request.r#for = "30m".parse().unwrap();
    });
    log.approve(20, "bob", &request);
    let row = |now: u64| rows(&log, UnixTime(0), at(now)).remove(0);
    let early = row(4_999);
    assert!(early.in_words().contains("; no certificate yet; not begun  "), "{}", early.in_words());
    assert_eq!(summary(&[early]), "1 access, 1 not begun");
    // It can be used for `use_within`, 15 minutes.
    let still = "; no certificate yet; not used yet  ";
    for opened in [row(5_000), row(5_900)] {
        assert!(opened.in_words().contains(still), "{}", opened.in_words());
        assert_eq!(serde_json::to_value(&opened).unwrap()["ended"], "open");
        assert_eq!(summary(&[opened]), "1 access, 1 not used yet");
    }
    let unused = row(5_901);
    assert!(unused.in_words().contains("; never certified; unused  "), "{}", unused.in_words());
    assert_eq!(
        summary(&[unused, row(5_000), row(4_999)]),
        "3 accesses, 1 of them never certified, 1 not used yet, 1 not begun"
    );
    assert_eq!(summary(&[]), "0 accesses");
}

#[test]
fn what_nobody_used_is_open_until_its_access_would_be_over() {
    let log = full();
    let last = |now: u64| rows(&log, UnixTime(0), at(now)).pop().unwrap();
    // Approved at 1010 for 10 minutes: over before the rule's 15 to use it are.
    assert!(last(1609).is_open());
    assert!(last(1610).in_words().contains("; never certified; unused  "));
}

#[test]
fn a_rule_that_is_gone_since_still_names_itself_and_its_approvers() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "alice", "web-1", |_| ());
    log.approve(20, "bob", &request);
    log.certify(30, &request);
    log.apply(40, 2, "");
    log.end(50, "alice", &request, Cause::Release);
    let rows = rows(&log, UnixTime(0), at(100));
    assert!(
        rows[0].in_words().contains("rule prod, approved by bob; 1 certificate; released by alice"),
        "{}",
        rows[0].in_words()
    );
}

#[test]
fn logins_are_told_by_count_and_address_and_where_nobody_asked_nothing_is_said() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "dave", "test-1", |_| ());
    log.certify(11, &request);
    let history = History::read(&log.folder(), UnixTime(0)).unwrap();
    let past = &history.requests[0];
    let used = |from: &str| ToldUse {
        told: Use {
            host: "test-1".parse().unwrap(),
            login: "deploy".parse().unwrap(),
            from: from.parse().unwrap(),
            serial: past.certificates[0].serial,
            begun: Some(at(12)),
            ended: None,
        },
        other_key: false,
    };
    let row = |used| Row::of(past, used, at(100)).unwrap();
    let told = row(Some(vec![used("10.1.2.3"), used("10.1.2.3"), used("10.9.9.9")]));
    assert!(
        told.in_words().contains("1 certificate, 3 logins from 10.1.2.3, 10.9.9.9; live"),
        "{}",
        told.in_words()
    );
    assert_eq!(told.cells()[18..], ["3", "10.1.2.3 10.9.9.9"]);
    assert!(row(Some(vec![])).in_words().contains("1 certificate, no login told; live"));
    assert_eq!(row(Some(vec![])).cells()[18], "0");
    let unknown = row(None);
    assert!(unknown.in_words().contains("1 certificate; live"), "{}", unknown.in_words());
    assert_eq!(unknown.cells()[18], "");
    assert_eq!(serde_json::to_value(&unknown).unwrap()["uses"], serde_json::Value::Null);
}

#[test]
fn a_hostile_reason_is_no_formula_and_no_second_line() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "dave", "test-1", |request| {
        request.reason = "=cmd|' /C calc'!A0, \"x\" \u{202e}".to_owned();
    });
    log.certify(11, &request);
    let row = &rows(&log, UnixTime(0), at(100))[0];
    let line = csv::line(row.cells());
    assert!(line.contains(",\"'=cmd|' /C calc'!A0, \"\"x\"\" \\u{202e}\","), "{line}");
    assert!(!row.in_words().contains('\u{202e}'));
    assert_eq!(csv::line(Row::HEADING.map(str::to_owned)).split(',').count(), 20);
    let object = serde_json::to_value(row).unwrap();
    assert_eq!(object["decided"], "auto");
    assert_eq!(object["certified"], true);
    assert_eq!(object["principals"], serde_json::json!(["deploy@test-1"]));
}

#[test]
fn the_command_reads_a_copy_and_refuses_what_is_none() {
    let log = full();
    let args = |from: PathBuf, json, csv| ReportArgs {
        config: PathBuf::from("ca-config"),
        from: Some(from),
        since: "30d".parse().unwrap(),
        json,
        csv,
    };
    for (json, csv) in [(false, false), (true, false), (false, true)] {
        let from = log.folder().path().to_path_buf();
        assert_eq!(cmd_report(&args(from, json, csv)).unwrap(), ExitCode::SUCCESS);
    }
    assert!(cmd_report(&args(PathBuf::from("/nowhere"), false, false)).is_err());
}
