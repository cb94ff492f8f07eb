//! What earns a rule, and what keeps it from earning one.

use jit_ssh_core::statement::Cause;
use jit_ssh_core::time::UnixTime;

use super::*;
use crate::history::testlog::{POLICY, TestLog, at, files};

const DAY: u64 = 86_400;

/// Twelve requests of alice and dave on both web hosts, approved by three leads in turn, each ten
/// minutes after it was made, on working days.
fn usual(policy: &str) -> TestLog {
    let mut log = TestLog::new(policy);
    for round in 0..12u64 {
        let day = round / 5 * 7 + round % 5;
        let second = day * DAY + round * 60 + 10;
        let by = ["alice", "dave"][round as usize % 2];
        let host = ["web-1", "web-2"][(round / 2) as usize % 2];
        let request = log.request(second, by, host, |_| ());
        log.approve(second + 600, ["bob", "carol", "erin"][round as usize % 3], &request);
        log.certify(second + 610, &request);
    }
    log
}

fn found(log: &TestLog, policy: &str, requests: usize, approvers: usize) -> Vec<Suggestion> {
    let history = History::read(&log.folder(), UnixTime(0)).unwrap();
    let files = files(policy);
    let bundle = Bundle::parse(1, &files, &[]).unwrap();
    let week = Week::new("UTC").unwrap();
    let bounds = Bounds { requests, approvers };
    let all = suggestions(history.requests.iter(), &bundle, &files, bounds, &week, at(0));
    for suggestion in &all {
        let trial = Trial::of(suggestion, &files).unwrap_or_else(|problem| panic!("{problem}"));
        let cited = |past: &&Past| suggestion.evidence.contains(&past.id().to_string());
        let cited: Vec<&Past> = history.requests.iter().filter(cited).collect();
        assert_eq!(cited.len(), suggestion.requests);
        assert_eq!(trial.approved(&cited).len(), suggestion.requests, "{suggestion:?}");
    }
    all
}

#[test]
fn what_was_always_approved_by_several_earns_a_rule_no_wider_than_that() {
    let log = usual(POLICY);
    let all = found(&log, POLICY, 10, 3);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        one.in_words(),
        "# 12 requests of alice, dave on web-1, web-2, each approved as asked, none denied or revoked\n\
         # approved by bob (4), carol (4), erin (4); they waited 10m in the middle, all within Mon-Fri 14:00-15:00 UTC\n\
         # put it above the rule prod, which asks for approvals now\n\
         [[allow]]\n\
         name = \"auto-sre-deploy-web-\"\n".trim_end_matches("-\"\n").to_owned() + "\"\n\
         who = [\"group:sre\"]\n\
         hosts = [\"web-*\"]\n\
         logins = [\"deploy\"]\n\
         max_for = \"10m\"\n\
         cert_for = \"5m\"\n\
         reason = { min = 1 }\n\
         auto = { hours = \"Mon-Fri 14:00-15:00 UTC\", review_by = \"2026-12-20\" }\n\
         use_within = \"15m\"\n"
    );
    // It is one rule of the policy, and it changes what the next such request needs.
    let policy = format!("{}\n{POLICY}", one.text);
    let bundle = Bundle::parse(1, &files(&policy), &[]).unwrap();
    assert_eq!(bundle.policy.allow[0].name.as_str(), one.rule);
    assert!(found(&log, &policy, 10, 3).is_empty(), "it is automatic already");
}

#[test]
fn too_few_requests_or_approvers_earn_nothing() {
    let log = usual(POLICY);
    assert_eq!(found(&log, POLICY, 12, 3).len(), 1);
    assert!(found(&log, POLICY, 13, 3).is_empty());
    assert!(found(&log, POLICY, 12, 4).is_empty());
}

#[test]
fn one_denial_or_one_revocation_keeps_the_pattern_from_it() {
    let mut denied = usual(POLICY);
    let request = denied.request(20 * DAY, "alice", "web-1", |_| ());
    denied.deny(20 * DAY + 60, "bob", &request);
    let mut revoked = usual(POLICY);
    let request = revoked.request(20 * DAY, "alice", "web-1", |_| ());
    revoked.approve(20 * DAY + 60, "bob", &request);
    revoked.certify(20 * DAY + 70, &request);
    revoked.end(20 * DAY + 80, "carol", &request, Cause::Revoke);
    for log in [denied, revoked] {
        assert!(found(&log, POLICY, 10, 3).is_empty());
        // Dave was never refused; what alice has on web-2 is too little for her alone.
        let narrow = found(&log, POLICY, 5, 3);
        let about: Vec<&str> = narrow.iter().map(|one| one.rule.as_str()).collect();
        assert_eq!(about, ["auto-dave-deploy-web"]);
    }
    // One that was taken back or not decided says nothing.
    let mut silent = usual(POLICY);
    let request = silent.request(20 * DAY, "alice", "web-1", |_| ());
    silent.end(20 * DAY + 60, "alice", &request, Cause::Cancel);
    silent.request(20 * DAY + 100, "alice", "web-1", |_| ());
    assert_eq!(found(&silent, POLICY, 10, 3).len(), 1);
}

/// Twelve requests of alice and dave, each for both web hosts at once.
fn pairs(policy: &str, change: impl Fn(u64, &mut jit_ssh_core::statement::Request)) -> TestLog {
    let mut log = TestLog::new(policy);
    for round in 0..12u64 {
        let second = (round / 5 * 7 + round % 5) * DAY + round * 60 + 10;
        let by = ["alice", "dave"][round as usize % 2];
        let request = log.request(second, by, "web-1", |request| {
            request.hosts.push("web-2".parse().unwrap());
            change(round, request);
        });
        log.approve(second + 600, ["bob", "carol", "erin"][round as usize % 3], &request);
    }
    log
}

#[test]
fn a_request_for_two_hosts_is_one_and_the_rule_covers_it_as_a_whole() {
    let log = pairs(POLICY, |_, _| ());
    let all = found(&log, POLICY, 10, 3);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.requests, one.hosts.len()), (12, 2));
    assert!(one.text.contains("hosts = [\"web-1\", \"web-2\"]"), "{}", one.text);
    // Twelve requests are twelve, however many hosts they name.
    assert!(found(&log, POLICY, 13, 3).is_empty());
}

#[test]
fn single_requests_do_not_make_a_rule_for_pairs_nor_pairs_one_for_single_hosts() {
    // Six for both, six for one: only what covers both kinds has twelve behind it.
    let log = pairs(POLICY, |round, request| {
        if round >= 6 {
            request.hosts.truncate(1);
        }
    });
    let all = found(&log, POLICY, 10, 3);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert!(one.text.contains("hosts = [\"web-*\"]"), "{}", one.text);
    assert_eq!(one.requests, 12);
}

#[test]
fn hosts_with_nothing_in_common_are_named_and_must_all_be_asked() {
    let policy = POLICY.replace("label:env=prod\"", "label:env=prod\", \"test-1\"");
    let log = pairs(&policy, |_, request| {
        request.hosts = vec!["test-1".parse().unwrap(), "web-2".parse().unwrap()];
    });
    let all = found(&log, &policy, 10, 3);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert!(one.text.contains("hosts = [\"test-1\", \"web-2\"]"), "{}", one.text);
}

#[test]
fn what_was_approved_in_part_is_no_evidence_and_what_was_dropped_speaks_against() {
    let narrowed = |drop: bool, shorten: bool| {
        let mut log = usual(POLICY);
        let request = log.request(20 * DAY, "alice", "web-1", |request| {
            request.hosts.push("web-2".parse().unwrap());
            request.r#for = Seconds::new(1_200).unwrap();
        });
        log.approve_some(20 * DAY + 60, "bob", &request, |decision| {
            if drop {
                decision.hosts.as_mut().unwrap().truncate(1);
            }
            if shorten {
                decision.r#for = Seconds::new(300);
            }
        });
        found(&log, POLICY, 10, 3)
    };
    // The neighbour, granted in full, is the thirteenth.
    assert_eq!(narrowed(false, false)[0].requests, 13);
    // A shorter time is neither yes nor no to what was asked.
    let shorter = narrowed(false, true);
    assert_eq!(shorter[0].requests, 12);
    assert!(shorter[0].text.contains("max_for = \"10m\""), "{}", shorter[0].text);
    // Alice was not given the second host, so no rule gives it to her.
    let dropped = narrowed(true, false);
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn what_would_not_be_automatic_under_the_rule_is_no_evidence() {
    let log = usual(POLICY);
    let history = History::read(&log.folder(), UnixTime(0)).unwrap();
    let bundle = Bundle::parse(1, &files(POLICY), &[]).unwrap();
    let bounds = Bounds { requests: 10, approvers: 3 };
    let count = |left_out: usize| {
        let mut first = true;
        let patterns = evidence::patterns(history.requests.iter(), &bundle, bounds, |pattern| {
            // The second time what is left is fine.
            let skipped = if std::mem::take(&mut first) { left_out } else { 0 };
            pattern.cited.iter().skip(skipped).copied().collect()
        });
        patterns.first().map(|pattern| pattern.cited.len())
    };
    assert_eq!(count(0), Some(12));
    assert_eq!(count(2), Some(10));
    assert_eq!(count(3), Some(12), "nine are too few: the next pattern is looked at");
    // A trial of a rule that is too short for a request does not approve it.
    let all = found(&log, POLICY, 10, 3);
    let short = Suggestion { text: all[0].text.replace("\"10m\"", "\"9m\""), ..all[0].clone() };
    let trial = Trial::of(&short, &files(POLICY)).unwrap();
    assert!(trial.approved(&history.requests.iter().collect::<Vec<_>>()).is_empty());
}

#[test]
fn another_rule_for_some_of_the_hosts_or_people_is_not_loosened() {
    // What the second web host needs now is somebody else's business.
    let stricter = POLICY.replacen(
        "[[allow]]",
        "[[allow]]\nname = \"web-2\"\nwho = [\"group:sre\"]\nhosts = [\"web-2\"]\nlogins = [\"deploy\"]\nmax_for = \"10m\"\ncert_for = \"5m\"\n\
         approvals = [{ from = [\"group:leads\"], count = 2 }]\n\n[[allow]]",
        1,
    );
    let log = usual(POLICY);
    assert!(found(&log, &stricter, 10, 3).is_empty());
    let one = found(&log, &stricter, 6, 3);
    let hosts: Vec<_> = one.iter().map(|one| (one.hosts.clone(), one.above.as_str())).collect();
    assert_eq!(hosts, [(vec!["web-1".to_owned()], "prod"), (vec!["web-2".to_owned()], "web-2")]);
    let text = &one[0].text;
    assert!(text.contains("hosts = [\"web-1\"]"), "{text}");
}

#[test]
fn what_the_rule_asks_of_reason_and_address_stays() {
    let policy = POLICY.replacen(
        "cert_for = \"5m\"",
        "cert_for = \"20m\"\nreason = { min = 5, pattern = \"INC-\\\\d+ \\\"?\", hint = \"say \\\"which\\\"\" }\nsource = [\"10.0.0.0/8\"]\npermit = [\"pty\"]\nuse_within = \"5m\"",
        1,
    );
    let log = usual(&policy);
    let text = &found(&log, &policy, 10, 3)[0].text;
    assert!(text.contains("cert_for = \"10m\"\n"), "{text}");
    assert!(
        text.contains("pattern = \"INC-\\\\d+ \\\"?\", hint = \"say \\\"which\\\"\" }"),
        "{text}"
    );
    assert!(text.contains("source = [\"10.0.0.0/8\"]\n"), "{text}");
    assert!(
        text.contains("permit = [\"pty\"]\n") && text.contains("use_within = \"5m\"\n"),
        "{text}"
    );
}

#[test]
fn the_command_proposes_nothing_from_nothing_and_refuses_a_zone_that_is_none() {
    let log = TestLog::new(POLICY);
    let args = |zone: &str| SuggestArgs {
        config: log.config(POLICY),
        from: Some(log.folder().path().to_path_buf()),
        since: "90d".parse().unwrap(),
        min: NonZeroUsize::new(10).unwrap(),
        approvers: NonZeroUsize::new(3).unwrap(),
        zone: zone.to_owned(),
        json: false,
    };
    assert_eq!(cmd_suggest(&args("UTC")).unwrap(), ExitCode::SUCCESS);
    assert!(cmd_suggest(&args("Nowhere/At-All")).unwrap_err().to_string().starts_with("--zone: "));
}
