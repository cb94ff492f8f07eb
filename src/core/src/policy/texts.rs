//! Bundles in a few words, for tests.

use crate::bundle::{Bundle, BundleFiles};
use crate::key::SignerKey;
use crate::testkit::{World, software_key};

/// A bundle in a few words.
#[derive(Clone)]
pub(super) struct Texts {
    /// `alice sre,leads` a line: an id and its groups; `*` after the id for a security key, `!` for a
    /// machine.
    pub(super) people: String,
    /// `web-1 deploy,root env=prod via=bastion` a line: a name, its logins, its labels, the bastion before it.
    pub(super) hosts: String,
    /// `policy.toml`.
    pub(super) policy: String,
}

/// Alice and dave of `sre`, bob and carol of `leads`, and a machine.
pub(super) fn texts(policy: &str) -> Texts {
    Texts {
        people: "alice sre\ndave sre\nbob leads,sre\ncarol leads\nbot! ci".to_owned(),
        hosts: "web-1 deploy,root env=prod\nweb-2 deploy,root env=prod\ndb-1 deploy,root env=prod,role=db\ntest-1 deploy env=test".to_owned(),
        policy: policy.to_owned(),
    }
}

/// An allow rule with what `terms` says, and good terms for what it leaves out.
pub(super) fn allow(name: &str, terms: &str) -> String {
    let good = [
        ("who", "who = [\"group:sre\"]"),
        ("hosts", "hosts = [\"label:env=prod\"]"),
        ("logins", "logins = [\"deploy\"]"),
        ("max_for", "max_for = \"30m\""),
        ("cert_for", "cert_for = \"5m\""),
        ("approvals", "approvals = [{ from = [\"group:leads\"], count = 1 }]"),
    ];
    let said = |field: &str| {
        terms.lines().any(|line| {
            let start = line.split(' ').next();
            start == Some(field) || (field == "approvals" && start == Some("auto"))
        })
    };
    let rest: Vec<&str> =
        good.iter().filter(|(field, _)| !said(field)).map(|(_, line)| *line).collect();
    format!("[[allow]]\nname = \"{name}\"\n{}\n{terms}\n\n", rest.join("\n"))
}

impl Texts {
    pub(super) fn people(mut self, people: &str) -> Texts {
        self.people = people.to_owned();
        self
    }

    pub(super) fn hosts(mut self, hosts: &str) -> Texts {
        self.hosts = hosts.to_owned();
        self
    }

    pub(super) fn policy(mut self, policy: &str) -> Texts {
        self.policy = policy.to_owned();
        self
    }

    pub(super) fn files(&self) -> BundleFiles {
        let people = self.people.lines().map(person).collect::<String>();
        let hosts = self.hosts.lines().map(host).collect::<String>();
        BundleFiles {
            people: people.into_bytes(),
            hosts: hosts.into_bytes(),
            policy: self.policy.clone().into_bytes(),
            signers: World::default().files("").signers,
        }
    }

    pub(super) fn bundle(&self) -> Bundle {
        Bundle::parse(1, &self.files(), &[]).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

fn list(items: &str) -> String {
    let quoted = items.split(',').filter(|item| !item.is_empty());
    quoted.map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}

fn person(line: &str) -> String {
    let (id, groups) = line.split_once(' ').unwrap_or((line, ""));
    let bare = id.trim_end_matches(['*', '!']);
    // The same person has the same key whoever else is there.
    let seed = bare.bytes().fold(7u8, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte));
    let key = if id.ends_with('*') { security_key(seed) } else { software_key(seed).1 };
    let kind = if id.ends_with('!') { "[[machine]]" } else { "[[person]]\nname = \"X\"" };
    format!("{kind}\nid = \"{bare}\"\nkeys = [\"{key}\"]\ngroups = [{}]\n", list(groups))
}

fn security_key(seed: u8) -> SignerKey {
    let point = *software_key(seed).0.verifying_key().as_bytes();
    let mut blob = crate::wire::Writer::default();
    blob.string(b"sk-ssh-ed25519@openssh.com").string(&point).string(b"ssh:");
    SignerKey::from_blob(&blob.into_bytes()).unwrap()
}

fn host(line: &str) -> String {
    let mut words = line.split(' ');
    let (name, logins) = (words.next().unwrap(), words.next().unwrap());
    let (labels, via) = (words.next().unwrap_or_default(), words.next());
    let labels = labels.split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once('=').unwrap();
        format!("{key} = \"{value}\"")
    });
    let labels = labels.collect::<Vec<_>>().join(", ");
    let via = via.and_then(|word| word.strip_prefix("via="));
    let via = via.map(|via| format!("via = \"{via}\"\n")).unwrap_or_default();
    let logins = list(logins);
    format!("[[host]]\nname = \"{name}\"\nlogins = [{logins}]\nlabels = {{ {labels} }}\n{via}")
}
