use jit_ssh_core::chain::Chain;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::statement::{Cause, End};

use super::*;
use crate::serve::memory::Known;
use crate::serve::testworld::{ALICE, BOB, NOW, approval, bundle, known, request, root, verified};

fn until_as(known: &Known, login: &str, secs: u32) -> Option<UnixTime> {
    let principal = Principal::new(login.parse().unwrap(), "prod".parse().unwrap());
    let (bundle, now) = (bundle(), NOW.plus_secs(secs));
    allowed_until(&evaluate(&known.chain, View::from(&bundle), now), &principal, now)
}

fn until(known: &Known, secs: u32) -> Option<UnixTime> {
    until_as(known, "deploy", secs)
}

#[test]
fn a_grant_lets_in_from_its_approval_to_its_end_as_what_it_names() {
    let mut approved = known(1);
    assert_eq!(until(&approved, 61), None);
    let digest = approved.chain.digest();
    approved.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    assert_eq!(until(&approved, 61), Some(NOW.plus_secs(660)));
    assert_eq!(until(&approved, 660), None);
    assert_eq!(until_as(&approved, "root", 61), None);
}

#[test]
fn a_grant_that_has_not_opened_or_was_given_back_lets_nobody_in() {
    let mut later = request(1).body().clone();
    later.not_before = Some(NOW.plus_secs(300));
    let mut later = Known::new(Chain::new(verified(ALICE, &later)));
    let digest = later.chain.digest();
    later.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    assert_eq!(until(&later, 299), None);
    assert_eq!(until(&later, 300), Some(NOW.plus_secs(900)));
    let by = "alice".parse().unwrap();
    let at = NOW.plus_secs(310);
    let end = End::new(root().fingerprint(), by, digest, Cause::Cancel, None, at);
    later.chain.add_end(verified(ALICE, &end)).unwrap();
    assert_eq!(until(&later, 311), None);
}
