use ssh_key::{Algorithm, EcdsaCurve};

use super::*;
use crate::testkit::{FakeAgent, TestAgent, framed};

const P256: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
const ID: &str = "alice/7kq2m9xw4p/1790000900";
fn for_secs(lifetime: u32) -> Constraints {
    Constraints { lifetime, confirm: Confirm::Never, destinations: Vec::new() }
}

const FOR_FIVE_MINUTES: [&str; 6] = ["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"];

#[test]
fn a_foreign_certificate_that_never_ends_does_not_hide_what_else_there_is() {
    let agent = TestAgent::with_foreign();
    let held = agent.connect().list().unwrap();
    assert_eq!(held.len(), 2);
    let key = agent.key("ours", Algorithm::Ed25519);
    let certificate = agent.certify("ours", &FOR_FIVE_MINUTES);
    let blob = certificate.to_bytes().unwrap();
    agent.connect().add(key.key_data(), &blob, "jit-ssh:7kq2m9xw4p", &for_secs(300)).unwrap();
    let held = agent.connect().list().unwrap();
    assert_eq!(held.len(), 3);
    assert!(held.contains(&Identity { blob, comment: "jit-ssh:7kq2m9xw4p".to_owned() }));
    // OpenSSH finds it there, and can sign with it.
    agent.run("ssh-add", &["-T", "ours-cert.pub"]);
}

#[test]
fn a_lifetime_takes_the_certificate_away_on_time() {
    let agent = TestAgent::start();
    let mut connection = agent.connect();
    for (name, algorithm) in [("ed", Algorithm::Ed25519), ("ec", P256)] {
        let key = agent.key(name, algorithm);
        let certificate = agent.certify(name, &FOR_FIVE_MINUTES);
        connection
            .add(key.key_data(), &certificate.to_bytes().unwrap(), "jit-ssh:x", &for_secs(2))
            .unwrap();
    }
    assert_eq!(connection.list().unwrap().len(), 2);
    std::thread::sleep(Duration::from_millis(3_100));
    assert_eq!(connection.list().unwrap(), []);
}

#[test]
fn an_agent_that_says_yes_and_drops_the_certificate_is_found_out() {
    let tools = TestAgent::start();
    let key = tools.key("ours", Algorithm::Ed25519);
    let certificate = tools.certify("ours", &FOR_FIVE_MINUTES).to_bytes().unwrap();
    let empty = framed(&[IDENTITIES_ANSWER, 0, 0, 0, 0]);
    let mut fake = FakeAgent::answering(vec![framed(&[SUCCESS]), empty]);
    let added = fake.agent.add(key.key_data(), &certificate, "jit-ssh:x", &for_secs(300));
    assert!(matches!(added, Err(AgentError::Dropped)));
    assert_eq!(fake.asked(), [ADD_ID_CONSTRAINED, REQUEST_IDENTITIES]);
}

#[test]
fn a_list_survives_blobs_and_comments_that_are_no_keys_and_no_text() {
    let mut list = Writer::message(IDENTITIES_ANSWER);
    list.u32(2).string(b"odd").string(b"\xff").string(b"").string(b"comment");
    let mut fake = FakeAgent::answering(vec![framed(list.bytes())]);
    let expected = [(&b"odd"[..], "\u{fffd}"), (b"", "comment")];
    let expected = expected
        .map(|(blob, comment)| Identity { blob: blob.to_vec(), comment: comment.to_owned() });
    assert_eq!(fake.agent.list().unwrap(), expected);
    // A byte less is no list any more.
    let short = list.bytes().split_last().unwrap().1;
    let mut fake = FakeAgent::answering(vec![framed(short)]);
    assert!(matches!(fake.agent.list(), Err(AgentError::Garbled)));
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
        (framed(&[IDENTITIES_ANSWER]), "no answer that makes sense"),
        (framed(&[]), "no answer that makes sense"),
        (u32::MAX.to_be_bytes().to_vec(), "no answer that makes sense"),
        (vec![0, 0], "broken"),
        (vec![], "broken"),
    ] {
        let mut fake = FakeAgent::answering(vec![answer.clone()]);
        let found = match fake.agent.list().unwrap_err() {
            AgentError::Refused(_) => "refused",
            AgentError::Garbled => "no answer that makes sense",
            AgentError::Broken(_) => "broken",
            other => unreachable!("{other}"),
        };
        assert_eq!(found, expected, "{answer:?}");
        fake.asked();
    }
    assert!(matches!(Agent::at(Path::new("/nonexistent/agent")), Err(AgentError::Connect { .. })));
}

#[test]
fn an_agent_that_hangs_is_told_apart_from_one_that_hangs_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent");
    // It takes the connection, and no more.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let patience = Duration::from_millis(50);
    let asked = Agent::at(&socket).unwrap().ask(&Writer::message(REQUEST_IDENTITIES), patience);
    assert!(matches!(asked, Err(AgentError::Silent(limit)) if limit == patience));
    let said = AgentError::Silent(PROMPT).to_string();
    assert_eq!(said, "the ssh-agent did not answer within 10 s");

    let mut fake = FakeAgent::answering(vec![vec![]]);
    assert!(matches!(fake.agent.list(), Err(AgentError::Broken(_))));
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
