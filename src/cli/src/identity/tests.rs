use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::statement::{End, Kind};
use jit_ssh_core::time::UnixTime;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, SshSig};

use super::*;
use crate::agent::testing::TestAgent;

const P384: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 };

fn statement() -> End {
    let digest = Digest::of(b"x");
    End::cancel(
        RootFingerprint(digest),
        "alice".parse().unwrap(),
        digest,
        None,
        UnixTime(1_790_000_000),
    )
}

/// Has ssh-keygen verify a signature by the key in the file `name`.
fn ssh_keygen_verifies(tools: &TestAgent, name: &str, signed: &Signed) {
    let public = std::fs::read_to_string(tools.path(&format!("{name}.pub"))).unwrap();
    std::fs::write(tools.path("allowed"), format!("alice {public}")).unwrap();
    let mut blob = signed.signature.as_slice();
    let signature = <SshSig as ssh_key::encoding::Decode>::decode(&mut blob).unwrap();
    std::fs::write(tools.path("sig"), signature.to_pem(LineEnding::LF).unwrap()).unwrap();
    std::fs::write(tools.path("message"), &signed.bytes).unwrap();
    let command = "ssh-keygen -Y verify -f allowed -I alice -n end@jit-ssh -s sig < message";
    tools.run("sh", &["-c", command]);
}

#[test]
fn ssh_keygen_accepts_what_an_agent_or_a_key_file_signs_for_us() {
    let tools = TestAgent::start();
    for (name, algorithm) in [("ed", Algorithm::Ed25519), ("ec", P384)] {
        tools.key(name, algorithm);
        let by_file = Identity::from_file(&tools.path(name)).unwrap();
        assert_eq!(by_file.file, Some(tools.path(name)));
        ssh_keygen_verifies(&tools, name, &by_file.sign(&statement()).unwrap());

        tools.run("ssh-add", &["-q", name]);
        let bytes = statement::encode(&statement()).unwrap();
        let namespace = Kind::End.namespace();
        let signature = by_file.sign_by_agent(&mut tools.connect(), &namespace, &bytes).unwrap();
        ssh_keygen_verifies(&tools, name, &Signed { bytes, signature });
    }
}

#[test]
fn core_accepts_what_ssh_keygen_signs() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    let bytes = statement::encode(&statement()).unwrap();
    std::fs::write(tools.path("message"), &bytes).unwrap();
    tools.run("ssh-keygen", &["-q", "-Y", "sign", "-f", "ed", "-n", "end@jit-ssh", "message"]);
    let armoured = std::fs::read(tools.path("message.sig")).unwrap();
    let blob = SshSig::from_pem(armoured).unwrap().encode_vec().unwrap();
    assert!(statement::open::<End>(&bytes, &blob, &RootFingerprint(Digest::of(b"x"))).is_ok());
    assert!(sshsig::verify("request@jit-ssh", &bytes, &blob).is_err());
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
fn an_agent_without_the_key_is_told_apart_from_one_that_refuses() {
    let tools = TestAgent::start();
    tools.key("ed", Algorithm::Ed25519);
    let identity = Identity::from_file(&tools.path("ed")).unwrap();
    let sign =
        |tools: &TestAgent| identity.sign_by_agent(&mut tools.connect(), "end@jit-ssh", b"x");
    assert!(sign(&tools).unwrap_err().message.contains("does not hold the key"));
    tools.run("ssh-add", &["-q", "ed"]);
    assert!(sign(&tools).is_ok());
}
