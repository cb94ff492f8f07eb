//! A disk, a clock, a caller or a process that fails.

use super::*;

#[test]
fn a_failing_log_means_no_certificate_and_heals_when_the_fault_clears() {
    for operation in ["append", "sync"] {
        let (node, mut signer) = Node::with_bundle();
        let bot = &node.world.bot;
        let before = node.entries().len();
        signer.orders.break_it(operation);
        for nonce in 0..3 {
            let outcome = signer.submit(bot, &node.auto(nonce), true);
            assert_eq!(refused(outcome), Reason::LogUnavailable, "{operation}");
        }
        assert_eq!(node.entries().len(), before);
        signer.orders.mend();
        // What was refused is not remembered either: the same request is taken up as new.
        let request = bot.verified(&node.auto(0));
        node.check(&recorded(signer.submit(bot, request.body(), true)).unwrap(), &request);
        assert_eq!(node.entries().len(), before + 2);
    }
}

#[test]
fn a_log_that_can_not_be_published_stops_issuance_until_it_can() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    signer.orders.break_it("place_tile");
    // The first is durable when publishing fails; from then on nothing more is taken up (I8).
    recorded(signer.submit(bot, &node.auto(1), true)).unwrap();
    assert_eq!(refused(signer.submit(bot, &node.auto(2), true)), Reason::LogUnavailable);
    signer.orders.mend();
    recorded(signer.submit(bot, &node.auto(3), true)).unwrap();
    assert_eq!(node.certificates(), 2);
}

#[test]
fn one_fsync_serves_all_that_wait() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    signer.orders.forget();
    let ids: Vec<u64> = (0..25)
        .map(|nonce| {
            let statement = signed(bot, &node.auto(nonce));
            signer.send(Op::Submit { statement, certify: true })
        })
        .collect();
    for id in ids {
        assert!(recorded(signer.answer(id)).is_some());
    }
    let syncs = signer.orders.count("sync");
    assert!((1..25).contains(&syncs), "{syncs} fsyncs for 25 certificates");
}

#[test]
fn a_restarted_signer_knows_what_it_had_recorded_and_issued() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, carol, .. } = &node.world;
    let pending = alice.verified(&node.request());
    recorded(signer.submit(alice, pending.body(), true));
    let mut body = node.request();
    body.nonce = jit_ssh_core::statement::Nonce([9; 16]);
    let active = alice.verified(&body);
    recorded(signer.submit(alice, active.body(), true));
    recorded(signer.submit(bob, &node.world.approval(bob, &active, START), false));
    certified(signer.certify(active.digest()));
    body.nonce = jit_ssh_core::statement::Nonce([10; 16]);
    let cancelled = alice.verified(&body);
    recorded(signer.submit(alice, cancelled.body(), true));
    recorded(signer.submit(alice, &node.world.cancel(alice, &cancelled, START), false));

    node.stop(signer);
    let mut signer = node.start();
    node.check(&certified(signer.certify(active.digest())), &active);
    assert_eq!(refused(signer.certify(cancelled.digest())), Reason::Cancelled);
    assert_eq!(refused(signer.certify(pending.digest())), Reason::NotApproved);
    // A denial after the first certificate changes nothing, also across the restart.
    let late = node.world.denial(carol, &active, START);
    assert_eq!(refused(signer.submit(carol, &late, false)), Reason::Settled);
    recorded(signer.submit(bob, &node.world.approval(bob, &pending, START), false));
    node.check(&certified(signer.certify(pending.digest())), &pending);
}

#[test]
fn quotas_stop_one_person_and_nobody_else() {
    let mut node = Node::new();
    node.limits.requests_per_person_per_minute = 2.try_into().unwrap();
    node.limits.certificates_per_person_per_minute = 3.try_into().unwrap();
    let mut signer = node.start();
    node.apply(&mut signer, 1, POLICY);
    let bot = &node.world.bot;
    let request = bot.verified(&node.auto(1));
    recorded(signer.submit(bot, request.body(), true)).unwrap();
    recorded(signer.submit(bot, &node.auto(2), true)).unwrap();
    assert_eq!(refused(signer.submit(bot, &node.auto(3), true)), Reason::Quota);
    certified(signer.certify(request.digest()));
    assert_eq!(refused(signer.certify(request.digest())), Reason::Quota);
    let other = node.world.request(&node.world.alice, "test-host", "deploy", 60, START);
    recorded(signer.submit(&node.world.alice, &other, true)).unwrap();
    node.set_clock(60);
    recorded(signer.submit(bot, &node.auto(3), true)).unwrap();
}

#[test]
fn a_clock_behind_the_log_refuses_and_a_clock_that_jumps_ends_what_has_ended() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    node.set_clock(1_000);
    let request = bot.verified(&node.auto(1));
    recorded(signer.submit(bot, request.body(), true)).unwrap();
    node.set_clock(994);
    assert_eq!(refused(signer.certify(request.digest())), Reason::LogUnavailable);
    node.set_clock(995);
    certified(signer.certify(request.digest()));
    node.set_clock(1_600);
    assert_eq!(refused(signer.certify(request.digest())), Reason::Ended);
    // Ten years on nothing of it is left, and nothing comes back.
    node.set_clock(315_360_000);
    assert_eq!(refused(signer.certify(request.digest())), Reason::UnknownRequest);
    let statement = signed(bot, request.body());
    assert_eq!(refused(signer.call(Op::Relay { statement })), Reason::Lapsed);
}

#[test]
fn a_broken_frame_ends_the_connection_and_nothing_else() {
    let (node, mut signer) = Node::with_bundle();
    for junk in [&[0xff; 4][..], &[0, 0, 0, 2, b'{', b'x'][..]] {
        let mut other = signer.stream.try_clone().unwrap();
        other.write_all(junk).unwrap();
        let mut rest = Vec::new();
        assert!(matches!(other.read_to_end(&mut rest), Ok(0) | Err(_)));
        node.stop(signer);
        signer = node.start();
        assert!(matches!(signer.call(Op::State), Outcome::State(_)));
    }
}
