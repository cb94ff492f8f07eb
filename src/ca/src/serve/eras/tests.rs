use jit_ssh_api::v1;
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::statement::{Cause, Decision, End};

use super::*;
use crate::serve::sessions::Reach;
use crate::serve::show;
use crate::serve::testworld::{
    ALICE, BOB, NOW, PERSONS, approval, bundle_changed, in_force, known, request, root, verified,
};

/// When another policy comes into force, under which the rule has another name and other approvers.
const CHANGE: UnixTime = UnixTime(NOW.0 + 10_000);
/// The same: bob, who approved, is gone.
const OTHERS: [(&str, u8, &str); 2] = [("alice", ALICE, "sre"), ("carol", 4, "leads")];

fn version(number: u64, persons: &[(&str, u8, &str)], rename: &str) -> Arc<InForce> {
    let change =
        |policy: String| policy.replace("name = \"prod\"", &format!("name = \"{rename}\""));
    Arc::new(in_force(bundle_changed(number, persons, change)))
}

fn approved() -> Known {
    let mut known = known(1);
    let digest = known.chain.digest();
    known.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
    known
}

fn certified() -> Known {
    let mut known = approved();
    // Approved a minute after it was asked, for ten minutes.
    let (at, until) = (NOW.plus_secs(70), NOW.plus_secs(660));
    known.add_issued(Issued { serial: 7, at, valid_before: until, access_until: until });
    known
}

fn ended(mut known: Known, by: &str, seed: u8, cause: Cause) -> Known {
    let (digest, at) = (known.chain.digest(), NOW.plus_secs(80));
    let end = End::new(root().fingerprint(), by.parse().unwrap(), digest, cause, None, at);
    known.chain.add_end(verified(seed, &end)).unwrap();
    known
}

fn denied() -> Known {
    let mut known = known(1);
    let (by, digest) = ("bob".parse().unwrap(), known.chain.digest());
    let at = NOW.plus_secs(30);
    let no = Decision::deny(root().fingerprint(), by, digest, "not now".into(), at);
    known.chain.add_decision(verified(BOB, &no)).unwrap();
    known
}

async fn access(
    eras: &Arc<Eras>,
    known: &Known,
    current: &Arc<InForce>,
    now: UnixTime,
) -> v1::AccessState {
    let views = eras.views(known, &Standing::alone(current.clone()), now).await;
    show::access(known, &views, now)
}

#[tokio::test]
async fn what_is_over_is_told_as_it_was_whatever_the_policy_says_by_now() {
    let old = version(1, &PERSONS, "prod");
    let before = Eras::of(&[(NOW.minus_secs(60), old.clone())]);
    let now = CHANGE.plus_secs(60);
    let renamed = version(2, &OTHERS, "renamed");
    let no_rule =
        version(3, &[("alice", ALICE, "dev"), ("bob", BOB, "leads"), ("carol", 4, "sre")], "prod");
    for (what, known, status) in [
        ("ended", certified(), v1::Status::Ended),
        ("released", ended(certified(), "alice", ALICE, Cause::Release), v1::Status::Released),
        ("revoked", ended(certified(), "bob", BOB, Cause::Revoke), v1::Status::Revoked),
        ("denied", denied(), v1::Status::Denied),
        ("cancelled", ended(known(1), "alice", ALICE, Cause::Cancel), v1::Status::Cancelled),
        ("undecided", known(1), v1::Status::Lapsed),
        ("unused", approved(), v1::Status::Lapsed),
    ] {
        let was = access(&before, &known, &old, now).await;
        assert_eq!((was.status(), was.rule.as_str()), (status, "prod"), "{what}");
        for current in [&renamed, &no_rule] {
            let since = [(NOW.minus_secs(60), old.clone()), (CHANGE, current.clone())];
            let is = access(&Eras::of(&since), &known, current, now).await;
            assert_eq!(is, was, "{what}");
            // Without what came before, it is told otherwise: the test can fail.
            let forgetful = Eras::of(&[(CHANGE, current.clone())]);
            assert_ne!(access(&forgetful, &known, current, now).await, was, "{what}");
        }
    }
}

#[tokio::test]
async fn a_bundle_of_the_same_second_takes_nothing_from_the_one_before() {
    let (old, new) = (version(1, &PERSONS, "prod"), version(2, &OTHERS, "renamed"));
    for (what, known, last) in [("denied", denied(), 30), ("certified", certified(), 70)] {
        let since = [(NOW.minus_secs(60), old.clone()), (NOW.plus_secs(last), new.clone())];
        let is = access(&Eras::of(&since), &known, &new, CHANGE).await;
        assert_eq!(is.rule, "prod", "{what}");
    }
}

#[tokio::test]
async fn what_is_alive_is_told_by_the_bundle_in_force_and_so_is_what_a_change_stopped() {
    let (old, renamed) = (version(1, &PERSONS, "prod"), version(2, &PERSONS, "renamed"));
    let early = NOW.plus_secs(100);
    let eras = |current: &Arc<InForce>| {
        Eras::of(&[(NOW.minus_secs(60), old.clone()), (early, current.clone())])
    };
    let live = access(&eras(&renamed), &certified(), &renamed, early.plus_secs(1)).await;
    assert_eq!((live.status(), live.rule.as_str()), (v1::Status::Active, "renamed"));
    // bob is gone: the access is refused at once, and once its time is over it is history.
    let gone = version(2, &OTHERS, "renamed");
    let stopped = access(&eras(&gone), &certified(), &gone, early.plus_secs(1)).await;
    assert_eq!(stopped.status(), v1::Status::Refused);
    let over = access(&eras(&gone), &certified(), &gone, NOW.plus_secs(660)).await;
    assert_eq!((over.status(), over.rule.as_str()), (v1::Status::Ended, "prod"));
    // What lapsed under the policy of then waits again where the one of now gives it more time.
    let patient = bundle_changed(2, &PERSONS, |policy| {
        policy.replace("decide_within = \"1h\"", "decide_within = \"4h\"")
    });
    let patient = Arc::new(in_force(patient));
    let since = [(NOW.minus_secs(60), old.clone()), (CHANGE, patient.clone())];
    let again = access(&Eras::of(&since), &known(1), &patient, CHANGE.plus_secs(1)).await;
    assert_eq!(again.status(), v1::Status::Pending);
}

#[tokio::test]
async fn who_was_skipped_by_break_glass_goes_on_seeing_it_when_its_rule_changes() {
    let rule =
        "break_glass = { strength = \"any\", max_for = \"30m\", notify = [\"person:carol\"] }\n";
    let with = |number, persons: &[(&str, u8, &str)], rule: &str| {
        let change = |policy: String| format!("{policy}{rule}");
        Arc::new(in_force(bundle_changed(number, persons, change)))
    };
    let old = with(1, &PERSONS, rule);
    let persons =
        [("alice", ALICE, "sre"), ("bob", BOB, "dev"), ("carol", 4, "leads"), ("dave", 11, "dev")];
    let new = with(2, &persons, "");
    let mut body = request(1).body().clone();
    body.break_glass = Some("the database is down".to_owned());
    let broken = Known::new(Chain::new(verified(ALICE, &body)));
    let plain = known(1);
    let eras = Eras::of(&[(NOW.minus_secs(60), old), (CHANGE, new.clone())]);
    let standing = Standing::alone(new.clone());
    for (id, broken_too, plain_too) in [
        ("alice", true, true),
        // Skipped.
        ("bob", true, false),
        // Told; and asked by the rule of now about what is no break-glass.
        ("carol", true, true),
        ("dave", false, false),
    ] {
        let caller = Caller { id: id.parse().unwrap(), reach: Reach::Own };
        let now = CHANGE.plus_secs(1);
        assert_eq!(eras.sees(&caller, &broken, &standing, now).await, broken_too, "{id}");
        assert_eq!(eras.sees(&caller, &plain, &standing, now).await, plain_too, "{id}");
    }
    // An admin can still review it, as the signer has it.
    let told = access(&eras, &broken, &new, CHANGE.plus_secs(1)).await;
    assert_eq!(told.approvers, ["ann"]);
    assert!(told.detail.ends_with("it waits for review by ann."), "{}", told.detail);
}
