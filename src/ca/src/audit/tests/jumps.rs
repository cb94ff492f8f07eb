//! Certificates for jumps, as whoever holds a signer's keys could forge them.

use super::judging::replaced;
use super::*;

const JUMP: &str = "jump@bastion/inner";
const TO_OTHER: &str = "jump@bastion/other";

/// Both behind the bastion.
const HOSTS: &str = r#"
[[host]]
name = "bastion"
logins = ["deploy", "jump"]
[[host]]
name = "inner"
logins = ["deploy"]
via = "bastion"
[[host]]
name = "other"
logins = ["deploy"]
via = "bastion"
"#;

/// A log in which alice asked for both hosts behind the bastion and was granted one of them, with the
/// certificate for that one.
fn granted() -> (Scene, Chain) {
    let mut scene = Scene::new();
    scene.hosts = HOSTS.to_owned();
    scene.policy = POLICY.replace("\"prod-host\", \"other-host\"", "\"inner\", \"other\"");
    scene.add_bundle(0, 1, &[ANN]);
    let mut asked = scene.request(10, 1);
    asked.hosts = vec!["inner".parse().unwrap(), "other".parse().unwrap()];
    let request = scene.add(10, ALICE, &asked);
    let mut narrow = scene.approval(20, "bob", &request);
    narrow.hosts = Some(vec!["inner".parse().unwrap()]);
    let approval = scene.add(20, BOB, &narrow);
    let chain = chain(&request, &[&approval]);
    scene.add_certificate(30, &chain);
    (scene, chain)
}

/// What the signer would sign for the jump, were it the next entry.
fn jump(scene: &Scene, chain: &Chain) -> Vec<u8> {
    scene.tbs_within(30, chain, &Scope::Jump(JUMP.parse().unwrap()), &scene.parsed())
}

/// A field of a certificate that holds these texts.
fn packed(texts: &[&str]) -> Vec<u8> {
    let field = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length, bytes].concat()
    };
    field(&texts.iter().flat_map(|text| field(text.as_bytes())).collect::<Vec<u8>>())
}

/// What is said of the log with this certificate as its last entry.
fn said_of(scene: &Scene, chain: &Chain, tbs: Vec<u8>) -> String {
    let mut forged = scene.clone();
    forged.add_tbs(30, chain.digest(), "prod", tbs);
    let (index, problem) = forged.found();
    assert_eq!(index, scene.entries.len(), "{problem}");
    problem
}

#[test]
fn the_jump_to_what_was_granted_passes_and_one_that_opens_anything_else_is_found() {
    let (scene, chain) = granted();
    let tbs = jump(&scene, &chain);
    let mut honest = scene.clone();
    honest.add_tbs(30, chain.digest(), "prod", tbs.clone());
    assert_eq!(honest.judge().map(|counts| counts.certificates), Ok(2));

    let neither = "it opens no logins and no jump";
    for (opens, why) in [
        // It was asked for, and not granted.
        (&[TO_OTHER][..], "jump@bastion/other is not on the way to a host that request"),
        (&["jump@inner/other"], "jump@inner/other is not on the way"),
        (&[JUMP, TO_OTHER], neither),
        (&[JUMP, "deploy@inner"], neither),
        (&["deploy@bastion", JUMP], neither),
        (&["jump"], neither),
        (&[], neither),
        // A login, with the forwarding that a jump has: of the bastion, and the one that was granted.
        (&["deploy@bastion"], "a principal was not asked for"),
        (&["jump@bastion"], "a principal was not asked for"),
        (&["deploy@inner"], "the forced command was not asked for"),
    ] {
        let forged = replaced(&tbs, &packed(&[JUMP]), &packed(opens));
        let problem = said_of(&scene, &chain, forged);
        assert!(problem.contains(why), "{opens:?}: {problem}");
    }
}

#[test]
fn a_jump_that_may_do_more_on_the_bastion_is_found() {
    let (scene, chain) = granted();
    let tbs = jump(&scene, &chain);
    let permit = packed(&["permit-port-forwarding", ""]);
    // alice was granted a terminal: on the target.
    for (permits, why) in [
        (&["permit-port-forwarding", "", "permit-pty", ""][..], "an extension was not asked for"),
        (&["permit-agent-forwarding", ""], "an extension was not asked for"),
    ] {
        let problem = said_of(&scene, &chain, replaced(&tbs, &permit, &packed(permits)));
        assert!(problem.contains(why), "{permits:?}: {problem}");
    }
    let problem = said_of(&scene, &chain, replaced(&tbs, b"exit 1", b"id -un"));
    assert!(problem.contains("the forced command was not asked for"), "{problem}");
    // It could not even be used, but the grant says otherwise.
    assert_eq!(
        said_of(&scene, &chain, replaced(&tbs, &permit, &packed(&[]))),
        Fault::Options.to_string()
    );
}

#[test]
fn a_jump_where_the_bundle_has_no_way_any_more_is_found() {
    let before = "# Nothing else changes.\n".to_owned() + HOSTS;
    for (hosts, good) in [
        (before, true),
        (HOSTS.replace("via = \"bastion\"\n", ""), false),
        (HOSTS.replace("\"deploy\", \"jump\"", "\"deploy\""), false),
    ] {
        let (mut scene, chain) = granted();
        let ways = scene.parsed();
        scene.hosts = hosts;
        scene.add_bundle(30, 2, &[ANN]);
        let tbs = scene.tbs_within(30, &chain, &Scope::Jump(JUMP.parse().unwrap()), &ways);
        if good {
            scene.add_tbs(30, chain.digest(), "prod", tbs);
            assert_eq!(scene.judge().map(|counts| counts.certificates), Ok(2));
        } else {
            let problem = said_of(&scene, &chain, tbs);
            assert!(problem.contains("jump@bastion/inner is not on the way"), "{problem}");
        }
    }
}
