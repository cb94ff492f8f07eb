//! Host certificates follow from the bundle of their time, and from nothing else.

use jit_ssh_core::certificate::host::{HostContext, HostFacts, authorize_host, build, lint, read};
use jit_ssh_core::key::HostCaKey;

use super::super::show::Row;
use super::judging::replaced;
use super::*;

fn host_ca(seed: u8) -> HostCaKey {
    public(seed).to_string().parse().unwrap()
}

impl Scene {
    /// What the signer would sign for prod-host, were it the entry at the log's end.
    fn host_tbs(&self, second: u64) -> Vec<u8> {
        let (serial, ca) = (self.serial(), host_ca(HOST_CA));
        let bundle = self.parsed();
        let yes = authorize_host(&"prod-host".parse().unwrap(), &bundle, at(second)).unwrap();
        let identity = yes.identity().clone();
        let context = HostContext { identity: &identity, serial, ca: &ca, at: at(second) };
        lint(build(yes, serial, [7; 32], &ca), context).unwrap().bytes().to_vec()
    }

    fn add_host_tbs(&mut self, second: u64, name: &str, tbs: Vec<u8>) {
        let (serial, name) = (self.serial(), name.parse().unwrap());
        let entry = Entry::host_certificate(at(second), serial, name, None, self.bundle, tbs);
        self.entries.push(entry.to_bytes());
    }
}

/// A bundle, and the bytes of the host certificate that may follow.
fn begun() -> (Scene, Vec<u8>) {
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ANN]);
    let tbs = scene.host_tbs(10);
    (scene, tbs)
}

/// What is said of a log with these bytes after the bundle.
fn problem_with(name: &str, tbs: Vec<u8>) -> String {
    let (mut scene, _) = begun();
    scene.add_host_tbs(10, name, tbs);
    let (index, problem) = scene.found();
    assert_eq!(index, 1);
    problem
}

#[test]
fn a_host_certificate_that_follows_from_the_bundle_passes_and_is_counted() {
    let (mut scene, tbs) = begun();
    scene.add_host_tbs(10, "prod-host", tbs);
    let again = scene.host_tbs(20);
    scene.add_host_tbs(20, "prod-host", again);
    let counts = scene.judge().unwrap();
    assert_eq!((counts.host_certificates, counts.certificates, counts.entries), (2, 0, 3));
    let line = Row::of(&scene.entries[1]).line(1);
    assert!(
        line.contains("host ") && line.contains("prod-host: prod-host until 2026-09-28"),
        "{line}"
    );
}

#[test]
fn a_certificate_for_what_is_no_host_or_has_no_key_is_found() {
    let (_, tbs) = begun();
    for (name, words) in
        [("nowhere", "there is no host nowhere"), ("other-host", "does not have the key")]
    {
        let problem = problem_with(name, tbs.clone());
        assert!(problem.contains("not justified") && problem.contains(words), "{problem}");
    }
}

#[test]
fn a_host_certificate_that_says_anything_else_is_found() {
    let (_, tbs) = begun();
    let HostFacts { valid_after, valid_before, .. } = read(&tbs).unwrap();
    let later = |moment: UnixTime| UnixTime(moment.0 + 1).0.to_be_bytes();
    for (what, bad) in [
        ("key", replaced(&tbs, &public(HOST).blob()[19..], &public(OTHER).blob()[19..])),
        ("CA", replaced(&tbs, host_ca(HOST_CA).blob(), ca_key(CA).blob())),
        ("name", replaced(&tbs, b"\0\0\0\x09prod-host", b"\0\0\0\x09prod-hoss")),
        ("begin", replaced(&tbs, &valid_after.0.to_be_bytes(), &later(valid_after))),
        ("end", replaced(&tbs, &valid_before.0.to_be_bytes(), &later(valid_before))),
        ("kind", replaced(&tbs, &[0, 0, 0, 2, 0, 0, 0, 25], &[0, 0, 0, 1, 0, 0, 0, 25])),
    ] {
        assert!(!problem_with("prod-host", bad).is_empty(), "{what}");
    }
}

#[test]
fn a_host_certificate_under_another_bundle_serial_or_statement_is_found() {
    let (scene, tbs) = begun();
    let name = || "prod-host".parse().unwrap();
    let found = |entry: Entry| {
        let mut scene = scene.clone();
        scene.entries.push(entry.to_bytes());
        scene.found().1
    };
    let (serial, bundle) = (scene.serial(), scene.bundle);
    let other = Digest::of(b"other");
    let entry = |serial, statement, bundle| {
        Entry::host_certificate(at(10), serial, name(), statement, bundle, tbs.clone())
    };
    assert!(found(entry(serial, None, other)).contains("names the bundle"));
    let next = Serial::new(NonZeroU16::MIN, 9).unwrap();
    assert!(found(entry(next, None, bundle)).contains("serial"));
    assert!(found(entry(serial, Some(other), bundle)).contains("statement"));
    let mut good = scene.clone();
    good.entries.push(entry(serial, None, bundle).to_bytes());
    assert!(good.judge().is_ok());
}
