//! Which bundle is in force.

use super::*;

#[test]
fn bundle_versions_only_rise_and_a_crash_before_current_json_loses_nothing() {
    let (node, mut signer) = Node::with_bundle();
    assert_eq!(refused(node.apply(&mut signer, 1, &format!("{POLICY}\n# x"))), Reason::StaleBundle);
    let narrower = POLICY.replace("machine:bot", "person:carol");
    assert!(matches!(node.apply(&mut signer, 2, &narrower), Outcome::InForce { version: 2, .. }));
    assert_eq!(refused(node.apply(&mut signer, 1, POLICY)), Reason::StaleBundle);
    assert_eq!(refused(signer.submit(&node.world.bot, &node.auto(1), true)), Reason::PolicyRefused);
    // The crash: the log has version 2, current.json is still that of version 1.
    node.stop(signer);
    let current = node.dir.path().join("bundles/current.json");
    let files = node.world.files(POLICY);
    let old =
        signed(&node.world.ann, &Bundle::new(node.world.root.fingerprint(), 1, &files, START));
    std::fs::write(&current, serde_json::to_vec(&old).unwrap()).unwrap();
    let mut signer = node.start();
    assert_eq!(refused(signer.submit(&node.world.bot, &node.auto(1), true)), Reason::PolicyRefused);
    assert!(std::fs::read_to_string(&current).unwrap().contains("\\\"version\\\":2"));
}

#[test]
fn a_bundle_needs_its_admins_its_exact_files_and_this_signers_keys() {
    let node = Node::new();
    let mut signer = node.start();
    let files = node.world.files(POLICY);
    let root = node.world.root.fingerprint();
    let body = Bundle::new(root, 1, &files, START);
    let put = |signer: &mut Running, by: &Person, body: &Bundle| {
        signer.call(Op::PutBundle { statement: signed(by, body) })
    };
    assert_eq!(refused(put(&mut signer, &node.world.ann, &body)), Reason::BundleRefused);
    signer.upload(&files);
    assert_eq!(refused(put(&mut signer, &node.world.alice, &body)), Reason::UnknownSigner);
    // Another file than the one signed, under its own name.
    let mut other = files.clone();
    other.people.extend_from_slice(b"\n# more\n");
    let unsent = Bundle::new(root, 1, &other, START);
    assert_eq!(refused(put(&mut signer, &node.world.ann, &unsent)), Reason::BundleRefused);
    let content = Base64Bytes(b"something else".to_vec());
    let lie = Op::PutFile { file: unsent.people, offset: 0, content, last: true };
    assert_eq!(refused(signer.call(lie)), Reason::BundleRefused);
    assert_eq!(refused(put(&mut signer, &node.world.ann, &unsent)), Reason::BundleRefused);
    // A signers.toml with another CA key.
    let mut foreign = files.clone();
    let key = person("x", 55).key.to_string();
    let text = String::from_utf8(files.signers.clone()).unwrap();
    foreign.signers = text.replace(&node.world.ca_key().to_string(), &key).into_bytes();
    signer.upload(&foreign);
    let unnamed = Bundle::new(root, 1, &foreign, START);
    assert_eq!(refused(put(&mut signer, &node.world.ann, &unnamed)), Reason::BundleRefused);
    assert!(matches!(put(&mut signer, &node.world.ann, &body), Outcome::InForce { .. }));
}

#[test]
fn an_older_bundle_never_comes_back_however_old_the_newer_one_is() {
    let (node, mut signer) = Node::with_bundle();
    let current = node.dir.path().join("bundles/current.json");
    let old = std::fs::read(&current).unwrap();
    let narrower = POLICY.replace("machine:bot", "person:carol");
    node.apply(&mut signer, 2, &narrower);
    node.set_clock(10 * 86_400);
    let other = node.world.request(&node.world.alice, "test-host", "deploy", 60, node.now());
    recorded(signer.submit(&node.world.alice, &other, true)).unwrap();
    node.stop(signer);
    let pointer = node.dir.path().join("newest-bundle");
    // The public folder set back; then emptied of current.json; then the signer's own note gone,
    // or pointing at the older bundle's entry: the log decides.
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::write(&current, &old).unwrap(),
        &|| std::fs::remove_file(&current).unwrap(),
        &|| std::fs::remove_file(&pointer).unwrap(),
        &|| std::fs::write(&pointer, "no number").unwrap(),
    ];
    for (nonce, spoil) in (1u8..).zip(spoil) {
        spoil();
        let mut signer = node.start();
        let Outcome::State(state) = signer.call(Op::State) else { panic!("no state") };
        assert_eq!(state.bundle_version, 2);
        let outcome = signer.submit(&node.world.bot, &node.auto(nonce), true);
        assert_eq!(refused(outcome), Reason::PolicyRefused);
        assert_eq!(refused(node.apply(&mut signer, 1, POLICY)), Reason::StaleBundle);
        node.stop(signer);
    }
}

#[test]
fn a_bundle_with_longer_limits_brings_no_denied_request_back() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, carol, .. } = &node.world;
    let denied = alice.verified(&node.request());
    recorded(signer.submit(alice, denied.body(), false));
    recorded(signer.submit(bob, &node.world.denial(bob, &denied, START), false));
    let mut body = node.request();
    body.nonce = jit_ssh_core::statement::Nonce([9; 16]);
    let open = alice.verified(&body);
    recorded(signer.submit(alice, open.body(), false));
    // Three hours later both are forgotten; then an hour to decide becomes a day.
    node.set_clock(3 * 3_600);
    assert_eq!(refused(signer.certify(denied.digest())), Reason::UnknownRequest);
    let longer = POLICY.replace("decide_within = \"1h\"", "decide_within = \"1d\"");
    node.apply(&mut signer, 2, &longer);
    for restart in [false, true] {
        if restart {
            node.stop(signer);
            signer = node.start();
        }
        assert_eq!(refused(signer.certify(denied.digest())), Reason::Denied);
        let statement = signed(alice, denied.body());
        recorded(signer.call(Op::Relay { statement }));
        let late = node.world.approval(carol, &denied, node.now());
        assert_eq!(refused(signer.submit(carol, &late, false)), Reason::Denied);
    }
    // Its undenied neighbour is alive again, as the new rule says.
    recorded(signer.submit(carol, &node.world.approval(carol, &open, node.now()), false));
    certified(signer.certify(open.digest()));
}

#[test]
fn uploads_that_cross_each_other_harm_neither_the_bundle_in_force_nor_each_other() {
    let (node, mut signer) = Node::with_bundle();
    let files = node.world.files(POLICY);
    let file = Digest::of(&files.policy);
    let part = |offset: u64, content: &[u8], last: bool| Op::PutFile {
        file,
        offset,
        content: Base64Bytes(content.to_vec()),
        last,
    };
    // Broken off midway, and begun anew: the second is whole.
    signer.call(part(0, &files.policy[..4], false));
    assert!(matches!(signer.call(part(0, &files.policy, true)), Outcome::Stored));
    // Parts that follow a finished file, or skip, are refused.
    assert_eq!(refused(signer.call(part(4, b"EVIL", false))), Reason::Malformed);
    signer.call(part(0, b"XXXX", false));
    assert_eq!(refused(signer.call(part(8, b"EVIL", true))), Reason::Malformed);
    assert_eq!(refused(signer.call(part(4, b"EVIL", true))), Reason::BundleRefused);
    assert_eq!(
        std::fs::read(node.dir.path().join("bundles").join(file.to_string())).unwrap(),
        files.policy
    );
    // Litter is bounded, and is nowhere near the public folder.
    let public = || std::fs::read_dir(node.dir.path().join("bundles")).unwrap().count();
    let before = public();
    for number in 0..100u32 {
        let content = number.to_be_bytes().to_vec();
        let file = Digest::of(&content);
        let content = Base64Bytes(content);
        signer.call(Op::PutFile { file, offset: 0, content, last: true });
    }
    assert_eq!(public(), before);
    assert!(std::fs::read_dir(node.dir.path().join("uploads")).unwrap().count() <= 16);
    assert!(matches!(
        node.apply(&mut signer, 2, &format!("{POLICY}\n# x")),
        Outcome::InForce { .. }
    ));
    node.stop(signer);
    node.start();
}
