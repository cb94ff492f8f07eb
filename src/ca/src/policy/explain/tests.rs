//! What is said of supposed requests and of those of a log.

use jit_ssh_core::statement::Cause;
use serde_json::Value;

use super::*;
use crate::history::testlog::{self, POLICY, TestLog, at};

fn bundle() -> Bundle {
    Bundle::parse(1, &testlog::files(POLICY), &[]).unwrap()
}

fn asked(by: &str, host: &str, span: &str) -> Supposed {
    Supposed {
        by: by.parse().unwrap(),
        subject: None,
        hosts: vec![host.parse().unwrap()],
        logins: vec!["deploy".parse().unwrap()],
        span: span.parse().unwrap(),
        reason: "INC-42 disk full".to_owned(),
        break_glass: None,
        command: None,
        strength: Strength::Any,
        from: None,
        at: at(0),
    }
}

fn words(supposed: &Supposed) -> String {
    let bundle = bundle();
    let judgement = supposed.judge(&bundle).unwrap();
    Explained::supposed(&judgement, &bundle).in_words()
}

#[test]
fn a_supposed_request_is_told_its_rule_its_approvers_and_its_clocks() {
    assert_eq!(
        words(&asked("alice", "web-1", "10m")),
        "alice as deploy on web-1 for 10m, at 2026-09-21 14:13:20 UTC, because INC-42 disk full\n\
         rule: prod decides, and needs 1 approval\n\
         approves: 1 of group:leads: bob, carol, erin\n\
         clocks: to be decided within 1h, first used within 15m; access for at most 30m, each certificate at most 5m\n\
         other rules:\n  test-auto: does not cover web-1"
    );
    let auto = words(&asked("alice", "test-1", "1h"));
    assert!(auto.contains("rule: test-auto decides, by itself\nclocks: first used"), "{auto}");
    assert!(auto.ends_with("  prod: does not cover test-1"), "{auto}");
    let glass =
        Supposed { break_glass: Some("nobody is here".into()), ..asked("alice", "web-1", "10m") };
    let glass = words(&glass);
    assert!(
        glass.contains("lets it go ahead without approvals\nreviews: 1 of group:leads: bob"),
        "{glass}"
    );
    assert!(glass.contains("\nreviews: or an admin of the CA\n"), "{glass}");
    assert!(glass.contains("access for at most 10m, each certificate at most 5m"), "{glass}");
}

/// What is said of a request of the log, to people.
fn told(log: &TestLog, id: &str, now: UnixTime) -> String {
    let history = History::read(&log.folder(), UnixTime(0)).unwrap();
    let past = history.find(&id.parse().unwrap()).unwrap();
    explained(past, history.bundle.as_ref().unwrap(), now, "the rules in force").in_words()
}

#[test]
fn what_is_over_is_told_how_it_ended_and_nobody_is_named_who_could_decide() {
    let mut log = TestLog::new(POLICY);
    let request = |log: &mut TestLog, second| log.request(second, "alice", "web-1", |_| ());
    let waits = request(&mut log, 10);
    let denied = request(&mut log, 11);
    log.deny(20, "bob", &denied);
    let cancelled = request(&mut log, 12);
    log.end(21, "alice", &cancelled, Cause::Cancel);
    let unused = request(&mut log, 13);
    log.approve(22, "carol", &unused);
    let [released, revoked, ended] = [Some(Cause::Release), Some(Cause::Revoke), None].map(|end| {
        let request = request(&mut log, 30);
        log.approve(31, "bob", &request);
        log.certify(32, &request);
        if let Some(cause) = end {
            let by = if cause == Cause::Revoke { "bob" } else { "alice" };
            log.end(40, by, &request, cause);
        }
        request
    });
    let short = |request: &jit_ssh_core::statement::Verified<_>| request.id().to_string();
    for (id, second, how) in [
        (short(&denied), 50, "was denied by bob: not now"),
        (short(&cancelled), 50, "was cancelled by who made it"),
        (short(&waits), 4_000, "was not decided in time"),
        (short(&unused), 4_000, "was approved but not used in time"),
        (short(&released), 50, "was given back by who asked for it"),
        (short(&revoked), 50, "was taken away by bob: enough"),
        (short(&ended), 4_000, "is over"),
    ] {
        let words = told(&log, &id, at(second));
        let line = words.lines().find(|line| line.starts_with("ended: ")).unwrap_or_default();
        assert!(line.ends_with(how), "{words}");
        assert!(words.contains("rule: prod decided"), "{words}");
        for waiting in ["approves: ", "clocks: ", "could approve", "decide by", "use by"] {
            assert!(!words.contains(waiting), "{how}: {words}");
        }
    }
    // The neighbour that waits names them all.
    let words = told(&log, &short(&waits), at(50));
    for waiting in ["approves: ", "clocks: ", "could approve now: bob", "decide by: ", "now: "] {
        assert!(words.contains(waiting), "{waiting}: {words}");
    }
}

#[test]
fn what_was_certified_is_told_from_the_log_and_how_other_rules_would_decide_it() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "alice", "web-1", |_| ());
    log.approve(20, "bob", &request);
    log.certify(30, &request);
    let id = request.id().to_string();
    let certified = "rule: prod decided, approved by bob\n";
    let granted = "granted: deploy@web-1 from 2026-09-21 14:13:50 UTC to 2026-09-21 14:23:40 UTC, 1 certificate\n";
    let same = told(&log, &id, at(40));
    assert!(same.contains(certified) && same.contains(granted), "{same}");
    assert!(!same.contains("otherwise"), "{same}");
    for (second, policy, how) in [
        (
            50,
            POLICY.replace("\"prod\"", "\"production\""),
            "the rule production decides, with 1 approval",
        ),
        (60, POLICY.replace("count = 1", "count = 2"), "the rule prod decides, with 2 approvals"),
        (
            70,
            POLICY.replace("\"30m\"", "\"9m\"").replace("\"10m\" }", "\"9m\" }"),
            "refused (POLICY_REFUSED): no rule allows alice",
        ),
        (80, String::new(), "refused (POLICY_REFUSED): no rule allows alice"),
    ] {
        log.apply(second, second, &policy);
        let words = told(&log, &id, at(second + 1));
        assert!(words.contains(certified) && words.contains(granted), "{words}");
        let otherwise = format!("under the rules in force it would be otherwise: {how}");
        assert!(words.contains(&otherwise), "{words}");
        assert_eq!(explain(&log, &id, at(second + 1))["rule"], "prod");
    }
}

#[test]
fn a_break_glass_access_is_told_who_reviews_it_until_somebody_did() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "alice", "web-1", |request| {
        request.break_glass = Some("nobody answers".to_owned());
    });
    log.certify(20, &request);
    let id = request.id().to_string();
    let words = told(&log, &id, at(4_000));
    assert!(words.contains("reviews: 1 of group:leads: bob, carol, erin\n"), "{words}");
    assert!(words.contains("reviews: or an admin: ann\n"), "{words}");
    log.approve(4_100, "bob", &request);
    let words = told(&log, &id, at(4_200));
    assert!(!words.contains("reviews:"), "{words}");
}

#[test]
fn a_refused_one_is_told_why_and_what_would_fit() {
    let long = words(&asked("alice", "web-1", "31m"));
    assert!(long.contains("refused (POLICY_REFUSED): no rule allows alice"), "{long}");
    assert!(long.contains("\nhint: ask again with --for 30m\nnearest rule: prod\n"), "{long}");
    let nobody = words(&asked("bob", "web-1", "10m"));
    assert!(
        nobody.ends_with("other rules:\n  prod: is not for bob\n  test-auto: is not for bob"),
        "{nobody}"
    );
    assert!(!nobody.contains("nearest"), "{nobody}");
}

fn explain(log: &TestLog, id: &str, now: UnixTime) -> Value {
    let history = History::read(&log.folder(), UnixTime(0)).unwrap();
    let past = history.find(&id.parse().unwrap()).unwrap();
    let bundle = history.bundle.as_ref().unwrap();
    let explained = explained(past, bundle, now, "the rules in force");
    serde_json::to_value(explained).unwrap()
}

#[test]
fn a_real_request_is_told_where_it_stands_and_who_could_still_approve() {
    let mut log = TestLog::new(&POLICY.replace("count = 1", "count = 2"));
    let request = log.request(10, "alice", "web-1", |_| ());
    log.approve(20, "bob", &request);
    let id = request.id().to_string();
    let waiting = explain(&log, &id, at(30));
    assert_eq!(waiting["id"], id);
    assert_eq!(waiting["rule"], "prod");
    assert_eq!(waiting["steps"][0]["given"], 1);
    assert_eq!(waiting["standing"]["could_approve"], serde_json::json!(["carol", "erin"]));
    assert_eq!(waiting["standing"]["decide_by"], at(10 + 3600).0);
    assert_eq!(waiting["standing"]["status"], "1 of 2 approvals are missing, 1 from group:leads");
    log.approve(40, "carol", &request);
    let approved = explain(&log, &id, at(50));
    assert_eq!(approved["standing"]["could_approve"], serde_json::json!([]));
    assert_eq!(approved["standing"]["access_until"], at(40 + 600).0);
    // An extension is judged as what it is.
    let full = testlog::full();
    let history = History::read(&full.folder(), UnixTime(0)).unwrap();
    let extension = history.requests.iter().find(|past| past.extension == Some(1)).unwrap();
    let said = explain(&full, extension.id().as_str(), at(450));
    assert_eq!(
        (said["rule"].as_str(), said["decision"].as_str()),
        (Some("prod"), Some("approvals"))
    );
}

#[test]
fn the_command_finds_requests_by_id_and_refuses_what_is_not_there() {
    let mut log = TestLog::new(POLICY);
    let request = log.request(10, "alice", "web-1", |_| ());
    let from = log.folder().path().to_path_buf();
    let args = |id: &str| ExplainArgs {
        id: Some(id.parse().unwrap()),
        config: None,
        from: Some(from.clone()),
        who: None,
        for_person: None,
        host: Vec::new(),
        login: Vec::new(),
        span: None,
        because: None,
        at: None,
        address: None,
        break_glass: None,
        command: None,
        strength: Strength::Any,
        json: true,
    };
    let id = request.id().to_string();
    assert_eq!(cmd_explain(&args(&id[..5])).unwrap(), ExitCode::SUCCESS);
    let error = cmd_explain(&args("zzzz")).unwrap_err().to_string();
    assert!(error.starts_with("there is no request zzzz"), "{error}");
    // Under a configuration that is named.
    let changed = ExplainArgs { config: Some(log.config("")), ..args(&id) };
    assert_eq!(cmd_explain(&changed).unwrap(), ExitCode::SUCCESS);
    // Supposed.
    let supposed = |who: &str| ExplainArgs {
        id: None,
        from: None,
        config: Some(log.config(POLICY)),
        who: Some(who.parse().unwrap()),
        host: vec!["web-1".parse().unwrap()],
        login: vec!["deploy".parse().unwrap()],
        span: Some("10m".parse().unwrap()),
        ..args(&id)
    };
    assert_eq!(cmd_explain(&supposed("alice")).unwrap(), ExitCode::SUCCESS);
    let error = cmd_explain(&supposed("zoe")).unwrap_err().to_string();
    assert_eq!(error, "there is nobody with the id zoe in people.toml.");
}
