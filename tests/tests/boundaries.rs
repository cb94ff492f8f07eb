//! What may depend on what (ARCHITECTURE.md, "The map"), as cargo sees it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::process::Command;

/// The names of all crates below `package`, for a normal build.
fn tree(package: &str) -> BTreeSet<String> {
    let args = ["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-p", package];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let out = Command::new(cargo).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[track_caller]
fn assert_free_of(package: &str, banned: &[&str]) {
    let tree = tree(package);
    assert!(tree.contains(package), "cargo tree says nothing of {package}");
    let found: Vec<&&str> = banned.iter().filter(|name| tree.contains(**name)).collect();
    assert!(found.is_empty(), "{package} depends on {found:?}");
}

const ASYNC: [&str; 4] = ["tokio", "futures-util", "async-trait", "mio"];
const NETWORK: [&str; 9] =
    ["tonic", "hyper", "h2", "http", "axum", "rustls", "aws-lc-rs", "reqwest", "prost"];
const SQL: [&str; 4] = ["rusqlite", "libsqlite3-sys", "tokio-postgres", "sqlx"];

#[test]
fn the_signer_is_free_of_async_tls_http_and_sql() {
    for banned in [&ASYNC[..], &NETWORK[..], &SQL[..]] {
        assert_free_of("jit-ssh-signer", banned);
    }
    assert_free_of("jit-ssh-signer", &["jit-ssh-api", "jit-ssh-ca", "jit-ssh", "jit-ssh-host"]);
    // The control: the front does depend on all three kinds.
    let front = tree("jit-ssh-ca");
    assert!(["tokio", "tonic", "rusqlite"].iter().all(|name| front.contains(*name)));
}

#[test]
fn core_is_pure() {
    for banned in [&ASYNC[..], &NETWORK[..], &SQL[..]] {
        assert_free_of("jit-ssh-core", banned);
    }
    assert_free_of("jit-ssh-core", &["rustix", "libc", "rand", "tempfile"]);
}

#[test]
fn the_persons_and_the_hosts_command_never_depend_on_the_front_or_the_signer() {
    for package in ["jit-ssh", "jit-ssh-host"] {
        assert_free_of(package, &["jit-ssh-ca", "jit-ssh-signer"]);
        assert_free_of(package, &SQL);
    }
}

#[test]
fn there_is_one_cryptographic_stack_for_tls() {
    for package in ["jit-ssh", "jit-ssh-host", "jit-ssh-ca"] {
        assert_free_of(package, &["ring", "openssl", "openssl-sys", "native-tls", "rsa"]);
    }
}
