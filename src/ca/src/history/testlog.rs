//! A log on the disk, written entry by entry, for the tests of those who read it.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU16;

use jit_ssh_core::authorize::authorize;
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::certificate::{Context, Scope, Serial, build, lint};
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::Entry;
use jit_ssh_core::root::{Admin, Root};
use jit_ssh_core::statement::{self, Body, Cause, Decision, End, Nonce, Request, Verified};
use jit_ssh_core::time::{Seconds, UnixTime};
use jit_ssh_signer::log::{LogKey, LogStore};
use tempfile::TempDir;

use crate::audit::folder::Folder;
use crate::testkeys::{ca_key, public, sign, signed};

/// The first moment: 2026-09-21 14:13:20 UTC, a Monday.
pub(crate) const START: UnixTime = UnixTime(1_790_000_000);
const ORIGIN: &str = "jit-ssh/test/1";
const PEOPLE: [(&str, u8, &str); 5] = [
    ("alice", 11, "sre"),
    ("dave", 12, "sre"),
    ("bob", 13, "leads"),
    ("carol", 14, "leads"),
    ("erin", 15, "leads"),
];
const HOSTS: [(&str, &str); 3] = [("web-1", "prod"), ("web-2", "prod"), ("test-1", "test")];

/// Production by one lead; staging by itself.
pub(crate) const POLICY: &str = r#"
[[allow]]
name = "prod"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["deploy"]
max_for = "30m"
cert_for = "5m"
approvals = [{ from = ["group:leads"], count = 1 }]
break_glass = { strength = "any", max_for = "10m" }
extend = { max = "20m", times = 2 }

[[allow]]
name = "test-auto"
who = ["group:sre"]
hosts = ["test-*"]
logins = ["deploy"]
max_for = "1h"
cert_for = "10m"
auto = {}
"#;

/// A log in the making.
pub(crate) struct TestLog {
    pub(crate) root: Root,
    entries: Vec<Vec<u8>>,
    files: HashMap<Digest, Vec<u8>>,
    chains: HashMap<Digest, Chain>,
    bundle: Bundle,
    digest: Digest,
    nonce: u8,
    dir: TempDir,
}

/// `seconds` after the first moment.
pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime(START.0 + seconds)
}

fn seed(id: &str) -> u8 {
    PEOPLE.iter().find(|(known, ..)| *known == id).unwrap().1
}

/// The files of a bundle with these rules.
pub(crate) fn files(policy: &str) -> BundleFiles {
    let person = |(id, seed, group): &(&str, u8, &str)| {
        let key = public(*seed);
        format!(
            "[[person]]\nid = \"{id}\"\nname = \"X\"\nkeys = [\"{key}\"]\ngroups = [\"{group}\"]\n"
        )
    };
    let host = |(name, env): &(&str, &str)| {
        format!(
            "[[host]]\nname = \"{name}\"\nlogins = [\"deploy\"]\nlabels = {{ env = \"{env}\" }}\n"
        )
    };
    let signers = format!(
        "[[signer]]\nnumber = 1\nca_key = \"{}\"\nlog_key = \"{}\"\n",
        ca_key(50),
        LogKey::from_seed(ORIGIN, &[60; 32]).unwrap().verifier()
    );
    BundleFiles {
        people: PEOPLE.iter().map(person).collect::<String>().into(),
        hosts: HOSTS.iter().map(host).collect::<String>().into(),
        policy: policy.into(),
        signers: signers.into(),
    }
}

impl TestLog {
    /// A log with a bundle of these rules at the first moment.
    pub(crate) fn new(policy: &str) -> TestLog {
        let admin = Admin { id: "ann".parse().unwrap(), key: public(1) };
        let root = Root::new(vec![admin], 1, "PEM".into()).unwrap();
        let bundle = Bundle::parse(1, &files(policy), &root.admin_keys()).unwrap();
        let mut log = TestLog {
            root,
            entries: Vec::new(),
            files: HashMap::new(),
            chains: HashMap::new(),
            bundle,
            digest: Digest([0; 32]),
            nonce: 0,
            dir: tempfile::tempdir().unwrap(),
        };
        log.apply(0, 1, policy);
        log
    }

    /// Puts other rules in force.
    pub(crate) fn apply(&mut self, second: u64, version: u64, policy: &str) {
        let files = files(policy);
        let ca = self.root.fingerprint();
        let body = statement::Bundle::new(ca, version, &files, at(second));
        let bytes = statement::encode(&body).unwrap();
        let signature = sign::<statement::Bundle>(1, &bytes);
        self.digest = Digest::of(&bytes);
        self.bundle = Bundle::parse(version, &files, &self.root.admin_keys()).unwrap();
        for file in [files.people, files.hosts, files.policy, files.signers] {
            self.files.insert(Digest::of(&file), file);
        }
        self.push(second, bytes, signature);
    }

    fn push(&mut self, second: u64, bytes: Vec<u8>, signature: Vec<u8>) {
        let text = String::from_utf8(bytes).unwrap();
        self.entries.push(Entry::statement(at(second), text, &[signature]).to_bytes());
    }

    fn add<T: Body>(&mut self, second: u64, by: &str, body: &T) -> Verified<T> {
        let (bytes, signature) = signed(seed(by), body);
        self.push(second, bytes.clone(), signature.clone());
        statement::open(&bytes, &signature, &self.root.fingerprint()).unwrap()
    }

    /// `by` asks for ten minutes on `host`, with what `change` makes of it.
    pub(crate) fn request(
        &mut self,
        second: u64,
        by: &str,
        host: &str,
        change: impl FnOnce(&mut Request),
    ) -> Verified<Request> {
        self.nonce = self.nonce.wrapping_add(1);
        let mut request = Request::new(
            self.root.fingerprint(),
            by.parse().unwrap(),
            public(21).to_string().parse().unwrap(),
            vec![host.parse().unwrap()],
            vec!["deploy".parse().unwrap()],
            Seconds::new(600).unwrap(),
            "INC-42 disk full".to_owned(),
            at(second),
            Nonce([self.nonce; 16]),
        );
        change(&mut request);
        let request = self.add(second, by, &request);
        let chain = Chain::new(request.clone());
        let chain = match request.body().extends {
            Some(of) => chain.prolonging(self.chains[&of].clone()).unwrap(),
            None => chain,
        };
        self.chains.insert(request.digest(), chain);
        request
    }

    /// `by` approves all of it.
    pub(crate) fn approve(&mut self, second: u64, by: &str, request: &Verified<Request>) {
        self.approve_some(second, by, request, |_| ());
    }

    /// `by` approves what `change` leaves of it.
    pub(crate) fn approve_some(
        &mut self,
        second: u64,
        by: &str,
        request: &Verified<Request>,
        change: impl FnOnce(&mut Decision),
    ) {
        let body = request.body();
        let mut decision = Decision::approve(
            self.root.fingerprint(),
            by.parse().unwrap(),
            request.digest(),
            body.r#for,
            body.hosts.clone(),
            body.logins.clone(),
            None,
            at(second),
        );
        change(&mut decision);
        let decision = self.add(second, by, &decision);
        self.chains.get_mut(&request.digest()).unwrap().add_decision(decision).unwrap();
    }

    /// `by` denies it.
    pub(crate) fn deny(&mut self, second: u64, by: &str, request: &Verified<Request>) {
        let (ca, id) = (self.root.fingerprint(), by.parse().unwrap());
        let decision = Decision::deny(ca, id, request.digest(), "not now".into(), at(second));
        let decision = self.add(second, by, &decision);
        self.chains.get_mut(&request.digest()).unwrap().add_decision(decision).unwrap();
    }

    /// `by` ends it.
    pub(crate) fn end(&mut self, second: u64, by: &str, request: &Verified<Request>, cause: Cause) {
        let (ca, id) = (self.root.fingerprint(), by.parse().unwrap());
        let end = End::new(ca, id, request.digest(), cause, Some("enough".into()), at(second));
        let end = self.add(second, by, &end);
        self.chains.get_mut(&request.digest()).unwrap().add_end(end).unwrap();
    }

    /// The signer issues a certificate.
    pub(crate) fn certify(&mut self, second: u64, request: &Verified<Request>) {
        let serial = Serial::new(NonZeroU16::MIN, self.entries.len() as u64).unwrap();
        let ca = ca_key(50);
        let chain = self.chains.get_mut(&request.digest()).unwrap();
        let prolongs = chain.prolonged().and_then(Chain::last_issued).map(|i| i.access_until);
        let context =
            Context { request, scope: &Scope::Access, serial, ca: &ca, now: at(second), prolongs };
        let authorized = authorize(chain, &self.bundle, at(second)).unwrap();
        let rule = authorized.rule().clone();
        let (access_until, valid_before) = (authorized.access_until(), authorized.valid_before());
        let built = lint(build(authorized, serial, [7; 32], &ca), context).unwrap();
        let serial_number = serial.get();
        chain.add_issued(Issued {
            serial: serial_number,
            at: at(second),
            valid_before,
            access_until,
        });
        let tbs = built.bytes().to_vec();
        let entry =
            Entry::certificate(at(second), serial, request.digest(), rule, self.digest, tbs);
        self.entries.push(entry.to_bytes());
    }

    /// Writes it all to the disk.
    pub(crate) fn folder(&self) -> Folder {
        let dir = self.dir.path().join("state");
        fs::create_dir_all(dir.join("bundles")).unwrap();
        let key = LogKey::from_seed(ORIGIN, &[60; 32]).unwrap();
        let _ = fs::remove_dir_all(dir.join("log"));
        let _ = fs::remove_dir_all(dir.join("journal"));
        let mut store = LogStore::open(&dir.join("log"), &dir.join("journal"), key).unwrap().0;
        store.append(&self.entries).unwrap();
        store.publish().unwrap();
        fs::write(dir.join("root.json"), self.root.to_bytes()).unwrap();
        for (digest, content) in &self.files {
            fs::write(dir.join("bundles").join(digest.to_string()), content).unwrap();
        }
        Folder::at(&dir)
    }

    /// A configuration folder with these rules, and the same people and hosts.
    pub(crate) fn config(&self, policy: &str) -> std::path::PathBuf {
        let dir = self.dir.path().join("conf");
        fs::create_dir_all(&dir).unwrap();
        let files = files(policy);
        for (name, content) in [
            ("people.toml", &files.people),
            ("hosts.toml", &files.hosts),
            ("policy.toml", &files.policy),
            ("signers.toml", &files.signers),
        ] {
            fs::write(dir.join(name), content).unwrap();
        }
        dir
    }
}

/// One of each end: approved and certified, denied, by itself, undecided, broken glass and its
/// review, an extension, released and revoked.
pub(crate) fn full() -> TestLog {
    let mut log = TestLog::new(POLICY);
    let approved = log.request(10, "alice", "web-1", |_| ());
    log.approve(20, "bob", &approved);
    log.certify(30, &approved);
    log.certify(300, &approved);
    let prolonged = log.request(400, "alice", "web-1", |request| {
        request.extends = Some(approved.digest());
    });
    log.approve(410, "carol", &prolonged);
    log.certify(420, &prolonged);
    let denied = log.request(500, "dave", "web-2", |_| ());
    log.deny(510, "carol", &denied);
    let auto = log.request(600, "dave", "test-1", |_| ());
    log.certify(601, &auto);
    log.end(700, "dave", &auto, Cause::Release);
    let glass = log.request(800, "alice", "web-2", |request| {
        request.break_glass = Some("nobody answers".to_owned());
    });
    log.certify(810, &glass);
    log.approve(900, "bob", &glass);
    log.end(950, "carol", &glass, Cause::Revoke);
    let unused = log.request(1000, "dave", "web-1", |_| ());
    log.approve(1010, "erin", &unused);
    log.request(1100, "dave", "web-1", |_| ());
    log
}
