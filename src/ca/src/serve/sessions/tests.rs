use super::*;
use crate::serve::testworld::{ADMIN, ALICE, BOB, NOW, bundle, bundle_with, root, session};

fn open(sessions: &Sessions, session: &Verified<Session>, random: u8) -> Result<String, Reason> {
    let opened = sessions.open(session, &root(), Some(&bundle()), NOW, [random; 32]);
    opened.map(|(token, _)| token).map_err(|refusal| refusal.reason)
}

fn caller(
    sessions: &Sessions,
    token: &str,
    bundle: &Bundle,
    now: UnixTime,
) -> Result<Caller, Reason> {
    let token = Digest::of(token.as_bytes());
    sessions.caller(token, &root(), Some(bundle), now).map_err(|refusal| refusal.reason)
}

#[test]
fn a_session_tells_who_holds_its_token_until_it_is_over() {
    let sessions = Sessions::default();
    let token = open(&sessions, &session("alice", ALICE, 60, NOW, 1), 1).unwrap();
    let alice = Caller { id: "alice".parse().unwrap(), reach: Reach::Own };
    assert_eq!(caller(&sessions, &token, &bundle(), NOW.plus_secs(59)), Ok(alice));
    assert_eq!(caller(&sessions, &token, &bundle(), NOW.plus_secs(60)), Err(Reason::NoSession));
    let other = token.replace('A', "B");
    assert_eq!(caller(&sessions, &other, &bundle(), NOW), Err(Reason::NoSession));
}

#[test]
fn no_session_is_longer_than_twelve_hours() {
    let sessions = Sessions::default();
    let week = session("alice", ALICE, 7 * 86_400, NOW, 1);
    let (_, until) = sessions.open(&week, &root(), Some(&bundle()), NOW, [1; 32]).unwrap();
    assert_eq!(until, NOW.plus_secs(MAX_SPAN));
}

#[test]
fn reach_follows_from_key_and_bundle() {
    let sessions = Sessions::default();
    let cases = [
        ("alice", ALICE, Reach::Own),
        ("bot", 7, Reach::Own),
        ("auditor", 6, Reach::Everything),
        ("ann", ADMIN, Reach::Admin),
        // The admin's key as a person is no admin key.
        ("ann", 5, Reach::Own),
    ];
    for (nonce, (by, seed, reach)) in (1..).zip(cases) {
        let token = open(&sessions, &session(by, seed, 60, NOW, nonce), nonce).unwrap();
        assert_eq!(caller(&sessions, &token, &bundle(), NOW).unwrap().reach, reach, "{by}");
    }
    for (by, seed) in [("alice", BOB), ("nobody", ALICE), ("alice", ADMIN)] {
        let refused = open(&sessions, &session(by, seed, 60, NOW, 99), 99);
        assert_eq!(refused, Err(Reason::UnknownSigner), "{by}");
    }
}

#[test]
fn before_the_first_bundle_only_admins_have_sessions() {
    let sessions = Sessions::default();
    let open = |session| sessions.open(&session, &root(), None, NOW, [1; 32]);
    assert!(open(session("ann", ADMIN, 60, NOW, 1)).is_ok());
    let refused = open(session("alice", ALICE, 60, NOW, 1)).unwrap_err();
    assert_eq!(refused.reason, Reason::NoBundle);
}

#[test]
fn a_session_statement_opens_one_session_and_no_second() {
    let sessions = Sessions::default();
    let statement = session("alice", ALICE, 60, NOW, 1);
    open(&sessions, &statement, 1).unwrap();
    assert_eq!(open(&sessions, &statement, 2), Err(Reason::NoSession));
    open(&sessions, &session("alice", ALICE, 60, NOW, 2), 2).unwrap();
    // Another person's nonce is another's.
    open(&sessions, &session("bob", BOB, 60, NOW, 1), 3).unwrap();
    // When its date no longer passes, its nonce need not be remembered.
    sessions.sweep(NOW.plus_secs(MAX_SKEW + 1));
    let late =
        sessions.open(&statement, &root(), Some(&bundle()), NOW.plus_secs(MAX_SKEW + 1), [4; 32]);
    assert_eq!(late.unwrap_err().reason, Reason::ClockSkew);
}

#[test]
fn a_statement_of_another_time_opens_nothing() {
    let sessions = Sessions::default();
    for at in [NOW.minus_secs(MAX_SKEW), NOW.plus_secs(MAX_SKEW)] {
        let nonce = if at < NOW { 1 } else { 2 };
        open(&sessions, &session("alice", ALICE, 60, at, nonce), nonce).unwrap();
    }
    for at in [NOW.minus_secs(MAX_SKEW + 1), NOW.plus_secs(MAX_SKEW + 1)] {
        let refused = open(&sessions, &session("alice", ALICE, 60, at, 3), 3);
        assert_eq!(refused, Err(Reason::ClockSkew));
    }
}

#[test]
fn who_leaves_the_bundle_or_changes_keys_has_no_session() {
    let sessions = Sessions::default();
    let token = open(&sessions, &session("alice", ALICE, 60, NOW, 1), 1).unwrap();
    let stays = bundle_with(&[("alice", ALICE, "sre"), ("bob", BOB, "leads")]);
    let gone = bundle_with(&[("al", ALICE, "sre"), ("bob", BOB, "leads")]);
    let rekeyed = bundle_with(&[("alice", 30, "sre"), ("bob", BOB, "leads")]);
    assert!(caller(&sessions, &token, &stays, NOW).is_ok());
    for bundle in [gone, rekeyed] {
        assert_eq!(caller(&sessions, &token, &bundle, NOW), Err(Reason::NoSession));
    }
}

#[test]
fn a_persons_oldest_session_makes_room_and_nobody_elses() {
    let sessions = Sessions::default();
    let bob = open(&sessions, &session("bob", BOB, 60, NOW, 100), 100).unwrap();
    let tokens: Vec<String> = (0..=u8::try_from(MAX_PER_PERSON).unwrap())
        .map(|nonce| open(&sessions, &session("alice", ALICE, 60, NOW, nonce), nonce).unwrap())
        .collect();
    let (oldest, others) = tokens.split_first().unwrap();
    assert_eq!(caller(&sessions, oldest, &bundle(), NOW), Err(Reason::NoSession));
    for token in others.iter().chain([&bob]) {
        assert!(caller(&sessions, token, &bundle(), NOW).is_ok());
    }
    assert_eq!(sessions.count(), MAX_PER_PERSON + 1);
    sessions.sweep(NOW.plus_secs(60));
    assert_eq!(sessions.count(), 0);
}
