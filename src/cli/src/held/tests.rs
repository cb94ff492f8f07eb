use jit_ssh_api::testkit::{FakeAgent, TestAgent, framed};
use jit_ssh_core::digest::Digest;
use ssh_key::Algorithm;

use super::*;
use crate::clock;

const ID: &str = "alice/7kq2m9xw4p/1790000900";

#[test]
fn a_new_certificate_replaces_the_stale_ones_and_no_other() {
    let agent = TestAgent::with_foreign();
    let mut connection = agent.connect();
    let now = clock::now();
    let mut load = |name: &str, id: &str, principals: &str| {
        let key = agent.key(name, Algorithm::Ed25519);
        let options = ["-I", ID, "-n", principals, "-V", "-1m:+5m"];
        let certificate = agent.certify(name, &options);
        let id = Digest::of(id.as_bytes()).short_id();
        replace(&mut connection, id, key.key_data(), &certificate, now).unwrap();
        let mut names: Vec<_> = list(&mut connection).unwrap();
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
    let ours = agent.connect().list().unwrap().iter().filter(|held| is_ours(held)).count();
    assert_eq!(ours, 2);
    assert_eq!(remove_all(&mut agent.connect()).unwrap(), 2);
    assert_eq!(agent.connect().list().unwrap().len(), 2, "the foreign ones stay");
}

#[test]
fn a_certificate_that_has_ended_is_not_loaded() {
    let agent = TestAgent::start();
    let key = agent.key("late", Algorithm::Ed25519);
    let certificate = agent.certify("late", &["-I", ID, "-n", "deploy@prod-host", "-V", "-2m:-1m"]);
    let id = Digest::of(b"late").short_id();
    let loaded = replace(&mut agent.connect(), id, key.key_data(), &certificate, clock::now());
    assert!(matches!(loaded, Err(AgentError::Refused(_))));
    assert_eq!(agent.connect().list().unwrap(), []);
}

#[test]
fn an_agent_that_drops_the_certificate_is_asked_to_drop_the_bare_key_too() {
    // Message numbers of the agent's protocol.
    const SUCCESS: u8 = 6;
    const REQUEST_IDENTITIES: u8 = 11;
    const IDENTITIES_ANSWER: u8 = 12;
    const REMOVE_IDENTITY: u8 = 18;
    const ADD_ID_CONSTRAINED: u8 = 25;
    let tools = TestAgent::start();
    let key = tools.key("ours", Algorithm::Ed25519);
    let certificate = tools.certify("ours", &["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"]);
    let success = framed(&[SUCCESS]);
    let empty = framed(&[IDENTITIES_ANSWER, 0, 0, 0, 0]);
    let mut fake = FakeAgent::answering(vec![empty.clone(), success.clone(), empty, success]);
    let id = Digest::of(b"x").short_id();
    let added = replace(&mut fake.agent, id, key.key_data(), &certificate, clock::now());
    assert!(matches!(added, Err(AgentError::Dropped)));
    assert_eq!(
        fake.asked(),
        [REQUEST_IDENTITIES, ADD_ID_CONSTRAINED, REQUEST_IDENTITIES, REMOVE_IDENTITY]
    );
}
