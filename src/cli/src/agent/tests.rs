use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use ssh_key::{Algorithm, EcdsaCurve};

use super::testing::TestAgent;
use super::*;
use crate::clock;
use crate::held;

const P256: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
const ID: &str = "alice/7kq2m9xw4p/1790000900";

/// An agent with another's certificate that never ends, under a comment that is not UTF-8.
fn with_foreign() -> TestAgent {
    let agent = TestAgent::start();
    agent.key("foreign", Algorithm::Ed25519);
    let certificate = agent.certify("foreign", &["-I", "forever", "-n", "root"]);
    assert_eq!(certificate.valid_before(), u64::MAX);
    agent.run("ssh-add", &["-q", "foreign"]);
    agent
}

#[test]
fn a_foreign_certificate_that_never_ends_does_not_hide_what_else_there_is() {
    let agent = with_foreign();
    let held = agent.connect().list().unwrap();
    assert_eq!(held.len(), 2);
    let key = agent.key("ours", Algorithm::Ed25519);
    let certificate = agent.certify("ours", &["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"]);
    let blob = certificate.to_bytes().unwrap();
    agent.connect().add(key.key_data(), &blob, "jit-ssh:7kq2m9xw4p", 300).unwrap();
    let held = agent.connect().list().unwrap();
    assert_eq!(held.len(), 3);
    assert!(held.iter().any(|identity| identity.blob == blob && held::is_ours(identity)));
    // OpenSSH finds it there, and can sign with it.
    agent.run("ssh-add", &["-T", "ours-cert.pub"]);
}

#[test]
fn a_lifetime_takes_the_certificate_away_on_time() {
    let agent = TestAgent::start();
    let mut connection = agent.connect();
    for (name, algorithm) in [("ed", Algorithm::Ed25519), ("ec", P256)] {
        let key = agent.key(name, algorithm);
        let certificate =
            agent.certify(name, &["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"]);
        connection.add(key.key_data(), &certificate.to_bytes().unwrap(), "jit-ssh:x", 2).unwrap();
    }
    assert_eq!(connection.list().unwrap().len(), 2);
    std::thread::sleep(Duration::from_millis(3_100));
    assert_eq!(connection.list().unwrap(), []);
}

#[test]
fn a_new_certificate_replaces_the_stale_ones_and_no_other() {
    let agent = with_foreign();
    let mut connection = agent.connect();
    let now = clock::now();
    let mut load = |name: &str, id: &str, principals: &str| {
        let key = agent.key(name, Algorithm::Ed25519);
        let options = ["-I", ID, "-n", principals, "-V", "-1m:+5m"];
        let certificate = agent.certify(name, &options);
        let id = jit_ssh_core::digest::Digest::of(id.as_bytes()).short_id();
        held::replace(&mut connection, id, key.key_data(), &certificate, now).unwrap();
        let mut names: Vec<_> = held::list(&mut connection).unwrap();
        names.sort_by_key(|held| held.principals.clone());
        names.iter().map(|held| held.principals.len()).collect::<Vec<_>>()
    };
    assert_eq!(load("a", "1", "deploy@prod-host"), [1]);
    // Another host stays beside it; the same request or the same access takes its place.
    assert_eq!(load("b", "2", "deploy@other-host"), [1, 1]);
    assert_eq!(load("c", "1", "deploy@prod-host"), [1, 1]);
    assert_eq!(load("d", "3", "deploy@prod-host"), [1, 1]);
    // A wider one takes the place of those it covers, a narrower one does not.
    assert_eq!(load("e", "4", "deploy@other-host,deploy@prod-host"), [2]);
    assert_eq!(load("f", "5", "deploy@prod-host"), [2, 1]);
    assert_eq!(held::remove_all(&mut agent.connect()).unwrap(), 2);
    assert_eq!(agent.connect().list().unwrap().len(), 2, "the foreign ones stay");
}

#[test]
fn a_certificate_that_has_ended_is_not_loaded() {
    let agent = TestAgent::start();
    let key = agent.key("late", Algorithm::Ed25519);
    let certificate = agent.certify("late", &["-I", ID, "-n", "deploy@prod-host", "-V", "-2m:-1m"]);
    let id = jit_ssh_core::digest::Digest::of(b"late").short_id();
    let loaded =
        held::replace(&mut agent.connect(), id, key.key_data(), &certificate, clock::now());
    assert!(matches!(loaded, Err(AgentError::Refused(_))));
    assert_eq!(agent.connect().list().unwrap(), []);
}

/// An agent that gives these answers, one a message, and then hangs up.
fn fake(answers: Vec<Vec<u8>>) -> (tempfile::TempDir, Agent, JoinHandle<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("agent")).unwrap();
    let serve = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        for answer in answers {
            let mut len = [0; 4];
            stream.read_exact(&mut len).unwrap();
            let mut message = vec![0; u32::from_be_bytes(len) as usize];
            stream.read_exact(&mut message).unwrap();
            asked.push(message.first().copied().unwrap_or_default());
            stream.write_all(&answer).unwrap();
        }
        asked
    });
    let agent = Agent::at(&dir.path().join("agent")).unwrap();
    (dir, agent, serve)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[test]
fn an_agent_that_says_yes_and_drops_the_certificate_is_found_out() {
    let tools = TestAgent::start();
    let key = tools.key("ours", Algorithm::Ed25519);
    let certificate = tools.certify("ours", &["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"]);
    let success = framed(&[SUCCESS]);
    let empty = framed(&[IDENTITIES_ANSWER, 0, 0, 0, 0]);
    let (_dir, mut agent, serve) = fake(vec![empty.clone(), success.clone(), empty, success]);
    let id = jit_ssh_core::digest::Digest::of(b"x").short_id();
    let added = held::replace(&mut agent, id, key.key_data(), &certificate, clock::now());
    assert!(matches!(added, Err(AgentError::Dropped)));
    // What such an agent may have kept, the bare key, is asked to go.
    let asked = serve.join().unwrap();
    assert_eq!(
        asked,
        [REQUEST_IDENTITIES, ADD_ID_CONSTRAINED, REQUEST_IDENTITIES, REMOVE_IDENTITY]
    );
}

#[test]
fn an_agent_that_refuses_lies_or_hangs_up_is_an_error_each() {
    for (answer, expected) in [
        (framed(&[FAILURE]), "refused"),
        (framed(&[SUCCESS]), "no answer that makes sense"),
        // More identities than follow.
        (framed(&[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff]), "no answer that makes sense"),
        // A string that reaches beyond the message.
        (
            framed(&[IDENTITIES_ANSWER, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
            "no answer that makes sense",
        ),
        (framed(&[IDENTITIES_ANSWER, 0, 0, 0, 0, 9]), "no answer that makes sense"),
        (framed(&[]), "no answer that makes sense"),
        (u32::MAX.to_be_bytes().to_vec(), "no answer that makes sense"),
        (vec![0, 0], "broken"),
        (vec![], "broken"),
    ] {
        let (_dir, mut agent, serve) = fake(vec![answer.clone()]);
        let found = match agent.list().unwrap_err() {
            AgentError::Refused(_) => "refused",
            AgentError::Garbled => "no answer that makes sense",
            AgentError::Broken(_) => "broken",
            other => unreachable!("{other}"),
        };
        assert_eq!(found, expected, "{answer:?}");
        drop(agent);
        serve.join().unwrap();
    }
    assert!(matches!(Agent::at(Path::new("/nonexistent/agent")), Err(AgentError::Connect { .. })));
}

#[test]
fn numbers_have_no_leading_zeros_and_no_sign() {
    for (bytes, wire) in [
        (&[0u8, 0, 1][..], &[0u8, 0, 0, 1, 1][..]),
        (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
        (&[0], &[0, 0, 0, 0]),
    ] {
        let mut out = Writer::default();
        out.mpint(bytes);
        assert_eq!(out.bytes(), wire);
    }
}
