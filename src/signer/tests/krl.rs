//! The real ssh-keygen judges our revocation lists.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::Signer as _;
use jit_ssh_core::authorize::authorize;
use jit_ssh_core::certificate::{Scope, Serial, assemble, build, lint};
use jit_ssh_core::chain::Chain;
use jit_ssh_core::krl::Krl;
use jit_ssh_core::testkit::{POLICY, START, World};

fn serial(index: u64) -> Serial {
    Serial::new(NonZeroU16::MIN, index).unwrap()
}

/// Writes a certificate with this serial, signed by `ca`, as `ssh-keygen` reads it.
fn certificate(world: &World, dir: &Path, index: u64) -> PathBuf {
    let request = world.request(&world.alice, "test-host", "deploy", 600, START);
    let chain = Chain::new(world.alice.verified(&request));
    let authorized = authorize(&chain, &world.bundle(POLICY), START).unwrap();
    let (ca, serial) = (world.ca_key(), serial(index));
    let context = lint::Context::of(&chain, &Scope::Access, serial, &ca, START);
    let tbs = lint(build(authorized, serial, [7; 32], &ca), context).unwrap();
    let signature = world.ca.sign(tbs.bytes()).to_bytes();
    let bytes = assemble(tbs.bytes(), &signature);
    let path = dir.join(format!("{}-cert.pub", serial.get()));
    let line = format!("ssh-ed25519-cert-v01@openssh.com {}\n", Base64::encode_string(&bytes));
    fs::write(&path, line).unwrap();
    path
}

fn ssh_keygen(list: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("ssh-keygen").arg("-Q").args(arguments).arg("-f").arg(list).output();
    output.expect("ssh-keygen is installed")
}

/// Whether `ssh-keygen -Q` finds a certificate in a list; panics if it can not read the list.
fn finds(list: &Path, certificate: &Path) -> bool {
    let certificate = certificate.to_str().unwrap();
    let output = Command::new("ssh-keygen").arg("-Qf").arg(list).arg(certificate).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.success(), said.contains("REVOKED"), said.contains("ok")) {
        (false, true, false) => true,
        (true, false, true) => false,
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn ssh_keygen_finds_the_certificates_listed_and_no_others() {
    let (world, other) = (World::default(), World { ca: World::default().log, ..World::default() });
    let dir = tempfile::tempdir().unwrap();
    let (five, six) = (certificate(&world, dir.path(), 5), certificate(&world, dir.path(), 6));
    let list = dir.path().join("krl");
    let write = |world: &World, indexes: &[u64]| {
        let serials: BTreeSet<Serial> = indexes.iter().map(|index| serial(*index)).collect();
        let krl = Krl::new(42, START, world.ca_key(), serials);
        fs::write(&list, krl.to_bytes()).unwrap();
    };
    for (indexes, found) in [
        (&[][..], (false, false)),
        (&[5], (true, false)),
        (&[3, 5, 7, 1 << 47], (true, false)),
        (&[5, 6], (true, true)),
    ] {
        write(&world, indexes);
        assert_eq!((finds(&list, &five), finds(&list, &six)), found, "{indexes:?}");
    }
    // Serials count for each CA by itself.
    write(&other, &[5, 6]);
    assert!(!finds(&list, &five) && !finds(&list, &six));
}

#[test]
fn ssh_keygen_shows_version_and_serials() {
    let world = World::default();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("krl");
    for indexes in [&[][..], &[5, 9]] {
        let serials: BTreeSet<Serial> = indexes.iter().map(|index| serial(*index)).collect();
        fs::write(&list, Krl::new(42, START, world.ca_key(), serials.clone()).to_bytes()).unwrap();
        let output = ssh_keygen(&list, &["-l"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains("# KRL version 42"), "{said}");
        let shown = said.lines().filter(|line| line.starts_with("serial: "));
        let wanted = serials.iter().map(|serial| format!("serial: {serial}"));
        assert_eq!(shown.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }
}
