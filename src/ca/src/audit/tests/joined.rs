//! Hosts that join, and certificates for them.

use super::*;
use jit_ssh_core::certificate::host::{
    HostContext, authorize_host, build as build_host, lint as lint_host,
};
use jit_ssh_core::enrolment::Enrolled;
use jit_ssh_core::statement::{Host, Token};

const PIPELINE: u8 = 14;
const LENT: u8 = 23;
const HOST_KEY: u8 = 24;

/// The rule covers hosts that join; their enroller is there.
fn scene() -> Scene {
    let mut scene = Scene {
        policy: POLICY.replace("\"other-host\"]", "\"other-host\", \"ci-*\"]"),
        hosts: format!(
            "[[enroller]]\nid = \"pipeline\"\nkeys = [\"{}\"]\nnames = [\"ci-*\"]\n\
             labels = {{ env = [\"ci\"] }}\nlogins = [\"deploy\"]\nmax_for = \"1h\"\nmax_uses = 1\n",
            public(PIPELINE)
        ),
        ..Scene::new()
    };
    scene.add_bundle(0, 1, &[ANN]);
    scene
}

fn host(scene: &Scene, name: &str, token: Option<Digest>, second: u64) -> Host {
    Host::new(
        scene.root.fingerprint(),
        "pipeline".parse().unwrap(),
        token,
        name.parse().unwrap(),
        [("env".parse().unwrap(), "ci".parse().unwrap())].into(),
        vec!["deploy".parse().unwrap()],
        public(HOST_KEY).to_string().parse().unwrap(),
        at(second),
        at(second + 600),
    )
}

fn token(scene: &Scene) -> Token {
    Token::new(
        scene.root.fingerprint(),
        "pipeline".parse().unwrap(),
        public(LENT),
        vec!["ci-*".parse().unwrap()],
        [("env".parse().unwrap(), "ci".parse().unwrap())].into(),
        vec!["deploy".parse().unwrap()],
        1,
        span("10m"),
        at(5),
        at(605),
    )
}

/// Adds alice's request for `ci-1`, bob's approval, and the certificate for `hosts`.
fn certified(scene: &mut Scene, second: u64, hosts: &[Verified<Host>]) {
    let mut request = scene.request(second, 3);
    request.hosts = vec!["ci-1".parse().unwrap()];
    let request = scene.add(second, ALICE, &request);
    let approval = scene.add(second, BOB, &scene.approval(second, "bob", &request));
    let chain = chain(&request, &[&approval]);
    let mut enrolled = Enrolled::default();
    hosts.iter().for_each(|host| enrolled.add_host(host.clone()));
    let bundle = scene.parsed();
    let tbs = scene.tbs(second, &chain, View::new(&bundle, &enrolled));
    scene.add_tbs(second, chain.digest(), "prod", tbs);
}

#[test]
fn certificates_for_a_host_that_joined_pass_and_without_it_are_found() {
    let mut scene = scene();
    let without = scene.clone();
    let joined = scene.add(10, PIPELINE, &host(&scene, "ci-1", None, 10));
    certified(&mut scene, 20, std::slice::from_ref(&joined));
    assert_eq!(scene.judge().unwrap().enrolments, 1);
    // The same entries but for the host: already the request can not have been admitted.
    let mut without = without;
    certified(&mut without, 20, &[joined]);
    let (index, problem) = without.found();
    assert_eq!(index, 1);
    assert!(problem.contains("there is no host ci-1"), "{problem}");
}

#[test]
fn a_host_that_its_enroller_could_not_vouch_for_is_found() {
    for (what, seed, change) in [
        ("may not give the label", PIPELINE, "label"),
        ("may not give the login", PIPELINE, "login"),
        ("may not name", PIPELINE, "name"),
        ("for 1h at most", PIPELINE, "life"),
        ("is not a key of the enroller", ALICE, "signer"),
    ] {
        let mut scene = scene();
        let mut bad = host(&scene, "ci-1", None, 10);
        match change {
            "label" => drop(bad.labels.insert("env".parse().unwrap(), "prod".parse().unwrap())),
            "login" => bad.logins.push("root".parse().unwrap()),
            "name" => bad.name = "web-1".parse().unwrap(),
            "life" => bad.until = at(10 + 3_601),
            _ => {}
        }
        scene.add(10, seed, &bad);
        let (index, problem) = scene.found();
        assert_eq!(index, 1);
        assert!(problem.contains("the host must not have been recorded"), "{problem}");
        assert!(problem.contains(what), "{problem}");
    }
}

#[test]
fn a_token_that_was_used_too_often_or_never_lent_is_found() {
    let mut scene = scene();
    let lent = scene.add(5, PIPELINE, &token(&scene));
    scene.add(10, LENT, &host(&scene, "ci-1", Some(lent.digest()), 10));
    assert_eq!(scene.judge().unwrap().enrolments, 2);
    let mut again = scene.clone();
    again.add(20, LENT, &host(&scene, "ci-2", Some(lent.digest()), 20));
    assert!(
        again.found().1.contains("was for one host, and that has joined"),
        "{}",
        again.found().1
    );
    let mut unknown = scene.clone();
    unknown.add(20, LENT, &host(&scene, "ci-2", Some(Digest::of(b"x")), 20));
    assert!(unknown.found().1.contains("there is no join token"));
    scene.add(20, PIPELINE, &token(&scene));
    assert!(scene.judge().is_ok(), "the same token again changes nothing");
}

/// A log in which `ci-1` joined, and then has a host certificate that says it follows from `statement`.
fn with_host_certificate(
    join: bool,
    second: u64,
    statement: impl Fn(Digest) -> Option<Digest>,
) -> Scene {
    let mut scene = scene();
    let unjoined = scene.clone();
    let joined = scene.add(10, PIPELINE, &host(&scene, "ci-1", None, 10));
    let mut enrolled = Enrolled::default();
    enrolled.add_host(joined.clone());
    if !join {
        scene = unjoined;
    }
    let bundle = scene.parsed();
    let (serial, name) = (scene.serial(), "ci-1".parse().unwrap());
    let ca = public(HOST_CA).to_string().parse().unwrap();
    // What the signer would sign while the host is there.
    let yes = authorize_host(&name, View::new(&bundle, &enrolled), at(20)).unwrap();
    let identity = yes.identity().clone();
    let context = HostContext { identity: &identity, serial, ca: &ca, at: at(20) };
    let tbs = lint_host(build_host(yes, serial, [7; 32], &ca), context).unwrap();
    let (digest, bytes) = (statement(joined.digest()), tbs.bytes().to_vec());
    let entry = Entry::host_certificate(at(second), serial, name, digest, scene.bundle, bytes);
    scene.entries.push(entry.to_bytes());
    scene
}

#[test]
fn the_host_certificate_of_a_host_that_joined_passes_while_it_is_there_and_names_its_statement() {
    let good = with_host_certificate(true, 20, Some).judge().unwrap();
    assert_eq!((good.enrolments, good.host_certificates), (1, 1));
    for (join, second, statement, words) in [
        (false, 20, Some(true), "there is no host ci-1"),
        (true, 620, Some(true), "there is no host ci-1"),
        (true, 20, None, "statement"),
        (true, 20, Some(false), "statement"),
    ] {
        let named = |digest| statement.map(|true_| if true_ { digest } else { Digest::of(b"x") });
        let (index, problem) = with_host_certificate(join, second, named).found();
        assert_eq!(index, 1 + usize::from(join));
        assert!(problem.contains(words), "{problem}");
    }
}
