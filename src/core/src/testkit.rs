//! People, a small world, and signed statements, for tests.
//!
//! Keys come from seeds, so that tests are the same at every run; they are known to everyone and
//! good for nothing else.
#![allow(clippy::unwrap_used, reason = "a test that can not set up its world must stop")]

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::bundle::{Bundle, BundleFiles};
use crate::digest::Digest;
use crate::key::{CaKey, HostCaKey, HostKey, SignerKey, SubjectKey};
use crate::log::VerifierKey;
use crate::root::{Admin, Root};
use crate::sshsig;
use crate::statement::{self, Body, Cause, Decision, End, Host, Nonce, Request, Token, Verified};
use crate::time::{Seconds, UnixTime};
use crate::wire;

/// The moment at which test worlds begin.
pub const START: UnixTime = UnixTime(1_790_000_000);

/// Somebody who can sign.
#[derive(Clone)]
pub struct Person {
    /// The id.
    pub id: &'static str,
    /// The secret key.
    pub secret: SigningKey,
    /// Its public half.
    pub key: SignerKey,
    /// For a security key: the flags byte of its signatures (OpenSSH `PROTOCOL.u2f`).
    pub flags: Option<u8>,
}

/// The software Ed25519 key that comes from `seed`, and its public half.
pub fn software_key(seed: u8) -> (SigningKey, SignerKey) {
    let secret = SigningKey::from_bytes(&[seed; 32]);
    let line = CaKey::from_ed25519(secret.verifying_key().as_bytes()).unwrap().to_string();
    let key = line.parse().unwrap();
    (secret, key)
}

/// The person whose key comes from `seed`.
pub fn person(id: &'static str, seed: u8) -> Person {
    let (secret, key) = software_key(seed);
    Person { id, secret, key, flags: None }
}

/// The same person with a security key that comes from `seed`, made in software: its signatures say
/// it was touched, and, if `verified`, that it checked a PIN.
pub fn with_security_key(id: &'static str, seed: u8, verified: bool) -> Person {
    let (secret, _) = software_key(seed);
    let mut blob = wire::Writer::default();
    blob.string(SK.as_bytes()).string(secret.verifying_key().as_bytes()).string(b"ssh:");
    let key = ssh_key::PublicKey::from_bytes(&blob.into_bytes()).unwrap();
    let key = key.to_openssh().unwrap().parse().unwrap();
    Person { id, secret, key, flags: Some(if verified { 0x05 } else { 0x01 }) }
}

const SK: &str = "sk-ssh-ed25519@openssh.com";

impl Person {
    /// Signs `bytes` for `namespace`.
    pub fn sign(&self, namespace: &str, bytes: &[u8]) -> Vec<u8> {
        let data = sshsig::signed_data(namespace, bytes);
        let mut signature = wire::Writer::default();
        match self.flags {
            None => {
                signature.string(b"ssh-ed25519").string(&self.secret.sign(&data).to_bytes());
            }
            Some(flags) => {
                let trailer = [flags, 0, 0, 0, 7];
                let signed = [&Sha256::digest(b"ssh:")[..], &trailer, &Sha256::digest(&data)[..]];
                let raw = self.secret.sign(&signed.concat()).to_bytes();
                signature.string(SK.as_bytes()).string(&raw).raw(&trailer);
            }
        }
        sshsig::assemble(self.key.blob(), namespace, &signature.into_bytes())
    }

    /// Encodes and signs a statement.
    pub fn state<T: Body>(&self, body: &T) -> (Vec<u8>, Vec<u8>) {
        let bytes = statement::encode(body).unwrap();
        let signature = self.sign(T::KIND.namespace(), &bytes);
        (bytes, signature)
    }

    /// Encodes, signs and verifies a statement.
    pub fn verified<T: Body>(&self, body: &T) -> Verified<T> {
        let (bytes, signature) = self.state(body);
        statement::open(&bytes, &signature, body.ca()).unwrap()
    }
}

/// An admin, three people, a machine, an enroller, three hosts (`prod-host` with its key), a signer, and
/// the policy a test gives.
pub struct World {
    /// The admin `ann`, threshold 1.
    pub root: Root,
    /// The admin.
    pub ann: Person,
    /// In group `sre`.
    pub alice: Person,
    /// In groups `sre` and `leads`.
    pub bob: Person,
    /// In group `leads`.
    pub carol: Person,
    /// A machine in group `ci`.
    pub bot: Person,
    /// An enroller.
    pub pipeline: Person,
    /// The CA key of signer 1.
    pub ca: SigningKey,
    /// The host CA key of signer 1.
    pub host_ca: SigningKey,
    /// The log key of signer 1.
    pub log: SigningKey,
}

/// Name of the log of signer 1.
pub const LOG_NAME: &str = "jit-ssh/test/1";

/// One approval by a lead for `deploy` on production; anybody in `sre` alone on the other host.
pub const POLICY: &str = r#"
[[deny]]
name = "no-root-on-db"
hosts = ["label:role=db"]
logins = ["root"]

[[allow]]
name = "prod"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["deploy", "root"]
max_for = "30m"
cert_for = "5m"
reason = { min = 5, pattern = "INC-[0-9]+", hint = "name the incident" }
approvals = [{ from = ["group:leads"], count = 1 }]
decide_within = "1h"
use_within = "15m"
permit = ["pty", "port-forwarding"]

[[allow]]
name = "test-auto"
who = ["group:sre", "machine:bot"]
hosts = ["test-*"]
logins = ["deploy"]
max_for = "1h"
cert_for = "10m"
auto = {}
permit = ["pty"]
"#;

impl Default for World {
    fn default() -> World {
        let ann = person("ann", 1);
        let admin = Admin { id: ann.id.parse().unwrap(), key: ann.key.clone() };
        World {
            root: Root::new(vec![admin], 1, "anchor".into()).unwrap(),
            ann,
            alice: person("alice", 2),
            bob: person("bob", 3),
            carol: person("carol", 4),
            bot: person("bot", 5),
            pipeline: person("pipeline", 6),
            ca: SigningKey::from_bytes(&[101; 32]),
            host_ca: SigningKey::from_bytes(&[103; 32]),
            log: SigningKey::from_bytes(&[102; 32]),
        }
    }
}

impl World {
    /// The CA key's public half.
    pub fn ca_key(&self) -> CaKey {
        CaKey::from_ed25519(self.ca.verifying_key().as_bytes()).unwrap()
    }

    /// The host CA key's public half.
    pub fn host_ca_key(&self) -> HostCaKey {
        HostCaKey::from_ed25519(self.host_ca.verifying_key().as_bytes()).unwrap()
    }

    /// The log key's public half.
    pub fn log_key(&self) -> VerifierKey {
        VerifierKey::new(LOG_NAME, self.log.verifying_key().as_bytes()).unwrap()
    }

    /// The bundle's files with this policy.
    pub fn files(&self, policy: &str) -> BundleFiles {
        let actor = |kind: &str, person: &Person, groups: &str| {
            let name = if kind == "person" {
                format!("name = \"{}\"\n", person.id)
            } else {
                String::new()
            };
            format!(
                "[[{kind}]]\nid = \"{}\"\n{name}keys = [\"{}\"]\ngroups = [{groups}]\n",
                person.id, person.key
            )
        };
        let people = [
            actor("person", &self.alice, "\"sre\""),
            actor("person", &self.bob, "\"sre\", \"leads\""),
            actor("person", &self.carol, "\"leads\""),
            actor("machine", &self.bot, "\"ci\""),
        ];
        let hosts = format!(
            r#"
[[host]]
name = "prod-host"
address = "Prod.Example.com:2222"
aliases = ["www"]
key = "{}"
labels = {{ env = "prod", role = "web" }}
logins = ["deploy", "root"]
[[host]]
name = "prod-db"
labels = {{ env = "prod", role = "db" }}
logins = ["deploy", "root"]
[[host]]
name = "test-host"
labels = {{ env = "test" }}
logins = ["deploy"]
[[enroller]]
id = "pipeline"
keys = ["{}"]
names = ["ci-*"]
labels = {{ env = ["test", "staging"], role = ["*"] }}
logins = ["deploy", "ci"]
max_for = "1d"
max_uses = 3
max_hosts = 4
"#,
            host_key(91),
            self.pipeline.key
        );
        let signers = format!(
            "[[signer]]\nnumber = 1\nca_key = \"{}\"\nhost_ca_key = \"{}\"\nlog_key = \"{}\"\n",
            self.ca_key(),
            self.host_ca_key(),
            self.log_key()
        );
        BundleFiles {
            people: people.concat().into_bytes(),
            hosts: hosts.into_bytes(),
            policy: policy.as_bytes().to_vec(),
            signers: signers.into_bytes(),
        }
    }

    /// The same with hosts behind bastions: `test-inner` and `test-other` behind `bastion`, that one behind
    /// `edge`; `test-own` behind `own-way`, which has no account for jumps.
    pub fn files_with_ways(&self, policy: &str) -> BundleFiles {
        let mut files = self.files(policy);
        files.hosts.extend_from_slice(
            br#"
[[host]]
name = "edge"
labels = { env = "edge" }
logins = ["deploy", "jump"]
[[host]]
name = "bastion"
address = "10.0.0.9:2222"
labels = { env = "edge" }
logins = ["jump"]
via = "edge"
[[host]]
name = "test-inner"
address = "[2001:db8::5]:22"
labels = { env = "test" }
logins = ["deploy", "jump"]
via = "bastion"
[[host]]
name = "test-other"
labels = { env = "test" }
logins = ["deploy"]
via = "bastion"
[[host]]
name = "own-way"
labels = { env = "edge" }
logins = ["deploy"]
[[host]]
name = "test-own"
labels = { env = "test" }
logins = ["deploy"]
via = "own-way"
"#,
        );
        files
    }

    /// The bundle with this policy.
    pub fn bundle(&self, policy: &str) -> Bundle {
        Bundle::parse(1, &self.files(policy), &self.root.admin_keys())
            .unwrap_or_else(|problems| panic_with(&problems.to_string()))
    }

    /// A request of `by` for `login` on `host`.
    pub fn request(
        &self,
        by: &Person,
        host: &str,
        login: &str,
        span: u32,
        at: UnixTime,
    ) -> Request {
        Request::new(
            self.root.fingerprint(),
            by.id.parse().unwrap(),
            subject_key(77),
            vec![host.parse().unwrap()],
            vec![login.parse().unwrap()],
            Seconds::new(span).unwrap(),
            "INC-42 disk full".into(),
            at,
            Nonce([7; 16]),
        )
    }

    /// The host `name` with label `env=test`, login `deploy` and the key of `seed`, vouched for by
    /// `pipeline`, or by the token with this digest, for `life` seconds.
    pub fn host(
        &self,
        name: &str,
        seed: u8,
        token: Option<Digest>,
        at: UnixTime,
        life: u32,
    ) -> Host {
        Host::new(
            self.root.fingerprint(),
            self.pipeline.id.parse().unwrap(),
            token,
            name.parse().unwrap(),
            [("env".parse().unwrap(), "test".parse().unwrap())].into(),
            vec!["deploy".parse().unwrap()],
            subject_key(seed),
            at,
            at.plus_secs(life),
        )
    }

    /// A token of `pipeline` for `key`: hosts like those of [`World::host`], with names that begin
    /// with `ci-t`, twice, for an hour each; good for an hour.
    pub fn token(&self, key: &SignerKey, at: UnixTime) -> Token {
        Token::new(
            self.root.fingerprint(),
            self.pipeline.id.parse().unwrap(),
            key.clone(),
            vec!["ci-t*".parse().unwrap()],
            [("env".parse().unwrap(), "test".parse().unwrap())].into(),
            vec!["deploy".parse().unwrap()],
            2,
            Seconds::new(3_600).unwrap(),
            at,
            at.plus_secs(3_600),
        )
    }

    /// An approval of all that `request` asks.
    pub fn approval(&self, by: &Person, request: &Verified<Request>, at: UnixTime) -> Decision {
        let body = request.body();
        Decision::approve(
            self.root.fingerprint(),
            by.id.parse().unwrap(),
            request.digest(),
            body.r#for,
            body.hosts.clone(),
            body.logins.clone(),
            None,
            at,
        )
    }

    /// A denial of `request`.
    pub fn denial(&self, by: &Person, request: &Verified<Request>, at: UnixTime) -> Decision {
        let by = by.id.parse().unwrap();
        Decision::deny(self.root.fingerprint(), by, request.digest(), "not now".into(), at)
    }

    /// An end of `request`.
    pub fn end(&self, by: &Person, request: &Verified<Request>, cause: Cause, at: UnixTime) -> End {
        let by = by.id.parse().unwrap();
        End::new(self.root.fingerprint(), by, request.digest(), cause, None, at)
    }

    /// A cancel of `request`.
    pub fn cancel(&self, by: &Person, request: &Verified<Request>, at: UnixTime) -> End {
        self.end(by, request, Cause::Cancel, at)
    }
}

/// A key to be certified.
pub fn subject_key(seed: u8) -> SubjectKey {
    software_key(seed).1.to_string().parse().unwrap()
}

/// A host's key.
pub fn host_key(seed: u8) -> HostKey {
    software_key(seed).1.to_string().parse().unwrap()
}

#[allow(clippy::panic, reason = "a test that can not set up its world must stop")]
fn panic_with(text: &str) -> ! {
    panic!("{text}")
}
