use std::fs;

use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::statement::{self, Cause, End};
use jit_ssh_core::time::UnixTime;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, SshSig};

use super::*;
use crate::testkit::{FakeAgent, TestAgent, framed};

const P384: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 };

fn statement() -> Vec<u8> {
    let digest = Digest::of(b"x");
    let alice = "alice".parse().unwrap();
    let ca = RootFingerprint(digest);
    statement::encode(&End::new(ca, alice, digest, Cause::Cancel, None, UnixTime(1_790_000_000)))
        .unwrap()
}

fn private(tools: &TestAgent, name: &str) -> OwnKey {
    match KeyFile::read(&tools.path(name)) {
        Ok(KeyFile::Private(own)) => own,
        _ => unreachable!("{name}"),
    }
}

/// Has ssh-keygen verify a signature by the key in the file `name`.
fn ssh_keygen_verifies(tools: &TestAgent, name: &str, mut signature: &[u8]) {
    let public = fs::read_to_string(tools.path(&format!("{name}.pub"))).unwrap();
    fs::write(tools.path("allowed"), format!("alice {public}")).unwrap();
    let signature = <SshSig as ssh_key::encoding::Decode>::decode(&mut signature).unwrap();
    fs::write(tools.path("sig"), signature.to_pem(LineEnding::LF).unwrap()).unwrap();
    fs::write(tools.path("message"), statement()).unwrap();
    let command = "ssh-keygen -Y verify -f allowed -I alice -n end@jit-ssh -s sig < message";
    tools.run("sh", &["-c", command]);
}

#[test]
fn ssh_keygen_accepts_what_an_agent_or_a_key_file_signs_for_us() {
    let tools = TestAgent::start();
    for (name, algorithm) in [("ed", Algorithm::Ed25519), ("ec", P384)] {
        tools.key(name, algorithm);
        let mut by_file = private(&tools, name);
        ssh_keygen_verifies(&tools, name, &by_file.sign(Kind::End, &statement()).unwrap());

        tools.run("ssh-add", &["-q", name]);
        let mut by_agent = OwnKey::in_agent(tools.connect(), by_file.key().clone());
        ssh_keygen_verifies(&tools, name, &by_agent.sign(Kind::End, &statement()).unwrap());
    }
}

#[test]
fn core_accepts_what_ssh_keygen_signs() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    let bytes = statement();
    fs::write(tools.path("message"), &bytes).unwrap();
    tools.run("ssh-keygen", &["-q", "-Y", "sign", "-f", "ed", "-n", "end@jit-ssh", "message"]);
    let armoured = fs::read(tools.path("message.sig")).unwrap();
    let blob = SshSig::from_pem(armoured).unwrap().encode_vec().unwrap();
    assert!(statement::open::<End>(&bytes, &blob, &RootFingerprint(Digest::of(b"x"))).is_ok());
    assert!(sshsig::verify("request@jit-ssh", &bytes, &blob).is_err());
}

#[test]
fn an_agent_without_the_key_is_told_apart_from_one_that_refuses() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    let key = private(&tools, "ed").key().clone();
    let sign = || OwnKey::in_agent(tools.connect(), key.clone()).sign(Kind::End, b"x");
    assert!(matches!(sign(), Err(SigningError::NotHeld(_))));
    tools.run("ssh-add", &["-q", "ed"]);
    assert!(sign().is_ok());

    // The agent's numbers: 5 is its no, 12 its list; this one lists the key and does not sign.
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let list = [&[12, 0, 0, 0, 1], &length(key.blob())[..], key.blob(), &[0; 4]].concat();
    let fake = FakeAgent::answering(vec![framed(&[5]), framed(&list)]);
    let signed = OwnKey::in_agent(fake.agent, key).sign(Kind::End, b"x");
    assert!(matches!(signed, Err(SigningError::Agent(AgentError::Refused(_)))));
}

#[test]
fn a_signature_that_does_not_hold_is_given_to_nobody() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    let mut own = private(&tools, "ed");
    assert!(own.sign(Kind::End, b"x").is_ok());
    // A sound signature by the key of another.
    let another = tools.key("another", Algorithm::Ed25519);
    own.holder = Holder::File(Box::new(another));
    assert!(matches!(own.sign(Kind::End, b"x"), Err(SigningError::OtherKey { .. })));

    // The agent's number 14 is a signature: one of zeros is none.
    let zeros = [&[0, 0, 0, 11], &b"ssh-ed25519"[..], &[0, 0, 0, 64], &[0; 64]].concat();
    let answer = [&[14, 0, 0, 0, 83], &zeros[..]].concat();
    let fake = FakeAgent::answering(vec![framed(&answer)]);
    let signed = OwnKey::in_agent(fake.agent, own.key).sign(Kind::End, b"x");
    assert!(matches!(signed, Err(SigningError::Untrue(SignatureError::Mismatch))));
}

#[test]
fn key_files_that_can_not_sign_here_are_told_apart() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    tools.run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"]);
    tools.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "secret words", "-f", "locked"]);
    fs::write(tools.path("broken"), "-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n").unwrap();
    fs::write(tools.path("binary"), b"\xff").unwrap();
    let room = usize::try_from(MAX_FILE).unwrap();
    fs::write(tools.path("long"), vec![b' '; room + 1]).unwrap();
    fs::write(tools.path("just-not"), vec![b' '; room]).unwrap();
    let refused = |name: &str| KeyFile::read(&tools.path(name)).err().unwrap();
    assert!(matches!(refused("rsa"), KeyFileError::Key(KeyError::Rsa)));
    assert!(matches!(refused("rsa.pub"), KeyFileError::Key(KeyError::Rsa)));
    assert!(matches!(refused("locked"), KeyFileError::Encrypted));
    assert!(matches!(refused("broken"), KeyFileError::Foreign));
    assert!(matches!(refused("binary"), KeyFileError::Foreign));
    assert!(matches!(refused("long"), KeyFileError::TooLong));
    assert!(matches!(refused("just-not"), KeyFileError::Key(KeyError::Form)));
    assert!(matches!(refused("absent"), KeyFileError::Absent));
    assert!(matches!(refused("."), KeyFileError::NotRegular));
    assert!(matches!(refused("/dev/zero"), KeyFileError::NotRegular));
    tools.run("mkfifo", &["pipe"]);
    assert!(matches!(refused("pipe"), KeyFileError::NotRegular));
    // The control: both halves of a good key.
    let Ok(KeyFile::Public(public)) = KeyFile::read(&tools.path("ed.pub")) else {
        unreachable!("ed.pub is a public key")
    };
    assert_eq!(&public, private(&tools, "ed").key());
}

#[test]
fn a_private_key_that_others_can_read_is_refused_and_a_public_one_is_not() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    tools.run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"]);
    let allow = |name: &str, mode: &str| tools.run("chmod", &[mode, name]);
    allow("ed.pub", "666");
    assert!(KeyFile::read(&tools.path("ed.pub")).is_ok());
    for mode in ["640", "604", "601", "620"] {
        allow("ed", mode);
        let error = KeyFile::read(&tools.path("ed")).err().unwrap();
        assert!(error.to_string().contains(&format!("its mode is 0{mode}")), "{error}");
    }
    for mode in ["600", "400"] {
        allow("ed", mode);
        assert!(KeyFile::read(&tools.path("ed")).is_ok(), "{mode}");
    }
    let any = |name: &str| AnyKeyFile::read(&tools.path(name));
    assert!(matches!(any("rsa"), Ok(AnyKeyFile::Private(_))));
    assert!(matches!(any("rsa.pub"), Ok(AnyKeyFile::Other(_))));
    allow("rsa", "644");
    assert!(matches!(any("rsa"), Err(KeyFileError::OpenToOthers(0o644))));
}

#[test]
fn a_host_key_may_be_read_by_its_own_group_and_by_nobody_else() {
    let groups = "root:x:0:\nssh_keys:x:101:\nssh_keys2:x:102:\nstaff:x:103:ssh_keys\n";
    assert!(names_key_group(groups, 101));
    for other in [0, 102, 103] {
        assert!(!names_key_group(groups, other), "{other}");
    }
    for (mode, owner, is_key_group, open) in [
        (0o600, 0, false, false),
        (0o640, 0, true, false),
        (0o440, 0, true, false),
        (0o640, 0, false, true),
        (0o640, 1000, true, true),
        (0o660, 0, true, true),
        (0o650, 0, true, true),
        (0o644, 0, true, true),
    ] {
        assert_eq!(is_open_host_key(mode, owner, is_key_group), open, "{mode:o} {owner}");
    }
    // A file of this system: no group of that name, so its group does not help.
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    assert!(matches!(KeyFile::read_host_key(&tools.path("ed")), Ok(KeyFile::Private(_))));
    tools.run("chmod", &["0644", "ed"]);
    let open = KeyFile::read_host_key(&tools.path("ed"));
    assert!(matches!(open, Err(KeyFileError::OpenToOthers(0o644))));
}
