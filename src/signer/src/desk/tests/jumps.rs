//! Certificates for jumps, as whoever holds the signer's socket can get at them.

use super::*;

/// A node whose bundle has hosts behind bastions.
fn node() -> (Node, Running) {
    let node = Node::new();
    let mut signer = node.start();
    let outcome = node.apply_files(&mut signer, 1, node.world.files_with_ways(POLICY));
    assert!(matches!(outcome, Outcome::InForce { version: 1, .. }), "{outcome:?}");
    (node, signer)
}

fn jump(signer: &mut Running, request: &Verified<Request>, jump: &str) -> Outcome {
    let (request, jump) = (request.digest(), jump.parse().unwrap());
    signer.call(Op::CertifyJump { request, jump })
}

fn request(node: &Node, host: &str) -> Request {
    node.world.request(&node.world.alice, host, "deploy", 600, node.now())
}

#[test]
fn the_way_to_a_granted_host_is_certified_logged_revoked_with_it_and_nothing_else_is() {
    let (node, mut signer) = node();
    let alice = &node.world.alice;
    let inner = alice.verified(&request(&node, "test-inner"));
    recorded(signer.submit(alice, inner.body(), false));
    let mut serials = vec![certified(signer.certify(inner.digest())).serial];
    for hop in ["jump@edge/bastion", "jump@bastion/test-inner"] {
        let issuance = certified(jump(&mut signer, &inner, hop));
        node.check_within(&Scope::Jump(hop.parse().unwrap()), &issuance, &inner);
        serials.push(issuance.serial);
    }
    assert_eq!(node.certificates(), 3, "each has its entry");
    for other in ["jump@bastion/test-other", "jump@edge/test-inner", "jump@own-way/test-own"] {
        assert_eq!(refused(jump(&mut signer, &inner, other)), Reason::NotAllowed, "{other}");
    }
    // What was granted elsewhere opens no way, and a request nobody made none either.
    let mut away = request(&node, "test-host");
    away.nonce = jit_ssh_core::statement::Nonce([8; 16]);
    let away = alice.verified(&away);
    assert_eq!(refused(jump(&mut signer, &away, "jump@edge/bastion")), Reason::UnknownRequest);
    recorded(signer.submit(alice, away.body(), false));
    assert_eq!(refused(jump(&mut signer, &away, "jump@edge/bastion")), Reason::NotAllowed);
    assert_eq!(node.certificates(), 3, "nothing that is refused is issued");

    // The end of the access is the end of the way, at a signer that was started anew too.
    node.stop(signer);
    let mut signer = node.start();
    recorded(signer.end(&node, alice, Cause::Release, &inner));
    let listed: Vec<u64> = node.krl().serials().iter().map(|serial| serial.get()).collect();
    assert_eq!(listed, serials);
    let refused_now = refused(jump(&mut signer, &inner, "jump@edge/bastion"));
    assert_eq!(refused_now, Reason::Released);
}

#[test]
fn a_way_that_the_bundle_no_longer_has_is_not_certified_any_more() {
    let (node, mut signer) = node();
    let alice = &node.world.alice;
    let inner = alice.verified(&request(&node, "test-inner"));
    recorded(signer.submit(alice, inner.body(), false));
    certified(jump(&mut signer, &inner, "jump@edge/bastion"));
    let mut files = node.world.files_with_ways(POLICY);
    let hosts = String::from_utf8(files.hosts).unwrap();
    files.hosts = hosts.replace("via = \"edge\"\n", "").into_bytes();
    let outcome = node.apply_files(&mut signer, 2, files);
    assert!(matches!(outcome, Outcome::InForce { version: 2, .. }), "{outcome:?}");
    assert_eq!(refused(jump(&mut signer, &inner, "jump@edge/bastion")), Reason::NotAllowed);
    certified(jump(&mut signer, &inner, "jump@bastion/test-inner"));
}

#[test]
fn the_account_of_jumps_is_given_to_nobody() {
    let (node, mut signer) = node();
    let alice = &node.world.alice;
    let mut body = request(&node, "test-inner");
    recorded(signer.submit(alice, &body, true));
    body.logins = vec!["jump".parse().unwrap()];
    assert_eq!(refused(signer.submit(alice, &body, true)), Reason::PolicyRefused);
    // A frame that names what is no jump is none.
    for odd in ["jump@bastion", "root@bastion/test-inner", "jump@a/b/c"] {
        let call = format!(
            "{{\"certify_jump\":{{\"request\":\"{}\",\"jump\":\"{odd}\"}}}}",
            "0".repeat(64)
        );
        assert!(serde_json::from_str::<Op>(&call).is_err(), "{odd}");
        let good = call.replace(odd, "jump@a/b");
        assert!(serde_json::from_str::<Op>(&good).is_ok());
    }
}
