//! What people read before they sign.

use jit_ssh_core::bundle::BundleFiles;

use super::*;
use crate::testkeys::{ca_key, public};

struct Texts {
    people: String,
    hosts: String,
    policy: String,
}

impl Texts {
    fn clone_with(&self, from: &str, to: &str) -> Texts {
        let (people, hosts) = (self.people.clone(), self.hosts.clone());
        Texts { people, hosts, policy: self.policy.replace(from, to) }
    }

    fn new() -> Texts {
        let key = public(1);
        Texts {
            people: format!(
                "[[person]]\nid = \"alice\"\nname = \"Alice\"\nkeys = [\"{key}\"]\ngroups = [\"sre\"]\n"
            ),
            hosts: "[[host]]\nname = \"web-1\"\nlogins = [\"deploy\"]\n".to_owned(),
            policy: rule("one"),
        }
    }

    fn parse(&self) -> Bundle {
        let log = jit_ssh_signer::log::LogKey::from_seed("jit-ssh/test/1", &[60; 32]).unwrap();
        let signers = format!(
            "[[signer]]\nnumber = 1\nca_key = \"{}\"\nlog_key = \"{}\"\n",
            ca_key(50),
            log.verifier()
        );
        let files = BundleFiles {
            people: self.people.clone().into(),
            hosts: self.hosts.clone().into(),
            policy: self.policy.clone().into(),
            signers: signers.into(),
        };
        Bundle::parse(1, &files, &[]).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

fn rule(name: &str) -> String {
    format!(
        "[[allow]]\nname = \"{name}\"\nwho = [\"group:sre\"]\nhosts = [\"web-1\"]\n\
         logins = [\"deploy\"]\nmax_for = \"30m\"\ncert_for = \"5m\"\nauto = {{}}\n"
    )
}

fn shown(old: &Texts, new: &Texts) -> Vec<String> {
    let changes = between(Some(&old.parse()), &new.parse());
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_changed_says_nothing_and_comments_are_nothing() {
    let (old, mut new) = (Texts::new(), Texts::new());
    assert!(shown(&old, &new).is_empty());
    new.hosts.insert_str(0, "# a comment\n");
    assert!(shown(&old, &new).is_empty());
}

#[test]
fn the_first_bundle_is_all_new() {
    let changes = between(None, &Texts::new().parse());
    let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let heads: Vec<&str> = shown.iter().filter_map(|text| text.lines().next()).collect();
    assert_eq!(heads, ["+ person alice", "+ host web-1", "+ allow rule one", "+ signer 1"]);
    assert!(shown[2].contains("\n    approvals: none, it approves by itself"), "{}", shown[2]);
    assert!(!shown[0].contains("email"), "what is not there is not told");
}

#[test]
fn changes_are_told_by_field_with_before_and_after() {
    let (old, mut new) = (Texts::new(), Texts::new());
    new.people = new.people.replace("[\"sre\"]", "[\"sre\", \"ops\"]");
    new.hosts = new.hosts.replace("\"deploy\"]", "\"deploy\"]\nlabels = { env = \"prod\" }");
    new.policy = new
        .policy
        .replace("30m", "1h")
        .replace("auto = {}", "approvals = [{ from = [\"group:ops\"], count = 1 }]");
    new.people.push_str(&format!(
        "[[person]]\nid = \"bob\"\nname = \"Bob\"\nkeys = [\"{}\"]\ngroups = [\"ops\"]\n",
        public(2)
    ));
    let fingerprint = public(2).fingerprint();
    assert_eq!(
        shown(&old, &new),
        [
            "~ person alice\n    groups: sre -> ops, sre".to_owned(),
            format!("+ person bob\n    name: Bob\n    keys: {fingerprint}\n    groups: ops"),
            "~ host web-1\n    labels: none -> env=prod".to_owned(),
            "~ allow rule one\n    approvals: none, it approves by itself -> \
             1 of group:ops (strength any)\n    max_for: 30m -> 1h"
                .to_owned(),
        ]
    );
}

#[test]
fn removed_things_and_another_order_of_rules_are_told() {
    let (mut old, mut new) = (Texts::new(), Texts::new());
    old.policy = format!("{}{}", rule("one"), rule("two"));
    new.policy = format!("{}{}", rule("two"), rule("one"));
    assert_eq!(shown(&old, &new), ["~ order of the allow rules\n    order: one, two -> two, one"]);
    new.policy = rule("one");
    assert_eq!(shown(&old, &new), ["- allow rule two", "- order of the allow rules"]);
}

#[test]
fn every_term_of_a_rule_is_told_when_it_changes() {
    let old = Texts::new();
    let mut new = old.clone_with(
        "auto = {}",
        "auto = { hours = \"Mon-Fri 08:00-18:00 UTC\", review_by = \"2030-01-31\" }",
    );
    assert_eq!(
        shown(&old, &new),
        ["~ allow rule one\n    approvals: none, it approves by itself -> \
          none, it approves by itself within Mon-Fri 08:00-18:00 UTC, last on 2030-01-31"]
    );
    new = old.clone_with("auto = {}", "auto = {}\nextend = { max = \"10m\", times = 2 }");
    assert_eq!(
        shown(&old, &new),
        ["~ allow rule one\n    extend: none -> 2 times, each by at most 10m"]
    );
    let asks = "approvals = [{ from = [\"person:alice\"], count = 1 }]";
    let (old, new) = (
        old.clone_with("auto = {}", asks),
        old.clone_with(
            "auto = {}",
            &format!("{asks}\nbreak_glass = {{ strength = \"hardware\" }}"),
        ),
    );
    assert_eq!(
        shown(&old, &new),
        ["~ allow rule one\n    break_glass: none -> for at most 30m with strength hardware"]
    );
}
