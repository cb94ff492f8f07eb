//! Times: windows that begin later, hours of rules, and clocks that step.

use super::*;

const AUTO: &str = "auto = {}";

#[test]
fn access_begins_when_it_was_asked_for_and_the_clock_runs_from_the_later_of_the_two() {
    let case = Case::new();
    let World { alice, bob, .. } = &case.world;
    let mut request = case.world.request(alice, "prod-host", "deploy", 600, START);
    request.not_before = Some(at(3_000));
    // Approved before: from the window on.
    let mut early = case.chain_of(&request);
    case.approve(&mut early, bob, 100);
    assert_eq!(case.status(&early, 101), Status::Approved);
    assert_eq!(authorize(&early, &case.bundle, at(2_999)).unwrap_err().reason, Reason::TooEarly);
    let yes = authorize(&early, &case.bundle, at(3_000)).unwrap();
    assert_eq!(yes.access_until(), at(3_600));
    // Used in time from then on, not from the approval.
    assert_eq!(evaluate(&early, &case.bundle, at(101)).use_by, Some(at(3_600)));
    assert_eq!(case.status(&early, 3_599), Status::Approved);
    assert_eq!(case.status(&early, 3_601), Status::LapsedUnused);
    // Approved later: from the approval on.
    let mut late = case.chain_of(&request);
    case.approve(&mut late, bob, 3_200);
    assert_eq!(authorize(&late, &case.bundle, at(3_200)).unwrap().access_until(), at(3_800));
}

#[test]
fn a_window_under_a_rule_that_approves_by_itself_opens_by_itself() {
    let case = Case::new();
    let mut request = case.world.request(&case.world.alice, "test-host", "deploy", 600, START);
    request.not_before = Some(at(5_000));
    let chain = case.chain_of(&request);
    assert_eq!(authorize(&chain, &case.bundle, at(0)).unwrap_err().reason, Reason::TooEarly);
    assert_eq!(authorize(&chain, &case.bundle, at(5_000)).unwrap().access_until(), at(5_600));
}

/// START is Monday 2026-09-21 14:13:20 UTC.
fn auto_in(hours: &str) -> Case {
    assert!(POLICY.contains(AUTO));
    Case::with(&POLICY.replace(AUTO, &format!("auto = {{ {hours} }}")))
}

#[test]
fn a_rule_approves_by_itself_within_its_hours_only() {
    let within = |hours: &str, not_before: Option<u32>| {
        let case = auto_in(hours);
        let mut request = case.world.request(&case.world.alice, "test-host", "deploy", 600, START);
        request.not_before = not_before.map(at);
        admit_request(&case.chain_of(&request), None, &case.bundle, START).map(drop)
    };
    within("hours = \"Mon-Fri 14:00-15:00 UTC\"", None).unwrap();
    within("hours = \"Mon-Fri 16:00-17:00 Europe/Berlin\"", None).unwrap();
    let refused = within("hours = \"Mon-Fri 08:00-14:00 UTC\"", None).unwrap_err();
    assert_eq!(refused.reason, Reason::PolicyRefused);
    assert!(refused.message.contains("by itself only Mon-Fri 08:00-14:00 UTC"), "{refused}");
    // It is the beginning of the access that counts.
    within("hours = \"Mon-Fri 15:00-16:00 UTC\"", Some(3_600)).unwrap();
    within("hours = \"Mon-Fri 14:00-15:00 UTC\"", Some(3_600)).unwrap_err();
}

#[test]
fn outside_its_hours_the_next_rule_that_covers_a_request_decides() {
    let policy = POLICY.replace(AUTO, "auto = { hours = \"Mon-Fri 08:00-14:00 UTC\" }")
        + "\n[[allow]]\nname = \"test-asked\"\nwho = [\"group:sre\"]\nhosts = [\"test-*\"]\nlogins = [\"deploy\"]\nmax_for = \"1h\"\ncert_for = \"10m\"\napprovals = [{ from = [\"group:leads\"], count = 1 }]\n";
    let case = Case::with(&policy);
    let request = case.world.request(&case.world.alice, "test-host", "deploy", 600, START);
    let evaluation = evaluate(&case.chain_of(&request), &case.bundle, START);
    assert_eq!(evaluation.rule.unwrap().name.as_str(), "test-asked");
    assert_eq!(evaluation.status, Status::Pending);
}

#[test]
fn a_rule_that_was_not_reviewed_in_time_approves_nothing_any_more() {
    let admit = |day: &str| {
        let case = auto_in(&format!("review_by = \"{day}\""));
        let request = case.world.request(&case.world.alice, "test-host", "deploy", 600, START);
        admit_request(&case.chain_of(&request), None, &case.bundle, START).map(drop)
    };
    admit("2026-09-21").unwrap();
    let refused = admit("2026-09-20").unwrap_err();
    assert!(refused.message.contains("reviewed by 2026-09-20"), "{refused}");
}

#[test]
fn no_clock_step_yields_a_certificate_outside_its_grant() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 100);
    case.issue(&mut chain, 150);
    let ten_years = 10 * 365 * 86_400;
    for now in [150, 151, 149, 3_750, 699, 700, 150 + ten_years] {
        if let Ok(yes) = authorize(&chain, &case.bundle, at(now)) {
            assert!((100..700).contains(&now), "{now}");
            assert!(yes.valid_before() <= at(700) && yes.access_until() == at(700));
        } else {
            assert!(now >= 700, "{now}");
        }
    }
    for back in [3_600, ten_years] {
        let refused = authorize(&chain, &case.bundle, START.minus_secs(back)).unwrap_err();
        assert_eq!(refused.reason, Reason::TooEarly);
    }
}

#[test]
fn an_approvers_clock_that_is_ahead_keeps_nobody_waiting() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 120);
    let yes = authorize(&chain, &case.bundle, at(0)).unwrap();
    assert_eq!(yes.access_until(), at(720));
    let refused = authorize(&chain, &case.bundle, START.minus_secs(1)).unwrap_err();
    assert_eq!(refused.reason, Reason::TooEarly);
}
