//! What a change gives and takes, and changes that change nothing.

use super::*;
use crate::policy::texts::{Texts, allow, texts};

fn shifts(old: &Texts, new: &Texts) -> Vec<String> {
    compare(&old.bundle(), &new.bundle()).iter().map(ToString::to_string).collect()
}

/// Going there and back says the same with gains and losses exchanged.
#[track_caller]
fn both_ways(old: &Texts, new: &Texts, expected: &[&str]) {
    assert_eq!(shifts(old, new), expected);
    let turn = |line: &&str| {
        let gains = line.contains(" gain");
        let (from, to) = if gains { (" gain", " lose") } else { (" lose", " gain") };
        line.replacen(from, to, 1)
    };
    let mut expected: Vec<String> = expected.iter().map(turn).collect();
    let mut found = shifts(new, old);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn nothing_changes_where_only_words_change() {
    let old = texts(&allow("prod", ""));
    assert!(shifts(&old, &old).is_empty());
    // Another name, the same hosts in other words, split in two.
    for policy in [
        allow("production", ""),
        allow("prod", "hosts = [\"web-1\", \"web-2\", \"db-*\"]"),
        allow("a", "hosts = [\"web-*\"]") + &allow("b", "hosts = [\"db-1\"]"),
        allow("prod", "cert_for = \"4m\""),
    ] {
        assert_eq!(shifts(&old, &old.clone().policy(&policy)), Vec::<String>::new(), "{policy}");
    }
}

#[test]
fn a_person_who_leaves_a_group_loses_what_its_rules_gave() {
    let old = texts(&allow("prod", ""));
    let new = old.clone().people("alice sre\ndave sre\nbob sre\ncarol leads\nbot! ci");
    both_ways(&old, &new, &["bob loses: approve on label:env=prod (rule prod)"]);
    let new = old.clone().people("alice sre\ndave sre\nbob leads\ncarol leads\nbot! ci");
    both_ways(
        &old,
        &new,
        &["bob loses: ask as deploy on label:env=prod for up to 30m (rule prod)"],
    );
}

#[test]
fn a_new_rule_gives_and_a_new_person_gains() {
    let old = texts(&allow("prod", ""));
    let web = allow("sre-web", "who = [\"person:carol\"]\nhosts = [\"web-*\"]\nmax_for = \"20m\"");
    let new = old.clone().policy(&(old.policy.clone() + &web));
    both_ways(&old, &new, &["carol gains: ask as deploy on web-* for up to 20m (rule sre-web)"]);
    let new = old.clone().people(&format!("{}\nerin sre", old.people));
    both_ways(
        &old,
        &new,
        &["erin gains: ask as deploy on label:env=prod for up to 30m (rule prod)"],
    );
}

#[test]
fn more_than_three_are_told_as_their_group() {
    let people = "a sre\nb sre\nc sre\nd sre\nbob leads\ncarol leads\nerin ops";
    let old = texts(&allow("prod", "")).people(people);
    let new = old.clone().policy(&allow("prod", "logins = [\"deploy\", \"root\"]"));
    both_ways(
        &old,
        &new,
        &["4 of group:sre gain: ask as root on label:env=prod for up to 30m (rule prod)"],
    );
    let few = people.replace("a sre\n", "");
    let (old, new) = (old.people(&few), new.people(&few));
    both_ways(
        &old,
        &new,
        &["b, c, d gain: ask as root on label:env=prod for up to 30m (rule prod)"],
    );
}

#[test]
fn a_host_that_comes_says_nothing_and_a_label_does() {
    let old = texts(&allow("prod", ""));
    let new = old.clone().hosts(&format!("{}\nweb-3 deploy env=prod", old.hosts));
    both_ways(&old, &new, &[]);
    let new = old.clone().hosts(&old.hosts.replace("env=test", "env=prod"));
    both_ways(
        &old,
        &new,
        &[
            "alice, bob, dave gain: ask as deploy on test-1 for up to 30m (rule prod)",
            "bob, carol gain: approve on test-1 (rule prod)",
        ],
    );
}

#[test]
fn a_rule_for_hosts_that_are_to_come_is_told_by_its_pattern() {
    let old = texts(&allow("prod", ""));
    let mail = allow("mail", "who = [\"person:carol\"]\nhosts = [\"mail-*\"]\nauto = {}");
    let new = old.clone().policy(&(old.policy.clone() + &mail));
    both_ways(
        &old,
        &new,
        &["carol gains: ask without approval as deploy on mail-* for up to 30m (rule mail)"],
    );
}

#[test]
fn longer_access_and_fewer_approvals_are_gains() {
    let old = texts(&allow("prod", "who = [\"person:alice\"]"));
    let new = old.clone().policy(&allow("prod", "who = [\"person:alice\"]\nmax_for = \"1h\""));
    both_ways(
        &old,
        &new,
        &["alice gains: ask for up to 1h instead of 30m as deploy on label:env=prod (rule prod)"],
    );
    let new = old.clone().policy(&allow("prod", "who = [\"person:alice\"]\nauto = {}"));
    both_ways(
        &old,
        &new,
        &[
            "bob, carol lose: approve on label:env=prod (rule prod)",
            "alice gains: go without approval as deploy on label:env=prod (rule prod)",
        ],
    );
    // An automatic rule below one that asks somebody is never the first to fit.
    let below = old.policy.clone() + &allow("auto", "who = [\"person:alice\"]\nauto = {}");
    both_ways(&old, &old.clone().policy(&below), &[]);
}

#[test]
fn a_deny_rule_takes_away_what_it_touches() {
    let old = texts(&allow("prod", "logins = [\"deploy\", \"root\"]\nwho = [\"person:alice\"]"));
    let deny = "[[deny]]\nname = \"d\"\nhosts = [\"label:role=db\"]\nlogins = [\"root\"]\n";
    let new = old.clone().policy(&(deny.to_owned() + &old.policy));
    both_ways(&old, &new, &["alice loses: ask as root on db-1 for up to 30m (rule prod)"]);
}

#[test]
fn glass_and_machines_have_words_of_their_own() {
    let old = texts(&allow("prod", "who = [\"person:alice\"]"));
    let terms = "who = [\"person:alice\"]\nbreak_glass = { strength = \"hardware\" }";
    both_ways(
        &old,
        &old.clone().policy(&allow("prod", terms)),
        &["alice gains: break the glass as deploy on label:env=prod (rule prod)"],
    );
    let bot = allow(
        "bot",
        "who = [\"machine:bot\"]\non_behalf = [\"person:carol\"]\napprovals = [{ from = [\"person:bob\"], count = 1 }]",
    );
    both_ways(
        &old,
        &old.clone().policy(&(old.policy.clone() + &bot)),
        &[
            "bot gains: ask for others as deploy on label:env=prod for up to 30m (rule bot)",
            "carol gains: get in, where a machine asks for them, as deploy on label:env=prod for up to 30m (rule bot)",
        ],
    );
}

#[test]
fn a_key_that_is_too_weak_takes_the_approval_away() {
    let rule = "approvals = [{ from = [\"group:leads\"], count = 1, strength = \"hardware\" }]";
    let old = texts(&allow("prod", rule)).people("alice sre\nbob* leads\ncarol* leads");
    let new = old.clone().people("alice sre\nbob leads\ncarol* leads");
    both_ways(&old, &new, &["bob loses: approve on label:env=prod (rule prod)"]);
}

#[test]
fn who_may_read_everything_is_told_by_person() {
    let old = texts(&format!("auditors = [\"group:audit\"]\n{}", allow("prod", "")));
    let old = old
        .people("alice sre\ndave sre\nbob leads,sre\ncarol leads\nmona audit\neve none\nbot! ci");
    let same = old.clone().people(&old.people.replace("none", "other"));
    both_ways(&old, &same, &[]);
    let new = old.clone().people(&old.people.replace("none", "audit"));
    both_ways(&old, &new, &["eve gains: read all requests and the log"]);
    // Named in the policy, among them a machine; and who was one already gains nothing.
    let auditors = "[\"group:audit\", \"person:mona\", \"person:eve\", \"machine:bot\"]";
    let new = old.clone().policy(&old.policy.replace("[\"group:audit\"]", auditors));
    both_ways(&old, &new, &["bot, eve gain: read all requests and the log"]);
}
