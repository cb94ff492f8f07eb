//! Who is heard of what it saw, after its end and after its name was another machine's.

use super::*;
use crate::testkit::software_key;

/// Whether the machine with the key `seed` speaks of what was seen at `seen`, and is heard `later`.
fn speaks(case: &Case, seed: u8, seen: u32, later: u32) -> (bool, bool) {
    let (name, key) = ("ci-1".parse().unwrap(), software_key(seed).1);
    let (of, heard) = (case.view().speaks_of(&name, &key, at(seen)), at(later));
    (of, case.view().is_heard(&name, &key, heard))
}

#[test]
fn a_host_is_heard_for_a_week_after_its_end_of_the_time_when_it_was_there() {
    let mut case = Case::new();
    case.join(case.vouched(|h| h.until = at(600)));
    for forgotten in [false, true] {
        assert_eq!(speaks(&case, 70, 0, 10), (true, true));
        assert_eq!(speaks(&case, 71, 0, 10), (false, false), "another machine");
        let last = 600 + HEARD_AFTER_END;
        assert_eq!(speaks(&case, 70, 600 + 239, last - 1), (true, true), "clocks may be off");
        assert_eq!(speaks(&case, 70, 600 + 240, last), (false, false), "{forgotten}");
        case.known.forget(at(601));
        assert!(case.known.get(&"ci-1".parse().unwrap()).is_none());
    }
    let end = at(601 + HEARD_AFTER_END);
    assert!(case.known.is_stale(end));
    case.known.forget(end);
    assert!(!case.known.is_stale(end));
    assert_eq!(speaks(&case, 70, 0, 10), (false, false), "nothing is kept for ever");
}

#[test]
fn the_next_machine_with_a_name_and_the_one_before_it_speak_each_of_its_own_time() {
    let mut case = Case::new();
    case.join(case.vouched(|h| h.until = at(1_000)));
    let next = |secs: u32| {
        case.vouched(|h| {
            h.key = subject_key(71);
            (h.at, h.until) = (at(secs), at(secs + 1_000));
        })
    };
    let next = next(2_000);
    case.join(next);
    let heard = |seed| speaks(&case, seed, 0, 2_100).1;
    assert_eq!((heard(70), heard(71), heard(72)), (true, true, false));
    let of = |seed, seen| speaks(&case, seed, seen, 0).0;
    assert_eq!((of(70, 500), of(71, 500)), (true, false));
    assert_eq!((of(70, 2_500), of(71, 2_500)), (false, true));
    // What is looked at for one request has both.
    let only = case.known.only(&["ci-1".parse().unwrap()]);
    let (name, key) = ("ci-1".parse().unwrap(), software_key(70).1);
    assert!(only.had(&name, &key, at(500)) && !only.had(&name, &key, at(2_500)));
    assert!(!case.known.only(&[]).had(&name, &key, at(500)));
}

#[test]
fn a_machine_that_renews_itself_speaks_of_all_its_time() {
    let mut case = Case::new();
    case.join(case.vouched(|h| h.until = at(600)));
    case.join(case.vouched(|h| (h.at, h.until) = (at(500), at(4_000))));
    assert_eq!(speaks(&case, 70, 5, 3_999), (true, true));
    assert_eq!(speaks(&case, 70, 3_000, 3_999), (true, true));
    assert_eq!(speaks(&case, 70, 5_000, 3_999), (false, true));
}
