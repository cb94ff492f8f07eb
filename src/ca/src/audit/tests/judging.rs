//! The judge, with logs made entry by entry.

use super::*;

#[test]
fn a_good_log_passes() {
    let expected = Counts {
        entries: 7,
        requests: 2,
        decisions: 1,
        ends: 1,
        certificates: 2,
        host_certificates: 0,
        bundles: 1,
        enrolments: 0,
    };
    assert_eq!(good().judge(), Ok(expected));
}

/// The good log up to the first certificate, with what it needs to make another one.
fn half() -> (Scene, Verified<Request>, Verified<Decision>) {
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ANN]);
    let request = scene.add(10, ALICE, &scene.request(10, 1));
    let decision = scene.approval(20, "bob", &request);
    let (bytes, signature) = signed(BOB, &decision);
    let ca = scene.root.fingerprint();
    let approval = statement::open(&bytes, &signature, &ca).unwrap();
    (scene, request, approval)
}

/// Adds an approval that exists already.
fn record(scene: &mut Scene, second: u64, approval: &Verified<Decision>) {
    scene.push(second, approval.bytes().to_vec(), &[approval.signature().to_vec()]);
}

#[test]
fn a_certificate_without_its_approval_is_found() {
    let (mut scene, request, approval) = half();
    let mut with = scene.clone();
    record(&mut with, 20, &approval);
    with.add_certificate(30, &chain(&request, &[&approval]));
    assert!(with.judge().is_ok());

    scene.add_certificate(30, &chain(&request, &[&approval]));
    let (index, problem) = scene.found();
    assert_eq!(index, 2);
    assert!(problem.contains("not approved yet: 1 of 1 approvals are missing"), "{problem}");
}

#[test]
fn an_approval_by_the_requester_is_found() {
    let (mut scene, request, _) = half();
    let mut honest = scene.clone();
    honest.add(20, CAROL, &scene.approval(20, "carol", &request));
    assert!(honest.judge().is_ok());
    // The rule even names alice as one who may approve.
    scene.add(20, ALICE, &scene.approval(20, "alice", &request));
    let (index, problem) = scene.found();
    assert_eq!(index, 2);
    assert!(problem.contains("the decision must not have been recorded: alice made"), "{problem}");
}

#[test]
fn an_approval_signed_by_another_key_than_the_named_persons_is_found() {
    let (mut scene, request, _) = half();
    scene.add(20, ALICE, &scene.approval(20, "bob", &request));
    let (index, problem) = scene.found();
    assert_eq!(index, 2);
    assert!(problem.contains("is not a key of bob"), "{problem}");
}

#[test]
fn a_certificate_for_more_hosts_than_were_granted_is_found() {
    let (mut scene, request, wide) = half();
    let mut narrow = scene.approval(20, "bob", &request);
    narrow.hosts = Some(vec!["prod-host".parse().unwrap()]);
    let narrow = scene.add(20, BOB, &narrow);
    let mut honest = scene.clone();
    honest.add_certificate(30, &chain(&request, &[&narrow]));
    assert!(honest.judge().is_ok());

    scene.add_certificate(30, &chain(&request, &[&wide]));
    let (index, problem) = scene.found();
    assert_eq!(index, 3);
    assert!(problem.contains("principals are deploy@other-host, deploy@prod-host"), "{problem}");
    assert!(problem.contains("but deploy@prod-host was granted"), "{problem}");
}

#[test]
fn a_certificate_that_lives_longer_is_found() {
    let (mut scene, request, approval) = half();
    record(&mut scene, 20, &approval);
    let chain = chain(&request, &[&approval]);
    let mut looser = scene.clone();
    looser.policy = POLICY.replace("cert_for = \"5m\"", "cert_for = \"6m\"");
    let tbs = scene.tbs(30, &chain, &looser.parsed());
    scene.add_tbs(30, request.digest(), "prod", tbs);
    let (index, problem) = scene.found();
    assert_eq!(index, 3);
    assert!(problem.contains("times"), "{problem}");
}

#[test]
fn a_longer_access_is_found_even_where_the_certificate_is_short() {
    let (mut scene, request, long) = half();
    let mut short = scene.approval(20, "bob", &request);
    short.r#for = Some(span("6m"));
    scene.add(20, BOB, &short);
    scene.add_certificate(30, &chain(&request, &[&long]));
    let (index, problem) = scene.found();
    assert_eq!(index, 3);
    assert!(problem.contains("end of access"), "{problem}");
}

#[test]
fn a_certificate_of_another_key_is_found() {
    let (mut scene, request, approval) = half();
    record(&mut scene, 20, &approval);
    let tbs = scene.tbs(30, &chain(&request, &[&approval]), &scene.parsed());
    let (from, to) = (public(SUBJECT), public(OTHER));
    let tbs = replaced(&tbs, &from.blob()[19..], &to.blob()[19..]);
    scene.add_tbs(30, request.digest(), "prod", tbs);
    let (index, problem) = scene.found();
    assert_eq!(index, 3);
    assert!(problem.contains("the key is not the one asked for"), "{problem}");
}

#[test]
fn a_certificate_to_be_signed_by_another_ca_key_is_found() {
    let (mut scene, request, approval) = half();
    record(&mut scene, 20, &approval);
    let tbs = scene.tbs(30, &chain(&request, &[&approval]), &scene.parsed());
    let tbs = replaced(&tbs, ca_key(CA).blob(), ca_key(OTHER).blob());
    scene.add_tbs(30, request.digest(), "prod", tbs);
    let (index, problem) = scene.found();
    assert_eq!(index, 3);
    assert!(problem.contains("the signing key is not the CA's"), "{problem}");
}

#[test]
fn an_option_that_was_asked_for_but_not_granted_is_found() {
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ANN]);
    let mut asked = scene.request(10, 1);
    asked.permit = vec![Permit::Pty, Permit::PortForwarding];
    let request = scene.add(10, ALICE, &asked);
    let approval = scene.add(20, BOB, &scene.approval(20, "bob", &request));
    let chain = chain(&request, &[&approval]);
    let mut honest = scene.clone();
    honest.add_certificate(30, &chain);
    assert!(honest.judge().is_ok());

    let mut looser = scene.clone();
    looser.policy = POLICY.replace("[\"pty\"]", "[\"pty\", \"port-forwarding\"]");
    let tbs = scene.tbs(30, &chain, &looser.parsed());
    scene.add_tbs(30, request.digest(), "prod", tbs);
    assert_eq!(scene.judge(), Err((3, Fault::Options)));
}

#[test]
fn a_changed_reason_breaks_its_signature() {
    let mut scene = good();
    let text = String::from_utf8(scene.entries[1].clone()).unwrap();
    scene.entries[1] = text.replace("disk full", "disk fine").into_bytes();
    let (index, problem) = scene.found();
    assert_eq!(index, 1);
    assert!(problem.contains("the signature does not match the statement"), "{problem}");
}

#[test]
fn a_removed_statement_is_found_at_the_next_certificate() {
    let mut scene = good();
    scene.entries.remove(2);
    let (index, problem) = scene.found();
    assert_eq!(index, 2);
    assert!(problem.contains("serial"), "{problem}");
    // The request too, with the serial mended: it is still not justified.
    let (mut scene, request, approval) = half();
    scene.entries.remove(1);
    scene.add_certificate(30, &chain(&request, &[&approval]));
    assert_eq!(scene.judge(), Err((1, Fault::Request(request.digest()))));
}

#[test]
fn swapped_entries_are_found() {
    let mut scene = good();
    scene.entries.swap(2, 3);
    let (index, problem) = scene.found();
    assert_eq!(index, 2);
    assert!(problem.contains("serial"), "{problem}");

    // With the serial mended, it came before its approval.
    let (mut scene, request, approval) = half();
    scene.add_certificate(20, &chain(&request, &[&approval]));
    record(&mut scene, 20, &approval);
    let (index, problem) = scene.found();
    assert_eq!(index, 2);
    assert!(problem.contains("not approved yet"), "{problem}");
}

#[test]
fn time_may_run_back_by_five_seconds_and_no_more() {
    for (second, good) in [(15, true), (14, false)] {
        let (mut scene, request, _) = half();
        scene.add(20, BOB, &scene.approval(20, "bob", &request));
        scene.add(second, CAROL, &scene.denial(second, "carol", &request));
        assert_eq!(scene.judge().is_ok(), good);
        if !good {
            let found = Fault::Backwards { at: at(14), earlier: at(20) };
            assert_eq!(scene.judge(), Err((3, found)));
        }
    }
}

#[test]
fn a_statement_from_the_future_is_found() {
    for (ahead, good) in [(120, true), (121, false)] {
        let mut scene = Scene::new();
        scene.add_bundle(0, 1, &[ANN]);
        scene.add(10, ALICE, &scene.request(10 + ahead, 1));
        assert_eq!(scene.judge().is_ok(), good, "{ahead}");
    }
}

#[test]
fn another_rule_name_is_found() {
    let (mut scene, request, approval) = half();
    record(&mut scene, 20, &approval);
    let tbs = scene.tbs(30, &chain(&request, &[&approval]), &scene.parsed());
    scene.add_tbs(30, request.digest(), "staging", tbs);
    let (index, problem) = scene.found();
    assert_eq!(index, 3);
    assert_eq!(problem, "the certificate names the rule staging, but prod decides");
}

#[test]
fn bundles_need_admins_enough_of_them_and_rising_versions() {
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ALICE]);
    assert!(scene.found().1.contains("no admin key"));
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[]);
    assert_eq!(scene.found().0, 0);

    for (signers, good) in [(&[ANN, BEN][..], true), (&[ANN], false)] {
        let mut scene = Scene::with_threshold(2);
        scene.add_bundle(0, 1, signers);
        assert_eq!(scene.judge().is_ok(), good);
    }
    for (version, good) in [(3, true), (2, false), (1, false)] {
        let mut scene = Scene::new();
        scene.add_bundle(0, 2, &[ANN]);
        scene.add_bundle(1, version, &[ANN]);
        assert_eq!(scene.judge().is_ok(), good);
        if !good {
            assert_eq!(scene.judge(), Err((1, Fault::Version { version, earlier: 2 })));
        }
    }
}

#[test]
fn a_bundles_files_must_be_there_and_be_the_ones_signed() {
    let mut scene = good();
    let policy = Digest::of(scene.policy.as_bytes());
    let kept = scene.files.insert(policy, b"# nothing\n".to_vec()).unwrap();
    assert!(scene.found().1.contains("policy.toml"));
    scene.files.remove(&policy);
    assert!(scene.found().1.contains("is not there"));
    scene.files.insert(policy, kept);
    assert!(scene.judge().is_ok());
}

#[test]
fn a_certificate_under_a_bundle_that_is_over_is_found() {
    let (mut scene, request, approval) = half();
    record(&mut scene, 20, &approval);
    let old = scene.bundle;
    scene.policy = format!("# stricter\n{POLICY}");
    scene.add_bundle(25, 2, &[ANN]);
    let new = std::mem::replace(&mut scene.bundle, old);
    scene.add_certificate(30, &chain(&request, &[&approval]));
    assert_eq!(scene.judge(), Err((4, Fault::OtherBundle { named: old, in_force: new })));
}

#[test]
fn a_certificate_after_its_access_ended_is_found() {
    let (mut scene, request, approval) = half();
    record(&mut scene, 20, &approval);
    let chain = chain(&request, &[&approval]);
    scene.add_certificate(30, &chain);
    let tbs = scene.tbs(600, &chain, &scene.parsed());
    let mut late = scene.clone();
    scene.add_tbs(600, request.digest(), "prod", tbs.clone());
    assert!(scene.judge().is_ok());
    late.add_tbs(620, request.digest(), "prod", tbs);
    let (index, problem) = late.found();
    assert_eq!(index, 4);
    assert!(problem.contains("is over"), "{problem}");
}

#[test]
fn requests_are_forgotten_when_nothing_can_follow_and_not_before() {
    let mut scene = good();
    let judge = |scene: &Scene| {
        let mut judge = Judge::new(&scene.root, ORIGIN, scene);
        scene.entries.iter().for_each(|entry| judge.entry(entry).unwrap());
        judge.kept()
    };
    assert_eq!(judge(&scene), 2);
    scene.add_bundle(3 * 86_400, 2, &[ANN]);
    assert_eq!(judge(&scene), 1, "the one with a certificate is long over");
    scene.add_bundle(25 * 86_400, 3, &[ANN]);
    assert_eq!(judge(&scene), 1, "under another bundle something might come of the other");
    scene.add_bundle(26 * 86_400, 4, &[ANN]);
    assert_eq!(judge(&scene), 0);
}

#[test]
fn what_is_no_entry_is_found() {
    let mut scene = good();
    for bad in [b"".to_vec(), b"{}".to_vec(), [scene.entries[4].as_slice(), b" "].concat()] {
        scene.entries[4] = bad;
        assert_eq!(scene.found().0, 4);
    }
}

pub(super) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let place = bytes.windows(from.len()).position(|part| part == from).unwrap();
    [&bytes[..place], to, &bytes[place + from.len()..]].concat()
}
