//! Who may come: uses, names, order and room.

use super::*;

#[test]
fn a_token_is_used_as_often_as_it_says_and_renewing_is_no_use() {
    let mut case = Case::new();
    let token = case.token(|_| ());
    case.lend(&token);
    let digest = token.digest();
    let host = |name: &str, seed: u8, secs: u32| {
        case.by_token(digest, |h| {
            h.name = name.parse().unwrap();
            h.key = subject_key(seed);
            (h.at, h.until) = (at(secs), at(secs + 600));
        })
    };
    let (first, again, second) = (host("ci-t1", 70, 0), host("ci-t1", 70, 1), host("ci-t2", 71, 2));
    let (renewed, third) = (host("ci-t2", 71, 3), host("ci-t3", 72, 3));
    case.join(first.clone());
    assert_eq!(case.admit(&first, at(1)), Ok(Admission::Known));
    case.join(again);
    assert_eq!(case.known.uses(&digest), 1);
    case.join(second);
    assert_eq!(case.known.uses(&digest), 2);
    assert_eq!(reason(case.admit(&third, at(3))), Reason::TokenSpent);
    case.join(renewed);
    assert_eq!(case.known.uses(&digest), 2);
    // Uses do not come back when hosts go.
    case.known.forget(at(1_000));
    assert_eq!(case.known.iter().count(), 0);
    let late = case.by_token(digest, |h| (h.at, h.until) = (at(1_000), at(1_600)));
    assert_eq!(reason(case.admit(&late, at(1_000))), Reason::TokenSpent);
}

#[test]
fn a_name_is_one_machines_while_it_is_there_and_free_again_afterwards() {
    let mut case = Case::new();
    case.join(case.vouched(|_| ()));
    let other = |secs: u32| {
        case.vouched(|h| {
            h.key = subject_key(71);
            (h.at, h.until) = (at(secs), at(secs + 3_600));
        })
    };
    assert_eq!(reason(case.admit(&other(3_599), at(3_599))), Reason::NameTaken);
    assert_eq!(case.admit(&other(3_600), at(3_600)), Ok(Admission::New));
    // Its own machine renews before and after.
    let renewed = |secs: u32| case.vouched(|h| (h.at, h.until) = (at(secs), at(secs + 3_600)));
    assert_eq!(case.admit(&renewed(3_599), at(3_599)), Ok(Admission::New));
    assert_eq!(case.admit(&renewed(3_600), at(3_600)), Ok(Admission::New));
    let (other, late) = (other(3_600), renewed(3_601));
    case.join(other);
    let name = "ci-1".parse().unwrap();
    assert_eq!(case.known.get(&name).unwrap().since(), at(3_600));
    assert_eq!(reason(case.admit(&late, at(3_601))), Reason::NameTaken);
}

#[test]
fn an_older_statement_told_again_says_nothing() {
    let mut case = Case::new();
    let long = case.vouched(|_| ());
    case.join(long.clone());
    // The host is to end sooner; then another machine comes and goes.
    case.join(case.vouched(|h| (h.at, h.until) = (at(10), at(20))));
    let told = |case: &Case, now| {
        case.known.admit_host(&long, &case.bundle, Arrival::Relayed, now).unwrap_err().reason
    };
    assert_eq!(told(&case, at(15)), Reason::Settled);
    assert_eq!(told(&case, at(25)), Reason::Settled);
    case.join(case.vouched(|h| {
        h.key = subject_key(71);
        (h.at, h.until) = (at(30), at(40));
    }));
    case.known.forget(at(50));
    assert_eq!(told(&case, at(50)), Reason::Settled);
    case.known.forget(at(3_601));
    assert_eq!(told(&case, at(3_601)), Reason::Ended);
}

#[test]
fn an_enroller_has_as_many_hosts_as_the_bundle_says_and_bounded_tokens() {
    let mut case = Case::new();
    let host = |n: u8, secs: u32| {
        case.vouched(|h| {
            h.name = format!("ci-{n}").parse().unwrap();
            h.key = subject_key(70 + n);
            (h.at, h.until) = (at(secs), at(secs + 600));
        })
    };
    let hosts: Vec<_> = (0..4).map(|n| host(n, 0)).collect();
    let (fifth, renewed, later) = (host(4, 1), host(3, 1), host(4, 602));
    for host in hosts {
        case.join(host);
    }
    assert_eq!(reason(case.admit(&fifth, at(1))), Reason::Quota);
    assert_eq!(case.admit(&renewed, at(1)), Ok(Admission::New));
    case.known.forget(at(602));
    assert_eq!(case.admit(&later, at(602)), Ok(Admission::New));
}
