use jit_ssh_api::testkit::TestAgent;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::statement::{Cause, End};
use jit_ssh_core::time::UnixTime;
use ssh_key::Algorithm;

use super::*;

#[test]
fn a_key_file_signs_until_it_holds_another_key_or_is_gone() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    let identity = Identity::from_file(&tools.path("ed")).unwrap();
    assert_eq!(identity.file, Some(tools.path("ed")));
    let ca = RootFingerprint(Digest::of(b"x"));
    let alice = "alice".parse().unwrap();
    let end = End::new(ca, alice, Digest::of(b"y"), Cause::Cancel, None, UnixTime(1_790_000_000));
    let signed = identity.sign(&end).unwrap();
    let opened = statement::open::<End>(&signed.bytes, &signed.signature, &ca).unwrap();
    assert_eq!(opened.key(), &identity.key);

    tools.key("ed", Algorithm::Ed25519);
    let other = identity.sign(&end).unwrap_err();
    assert_eq!((other.outcome, &*other.name), (Outcome::Agent, "BAD_SIGNATURE"));
    std::fs::copy(tools.path("ed.pub"), tools.path("ed")).unwrap();
    assert_eq!(identity.sign(&end).unwrap_err().name, "FILE");
    std::fs::remove_file(tools.path("ed")).unwrap();
    assert!(identity.sign(&end).unwrap_err().message.contains("is gone"));
}

#[test]
fn keys_that_can_not_sign_here_are_refused_with_a_way_out() {
    let tools = TestAgent::start();
    let path = |name: &str| tools.path(name);
    tools.run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"]);
    tools.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "secret words", "-f", "locked"]);
    std::fs::write(path("none"), "hello").unwrap();
    let refused = |name: &str| Identity::from_file(&path(name)).unwrap_err();
    assert!(refused("rsa").message.contains("RSA keys can not sign"));
    assert!(refused("rsa.pub").message.contains("RSA keys can not sign"));
    let locked = refused("locked");
    assert!(locked.message.contains("encrypted"));
    assert!(locked.hint.unwrap().starts_with("ssh-add "));
    assert!(refused("none").message.contains("not an OpenSSH public key"));
    assert!(refused("absent").message.contains("no such file"));
}

#[test]
fn a_private_key_open_to_others_is_refused_with_the_chmod_that_mends_it() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    tools.run("chmod", &["640", "ed"]);
    let refused = Identity::from_file(&tools.path("ed")).unwrap_err();
    assert_eq!(refused.hint.unwrap(), format!("chmod 600 {}", tools.path("ed").display()));
    tools.run("chmod", &["600", "ed"]);
    assert!(Identity::from_file(&tools.path("ed")).is_ok());
    let device = Identity::from_file(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(device.message, "/dev/zero: this is not a regular file.");
}
