//! Break-glass: one use, and the next after somebody has reviewed it.

use jit_ssh_core::statement::{Decision, Nonce};

use super::*;

const DAYS: i64 = 86_400;

fn policy() -> String {
    let line = "break_glass = { max_for = \"15m\", notify = [\"group:leads\"] }\n";
    POLICY.replace("decide_within = \"1h\"", &format!("decide_within = \"1h\"\n{line}"))
}

fn node() -> (Node, Running) {
    Node::with_policy(&policy())
}

impl Node {
    fn break_glass(&self, by: &Person, nonce: u8) -> Verified<Request> {
        let mut body = self.world.request(by, "prod-host", "deploy", 600, self.now());
        body.break_glass = Some("the leads are asleep".to_owned());
        body.nonce = Nonce([nonce; 16]);
        by.verified(&body)
    }

    fn review(&self, by: &Person, of: &Verified<Request>) -> Decision {
        self.world.approval(by, of, self.now())
    }

    /// Whether alice may use break-glass now: asks, and takes nothing if so.
    #[track_caller]
    fn is_blocked(&self, signer: &mut Running) -> bool {
        let tried = self.break_glass(&self.world.alice, 200);
        match signer.submit(&self.world.alice, tried.body(), false) {
            Outcome::Refused(refusal) => {
                assert_eq!(refusal.reason, Reason::ReviewNeeded, "{refusal}");
                true
            }
            _ => false,
        }
    }
}

#[test]
fn it_is_used_once_and_again_only_after_a_review_by_another() {
    let (node, mut signer) = node();
    let World { alice, bob, carol, bot, .. } = &node.world;
    let first = node.break_glass(alice, 1);
    let issuance = recorded(signer.submit(alice, first.body(), true)).unwrap();
    node.check(&issuance, &first);
    let second = node.break_glass(alice, 2);
    let again = |signer: &mut Running| signer.submit(alice, second.body(), false);
    assert_eq!(refused(again(&mut signer)), Reason::ReviewNeeded);
    // Others are not held up, nor is alice's usual way, nor the use of what she has.
    recorded(signer.submit(bob, node.break_glass(bob, 3).body(), true)).unwrap();
    recorded(signer.submit(alice, &node.request(), false));
    certified(signer.certify(first.digest()));
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(refused(again(&mut signer)), Reason::ReviewNeeded);
    for by in [alice, bot] {
        let review = node.review(by, &first);
        assert_eq!(refused(signer.submit(by, &review, false)), Reason::NotAllowed);
    }
    assert_eq!(refused(again(&mut signer)), Reason::ReviewNeeded);
    recorded(signer.submit(carol, &node.review(carol, &first), false));
    recorded(again(&mut signer));
    let other = node.review(bob, &first);
    assert_eq!(refused(signer.submit(bob, &other, false)), Reason::Settled);
}

#[test]
fn two_uses_or_a_review_and_a_use_handed_over_together_are_taken_one_after_the_other() {
    let (node, mut signer) = node();
    let World { alice, carol, .. } = &node.world;
    let requests = [1, 2, 3].map(|nonce| node.break_glass(alice, nonce));
    let submit = |request: &Verified<Request>| Op::Submit {
        statement: signed(alice, request.body()),
        certify: true,
    };
    let calls = [&requests[0], &requests[1]].map(|request| signer.send(submit(request)));
    assert!(recorded(signer.answer(calls[0])).is_some());
    assert_eq!(refused(signer.answer(calls[1])), Reason::ReviewNeeded);
    let review = signed(carol, &node.review(carol, &requests[0]));
    let review = signer.send(Op::Submit { statement: review, certify: false });
    let third = signer.send(submit(&requests[2]));
    recorded(signer.answer(review));
    assert!(recorded(signer.answer(third)).is_some());
}

#[test]
fn it_is_never_forgotten_however_old_and_whatever_becomes_of_the_note() {
    let (node, mut signer) = node();
    let World { alice, carol, .. } = &node.world;
    let first = node.break_glass(alice, 1);
    recorded(signer.submit(alice, first.body(), true)).unwrap();
    let note = node.dir.path().join("unreviewed");
    let early = std::fs::read(&note).unwrap();
    // Long after anything else of then is forgotten.
    node.set_clock(40 * DAYS);
    recorded(signer.submit(alice, &node.request(), false));
    assert!(node.is_blocked(&mut signer));
    let spoil: [&dyn Fn(); 6] = [
        &|| (),
        &|| std::fs::remove_file(&note).unwrap(),
        &|| std::fs::write(&note, "junk").unwrap(),
        &|| std::fs::write(&note, r#"{"v":1,"size":99,"requests":[]}"#).unwrap(),
        // An entry that is no such request.
        &|| std::fs::write(&note, r#"{"v":1,"size":3,"requests":[0]}"#).unwrap(),
        &|| std::fs::write(&note, &early).unwrap(),
    ];
    for spoil in spoil {
        node.stop(signer);
        spoil();
        signer = node.start();
        assert!(node.is_blocked(&mut signer));
    }
    // And can still be reviewed, though it is over.
    recorded(signer.submit(carol, &node.review(carol, &first), false));
    assert!(!node.is_blocked(&mut signer));
}

#[test]
fn a_crash_between_log_and_note_changes_nothing() {
    let (node, mut signer) = node();
    let World { alice, carol, .. } = &node.world;
    let note = node.dir.path().join("unreviewed");
    let read = || std::fs::read(&note).unwrap();
    let before = read();
    let first = node.break_glass(alice, 1);
    recorded(signer.submit(alice, first.body(), false));
    let used = read();
    assert_ne!(before, used);
    node.set_clock(40 * DAYS);
    recorded(signer.submit(alice, &node.request(), false));
    // It was used, and the note is of before.
    node.stop(signer);
    std::fs::write(&note, &before).unwrap();
    let mut signer = node.start();
    assert!(node.is_blocked(&mut signer));
    // It was reviewed, long ago too, and the note is of before that.
    recorded(signer.submit(carol, &node.review(carol, &first), false));
    node.set_clock(80 * DAYS);
    recorded(signer.submit(&node.world.bot, &node.auto(1), true)).unwrap();
    node.stop(signer);
    std::fs::write(&note, &used).unwrap();
    let mut signer = node.start();
    assert!(!node.is_blocked(&mut signer));
}

#[test]
fn a_bundle_without_break_glass_forgets_no_use_and_its_return_finds_it() {
    let (node, mut signer) = node();
    let World { alice, ann, carol, .. } = &node.world;
    let first = node.break_glass(alice, 1);
    recorded(signer.submit(alice, first.body(), true)).unwrap();
    node.set_clock(40 * DAYS);
    node.apply(&mut signer, 2, POLICY);
    node.apply(&mut signer, 3, &policy());
    assert!(node.is_blocked(&mut signer));
    // Where no rule is left that says who is asked, an admin reviews it.
    node.apply(&mut signer, 4, POLICY);
    let review = node.review(carol, &first);
    assert_eq!(refused(signer.submit(carol, &review, false)), Reason::NotAllowed);
    recorded(signer.submit(ann, &node.review(ann, &first), false));
    node.apply(&mut signer, 5, &policy());
    assert!(!node.is_blocked(&mut signer));
}
