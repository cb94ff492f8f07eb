use jit_ssh_core::lifecycle::evaluate;

use super::*;
use crate::serve::sessions::Reach;
use crate::serve::testworld::{ALICE, BOB, CAROL, NOW, approval, bundle, bundle_with, known};

fn sees(id: &str, reach: Reach, known: &Known, bundle: &Bundle) -> bool {
    let caller = Caller { id: id.parse().unwrap(), reach };
    may_see(&caller, known, &evaluate(&known.chain, bundle, NOW), bundle)
}

fn waits_for(id: &str, known: &Known, bundle: &Bundle) -> bool {
    awaits(&id.parse().unwrap(), known, &evaluate(&known.chain, bundle, NOW), bundle)
}

#[test]
fn requester_decider_auditor_and_admin_see_a_request_and_nobody_else_does() {
    let (bundle, request) = (bundle(), known(1));
    for id in ["alice", "bob"] {
        assert!(sees(id, Reach::Own, &request, &bundle), "{id}");
    }
    for id in ["carol", "bot", "ann", "nobody"] {
        assert!(!sees(id, Reach::Own, &request, &bundle), "{id}");
    }
    assert!(sees("auditor", Reach::Everything, &request, &bundle));
    assert!(sees("ann", Reach::Admin, &request, &bundle));
}

#[test]
fn who_decided_goes_on_seeing_it_after_leaving_the_group() {
    let mut decided = known(1);
    let digest = decided.chain.digest();
    decided.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    let moved =
        bundle_with(&[("alice", ALICE, "sre"), ("bob", BOB, "dev"), ("carol", CAROL, "leads")]);
    assert!(sees("bob", Reach::Own, &decided, &moved));
    assert!(!sees("bob", Reach::Own, &known(1), &moved));
}

#[test]
fn a_request_waits_for_those_who_can_decide_and_have_not() {
    let bundle =
        bundle_with(&[("alice", ALICE, "sre"), ("bob", BOB, "leads"), ("carol", CAROL, "leads")]);
    let mut request = known(1);
    for (id, waits) in [("bob", true), ("carol", true), ("alice", false), ("auditor", false)] {
        assert_eq!(waits_for(id, &request, &bundle), waits, "{id}");
    }
    let digest = request.chain.digest();
    request.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    // Approved: it waits for nobody.
    assert!(!waits_for("carol", &request, &bundle));
}
