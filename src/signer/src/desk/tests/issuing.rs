//! What a statement leads to, and what is no sound statement.

use super::*;

#[test]
fn one_access_is_logged_statement_by_statement_and_then_signed() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, .. } = &node.world;
    let request = alice.verified(&node.request());
    assert!(recorded(signer.submit(alice, request.body(), true)).is_none(), "approval is missing");
    assert_eq!(refused(signer.certify(request.digest())), Reason::NotApproved);
    recorded(signer.submit(bob, &node.world.approval(bob, &request, node.now()), false));
    let issuance = certified(signer.certify(request.digest()));
    node.check(&issuance, &request);
    // Renewed without asking anyone, with a serial of its own.
    let renewed = certified(signer.certify(request.digest()));
    node.check(&renewed, &request);
    assert_ne!(renewed.serial, issuance.serial);
    let kinds: Vec<&str> = node
        .entries()
        .iter()
        .map(|entry| match entry {
            Entry::Statement(s) if s.statement.contains("\"type\":\"bundle\"") => "bundle",
            Entry::Statement(s) if s.statement.contains("\"type\":\"request\"") => "request",
            Entry::Statement(_) => "decision",
            Entry::Certificate(_) => "certificate",
            Entry::HostCertificate(_) => "host certificate",
        })
        .collect();
    assert_eq!(kinds, ["bundle", "request", "decision", "certificate", "certificate"]);
}

#[test]
fn an_automatic_rule_certifies_in_one_call_and_a_retry_is_the_same_request() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    let request = bot.verified(&node.auto(1));
    let first = recorded(signer.submit(bot, request.body(), true)).unwrap();
    node.check(&first, &request);
    let again = recorded(signer.submit(bot, request.body(), true)).unwrap();
    node.check(&again, &request);
    assert!(recorded(signer.submit(bot, request.body(), false)).is_none());
    let statements = node.entries().iter().filter(|e| matches!(e, Entry::Statement(_))).count();
    assert_eq!(statements, 2, "the bundle and the request, once");
}

#[test]
fn without_a_bundle_nothing_is_recorded_or_issued() {
    let node = Node::new();
    let mut signer = node.start();
    let request = node.auto(1);
    assert_eq!(refused(signer.submit(&node.world.bot, &request, true)), Reason::NoBundle);
    node.apply(&mut signer, 1, POLICY);
    assert!(recorded(signer.submit(&node.world.bot, &request, true)).is_some());
}

#[test]
fn a_front_can_not_forge_replay_or_widen() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, carol, bot, .. } = &node.world;
    let request = alice.verified(&node.request());
    let good = signed(alice, request.body());
    let submit = |signer: &mut Running, statement: Signed| {
        refused(signer.call(Op::Submit { statement, certify: true }))
    };
    // Another's signature, a changed byte, a signature for another purpose, none, two.
    assert_eq!(submit(&mut signer, signed(bob, request.body())), Reason::UnknownSigner);
    let changed = good.statement.replace("\"for\":600", "\"for\":900");
    let statement = Signed { statement: changed, ..good.clone() };
    assert_eq!(submit(&mut signer, statement), Reason::BadSignature);
    let other = alice.sign("decision@jit-ssh", good.statement.as_bytes());
    let statement = Signed { signatures: vec![Base64Bytes(other)], ..good.clone() };
    assert_eq!(submit(&mut signer, statement), Reason::BadSignature);
    let none = Signed { signatures: vec![], ..good.clone() };
    assert_eq!(submit(&mut signer, none), Reason::Malformed);
    let two = Signed { signatures: vec![good.signatures[0].clone(); 2], ..good.clone() };
    assert_eq!(submit(&mut signer, two), Reason::Malformed);
    // A stale and an early one; the neighbours within two minutes pass.
    for (secs, fine) in [(-121, false), (121, false), (-120, true), (120, true)] {
        let mut request = node.request();
        request.at = UnixTime(START.0.checked_add_signed(secs).unwrap());
        let outcome = signer.submit(alice, &request, false);
        match fine {
            true => assert!(recorded(outcome).is_none()),
            false => assert_eq!(refused(outcome), Reason::ClockSkew),
        }
    }
    // The unchanged one passes, and a certificate still needs its approval.
    recorded(signer.call(Op::Submit { statement: good, certify: true }));
    for (by, body) in [
        (alice, node.world.approval(alice, &request, START)),
        (bot, node.world.approval(bot, &request, START)),
        (alice, node.world.approval(bob, &request, START)),
        (&person("mallory", 66), node.world.approval(&person("mallory", 66), &request, START)),
    ] {
        let reason = refused(signer.submit(by, &body, false));
        assert!(matches!(reason, Reason::NotAllowed | Reason::UnknownSigner), "{reason}");
    }
    let mut wide = node.world.approval(carol, &request, START);
    wide.r#for = Seconds::new(601);
    assert_eq!(refused(signer.submit(carol, &wide, false)), Reason::NotAllowed);
    assert_eq!(refused(signer.certify(request.digest())), Reason::NotApproved);
    assert_eq!(node.certificates(), 0);
    recorded(signer.submit(carol, &node.world.approval(carol, &request, START), false));
    node.check(&certified(signer.certify(request.digest())), &request);
}

#[test]
fn a_request_of_another_ca_is_refused() {
    let (node, mut signer) = Node::with_bundle();
    let mut request = node.auto(1);
    request.ca = jit_ssh_core::digest::RootFingerprint(Digest::of(b"another root"));
    assert_eq!(refused(signer.submit(&node.world.bot, &request, true)), Reason::WrongCa);
    assert!(recorded(signer.submit(&node.world.bot, &node.auto(1), true)).is_some());
}

#[test]
fn what_another_node_recorded_can_be_relayed_and_must_still_be_justified() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, .. } = &node.world;
    let request = alice.verified(&node.request());
    let approval = node.world.approval(bob, &request, UnixTime(START.0 + 10));
    node.set_clock(300);
    // Too old to be submitted, not too old to be relayed.
    assert_eq!(refused(signer.submit(alice, request.body(), false)), Reason::ClockSkew);
    assert_eq!(refused(signer.certify(request.digest())), Reason::UnknownRequest);
    let statement = signed(bob, &approval);
    assert_eq!(refused(signer.call(Op::Relay { statement })), Reason::UnknownRequest);
    recorded(signer.call(Op::Relay { statement: signed(alice, request.body()) }));
    assert_eq!(refused(signer.certify(request.digest())), Reason::NotApproved);
    recorded(signer.call(Op::Relay { statement: signed(bob, &approval) }));
    let issuance = certified(signer.certify(request.digest()));
    assert_eq!(issuance.access_until, UnixTime(START.0 + 610), "the clock runs from the approval");
}

#[test]
fn the_same_bytes_under_another_key_are_no_retry() {
    let (node, mut signer) = Node::with_bundle();
    let World { bot, carol, .. } = &node.world;
    let request = node.auto(1);
    recorded(signer.submit(bot, &request, true)).unwrap();
    assert_eq!(refused(signer.submit(carol, &request, true)), Reason::UnknownSigner);
    recorded(signer.submit(bot, &request, true)).unwrap();
}
