//! Every refusal stands beside what is accepted: a case takes four good files and changes one
//! thing.

mod approvals;
mod enrollers;
mod hosts;
mod hours;
mod people;
mod policy;
mod references;
mod rendering;
mod robustness;
mod sample;
mod signers;
mod terms;

use super::{Bundle, BundleFiles, Diagnostic, Diagnostics};
use crate::key::{CaKey, SignerKey};
use crate::log::VerifierKey;
use crate::names::ActorId;
use crate::testkit::software_key;

/// Four files that fit together, with `<alice>` in place of Alice's key and so on.
#[derive(Clone)]
pub(super) struct Files {
    people: String,
    hosts: String,
    policy: String,
    signers: String,
}

/// The good files.
pub(super) fn good() -> Files {
    Files {
        people: PEOPLE.to_owned(),
        hosts: HOSTS.to_owned(),
        policy: POLICY.to_owned(),
        signers: SIGNERS.to_owned(),
    }
}

impl Files {
    /// The files with `from`, which stands in `file` exactly once, changed to `to`.
    pub(super) fn with(mut self, file: &str, from: &str, to: &str) -> Files {
        let text = match file {
            "people.toml" => &mut self.people,
            "hosts.toml" => &mut self.hosts,
            "policy.toml" => &mut self.policy,
            "signers.toml" => &mut self.signers,
            other => unreachable!("no file {other}"),
        };
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
        *text = text.replace(from, to);
        self
    }

    pub(super) fn bytes(&self) -> BundleFiles {
        BundleFiles {
            people: with_keys(&self.people).into_bytes(),
            hosts: with_keys(&self.hosts).into_bytes(),
            policy: self.policy.clone().into_bytes(),
            signers: with_keys(&self.signers).into_bytes(),
        }
    }

    pub(super) fn parse(&self) -> Result<Bundle, Diagnostics> {
        Bundle::parse(7, &self.bytes(), &admins())
    }

    pub(super) fn problems(&self) -> Vec<Diagnostic> {
        self.parse().expect_err("these files have a problem").0
    }
}

/// Asserts for each case (from, to, message) that this change to `file` is one problem, there.
pub(super) fn assert_refused(file: &str, cases: &[(&str, &str, &str)]) {
    assert_refused_of(&good(), file, cases);
}

/// The same for other good files.
pub(super) fn assert_refused_of(good: &Files, file: &str, cases: &[(&str, &str, &str)]) {
    for (from, to, message) in cases {
        let problems = good.clone().with(file, from, to).problems();
        let shown = Diagnostics(problems.clone());
        let [problem] = problems.as_slice() else {
            panic!("{to:?} should be one problem, not these:\n{shown}")
        };
        assert_eq!(problem.file, file, "{to:?}:\n{shown}");
        assert_eq!(problem.message, *message, "{to:?}:\n{shown}");
    }
}

/// Asserts for each case (from, to) that this change to `file` is accepted.
pub(super) fn assert_accepted(file: &str, cases: &[(&str, &str)]) {
    assert_accepted_of(&good(), file, cases);
}

/// The same for other good files.
pub(super) fn assert_accepted_of(good: &Files, file: &str, cases: &[(&str, &str)]) {
    for (from, to) in cases {
        if let Err(problems) = good.clone().with(file, from, to).parse() {
            panic!("{to:?} should be accepted:\n{problems}");
        }
    }
}

/// The admins of the tests: one who is nobody else, and Bob.
pub(super) fn admins() -> Vec<(ActorId, SignerKey)> {
    let admin = |id: &str, seed| (id.parse().unwrap(), software_key(seed).1);
    vec![admin("root-admin", 4), admin("bob", 5)]
}

fn with_keys(text: &str) -> String {
    let mut text = text.to_owned();
    for (name, seed) in
        [("<alice>", 1), ("<bob>", 2), ("<bot>", 3), ("<admin>", 4), ("<bob-admin>", 5)]
    {
        text = text.replace(name, &software_key(seed).1.to_string());
    }
    for (name, seed) in [("<pipeline>", 7), ("<pipeline-2>", 8)] {
        text = text.replace(name, &software_key(seed).1.to_string());
    }
    text = text.replace("<carol>", &security_key(6).to_string());
    for (name, seed) in
        [("<ca>", 11), ("<ca-2>", 12), ("<log-as-ca>", 21), ("<host-ca>", 31), ("<host-ca-2>", 32)]
    {
        text = text.replace(name, &ca_key(seed).to_string());
    }
    for (name, seed) in [("<log>", 21), ("<log-2>", 22), ("<ca-as-log>", 11)] {
        let point = *software_key(seed).0.verifying_key().as_bytes();
        let key = VerifierKey::new("ca.example/1", &point).unwrap();
        text = text.replace(name, &key.to_string());
    }
    text
}

fn security_key(seed: u8) -> SignerKey {
    let point = *software_key(seed).0.verifying_key().as_bytes();
    let mut blob = crate::wire::Writer::default();
    blob.string(b"sk-ssh-ed25519@openssh.com").string(&point).string(b"ssh:");
    SignerKey::from_blob(&blob.into_bytes()).unwrap()
}

pub(super) fn ca_key(seed: u8) -> CaKey {
    CaKey::from_ed25519(software_key(seed).0.verifying_key().as_bytes()).unwrap()
}

#[test]
fn the_good_files_are_good() {
    let bundle = good().parse().unwrap();
    assert_eq!(bundle.version, 7);
    assert_eq!(bundle.people.iter().count(), 4);
    assert_eq!(bundle.hosts.iter().count(), 3);
    assert_eq!((bundle.policy.deny.len(), bundle.policy.allow.len()), (1, 2));
    assert_eq!(bundle.signers.iter().count(), 1);
}

const PEOPLE: &str = r#"
[[person]]
id = "alice"
name = "Alice Doe"
email = "alice@example.com"
keys = ["<alice> alice@laptop"]
groups = ["sre"]

[[person]]
id = "bob"
name = "Bob Roe"
keys = ["<bob>"]
groups = ["sre-leads", "sre"]

[[person]]
id = "carol"
name = "Carol"
keys = ["<carol>"]

[[machine]]
id = "deploy-bot"
keys = ["<bot>"]
groups = ["ci"]
"#;

const HOSTS: &str = r#"
[[host]]
name = "prod-host"
address = "10.0.0.5:22"
labels = { env = "prod", role = "web" }
logins = ["deploy", "root"]
via = "bastion"

[[host]]
name = "db-1"
labels = { env = "prod", role = "db" }
logins = ["postgres", "root"]

[[host]]
name = "bastion"
logins = ["jump"]
"#;

const POLICY: &str = r#"
auditors = ["group:sre-leads"]

[[deny]]
name = "nobody-as-root-on-db"
hosts = ["label:role=db"]
logins = ["root"]

[[allow]]
name = "sre-prod"
who = ["group:sre", "person:carol"]
hosts = ["prod-host", "web-*"]
logins = ["deploy"]
max_for = "30m"
cert_for = "5m"
reason = { min = 10, pattern = "INC-[0-9]+", hint = "name the incident" }
approvals = [{ from = ["group:sre-leads", "person:carol"], count = 2, strength = "any" }]
decide_within = "2h"
use_within = "10m"
permit = ["pty"]
source = "client"

[[allow]]
name = "pipeline"
who = ["machine:deploy-bot"]
hosts = ["label:env=prod,role=web"]
logins = ["root"]
max_for = "10m"
cert_for = "2m"
auto = {}
"#;

const SIGNERS: &str = r#"
[[signer]]
number = 1
ca_key = "<ca>"
log_key = "<log>"
"#;
