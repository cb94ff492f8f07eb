//! Break-glass: going ahead without approvals, and the review afterwards.

use super::*;
use crate::testkit::with_security_key;

const SPAN: &str = "cert_for = \"5m\"";

fn policy(break_glass: &str) -> String {
    assert!(POLICY.contains(SPAN));
    POLICY.replacen(SPAN, &format!("cert_for = \"5m\"\nbreak_glass = {break_glass}"), 1)
}

fn case() -> Case {
    Case::with(&policy("{ max_for = \"10m\" }"))
}

impl Case {
    fn urgent(&self, span: u32) -> Request {
        let mut request = self.world.request(&self.world.alice, "prod-host", "deploy", span, START);
        request.break_glass = Some("all leads are on a plane".into());
        request
    }
}

fn admit(case: &Case, request: &Request, unreviewed: Option<&Chain>) -> Result<(), Refusal> {
    admit_request(&case.chain_of(request), unreviewed, &case.bundle, START).map(drop)
}

#[test]
fn its_requester_goes_ahead_without_approvals_within_the_rules_bounds() {
    let case = case();
    let chain = case.chain_of(&case.urgent(600));
    let evaluation = evaluate(&chain, &case.bundle, at(1));
    assert_eq!((evaluation.status, evaluation.basis), (Status::Approved, Some(Basis::BreakGlass)));
    let yes = authorize(&chain, &case.bundle, at(1)).unwrap();
    assert_eq!((yes.rule().as_str(), yes.access_until()), ("prod", at(600)));
    let long = admit(&case, &case.urgent(601), None).unwrap_err();
    assert!(long.message.contains("at most 10m"), "{long}");
    // The rule must have it, and who is not for the rule is not for this either.
    let without = Case::new();
    let refused = admit(&without, &without.urgent(600), None).unwrap_err();
    assert!(refused.message.contains("has no break-glass"), "{refused}");
    let mut stranger = case.urgent(600);
    stranger.by = "carol".parse().unwrap();
    stranger.subject = stranger.by.clone();
    assert!(admit(&case, &stranger, None).is_err());
}

#[test]
fn it_may_want_a_security_key() {
    let mut case = Case::with(&policy("{ strength = \"hardware\" }"));
    let hard = with_security_key("alice", 22, false);
    let mut files = case.world.files(&policy("{ strength = \"hardware\" }"));
    let people = String::from_utf8(files.people).unwrap();
    let own = format!("\"{}\"", case.world.alice.key);
    files.people = people.replace(&own, &format!("{own}, \"{}\"", hard.key)).into_bytes();
    case.bundle = Bundle::parse(1, &files, &case.world.root.admin_keys()).unwrap();
    let request = case.urgent(600);
    let soft = admit(&case, &request, None).unwrap_err();
    assert!(soft.message.contains("strength hardware"), "{soft}");
    let chain = Chain::new(hard.verified(&request));
    admit_request(&chain, None, &case.bundle, START).unwrap();
    assert!(authorize(&chain, &case.bundle, at(1)).is_ok());
    assert!(authorize(&case.chain_of(&request), &case.bundle, at(1)).is_err());
}

#[test]
fn it_can_not_be_used_again_until_it_is_reviewed() {
    let case = case();
    let mut first = case.chain_of(&case.urgent(600));
    let mut again = case.urgent(600);
    again.nonce = crate::statement::Nonce([9; 16]);
    let blocked = admit(&case, &again, Some(&first)).unwrap_err();
    assert_eq!(blocked.reason, Reason::ReviewNeeded);
    assert!(blocked.message.contains(first.request().id().as_str()), "{blocked}");
    // Asking the usual way is still possible.
    let usual = case.world.request(&case.world.alice, "prod-host", "deploy", 600, START);
    admit(&case, &usual, Some(&first)).unwrap();
    assert!(!is_reviewed(&first));
    case.approve(&mut first, &case.world.bob, 5_000);
    assert!(is_reviewed(&first));
    admit(&case, &again, None).unwrap();
}

#[test]
fn those_who_were_skipped_and_the_admins_review_it_once_at_any_time() {
    let case = case();
    let World { alice, bob, carol, ann, bot, .. } = &case.world;
    let mut chain = case.chain_of(&case.urgent(600));
    case.issue(&mut chain, 1);
    let review = |by: &Person, chain: &Chain, secs: u32| {
        let decision = case.world.approval(by, chain.request(), at(secs));
        admit_decision(&by.verified(&decision), chain, &case.bundle, at(secs))
    };
    for secs in [2, 601, 1_000_000] {
        for (by, may) in [(bob, true), (carol, true), (ann, true), (alice, false), (bot, false)] {
            assert_eq!(review(by, &chain, secs).is_ok(), may, "{} at {secs}", by.id);
        }
    }
    case.approve(&mut chain, carol, 700);
    assert_eq!(review(bob, &chain, 800).unwrap_err().reason, Reason::Settled);
    // It changes nothing about the access itself.
    assert_eq!(case.status(&chain, 599), Status::Active);
}

#[test]
fn a_no_before_the_first_certificate_stops_it() {
    let case = case();
    let World { bob, .. } = &case.world;
    let mut chain = case.chain_of(&case.urgent(600));
    let no = bob.verified(&case.world.denial(bob, chain.request(), at(1)));
    admit_decision(&no, &chain, &case.bundle, at(1)).unwrap();
    let mut used = chain.clone();
    case.issue(&mut used, 0);
    chain.add_decision(no.clone()).unwrap();
    assert!(matches!(case.status(&chain, 2), Status::Denied { .. }));
    used.add_decision(no).unwrap();
    assert_eq!(case.status(&used, 2), Status::Active);
    assert!(is_reviewed(&used));
}
