use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::lifecycle::evaluate;
use jit_ssh_core::statement::{Decision, Request};

use super::*;
use crate::serve::testworld::{
    ADMIN, ALICE, BOB, NOW, approval, bundle, known, request, root, verified,
};

/// The sentence, with the id replaced.
fn told(known: &Known, secs: u32) -> String {
    let (bundle, now) = (bundle(), NOW.plus_secs(secs));
    let evaluation = evaluate(&known.chain, &bundle, now);
    let approvers = crate::serve::show::approvers(known, &evaluation, &bundle);
    let text = detail(known, &evaluation, &approvers, now);
    text.replace(known.chain.request().id().as_str(), "ID")
}

fn changed(change: impl Fn(&mut Request)) -> Known {
    let mut body = request(1).body().clone();
    change(&mut body);
    Known::new(Chain::new(verified(ALICE, &body)))
}

fn approved(mut known: Known) -> Known {
    let digest = known.chain.digest();
    known.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    known
}

fn used(mut known: Known) -> Known {
    let (at, until) = (NOW.plus_secs(70), NOW.plus_secs(660));
    known.add_issued(Issued { serial: 7, at, valid_before: until, access_until: until });
    known
}

fn ended(mut known: Known, by: &str, seed: u8, cause: Cause, reason: Option<&str>) -> Known {
    let digest = known.chain.digest();
    let reason = reason.map(str::to_owned);
    let (ca, at) = (root().fingerprint(), NOW.plus_secs(80));
    let end = End::new(ca, by.parse().unwrap(), digest, cause, reason, at);
    known.chain.add_end(verified(seed, &end)).unwrap();
    known
}

#[test]
fn each_status_is_told_in_a_sentence() {
    let day = "2026-09-21";
    for (expected, known, secs) in [
        (
            format!(
                "request ID waits: 1 of 1 approvals are missing, 1 from group:leads; it lapses if undecided by {day} 15:13:20 UTC."
            ),
            known(1),
            0,
        ),
        (format!("request ID lapsed: it was not decided by {day} 15:13:20 UTC."), known(1), 3_601),
        (
            format!(
                "request ID is approved, and lapses if no certificate is fetched by {day} 14:24:20 UTC."
            ),
            approved(known(1)),
            61,
        ),
        (
            format!("request ID is approved, and its access opens at {day} 14:30:00 UTC."),
            approved(changed(|r| r.not_before = Some(NOW.plus_secs(1_000)))),
            61,
        ),
        (
            format!("request ID is approved and in use until {day} 14:24:20 UTC."),
            used(approved(known(1))),
            100,
        ),
        (
            format!("the access of request ID ended at {day} 14:24:20 UTC."),
            used(approved(known(1))),
            660,
        ),
        (
            "the access of request ID was given back by alice.".to_owned(),
            ended(used(approved(known(1))), "alice", ALICE, Cause::Release, None),
            100,
        ),
        (
            "the access of request ID was taken away by ann: laptop lost.".to_owned(),
            ended(used(approved(known(1))), "ann", ADMIN, Cause::Revoke, Some("laptop lost")),
            100,
        ),
        (
            "request ID was taken back by alice.".to_owned(),
            ended(known(1), "alice", ALICE, Cause::Cancel, None),
            100,
        ),
    ] {
        assert_eq!(told(&known, secs), expected);
    }
}

#[test]
fn a_denial_names_who_and_why() {
    let mut denied = known(1);
    let (by, digest) = ("bob".parse().unwrap(), denied.chain.digest());
    let at = NOW.plus_secs(5);
    let body = Decision::deny(root().fingerprint(), by, digest, "freeze".to_owned(), at);
    denied.chain.add_decision(verified(BOB, &body)).unwrap();
    assert_eq!(told(&denied, 6), "request ID was denied by bob: freeze.");
}

#[test]
fn many_names_are_cut_short() {
    let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
    for (count, expected) in [
        (0, None),
        (1, Some("p0")),
        (2, Some("p0 or p1")),
        (5, Some("p0, p1, p2, p3 or p4")),
        (7, Some("p0, p1, p2, p3, p4 or 2 more")),
    ] {
        assert_eq!(either(&names(count)).as_deref(), expected);
    }
}
