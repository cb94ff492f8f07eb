//! A good log passes; each change to it is found and named.

mod disk;
mod hosts;
mod joined;
mod judging;
mod jumps;
mod lifecycle;
mod real_signer;
mod showing;

use std::collections::HashMap;
use std::num::NonZeroU16;

use jit_ssh_core::authorize::authorize;
use jit_ssh_core::bundle::{Bundle, BundleFiles, Permit};
use jit_ssh_core::certificate::{Context, Scope, Serial, build, lint};
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::entry::Entry;
use jit_ssh_core::root::{Admin, Root};
use jit_ssh_core::statement::{self, Body, Cause, Decision, End, Nonce, Request, Verified};
use jit_ssh_core::time::{Seconds, UnixTime};
use jit_ssh_signer::log::LogKey;

use super::fault::Fault;
use super::judge::{Counts, Files, Judge};
use crate::testkeys::{ca_key, public, sign, signed};

const START: u64 = 1_790_000_000;
const ANN: u8 = 1;
const BEN: u8 = 2;
const ALICE: u8 = 11;
const BOB: u8 = 12;
const CAROL: u8 = 13;
/// The key alice wants certified, and another.
const SUBJECT: u8 = 21;
const OTHER: u8 = 22;
const CA: u8 = 50;
const HOST_CA: u8 = 51;
/// sshd's key on prod-host.
const HOST: u8 = 52;
const ORIGIN: &str = "jit-ssh/test/1";

/// A CA, its configuration, and a log in the making.
#[derive(Clone)]
struct Scene {
    root: Root,
    policy: String,
    /// Added to `hosts.toml`.
    hosts: String,
    entries: Vec<Vec<u8>>,
    files: HashMap<Digest, Vec<u8>>,
    /// The statement of the bundle in force.
    bundle: Digest,
}

impl Files for &Scene {
    fn file(&self, digest: Digest) -> Result<Option<Vec<u8>>, String> {
        Ok(self.files.get(&digest).cloned())
    }
}

fn at(seconds: u64) -> UnixTime {
    UnixTime(START + seconds)
}

fn span(text: &str) -> Seconds {
    text.parse().unwrap()
}

fn log_key() -> LogKey {
    LogKey::from_seed(ORIGIN, &[60; 32]).unwrap()
}

/// Alice may go to two hosts if bob or carol approve.
const POLICY: &str = r#"
[[allow]]
name = "prod"
who = ["group:sre"]
hosts = ["prod-host", "other-host"]
logins = ["deploy"]
max_for = "30m"
cert_for = "5m"
approvals = [{ from = ["group:leads", "person:alice"], count = 1 }]
permit = ["pty"]
"#;

impl Scene {
    /// A CA with two admins, one of whom must sign, and no entry.
    fn new() -> Scene {
        Scene::with_threshold(1)
    }

    fn with_threshold(threshold: u8) -> Scene {
        let admin = |id: &str, seed| Admin { id: id.parse().unwrap(), key: public(seed) };
        let admins = vec![admin("ann", ANN), admin("ben", BEN)];
        Scene {
            root: Root::new(admins, threshold, "PEM".into()).unwrap(),
            policy: POLICY.to_owned(),
            hosts: String::new(),
            entries: Vec::new(),
            files: HashMap::new(),
            bundle: Digest([0; 32]),
        }
    }

    fn bundle_files(&self) -> BundleFiles {
        let people = format!(
            "{}{}{}",
            person("alice", ALICE, "sre"),
            person("bob", BOB, "leads"),
            person("carol", CAROL, "leads")
        );
        let hosts = format!(
            "[[host]]\nname = \"prod-host\"\nlogins = [\"deploy\"]\nkey = \"{}\"\n\
             [[host]]\nname = \"other-host\"\nlogins = [\"deploy\"]\n",
            public(HOST)
        );
        let hosts = format!("{hosts}{}", self.hosts);
        let signers = format!(
            "[[signer]]\nnumber = 1\nca_key = \"{}\"\nhost_ca_key = \"{}\"\nlog_key = \"{}\"\n",
            ca_key(CA),
            ca_key(HOST_CA),
            log_key().verifier()
        );
        BundleFiles {
            people: people.into(),
            hosts: hosts.into(),
            policy: self.policy.clone().into(),
            signers: signers.into(),
        }
    }

    fn parsed(&self) -> Bundle {
        Bundle::parse(1, &self.bundle_files(), &self.root.admin_keys())
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Adds a bundle of the files as they are, signed by these.
    fn add_bundle(&mut self, second: u64, version: u64, signers: &[u8]) {
        let files = self.bundle_files();
        let body = statement::Bundle::new(self.root.fingerprint(), version, &files, at(second));
        let bytes = statement::encode(&body).unwrap();
        let signatures: Vec<Vec<u8>> =
            signers.iter().map(|seed| sign::<statement::Bundle>(*seed, &bytes)).collect();
        self.bundle = Digest::of(&bytes);
        for file in [files.people, files.hosts, files.policy, files.signers] {
            self.files.insert(Digest::of(&file), file);
        }
        self.push(second, bytes, &signatures);
    }

    fn push(&mut self, second: u64, bytes: Vec<u8>, signatures: &[Vec<u8>]) {
        let text = String::from_utf8(bytes).unwrap();
        self.entries.push(Entry::statement(at(second), text, signatures).to_bytes());
    }

    /// Adds a statement, signed.
    fn add<T: Body>(&mut self, second: u64, seed: u8, body: &T) -> Verified<T> {
        let (bytes, signature) = signed(seed, body);
        self.push(second, bytes.clone(), std::slice::from_ref(&signature));
        statement::open(&bytes, &signature, &self.root.fingerprint()).unwrap()
    }

    fn request(&self, second: u64, nonce: u8) -> Request {
        let mut request = Request::new(
            self.root.fingerprint(),
            "alice".parse().unwrap(),
            public(SUBJECT).to_string().parse().unwrap(),
            vec!["prod-host".parse().unwrap(), "other-host".parse().unwrap()],
            vec!["deploy".parse().unwrap()],
            span("10m"),
            "INC-42 disk full".to_owned(),
            at(second),
            Nonce([nonce; 16]),
        );
        request.permit = vec![Permit::Pty];
        request
    }

    fn approval(&self, second: u64, by: &str, request: &Verified<Request>) -> Decision {
        let body = request.body();
        Decision::approve(
            self.root.fingerprint(),
            by.parse().unwrap(),
            request.digest(),
            body.r#for,
            body.hosts.clone(),
            body.logins.clone(),
            None,
            at(second),
        )
    }

    fn denial(&self, second: u64, by: &str, request: &Verified<Request>) -> Decision {
        let (ca, by) = (self.root.fingerprint(), by.parse().unwrap());
        Decision::deny(ca, by, request.digest(), "not now".to_owned(), at(second))
    }

    fn end(&self, second: u64, by: &str, cause: Cause, request: &Verified<Request>) -> End {
        let (ca, by) = (self.root.fingerprint(), by.parse().unwrap());
        End::new(ca, by, request.digest(), cause, None, at(second))
    }

    /// What the signer would sign for this chain, were it the entry at the log's end.
    fn tbs<'b>(&self, second: u64, chain: &Chain, view: impl Into<View<'b>>) -> Vec<u8> {
        self.tbs_within(second, chain, &Scope::Access, view)
    }

    /// The same for any of its certificates.
    fn tbs_within<'b>(
        &self,
        second: u64,
        chain: &Chain,
        scope: &Scope,
        view: impl Into<View<'b>>,
    ) -> Vec<u8> {
        let (serial, view) = (self.serial(), view.into());
        let ca = &ca_key(CA);
        let context = Context::of(chain, scope, serial, ca, at(second));
        let authorized = authorize(chain, view, at(second)).unwrap().within(scope, view).unwrap();
        let built = build(authorized, serial, [7; 32], ca);
        lint(built, context).unwrap().bytes().to_vec()
    }

    fn serial(&self) -> Serial {
        Serial::new(NonZeroU16::MIN, self.entries.len() as u64).unwrap()
    }

    /// Adds a certificate with these bytes.
    fn add_tbs(&mut self, second: u64, request: Digest, rule: &str, tbs: Vec<u8>) {
        let rule = rule.parse().unwrap();
        let entry = Entry::certificate(at(second), self.serial(), request, rule, self.bundle, tbs);
        self.entries.push(entry.to_bytes());
    }

    /// Adds the certificate that follows from the chain.
    fn add_certificate(&mut self, second: u64, chain: &Chain) {
        let tbs = self.tbs(second, chain, &self.parsed());
        self.add_tbs(second, chain.digest(), "prod", tbs);
    }

    /// Judges the log; gives the index of the first bad entry.
    fn judge(&self) -> Result<Counts, (usize, Fault)> {
        let mut judge = Judge::new(&self.root, ORIGIN, self);
        for (index, entry) in self.entries.iter().enumerate() {
            judge.entry(entry).map_err(|fault| (index, fault))?;
        }
        assert_eq!(
            judge.log_key().map(ToString::to_string),
            Some(log_key().verifier().to_string())
        );
        Ok(judge.counts())
    }

    /// The first bad entry and what is said of it.
    fn found(&self) -> (usize, String) {
        let (index, fault) = self.judge().expect_err("this log is bad");
        (index, fault.to_string())
    }
}

fn person(id: &str, seed: u8, group: &str) -> String {
    let key = public(seed);
    format!("[[person]]\nid = \"{id}\"\nname = \"X\"\nkeys = [\"{key}\"]\ngroups = [\"{group}\"]\n")
}

fn chain(request: &Verified<Request>, decisions: &[&Verified<Decision>]) -> Chain {
    let mut chain = Chain::new(request.clone());
    for decision in decisions {
        chain.add_decision((*decision).clone()).unwrap();
    }
    chain
}

/// Bundle, request, approval, certificate: entries 0 to 3, and a renewal and a cancelled request
/// after them.
fn good() -> Scene {
    let mut scene = Scene::new();
    scene.add_bundle(0, 1, &[ANN]);
    let request = scene.add(10, ALICE, &scene.request(10, 1));
    let approval = scene.add(20, BOB, &scene.approval(20, "bob", &request));
    let chain = chain(&request, &[&approval]);
    scene.add_certificate(30, &chain);
    scene.add_certificate(300, &chain);
    let second = scene.add(310, ALICE, &scene.request(310, 2));
    let end = scene.end(320, "alice", Cause::Cancel, &second);
    scene.add(320, ALICE, &end);
    scene
}
