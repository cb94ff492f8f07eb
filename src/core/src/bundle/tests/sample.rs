//! The sample that `init` writes: valid and empty as it is, valid and whole without its prefix.

use super::*;
use crate::bundle::Approval;

const PEOPLE: &str = include_str!("../../../../../ca-config/people.toml");
const HOSTS: &str = include_str!("../../../../../ca-config/hosts.toml");
const POLICY: &str = include_str!("../../../../../ca-config/policy.toml");
const SIGNERS: &str = include_str!("../../../../../ca-config/signers.toml");

fn sample(change: impl Fn(&str) -> String) -> Bundle {
    let mut people = change(PEOPLE);
    for (name, seed) in [("{{alice}}", 1), ("{{bob}}", 2), ("{{deploy-bot}}", 3)] {
        people = people.replace(name, &software_key(seed).1.to_string());
    }
    let files = Files {
        people,
        hosts: change(HOSTS),
        policy: change(POLICY),
        signers: change(SIGNERS).replace("{{signers}}", super::SIGNERS),
    };
    files.parse().unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_sample_as_it_is_lets_nobody_do_anything() {
    let bundle = sample(str::to_owned);
    assert_eq!(bundle.people.iter().count(), 0);
    assert_eq!(bundle.hosts.iter().count(), 0);
    assert!(bundle.policy.allow.is_empty() && bundle.policy.deny.is_empty());
    assert!(bundle.policy.auditors.is_empty());
}

#[test]
fn the_sample_without_its_prefix_is_a_whole_bundle() {
    let uncomment = |text: &str| {
        text.lines()
            .map(|line| format!("{}\n", line.strip_prefix("#| ").unwrap_or(line)))
            .collect::<String>()
    };
    let bundle = sample(uncomment);
    let ids: Vec<_> = bundle.people.iter().map(|actor| actor.id.as_str()).collect();
    assert_eq!(ids, ["alice", "bob", "deploy-bot"]);
    assert!(bundle.hosts.get(&"prod-host".parse().unwrap()).is_some());
    assert_eq!((bundle.policy.deny.len(), bundle.policy.allow.len()), (1, 4));
    // It shows every field there is.
    let allow = &bundle.policy.allow;
    assert!(allow.iter().any(|rule| rule.break_glass.is_some()));
    assert!(allow.iter().any(|rule| rule.extend.is_some()));
    assert!(allow.iter().any(|rule| rule.on_behalf.is_some()));
    assert!(allow.iter().any(|rule| match &rule.approval {
        Approval::Auto(auto) => auto.hours.is_some() && auto.review_by.is_some(),
        Approval::Steps(_) => false,
    }));
}
