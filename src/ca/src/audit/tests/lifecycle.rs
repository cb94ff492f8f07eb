//! The judge and the whole life of a request: ends, extensions, windows, break-glass. Each forged
//! log beside the honest one.

use super::*;

/// What the usual rule allows, and more of it; asked again for each break-glass.
fn scene() -> Scene {
    let more = "extend = { max = \"20m\", times = 2 }\nbreak_glass = { max_for = \"15m\" }\n";
    let mut scene = Scene::new();
    scene.policy = format!("{POLICY}{more}");
    scene.add_bundle(0, 1, &[ANN]);
    scene
}

/// alice's request, approved and used from the 30th second on, for ten minutes from the 20th.
fn active(scene: &mut Scene) -> Chain {
    let request = scene.add(10, ALICE, &scene.request(10, 1));
    let approval = scene.add(20, BOB, &scene.approval(20, "bob", &request));
    let mut chain = chain(&request, &[&approval]);
    issue(scene, 30, &mut chain);
    chain
}

/// Adds the certificate that follows from the chain, to the chain too.
fn issue(scene: &mut Scene, second: u64, chain: &mut Chain) {
    let index = scene.entries.len();
    let authorized = authorize(chain, &scene.parsed(), at(second)).unwrap();
    scene.add_certificate(second, chain);
    chain.add_issued(Issued {
        serial: Serial::new(NonZeroU16::MIN, index as u64).unwrap().get(),
        at: at(second),
        valid_before: authorized.valid_before(),
        access_until: authorized.access_until(),
    });
}

#[track_caller]
fn assert_fault(scene: &Scene, at: usize, says: &str) {
    let (index, problem) = scene.found();
    assert!(index == at && problem.contains(says), "entry {index}: {problem}");
}

#[test]
fn an_end_is_by_who_may_and_no_certificate_follows_it() {
    let mut base = scene();
    let mut active = active(&mut base);
    let request = active.request().clone();
    for (by, seed, cause) in [
        ("alice", ALICE, Cause::Release),
        // Made at another node, which knew of no certificate.
        ("alice", ALICE, Cause::Cancel),
        ("bob", BOB, Cause::Revoke),
        ("carol", CAROL, Cause::Revoke),
        // An admin who is nobody in people.toml.
        ("ben", BEN, Cause::Revoke),
    ] {
        let mut scene = base.clone();
        scene.add(40, seed, &base.end(40, by, cause, &request));
        assert!(scene.judge().is_ok(), "{by}");
        scene.add_certificate(50, &active);
        let index = scene.entries.len() - 1;
        assert_fault(&scene, index, "the certificate is not justified: the access of request");
    }
    for (by, seed, cause, why) in [
        ("alice", ALICE, Cause::Revoke, "may not revoke"),
        ("bob", BOB, Cause::Release, "did not ask"),
        ("bob", ALICE, Cause::Revoke, "is not a key of bob"),
        ("mallory", 66, Cause::Revoke, "nobody with the id mallory"),
    ] {
        let mut scene = base.clone();
        scene.add(40, seed, &base.end(40, by, cause, &request));
        let index = scene.entries.len() - 1;
        assert_fault(&scene, index, "the end must not have been recorded");
        assert_fault(&scene, index, why);
    }
    // After its time there is nothing to end.
    issue(&mut base, 600, &mut active);
    for (second, good) in [(619, true), (620, false)] {
        let mut scene = base.clone();
        scene.add(second, ALICE, &base.end(second, "alice", Cause::Release, &request));
        assert_eq!(scene.judge().is_ok(), good, "{second}");
    }
}

/// alice's request that prolongs the one of `of` by ten minutes, recorded and approved.
fn prolonged(scene: &mut Scene, second: u64, of: &Chain, nonce: u8) -> Chain {
    let mut body = scene.request(second, nonce);
    body.extends = Some(of.digest());
    let request = scene.add(second, ALICE, &body);
    let approval = scene.add(second, BOB, &scene.approval(second, "bob", &request));
    chain(&request, &[&approval]).prolonging(of.clone()).unwrap()
}

#[test]
fn an_extension_counts_from_what_it_prolongs_and_falls_with_it() {
    let mut scene = scene();
    let base = active(&mut scene);
    let mut first = prolonged(&mut scene, 300, &base, 2);
    issue(&mut scene, 310, &mut first);
    let mut second = prolonged(&mut scene, 1_200, &first, 3);
    issue(&mut scene, 1_300, &mut second);
    let honest = scene.clone();
    issue(&mut scene, 1_819, &mut second);
    assert!(scene.judge().is_ok());
    // One more than the rule allows.
    let mut third = honest.clone();
    let mut body = third.request(1_400, 4);
    body.extends = Some(second.digest());
    third.add(1_400, ALICE, &body);
    let index = honest.entries.len();
    assert_fault(&third, index, "the request must not have been recorded");
    assert_fault(&third, index, "allows 2 extensions");
    // Given back: the extension, not what it prolonged, which is over.
    for (second_of, good) in [(&first, false), (&second, true)] {
        let mut scene = honest.clone();
        let end = scene.end(1_400, "alice", Cause::Release, second_of.request());
        scene.add(1_400, ALICE, &end);
        assert_eq!(scene.judge().is_ok(), good);
        if good {
            scene.add_certificate(1_500, &second);
            assert_fault(&scene, index + 1, "given back");
        }
    }
}

#[test]
fn an_extension_needs_what_it_prolongs_in_the_log_before_it_and_in_use() {
    let mut scene = scene();
    let mut without = scene.clone();
    let base = active(&mut scene);
    let mut released = scene.clone();
    let extension = prolonged(&mut scene, 300, &base, 2);
    scene.add_certificate(310, &extension);
    assert!(scene.judge().is_ok());

    prolonged(&mut without, 300, &base, 2);
    assert_fault(&without, 1, "there is no live request");
    let release = released.end(100, "alice", Cause::Release, base.request());
    released.add(100, ALICE, &release);
    assert!(released.judge().is_ok());
    prolonged(&mut released, 300, &base, 2);
    assert_fault(&released, 5, "the request must not have been recorded");
    // Released when it was prolonged already: no certificate follows.
    let mut late = scene.clone();
    let release = late.end(320, "alice", Cause::Release, base.request());
    late.add(320, ALICE, &release);
    assert!(late.judge().is_ok());
    late.add_certificate(330, &extension);
    assert_fault(&late, 8, "the certificate is not justified");
}

#[test]
fn an_access_does_not_begin_before_its_time() {
    let mut scene = scene();
    let mut body = scene.request(10, 1);
    body.not_before = Some(at(14 * 86_400));
    let request = scene.add(10, ALICE, &body);
    let approval = scene.add(20, BOB, &scene.approval(20, "bob", &request));
    let chain = chain(&request, &[&approval]);
    let mut early = scene.clone();
    scene.add_certificate(14 * 86_400, &chain);
    assert!(scene.judge().is_ok());
    // What the chain grants in time, in an entry of before.
    let tbs = scene.tbs(14 * 86_400, &chain, &scene.parsed());
    early.add_tbs(14 * 86_400 - 1, request.digest(), "prod", tbs);
    assert_fault(&early, 3, "its access begins in 1 s");
}

/// alice's break-glass request.
fn break_glass(scene: &mut Scene, second: u64, nonce: u8) -> Chain {
    let mut body = scene.request(second, nonce);
    body.break_glass = Some("the leads are asleep".to_owned());
    Chain::new(scene.add(second, ALICE, &body))
}

#[test]
fn break_glass_is_used_again_only_after_its_review() {
    let mut scene = scene();
    let first = break_glass(&mut scene, 10, 1);
    scene.add_certificate(11, &first);
    // Long after everything else of then is forgotten.
    let later = 60 * 86_400;
    scene.add_bundle(later, 2, &[ANN]);
    let mut blocked = scene.clone();
    let second = break_glass(&mut blocked, later + 10, 2);
    assert_fault(&blocked, 4, "the request must not have been recorded: the break-glass request");
    blocked.add_certificate(later + 11, &second);
    assert_eq!(blocked.found().0, 4);
    for (by, seed, good) in
        [("carol", CAROL, true), ("ann", ANN, true), ("alice", ALICE, false), ("bob", ALICE, false)]
    {
        let mut scene = scene.clone();
        scene.add(later + 5, seed, &scene.approval(later + 5, by, first.request()));
        if !good {
            assert_fault(&scene, 4, "the decision must not have been recorded");
            continue;
        }
        let second = break_glass(&mut scene, later + 10, 2);
        scene.add_certificate(later + 11, &second);
        assert!(scene.judge().is_ok(), "{by}");
        // And that one again waits for its own.
        break_glass(&mut scene, later + 20, 3);
        assert_eq!(scene.found().0, 7);
    }
}

#[test]
fn a_reviewed_break_glass_request_is_forgotten_like_any_other() {
    let mut scene = scene();
    let first = break_glass(&mut scene, 10, 1);
    scene.add_certificate(11, &first);
    let kept = |scene: &Scene| {
        let mut judge = Judge::new(&scene.root, ORIGIN, scene);
        scene.entries.iter().for_each(|entry| judge.entry(entry).unwrap());
        judge.kept()
    };
    scene.add_bundle(100 * 86_400, 2, &[ANN]);
    assert_eq!(kept(&scene), 1);
    let later = 100 * 86_400 + 1;
    scene.add(later, CAROL, &scene.approval(later, "carol", first.request()));
    scene.add_bundle(100 * 86_400 + 2, 3, &[ANN]);
    assert_eq!(kept(&scene), 0);
}

#[test]
fn a_request_that_no_rule_allowed_is_found() {
    for (span_asked, good) in [("30m", true), ("31m", false)] {
        let mut scene = scene();
        let mut body = scene.request(10, 1);
        body.r#for = span(span_asked);
        scene.add(10, ALICE, &body);
        assert_eq!(scene.judge().is_ok(), good);
    }
    let mut scene = Scene::new();
    scene.add(10, ALICE, &scene.request(10, 1));
    assert_eq!(scene.judge(), Err((0, Fault::NoBundle)));
}
