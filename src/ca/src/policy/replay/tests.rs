//! A log with one of everything, under the same rules and under others.

use jit_ssh_core::time::UnixTime;

use super::*;
use crate::history::testlog::{POLICY, TestLog, files, full};

fn with<T>(policy: &str, then: impl FnOnce(Replay<'_>) -> T) -> T {
    let log = full();
    let history = History::read(&log.folder(), UnixTime(0)).unwrap();
    assert_eq!(history.gaps, Vec::<String>::new());
    let bundle = Bundle::parse(9, &files(policy), &[]).unwrap();
    then(Replay::of(history.requests.iter(), &bundle))
}

#[test]
fn the_same_rules_change_nothing_and_neither_does_another_name() {
    for policy in [POLICY.to_owned(), POLICY.replace("\"prod\"\nwho", "\"production\"\nwho")] {
        with(&policy, |replay| {
            let counts = replay.counts();
            assert_eq!((counts.requests, counts.unchanged), (7, 7), "{}", replay.in_words(5));
            assert_eq!((counts.refused, counts.asked), (0, 5));
            assert_eq!((counts.automatic, counts.break_glass), (1, 1));
        });
    }
}

#[test]
fn each_change_is_counted_and_shown_with_what_happened_then() {
    let more = POLICY
        .replace("count = 1", "count = 2")
        .replace("auto = {}", "approvals = [{ from = [\"group:leads\"], count = 1 }]");
    with(&more, |replay| {
        let words = replay.in_words(1);
        assert!(words.starts_with("7 requests: under these rules 0 refused, 6 asked, 0 automatic, 1 break-glass\n1 as they were\n"), "{words}");
        assert!(words.contains("\n5 asked, now of others or by more or fewer:\n"), "{words}");
        assert!(
            words.contains("certified: 1 approval by prod -> 2 approvals by prod\n  and 4 more\n"),
            "{words}"
        );
        assert!(words.contains("\n1 automatic then, asked now:\n"), "{words}");
        assert!(
            words.contains(
                "dave: deploy@test-1, released: automatic by test-auto -> 1 approval by test-auto"
            ),
            "{words}"
        );
    });
    let less = POLICY.replace("approvals = [{ from = [\"group:leads\"], count = 1 }]\nbreak_glass = { strength = \"any\", max_for = \"10m\" }", "auto = {}");
    with(&less, |replay| {
        let counts = replay.counts();
        // Break-glass means nothing where nobody is asked: the rule has none.
        assert_eq!((counts.automatic, counts.refused), (6, 1), "{}", replay.in_words(5));
        assert_eq!(counts.unchanged, 1);
    });
    with("", |replay| {
        assert_eq!(replay.counts().refused, 7);
        let first = serde_json::to_value(printed(&replay.changed[0])).unwrap();
        assert_eq!(first["before"]["kind"], "asked");
        assert_eq!(first["after"]["kind"], "refused");
        assert!(first["after"]["message"].as_str().unwrap().contains("no allow rule"));
        assert_eq!(first["id"].as_str().unwrap().len(), 10);
    });
}

#[test]
fn who_alone_could_approve_their_request_is_refused() {
    with(&POLICY.replace("group:leads", "person:alice"), |replay| {
        // Both that alice asked for; she goes ahead without approvals, and dave asks her.
        let counts = replay.counts();
        assert_eq!((counts.refused, counts.unchanged), (2, 5), "{}", replay.in_words(5));
        let first = serde_json::to_value(printed(&replay.changed[0])).unwrap();
        let message = first["after"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("nobody could approve this request: the rule prod"),
            "{message}"
        );
    });
}

#[test]
fn an_extension_is_judged_by_its_place() {
    with(&POLICY.replace("times = 2 }", "times = 1 }"), |replay| {
        assert_eq!(replay.counts().unchanged, 7);
    });
    with(&POLICY.replace("extend = { max = \"20m\"", "extend = { max = \"9m\""), |replay| {
        assert_eq!(replay.counts().refused, 1);
    });
}

#[test]
fn only_requests_since_then_are_replayed() {
    let log = TestLog::new(POLICY);
    let config = log.config(POLICY);
    let from = Some(log.folder().path().to_path_buf());
    let args = |json| ReplayArgs {
        config: config.clone(),
        from: from.clone(),
        since: "90d".parse().unwrap(),
        examples: 5,
        json,
    };
    assert_eq!(cmd_replay(&args(false)).unwrap(), ExitCode::SUCCESS);
    assert_eq!(cmd_replay(&args(true)).unwrap(), ExitCode::SUCCESS);
    let log = full();
    let late = History::read(&log.folder(), crate::history::testlog::at(600)).unwrap();
    let recorded = late.requests.iter().filter(|p| p.recorded >= crate::history::testlog::at(600));
    assert_eq!(recorded.count(), 4);
}
