use jit_ssh_api::agent::{Destination, Hop, HopKey};
use jit_ssh_api::testkit::{FakeAgent, TestAgent, framed};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::log::VerifierKey;
use ssh_key::{Algorithm, PrivateKey};

use super::*;
use crate::clock;

const ID: &str = "alice/7kq2m9xw4p/1790000900";

fn terms() -> Terms {
    Terms { confirm: Confirm::Never, bounds: Bounds::Unwished }
}

/// alice, by the CA whose key is in the file `ca`.
fn owner(tools: &TestAgent, ca: &str) -> Owner {
    let line = std::fs::read_to_string(tools.path(&format!("{ca}.pub"))).unwrap();
    let log = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let log = VerifierKey::new("x", &log.public_key().key_data().ed25519().unwrap().0).unwrap();
    let ca = line.trim();
    let text = format!("[[signer]]\nnumber = 1\nca_key = \"{ca}\"\nlog_key = \"{log}\"\n");
    let signers = Some(Signers::parse(text.as_bytes()).unwrap());
    Owner { id: "alice".parse().unwrap(), signers }
}

#[test]
fn a_new_certificate_replaces_the_stale_ones_and_no_other() {
    let agent = TestAgent::with_foreign();
    let owner = owner(&agent, "ca");
    let mut connection = agent.connect();
    let now = clock::now();
    let mut load = |name: &str, id: &str, principals: &str| {
        let key = agent.key(name, Algorithm::Ed25519);
        let id = Digest::of(id.as_bytes()).short_id();
        let key_id = format!("alice/{id}/1790000900");
        let options = ["-I", &key_id, "-n", principals, "-V", "-1m:+5m"];
        let certificate = agent.certify(name, &options);
        replace(&mut connection, &owner, id, key.key_data(), &certificate, &terms(), now).unwrap();
        let mut names: Vec<_> = list(&mut connection, &owner).unwrap();
        names.sort_by_key(|held| held.opens.clone());
        names.iter().map(|held| held.opens.logins().len()).collect::<Vec<_>>()
    };
    assert_eq!(load("a", "1", "deploy@prod-host"), [1]);
    // Another host stays beside it; the same request or the same access takes its place.
    assert_eq!(load("b", "2", "deploy@other-host"), [1, 1]);
    assert_eq!(load("c", "1", "deploy@prod-host"), [1, 1]);
    assert_eq!(load("d", "3", "deploy@prod-host"), [1, 1]);
    // One for each host, whoever it is for there and whatever else it is for.
    assert_eq!(load("e", "4", "deploy@other-host,deploy@prod-host"), [2]);
    assert_eq!(load("f", "5", "root@prod-host"), [1]);
    assert_eq!(load("g", "6", "deploy@other-host"), [1, 1]);
    let ours = agent.connect().list().unwrap().iter().filter(|held| is_marked(held)).count();
    assert_eq!(ours, 2);
    assert_eq!(remove_all(&mut agent.connect(), &owner).unwrap(), 2);
    assert_eq!(agent.connect().list().unwrap().len(), 2, "the foreign ones stay");
}

#[test]
fn the_way_to_a_host_is_no_access_and_each_jump_is_there_once() {
    let agent = TestAgent::start();
    agent.key("ca", Algorithm::Ed25519);
    let owner = owner(&agent, "ca");
    let mut connection = agent.connect();
    let now = clock::now();
    let mut load = |name: &str, id: &str, principal: &str| {
        let key = agent.key(name, Algorithm::Ed25519);
        let id = Digest::of(id.as_bytes()).short_id();
        let key_id = format!("alice/{id}/1790000900");
        let options = ["-I", &key_id, "-n", principal, "-V", "-1m:+5m"];
        let certificate = agent.certify(name, &options);
        let terms = terms();
        replace(&mut connection, &owner, id, key.key_data(), &certificate, &terms, now).unwrap();
        let opened = all(&mut connection, &owner).unwrap();
        let mut opened: Vec<String> = opened.iter().flat_map(|held| held.opens.texts()).collect();
        opened.sort();
        (opened.join(" "), list(&mut connection, &owner).unwrap().len())
    };
    let seen = |texts: &str, accesses| (texts.to_owned(), accesses);
    // One request: the access and its way stand beside each other, whichever comes first.
    assert_eq!(load("a", "1", "deploy@app"), seen("deploy@app", 1));
    assert_eq!(load("b", "1", "jump@b/app"), seen("deploy@app jump@b/app", 1));
    assert_eq!(load("c", "1", "deploy@app"), seen("deploy@app jump@b/app", 1));
    // Another jump through the same bastion is another way; the same one takes its place.
    let three = "deploy@app jump@b/app jump@b/db";
    assert_eq!(load("d", "2", "jump@b/db"), seen(three, 1));
    assert_eq!(load("e", "3", "jump@b/app"), seen(three, 1));
    // An access to the bastion makes no way give place.
    assert_eq!(load("f", "4", "root@b"), seen("deploy@app jump@b/app jump@b/db root@b", 2));
    let ended = [Digest::of(b"3").short_id(), Digest::of(b"1").short_id()];
    assert_eq!(remove(&mut agent.connect(), &owner, &ended).unwrap(), 2);
    assert_eq!(remove_all(&mut agent.connect(), &owner).unwrap(), 2);
}

#[test]
fn another_persons_and_another_cas_certificates_in_the_same_agent_are_not_ours() {
    let agent = TestAgent::start();
    for ca in ["ca", "other-ca"] {
        agent.key(ca, Algorithm::Ed25519);
    }
    let alice = owner(&agent, "ca");
    let bob = Owner { id: "bob".parse().unwrap(), ..alice.clone() };
    let elsewhere = owner(&agent, "other-ca");
    let unknown = Owner { signers: None, ..alice.clone() };
    // Each loads a certificate for the same login on the same host.
    for (name, ca, owner) in [("a", "ca", &alice), ("b", "ca", &bob), ("c", "other-ca", &elsewhere)]
    {
        let key = agent.key(name, Algorithm::Ed25519);
        let id = Digest::of(name.as_bytes()).short_id();
        let key_id = format!("{}/{id}/1790000900", owner.id);
        let options = ["-I", &key_id, "-n", "deploy@prod-host", "-V", "-1m:+5m"];
        let public = format!("{name}.pub");
        agent.run("ssh-keygen", &[&["-q", "-s", ca], &options[..], &[&public]].concat());
        let certificate = Certificate::read_file(&agent.path(&format!("{name}-cert.pub"))).unwrap();
        let mut connection = agent.connect();
        replace(&mut connection, owner, id, key.key_data(), &certificate, &terms(), clock::now())
            .unwrap();
    }
    let ids = |owner: &Owner| -> Vec<String> {
        list(&mut agent.connect(), owner).unwrap().into_iter().map(|held| held.id).collect()
    };
    let id = |name: &str| Digest::of(name.as_bytes()).short_id().to_string();
    assert_eq!(ids(&alice), [id("a")]);
    assert_eq!(ids(&bob), [id("b")]);
    assert_eq!(ids(&elsewhere), [id("c")]);
    assert!(ids(&unknown).is_empty());

    assert_eq!(remove_all(&mut agent.connect(), &unknown).unwrap(), 0);
    assert_eq!(remove_all(&mut agent.connect(), &alice).unwrap(), 1);
    assert_eq!((ids(&bob).len(), ids(&elsewhere).len()), (1, 1), "theirs stay");
}

#[test]
fn a_certificate_that_only_names_the_ca_is_not_ours() {
    let agent = TestAgent::start();
    let key = agent.key("a", Algorithm::Ed25519);
    let options = ["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"];
    let good = agent.certify("a", &options).to_bytes().unwrap();
    let owner = owner(&agent, "ca");
    let read = |blob: &[u8]| {
        let identity = Identity { blob: blob.to_vec(), comment: "jit-ssh:7kq2m9xw4p".to_owned() };
        Held::read(&identity, &owner, &[])
    };
    assert_eq!(read(&good).unwrap().id, "7kq2m9xw4p");
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(read(&forged).is_none());
    assert!(read(&key.public_key().to_bytes().unwrap()).is_none(), "the bare key");
}

#[test]
fn a_certificate_that_has_ended_is_not_loaded() {
    let agent = TestAgent::start();
    let key = agent.key("late", Algorithm::Ed25519);
    let certificate = agent.certify("late", &["-I", ID, "-n", "deploy@prod-host", "-V", "-2m:-1m"]);
    let owner = owner(&agent, "ca");
    let id = Digest::of(b"late").short_id();
    let loaded = replace(
        &mut agent.connect(),
        &owner,
        id,
        key.key_data(),
        &certificate,
        &terms(),
        clock::now(),
    );
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
    let added = replace(
        &mut fake.agent,
        &owner(&tools, "ca"),
        id,
        key.key_data(),
        &certificate,
        &terms(),
        clock::now(),
    );
    assert!(matches!(added, Err(AgentError::Dropped)));
    assert_eq!(
        fake.asked(),
        [REQUEST_IDENTITIES, ADD_ID_CONSTRAINED, REQUEST_IDENTITIES, REMOVE_IDENTITY]
    );
}

#[test]
fn an_agent_that_does_not_know_the_constraint_is_asked_without_it() {
    // Message numbers of the agent's protocol.
    const FAILURE: u8 = 5;
    const SUCCESS: u8 = 6;
    const REQUEST_IDENTITIES: u8 = 11;
    const IDENTITIES_ANSWER: u8 = 12;
    const ADD_ID_CONSTRAINED: u8 = 25;
    let tools = TestAgent::start();
    let key = tools.key("ours", Algorithm::Ed25519);
    let certificate = tools.certify("ours", &["-I", ID, "-n", "deploy@prod-host", "-V", "-1m:+5m"]);
    let blob = certificate.to_bytes().unwrap();
    let length = u32::try_from(blob.len()).unwrap().to_be_bytes();
    let empty = framed(&[IDENTITIES_ANSWER, 0, 0, 0, 0]);
    let listed = framed(&[&[IDENTITIES_ANSWER, 0, 0, 0, 1], &length[..], &blob, &[0; 4]].concat());
    let host = tools.key("host", Algorithm::Ed25519).public_key().to_bytes().unwrap();
    let to = Hop { name: "prod-host".to_owned(), keys: vec![HopKey::Own(host)] };
    let to = Destination { from: None, login: Some("deploy".to_owned()), to };
    let terms = Terms { confirm: Confirm::Never, bounds: Bounds::To(vec![to]) };
    let id = Digest::of(b"x").short_id();
    let owner = owner(&tools, "ca");
    let load = |answers: Vec<Vec<u8>>| {
        let mut fake = FakeAgent::answering(answers);
        let (key, now) = (key.key_data(), clock::now());
        let loaded = replace(&mut fake.agent, &owner, id, key, &certificate, &terms, now);
        (loaded.map(|(loaded, _)| loaded), fake.asked())
    };
    let (loaded, asked) = load(vec![empty.clone(), framed(&[FAILURE]), framed(&[SUCCESS]), listed]);
    assert_eq!(loaded.unwrap(), Loaded::Agent);
    let expected = [REQUEST_IDENTITIES, ADD_ID_CONSTRAINED, ADD_ID_CONSTRAINED, REQUEST_IDENTITIES];
    assert_eq!(asked, expected);
    // One that refuses lifetimes refuses that too.
    let (loaded, _) = load(vec![empty, framed(&[FAILURE]), framed(&[FAILURE])]);
    assert!(matches!(loaded, Err(AgentError::Refused(_))));
    // The real one keeps to it.
    let real = replace(
        &mut tools.connect(),
        &owner,
        id,
        key.key_data(),
        &certificate,
        &terms,
        clock::now(),
    );
    assert_eq!(real.unwrap().0, Loaded::AgentForItsHosts);
}
