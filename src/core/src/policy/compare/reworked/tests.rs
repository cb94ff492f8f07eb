//! Whatever changes in a rule is told, and what does not change is not.

use proptest::prelude::*;

use super::*;
use crate::policy::compare::compare;
use crate::policy::texts::{Texts, allow, texts};

fn found(old: &Texts, new: &Texts) -> Vec<String> {
    let (old, new) = (old.bundle(), new.bundle());
    reworked(&old, &new, &compare(&old, &new)).iter().map(ToString::to_string).collect()
}

/// Two rules with every field, so that each can change alone.
const FULL: &str = r#"[[deny]]
name = "no-root"
who = ["person:dave"]
hosts = ["test-1"]
logins = ["deploy"]

[[allow]]
name = "prod"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["deploy"]
max_for = "30m"
cert_for = "5m"
reason = { min = 5, pattern = "INC", hint = "which" }
approvals = [{ from = ["group:leads"], count = 1, strength = "any" }]
decide_within = "1h"
use_within = "15m"
permit = ["pty"]
source = "client"
subject_key = "any"
break_glass = { strength = "any", max_for = "10m", notify = ["person:carol"] }
extend = { max = "20m", times = 2 }

[[allow]]
name = "all"
who = ["group:sre"]
hosts = ["*"]
logins = ["deploy", "root"]
max_for = "20m"
cert_for = "5m"
auto = { hours = "Mon-Fri 08:00-18:00 UTC", review_by = "2027-01-31" }
"#;

/// A change of one field, and the rule it is in.
const CHANGES: [(&str, &str, &str); 30] = [
    ("who = [\"person:dave\"]", "who = [\"person:bob\"]", "no-root"),
    ("hosts = [\"test-1\"]", "hosts = [\"test-*\"]", "no-root"),
    ("logins = [\"deploy\"]\n\n", "\n", "no-root"),
    ("who = [\"group:sre\"]\nhosts = [\"l", "who = [\"person:alice\"]\nhosts = [\"l", "prod"),
    ("label:env=prod", "web-*", "prod"),
    ("logins = [\"deploy\"]\nmax", "logins = [\"root\"]\nmax", "prod"),
    ("max_for = \"30m\"", "max_for = \"31m\"", "prod"),
    ("cert_for = \"5m\"\nreason", "cert_for = \"6m\"\nreason", "prod"),
    ("min = 5", "min = 6", "prod"),
    ("pattern = \"INC\"", "pattern = \"CHG\"", "prod"),
    ("hint = \"which\"", "hint = \"say\"", "prod"),
    ("group:leads", "person:carol\", \"person:bob", "prod"),
    ("count = 1", "count = 2", "prod"),
    ("strength = \"any\" }]", "strength = \"hardware\" }]", "prod"),
    ("decide_within = \"1h\"", "decide_within = \"2h\"", "prod"),
    ("use_within = \"15m\"", "use_within = \"16m\"", "prod"),
    ("permit = [\"pty\"]", "permit = []", "prod"),
    ("source = \"client\"", "source = [\"10.0.0.0/8\"]", "prod"),
    ("subject_key = \"any\"", "subject_key = \"verified\"", "prod"),
    ("break_glass = { strength = \"any\"", "break_glass = { strength = \"hardware\"", "prod"),
    ("max_for = \"10m\"", "max_for = \"9m\"", "prod"),
    (", notify = [\"person:carol\"]", "", "prod"),
    ("max = \"20m\"", "max = \"19m\"", "prod"),
    ("times = 2", "times = 3", "prod"),
    ("[\"*\"]", "[\"web-*\"]", "all"),
    ("08:00", "09:00", "all"),
    ("2027-01-31", "2027-02-01", "all"),
    ("auto = { hours", "approvals = [{ from = [\"group:leads\"], count = 1 }] #", "all"),
    ("max_for = \"20m\"", "max_for = \"21m\"", "all"),
    ("name = \"all\"", "name = \"every\"", "every"),
];

proptest! {
    #[test]
    fn a_changed_field_of_a_rule_is_never_nothing(
        chosen in prop::collection::btree_set(0..CHANGES.len(), 1..4),
        back in any::<bool>(),
    ) {
        let people = "alice* sre\ndave* sre\nbob* leads,sre\ncarol* leads\nbot! ci";
        let old = texts(FULL).people(people);
        let mut new = old.clone();
        for place in &chosen {
            let (from, to, _) = CHANGES[*place];
            prop_assert!(new.policy.contains(from), "{from} is not there");
            new.policy = new.policy.replacen(from, to, 1);
        }
        let said = if back { found(&new, &old) } else { found(&old, &new) };
        for place in &chosen {
            let (from, _, rule) = CHANGES[*place];
            let start = format!("rule {}:", if back && rule == "every" { "all" } else { rule });
            // A rule that is renamed too is told as another rule.
            let renamed = chosen.contains(&(CHANGES.len() - 1)) && rule == "all";
            prop_assert!(
                renamed || said.iter().any(|line| line.starts_with(&start)),
                "{from}: {said:?}"
            );
        }
    }
}

#[test]
fn the_same_rules_in_another_spelling_are_the_same() {
    let old = texts(FULL);
    assert!(found(&old, &old).is_empty());
    let spelled = FULL
        .replace("logins = [\"deploy\", \"root\"]", "logins = [\"root\", \"deploy\"] # both")
        .replace("\"30m\"", "\"1800s\"");
    assert_eq!(found(&old, &old.clone().policy(&spelled)), Vec::<String>::new());
}

#[test]
fn other_approvers_are_told_though_they_could_approve_there_by_another_rule() {
    let by = |from: &str| format!("approvals = [{{ from = [\"{from}\"], count = 1 }}]");
    let other = allow("web", "hosts = [\"label:env=prod\"]\nlogins = [\"root\"]");
    let people = "alice sre\nbob leads,chiefs\ncarol leads,chiefs\nbot! ci";
    let old = texts(&(allow("prod", &by("group:leads")) + &other)).people(people);
    let new = old.clone().policy(&(allow("prod", &by("group:chiefs")) + &other));
    let (was, is) = (old.bundle(), new.bundle());
    assert!(compare(&was, &is).is_empty(), "everybody may what they could");
    assert_eq!(
        found(&old, &new),
        ["rule prod: approvals now from group:chiefs instead of group:leads"]
    );
    // The same by who is in the group.
    let moved = old.clone().people("alice sre\nbob leads,chiefs\ncarol chiefs\nbot! ci");
    let policy = old.policy.clone() + &allow("also", &by("group:chiefs"));
    let (old, moved) = (old.policy(&policy), moved.policy(&policy));
    assert!(compare(&old.bundle(), &moved.bundle()).is_empty());
    assert_eq!(
        found(&old, &moved),
        [
            "rule prod: those who approve from group:leads, no longer carol",
            "rule web: those who approve from group:leads, no longer carol",
        ]
    );
}

#[test]
fn order_new_rules_hosts_and_keys_are_told() {
    let (a, b, c) = (allow("a", ""), allow("b", ""), allow("c", "cert_for = \"4m\""));
    let old = texts(&format!("{a}{b}{c}"));
    let with = |policy: String| found(&old, &old.clone().policy(&policy));
    assert_eq!(with(format!("{b}{a}{c}")), ["order of the rules: b, a instead of a, b"]);
    assert_eq!(with(format!("{a}{c}")), ["rule b: allows nothing any more: it is gone"]);
    let d = allow("d", "");
    assert_eq!(with(format!("{a}{d}{b}{c}")), ["rule d: new, before b"]);
    assert_eq!(with(format!("{a}{b}{c}{d}")), ["rule d: new, last of all"]);
    let hosts = old.hosts.replace("web-2", "web-3");
    assert_eq!(found(&old, &old.clone().hosts(&hosts)), ["new host: web-3", "gone host: web-2"]);
    let people = old.people.replace("dave sre", "dave* sre");
    assert_eq!(found(&old, &old.clone().people(&people)), ["other keys to sign with: dave"]);
    let auditors = format!("auditors = [\"person:bob\"]\n{}", old.policy);
    assert_eq!(with(auditors), ["auditors now person:bob instead of none"]);
}

#[test]
fn who_is_told_to_gain_or_lose_is_not_told_of_again() {
    let old = texts(&allow("prod", ""));
    let new = old.clone().people(&format!("{}\nerin sre", old.people));
    assert_eq!(compare(&old.bundle(), &new.bundle()).len(), 1);
    assert!(found(&old, &new).is_empty());
}
