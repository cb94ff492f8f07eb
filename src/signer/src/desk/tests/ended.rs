//! Ends, and the revocation list that follows from them.

use std::collections::BTreeSet;

use jit_ssh_core::certificate::Serial;

use super::*;

/// alice's request, approved and used; with the certificate's serial.
fn active(node: &Node, signer: &mut Running, nonce: u8) -> (Verified<Request>, Serial) {
    let World { alice, bob, .. } = &node.world;
    let mut body = node.request();
    body.nonce = jit_ssh_core::statement::Nonce([nonce; 16]);
    let request = alice.verified(&body);
    recorded(signer.submit(alice, request.body(), false));
    recorded(signer.submit(bob, &node.world.approval(bob, &request, node.now()), false));
    let serial = certified(signer.certify(request.digest())).serial;
    (request, Serial::from_u64(serial).unwrap())
}

fn set(serials: &[Serial]) -> BTreeSet<Serial> {
    serials.iter().copied().collect()
}

#[test]
fn what_is_given_back_or_taken_away_is_in_the_list_before_the_answer_and_not_after_the_access_is_over()
 {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, carol, ann, bot, .. } = &node.world;
    assert!(node.krl().serials().is_empty(), "there is a list from the start");
    assert_eq!(*node.krl().ca_key(), node.world.ca_key());
    let (first, one) = active(&node, &mut signer, 1);
    let (second, two) = active(&node, &mut signer, 2);
    let (third, three) = active(&node, &mut signer, 3);
    let renewed = certified(signer.certify(third.digest())).serial;
    // Only who may can, and before that nothing happens.
    for (by, cause, request) in [
        (carol, Cause::Release, &first),
        (bot, Cause::Revoke, &first),
        (alice, Cause::Revoke, &first),
    ] {
        assert_eq!(refused(signer.end(&node, by, cause, request)), Reason::NotAllowed);
    }
    assert_eq!(refused(signer.end(&node, alice, Cause::Cancel, &first)), Reason::Settled);
    assert!(node.krl().serials().is_empty());

    let mut version = node.krl().version();
    let mut expected = Vec::new();
    let by_admin = [three, Serial::from_u64(renewed).unwrap()];
    for (by, cause, request, serials, reason) in [
        (alice, Cause::Release, &first, &[one][..], Reason::Released),
        // carol could have approved it; ann is an admin, and nobody in people.toml.
        (carol, Cause::Revoke, &second, &[two], Reason::Revoked),
        (ann, Cause::Revoke, &third, &by_admin, Reason::Revoked),
    ] {
        recorded(signer.end(&node, by, cause, request));
        expected.extend_from_slice(serials);
        assert_eq!(*node.krl().serials(), set(&expected));
        assert!(node.krl().version() > version);
        version = node.krl().version();
        assert_eq!(refused(signer.certify(request.digest())), reason);
        // Once more is a retry, another way is too late.
        assert_eq!(refused(signer.end(&node, ann, Cause::Release, request)), Reason::NotAllowed);
    }
    // A restart neither forgets it nor makes another list of it.
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!((node.krl().version(), node.krl().serials().clone()), (version, set(&expected)));
    for request in [&first, &second, &third] {
        assert!(matches!(
            refused(signer.certify(request.digest())),
            Reason::Released | Reason::Revoked
        ));
    }
    // Certificates of five minutes, of an access of ten: what they opened may run as long.
    node.set_clock(599);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(*node.krl().serials(), set(&expected));
    node.set_clock(600);
    signer.until(|| node.krl().serials().is_empty());
    assert!(node.krl().version() > version);
}

#[test]
fn a_request_that_was_never_used_leaves_nothing_in_the_list() {
    let (node, mut signer) = Node::with_bundle();
    let alice = &node.world.alice;
    let request = alice.verified(&node.request());
    recorded(signer.submit(alice, request.body(), false));
    let before = node.krl();
    assert_eq!(refused(signer.end(&node, alice, Cause::Release, &request)), Reason::Settled);
    recorded(signer.end(&node, alice, Cause::Cancel, &request));
    assert_eq!(refused(signer.certify(request.digest())), Reason::Cancelled);
    assert_eq!(node.krl(), before);
}

#[test]
fn an_end_holds_even_if_the_list_can_not_be_published_which_is_tried_again() {
    let (node, mut signer) = Node::with_bundle();
    let (request, serial) = active(&node, &mut signer, 1);
    signer.orders.break_it("place_synced");
    recorded(signer.end(&node, &node.world.alice, Cause::Release, &request));
    assert_eq!(refused(signer.certify(request.digest())), Reason::Released);
    assert!(node.krl().serials().is_empty());
    signer.orders.mend();
    signer.until(|| *node.krl().serials() == set(&[serial]));
}

#[test]
fn a_list_that_is_gone_or_not_ours_is_made_anew_at_start() {
    let (node, mut signer) = Node::with_bundle();
    let (request, serial) = active(&node, &mut signer, 1);
    recorded(signer.end(&node, &node.world.alice, Cause::Release, &request));
    let path = node.dir.path().join("log/krl");
    let good = std::fs::read(&path).unwrap();
    let spoil: [&dyn Fn(); 3] = [
        &|| std::fs::remove_file(&path).unwrap(),
        &|| std::fs::write(&path, "junk").unwrap(),
        &|| std::fs::write(&path, &good[..good.len() - 4]).unwrap(),
    ];
    for spoil in spoil {
        node.stop(signer);
        spoil();
        signer = node.start();
        assert_eq!(*node.krl().serials(), set(&[serial]));
    }
}

#[test]
fn a_clock_that_jumps_ahead_and_back_takes_nobody_off_the_list() {
    let (node, mut signer) = Node::with_bundle();
    let (request, serial) = active(&node, &mut signer, 1);
    recorded(signer.end(&node, &node.world.alice, Cause::Release, &request));
    node.set_clock(315_360_000);
    signer.until(|| node.krl().serials().is_empty());
    assert_eq!(refused(signer.certify(request.digest())), Reason::UnknownRequest);
    node.set_clock(10);
    signer.until(|| *node.krl().serials() == set(&[serial]));
    assert_eq!(refused(signer.certify(request.digest())), Reason::Released);
}
