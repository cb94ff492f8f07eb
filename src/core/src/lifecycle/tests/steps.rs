//! Approval steps: who counts for which, and with which key.

use super::*;
use crate::testkit::with_security_key;

const STEP: &str = "approvals = [{ from = [\"group:leads\"], count = 1 }]";

/// A world whose rule for production asks for these steps.
fn asking(steps: &str) -> Case {
    assert!(POLICY.contains(STEP));
    Case::with(&POLICY.replace(STEP, &format!("approvals = [{steps}]")))
}

fn given(case: &Case, chain: &Chain, secs: u32) -> Vec<(usize, usize)> {
    let evaluation = evaluate(chain, &case.bundle, at(secs));
    evaluation.steps.iter().map(|step| (step.given, step.needed)).collect()
}

#[test]
fn one_person_counts_once_over_all_steps() {
    let case = asking(
        r#"{ from = ["group:leads"], count = 1 }, { from = ["group:sre", "person:carol"], count = 1 }"#,
    );
    let World { bob, carol, .. } = &case.world;
    let mut chain = case.chain();
    // bob is in both groups.
    case.approve(&mut chain, bob, 10);
    case.approve(&mut chain, bob, 11);
    assert_eq!(case.status(&chain, 12), Status::Pending);
    assert_eq!(given(&case, &chain, 12), [(1, 1), (0, 1)]);
    case.approve(&mut chain, carol, 20);
    assert_eq!(case.status(&chain, 20), Status::Approved);
    assert_eq!(evaluate(&chain, &case.bundle, at(20)).grant.unwrap().approved_at, at(20));
}

#[test]
fn who_came_first_makes_room_for_who_has_no_other_place() {
    // bob could stand in either step, carol only in the first.
    let case =
        asking(r#"{ from = ["group:leads"], count = 1 }, { from = ["group:sre"], count = 1 }"#);
    let World { bob, carol, .. } = &case.world;
    for order in [[bob, carol], [carol, bob]] {
        let mut chain = case.chain();
        case.approve(&mut chain, order[0], 10);
        assert_eq!(case.status(&chain, 11), Status::Pending);
        case.approve(&mut chain, order[1], 20);
        assert_eq!(case.status(&chain, 20), Status::Approved);
        assert_eq!(given(&case, &chain, 20), [(1, 1), (1, 1)]);
    }
}

#[test]
fn an_approval_for_which_there_is_no_place_changes_nothing_and_says_so() {
    let case =
        asking(r#"{ from = ["group:leads"], count = 1 }, { from = ["person:bob"], count = 1 }"#);
    let World { bob, carol, .. } = &case.world;
    let mut chain = case.chain();
    case.approve(&mut chain, bob, 10);
    let again = bob.verified(&case.world.approval(bob, chain.request(), at(12)));
    let refused = admit_decision(&again, &chain, &case.bundle, at(12)).unwrap_err();
    assert_eq!(refused.reason, Reason::Settled);
    assert!(refused.message.contains("counts once"), "{refused}");
    let other = carol.verified(&case.world.approval(carol, chain.request(), at(12)));
    admit_decision(&other, &chain, &case.bundle, at(12)).unwrap();

    // A third person whose step is full.
    let case =
        asking(r#"{ from = ["person:carol"], count = 1 }, { from = ["person:bob"], count = 1 }"#);
    let mut chain = case.chain();
    case.approve(&mut chain, carol, 10);
    let could: Vec<_> = could_approve(&chain, rule(&case), &case.bundle).collect();
    assert_eq!(could.iter().map(|actor| actor.id.as_str()).collect::<Vec<_>>(), ["bob"]);
}

fn rule(case: &Case) -> &Allow {
    &case.bundle.policy.allow[0]
}

#[test]
fn those_who_could_still_approve_are_those_with_a_place() {
    let case =
        asking(r#"{ from = ["group:leads"], count = 1 }, { from = ["group:sre"], count = 1 }"#);
    let World { bob, carol, .. } = &case.world;
    let could = |chain: &Chain| -> Vec<String> {
        could_approve(chain, rule(&case), &case.bundle).map(|a| a.id.to_string()).collect()
    };
    let mut chain = case.chain();
    assert_eq!(could(&chain), ["bob", "carol"], "never alice, who asked");
    case.approve(&mut chain, carol, 10);
    assert_eq!(could(&chain), ["bob"]);
    let mut chain = case.chain();
    case.approve(&mut chain, bob, 10);
    // bob would move to the second step.
    assert_eq!(could(&chain), ["carol"]);
}

/// A world where bob also has a security key.
fn with_bobs_security_key(steps: &str, verified: bool) -> (Case, Person) {
    let mut case = asking(steps);
    let bobs = with_security_key("bob", 33, verified);
    let policy = POLICY.replace(STEP, &format!("approvals = [{steps}]"));
    let mut files = case.world.files(&policy);
    let people = String::from_utf8(files.people).unwrap();
    let own = format!("\"{}\"", case.world.bob.key);
    assert!(people.contains(&own));
    files.people = people.replace(&own, &format!("{own}, \"{}\"", bobs.key)).into_bytes();
    case.bundle = Bundle::parse(1, &files, &case.world.root.admin_keys()).unwrap();
    (case, bobs)
}

#[test]
fn a_step_may_want_a_security_key_and_a_pin() {
    for (strength, verified, counts) in [
        ("any", false, true),
        ("hardware", false, true),
        ("hardware", true, true),
        ("verified", false, false),
        ("verified", true, true),
    ] {
        let step = format!("{{ from = [\"group:leads\"], count = 1, strength = \"{strength}\" }}");
        let (case, bobs) = with_bobs_security_key(&step, verified);
        let mut chain = case.chain();
        let soft =
            case.world.bob.verified(&case.world.approval(&case.world.bob, chain.request(), at(1)));
        let soft_outcome = admit_decision(&soft, &chain, &case.bundle, at(1));
        assert_eq!(soft_outcome.is_ok(), strength == "any");
        if let Err(refused) = soft_outcome {
            assert_eq!(refused.reason, Reason::NotAllowed);
            assert!(refused.message.contains(&format!("strength {strength}")), "{refused}");
            case.approve(&mut chain, &case.world.bob, 1);
            assert_eq!(case.status(&chain, 2), Status::Pending, "it would not count either");
        }
        let hard = bobs.verified(&case.world.approval(&bobs, chain.request(), at(3)));
        assert_eq!(
            admit_decision(&hard, &chain, &case.bundle, at(3)).is_ok(),
            counts,
            "{strength}"
        );
        case.approve(&mut chain, &bobs, 3);
        let expected = if counts { Status::Approved } else { Status::Pending };
        assert_eq!(case.status(&chain, 4), expected, "{strength} {verified}");
    }
}

#[test]
fn a_denial_needs_no_security_key() {
    let step = r#"{ from = ["group:leads"], count = 1, strength = "verified" }"#;
    let (case, _) = with_bobs_security_key(step, true);
    let World { bob, .. } = &case.world;
    let mut chain = case.chain();
    let no = bob.verified(&case.world.denial(bob, chain.request(), at(1)));
    admit_decision(&no, &chain, &case.bundle, at(1)).unwrap();
    chain.add_decision(no).unwrap();
    assert!(matches!(case.status(&chain, 2), Status::Denied { .. }));
}

#[test]
fn approvals_that_have_nothing_in_common_grant_nothing() {
    let case = asking(r#"{ from = ["group:leads"], count = 2 }"#);
    let World { alice, bob, carol, .. } = &case.world;
    let mut request = case.world.request(alice, "prod-host", "deploy", 600, START);
    request.logins.push("root".parse().unwrap());
    let narrowed = |by: &Person, login: &str, chain: &Chain| {
        let mut approval = case.world.approval(by, chain.request(), at(1));
        approval.logins = Some(vec![login.parse().unwrap()]);
        by.verified(&approval)
    };
    for (second, granted) in [("deploy", true), ("root", false)] {
        let mut chain = case.chain_of(&request);
        chain.add_decision(narrowed(bob, "deploy", &chain)).unwrap();
        let other = narrowed(carol, second, &chain);
        admit_decision(&other, &chain, &case.bundle, at(1)).unwrap();
        chain.add_decision(other).unwrap();
        match (case.status(&chain, 2), granted) {
            (Status::Approved, true) => {}
            (Status::Refused(refusal), false) => {
                assert!(refusal.message.contains("nothing"), "{refusal}");
                assert!(authorize(&chain, &case.bundle, at(2)).is_err());
            }
            (status, _) => panic!("{status:?}"),
        }
    }
}

#[test]
fn a_request_that_nobody_could_approve_is_refused_and_one_that_somebody_could_is_not() {
    // bob asks for what only leads approve: with carol there is one beside him, and not two.
    let policy = |count: u8| POLICY.replacen("count = 1", &format!("count = {count}"), 1);
    for (count, by, fine) in [(1, "bob", true), (2, "bob", false), (2, "alice", true)] {
        let case = Case::with(&policy(count));
        let by = [&case.world.alice, &case.world.bob].into_iter().find(|p| p.id == by).unwrap();
        let request = case.world.request(by, "prod-host", "deploy", 600, START);
        let admitted = admit_request(&case.chain_of(&request), None, &case.bundle, at(1));
        match fine {
            true => assert_eq!(admitted.unwrap().name.as_str(), "prod"),
            false => {
                let refusal = admitted.unwrap_err();
                assert_eq!(refusal.reason, Reason::PolicyRefused);
                assert!(
                    refusal
                        .message
                        .starts_with("nobody could approve this request: the rule prod asks for 2"),
                    "{refusal:?}"
                );
                assert!(refusal.hint.unwrap().contains("people.toml"));
            }
        }
    }
}

/// Two leads approve, the second for `span` seconds alone.
fn held_back(case: &Case, span: u32) -> Chain {
    let World { bob, carol, .. } = &case.world;
    let mut chain = case.chain();
    case.approve(&mut chain, bob, 10);
    let mut decision = case.world.approval(carol, chain.request(), at(20));
    decision.r#for = Seconds::new(span);
    chain.add_decision(carol.verified(&decision)).unwrap();
    chain
}

#[test]
fn what_an_approver_held_back_stays_held_back_where_the_rule_then_asks_for_less() {
    let two = asking(r#"{ from = ["group:leads"], count = 2 }"#);
    let one = two.world.bundle(POLICY);
    let auto = two.world.bundle(&POLICY.replace(STEP, "auto = {}"));
    for is_issued in [false, true] {
        let mut chain = held_back(&two, 60);
        if is_issued {
            two.issue(&mut chain, 20);
        }
        let until =
            |bundle: &Bundle| evaluate(&chain, bundle, at(30)).grant.unwrap().access_until();
        assert_eq!(until(&two.bundle), at(80));
        assert_eq!((until(&one), until(&auto)), (at(70), at(60)), "from an earlier moment on");
        if is_issued {
            for bundle in [&two.bundle, &one, &auto] {
                assert_eq!(evaluate(&chain, bundle, at(80)).status, Status::Ended);
                assert!(authorize(&chain, bundle, at(80)).is_err());
            }
        }
    }
    // Who holds nothing back: the neighbour.
    let mut chain = held_back(&two, 600);
    two.issue(&mut chain, 20);
    assert!(authorize(&chain, &one, at(80)).is_ok());
}

#[test]
fn approvals_that_left_nothing_together_do_not_become_access_where_the_rule_asks_for_less() {
    let two = asking(r#"{ from = ["group:leads"], count = 2 }"#);
    let one = two.world.bundle(POLICY);
    let World { alice, bob, carol, .. } = &two.world;
    let mut request = two.world.request(alice, "prod-host", "deploy", 600, START);
    request.logins.push("root".parse().unwrap());
    let approved = |carols: &str| {
        let mut chain = two.chain_of(&request);
        for (by, login, secs) in [(bob, "deploy", 10), (carol, carols, 20)] {
            let mut decision = two.world.approval(by, chain.request(), at(secs));
            decision.logins = Some(vec![login.parse().unwrap()]);
            chain.add_decision(by.verified(&decision)).unwrap();
        }
        chain
    };
    let policy = |bundle: &Bundle| evaluate(&approved("root"), bundle, at(30)).status;
    let refused = |status| matches!(status, Status::Refused(_));
    assert!(refused(policy(&two.bundle)) && refused(policy(&one)));
    for bundle in [&two.bundle, &one] {
        let chain = approved("deploy");
        assert!(!refused(evaluate(&chain, bundle, at(30)).status), "the neighbour");
    }
}

#[test]
fn what_is_approved_anew_lasts_no_longer_than_what_was_certified() {
    let case = Case::new();
    let World { bob, carol, .. } = &case.world;
    let mut chain = case.chain();
    case.approve(&mut chain, bob, 10);
    case.issue(&mut chain, 10);
    let mut files = case.world.files(POLICY);
    let people = String::from_utf8(files.people).unwrap();
    files.people = people.replacen("\"sre\", \"leads\"", "\"sre\"", 1).into_bytes();
    let without_bob = Bundle::parse(2, &files, &case.world.root.admin_keys()).unwrap();
    assert!(authorize(&chain, &without_bob, at(300)).is_err());
    case.approve(&mut chain, carol, 310);
    let again = authorize(&chain, &without_bob, at(320)).unwrap();
    assert_eq!(again.access_until(), at(610), "as the first certificate said");
    assert!(authorize(&chain, &without_bob, at(610)).is_err());
}
