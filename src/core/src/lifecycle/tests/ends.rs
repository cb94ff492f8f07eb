//! Ends: who may make which, when, and what follows.

use super::*;
use crate::statement::{Arrival, Cause};

impl Case {
    fn admit(&self, by: &Person, chain: &Chain, cause: Cause, secs: u32) -> Result<(), Refusal> {
        let end = by.verified(&self.world.end(by, chain.request(), cause, at(secs)));
        admit_end(&end, chain, &self.bundle, Arrival::Submitted, at(secs))
    }

    fn end(&self, chain: &mut Chain, by: &Person, cause: Cause, secs: u32) {
        self.admit(by, chain, cause, secs).unwrap();
        chain.add_end(by.verified(&self.world.end(by, chain.request(), cause, at(secs)))).unwrap();
    }

    /// A chain of alice that bob approved and that has a certificate.
    fn active(&self) -> Chain {
        let mut chain = self.chain();
        self.approve(&mut chain, &self.world.bob, 10);
        self.issue(&mut chain, 20);
        chain
    }
}

#[test]
fn live_access_is_given_back_by_who_has_it_and_taken_away_by_who_could_approve_or_an_admin() {
    let case = Case::new();
    let World { alice, bob, carol, ann, bot, .. } = &case.world;
    let chain = case.active();
    // Who, and which of release and revoke they may.
    for (by, release, revoke) in [
        (alice, true, false),
        (bob, false, true),
        (carol, false, true),
        (ann, false, true),
        (bot, false, false),
        (&person("mallory", 66), false, false),
        (&person("bob", 66), false, false),
        (&person("ann", 66), false, false),
    ] {
        let released = case.admit(by, &chain, Cause::Release, 30);
        assert_eq!(released.is_ok(), release, "{} release {released:?}", by.id);
        let revoked = case.admit(by, &chain, Cause::Revoke, 30);
        assert_eq!(revoked.is_ok(), revoke, "{} revoke {revoked:?}", by.id);
    }
    let refused = case.admit(alice, &chain, Cause::Cancel, 30).unwrap_err();
    assert!(refused.hint.unwrap().contains("jit-ssh release"));
    let refused = case.admit(alice, &chain, Cause::Revoke, 30).unwrap_err();
    assert!(refused.hint.unwrap().contains("jit-ssh release"));

    let mut released = chain.clone();
    case.end(&mut released, alice, Cause::Release, 30);
    assert_eq!(case.status(&released, 30), Status::Released);
    assert_eq!(authorize(&released, &case.bundle, at(30)).unwrap_err().reason, Reason::Released);
    let mut revoked = chain;
    case.end(&mut revoked, ann, Cause::Revoke, 30);
    assert!(
        matches!(case.status(&revoked, 30), Status::Revoked { by, .. } if by.as_str() == "ann")
    );
    assert_eq!(authorize(&revoked, &case.bundle, at(30)).unwrap_err().reason, Reason::Revoked);
    // There is nothing left to end.
    assert_eq!(case.admit(bob, &revoked, Cause::Revoke, 31).unwrap_err().reason, Reason::Revoked);
}

#[test]
fn what_has_no_certificate_is_cancelled_or_revoked_and_not_released() {
    let case = Case::new();
    let World { alice, bob, ann, .. } = &case.world;
    let mut chain = case.chain();
    assert!(case.admit(alice, &chain, Cause::Cancel, 5).is_ok());
    assert!(case.admit(ann, &chain, Cause::Revoke, 5).is_ok());
    let refused = case.admit(alice, &chain, Cause::Release, 5).unwrap_err();
    assert!(refused.hint.unwrap().contains("jit-ssh cancel"));
    case.approve(&mut chain, bob, 10);
    assert!(case.admit(alice, &chain, Cause::Release, 11).is_err());
    case.end(&mut chain, ann, Cause::Revoke, 12);
    assert!(matches!(case.status(&chain, 12), Status::Revoked { .. }));
}

#[test]
fn an_end_holds_whatever_becomes_of_who_made_it() {
    let case = Case::new();
    let mut chain = case.active();
    case.end(&mut chain, &case.world.carol, Cause::Revoke, 30);
    let mut files = case.world.files(POLICY);
    let people = String::from_utf8(files.people).unwrap();
    // carol leaves.
    let carol = people.find("id = \"carol\"").unwrap();
    let start = people[..carol].rfind("[[person]]").unwrap();
    let end = people[carol..].find("[[machine]]").map_or(people.len(), |place| carol + place);
    files.people = (people[..start].to_owned() + &people[end..]).into_bytes();
    let without_carol = Bundle::parse(2, &files, &case.world.root.admin_keys()).unwrap();
    assert!(without_carol.people.get(&"carol".parse().unwrap()).is_none());
    let status = evaluate(&chain, &without_carol, at(40)).status;
    assert!(matches!(status, Status::Revoked { .. }), "{status:?}");
}

#[test]
fn access_that_was_over_stays_over_and_not_revoked() {
    let case = Case::new();
    let chain = case.active();
    assert_eq!(case.status(&chain, 610), Status::Ended);
    let late = case.admit(&case.world.bob, &chain, Cause::Revoke, 610).unwrap_err();
    assert_eq!(late.reason, Reason::Ended);
    // Known later, made in time.
    let mut chain = chain;
    let end = case.world.end(&case.world.bob, chain.request(), Cause::Revoke, at(600));
    chain.add_end(case.world.bob.verified(&end)).unwrap();
    assert!(matches!(case.status(&chain, 700), Status::Revoked { .. }));
}

#[test]
fn taking_back_counts_also_where_a_certificate_was_issued_meanwhile() {
    let case = Case::new();
    let World { alice, bob, .. } = &case.world;
    // Two nodes: one issued, the other took the request back.
    let mut chain = case.chain();
    case.approve(&mut chain, bob, 10);
    let mut elsewhere = chain.clone();
    case.end(&mut elsewhere, alice, Cause::Cancel, 21);
    assert_eq!(case.status(&elsewhere, 22), Status::Cancelled);
    case.issue(&mut chain, 20);
    // It arrives where a cancel would be refused if it were made there.
    let end = &elsewhere.ends()[0];
    admit_end(end, &chain, &case.bundle, Arrival::Submitted, at(21)).unwrap_err();
    admit_end(end, &chain, &case.bundle, Arrival::Relayed, at(21)).unwrap();
    for end in elsewhere.ends() {
        chain.add_end(end.clone()).unwrap();
    }
    assert_eq!(case.status(&chain, 22), Status::Released);
    assert!(authorize(&chain, &case.bundle, at(22)).is_err());
}

#[test]
fn what_no_rule_covers_any_more_can_be_ended_until_its_access_is_over() {
    let case = Case::new();
    let chain = case.active();
    let gone = case.world.bundle(&POLICY.replace("group:sre", "person:carol"));
    assert!(matches!(evaluate(&chain, &gone, at(30)).status, Status::Refused(_)));
    let end = |secs: u32| {
        let end = case.world.end(&case.world.ann, chain.request(), Cause::Revoke, at(secs));
        admit_end(&case.world.ann.verified(&end), &chain, &gone, Arrival::Submitted, at(secs))
    };
    end(30).unwrap();
    // Its certificate has expired, and what it opened may run for ten minutes from the approval.
    end(321).unwrap();
    let until = chain.last_issued().unwrap().access_until;
    end(u32::try_from(until.since(START)).unwrap() - 1).unwrap();
    end(u32::try_from(until.since(START)).unwrap()).unwrap_err();
}

#[test]
fn what_was_denied_stays_denied_whatever_becomes_of_rule_and_approver() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.carol, 5);
    let approved = chain.clone();
    let World { bob, .. } = &case.world;
    let no = bob.verified(&case.world.denial(bob, chain.request(), at(10)));
    admit_decision(&no, &chain, &case.bundle, at(10)).unwrap();
    chain.add_decision(no).unwrap();
    let mut files = case.world.files(POLICY);
    let people = String::from_utf8(files.people).unwrap();
    files.people = people.replacen("\"sre\", \"leads\"", "\"sre\"", 1).into_bytes();
    let without_bob = Bundle::parse(2, &files, &case.world.root.admin_keys()).unwrap();
    let without_rule = case.world.bundle(&POLICY.replacen("group:sre", "person:carol", 1));
    let by_itself = case.world.bundle(
        &POLICY.replace("approvals = [{ from = [\"group:leads\"], count = 1 }]", "auto = {}"),
    );
    for (what, bundle, yes) in [
        ("as it was", &case.bundle, true),
        ("bob asked no more", &without_bob, true),
        ("no rule covers it", &without_rule, false),
        ("nobody is asked", &by_itself, true),
    ] {
        let status = evaluate(&chain, bundle, at(20)).status;
        assert!(
            matches!(&status, Status::Denied { by, .. } if by.as_str() == "bob"),
            "{what}: {status:?}"
        );
        assert_eq!(authorize(&chain, bundle, at(20)).unwrap_err().reason, Reason::Denied, "{what}");
        // The same without the denial: only the rules decide.
        assert_eq!(authorize(&approved, bundle, at(20)).is_ok(), yes, "{what}");
    }
    // Nobody denies what they asked for: that is no denial of anybody who was asked.
    let mut own = case.chain();
    case.deny(&mut own, &case.world.alice, 10);
    assert_eq!(case.status(&own, 20), Status::Pending);
}

#[test]
fn clocks_follow_the_bundle_in_force_and_what_lapsed_waits_again_only_until_it_has_lapsed_anew() {
    let case = Case::new();
    let patient =
        case.world.bundle(&POLICY.replace("decide_within = \"1h\"", "decide_within = \"2h\""));
    let chain = case.chain();
    let yes = |secs| {
        let carol = &case.world.carol;
        carol.verified(&case.world.approval(carol, chain.request(), at(secs)))
    };
    for (bundle, secs, waits) in [
        (&case.bundle, 3_600, true),
        (&case.bundle, 3_601, false),
        (&patient, 3_601, true),
        (&patient, 7_201, false),
    ] {
        let status = evaluate(&chain, bundle, at(secs)).status;
        let expected = if waits { Status::Pending } else { Status::LapsedUndecided };
        assert_eq!(status, expected, "{secs}");
        // What is told is what the signer does.
        assert_eq!(admit_decision(&yes(secs), &chain, bundle, at(secs)).is_ok(), waits, "{secs}");
    }
}
