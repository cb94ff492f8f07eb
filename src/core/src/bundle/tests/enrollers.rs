//! Who may vouch for hosts that the file does not list.

use super::*;
use crate::bundle::Hosts;
use crate::bundle::enrollers::{DEFAULT_MAX_HOSTS, Values};

const ENROLLER: &str = r#"
[[enroller]]
id = "builder"
keys = ["<pipeline>"]
names = ["ci-*", "build-?"]
labels = { env = ["staging", "ci"], tier = ["*"] }
logins = ["ci"]
max_for = "7d"
max_uses = 100
"#;

/// The good files with an enroller.
fn enrolling() -> Files {
    let good = good();
    Files { hosts: good.hosts + ENROLLER, ..good }
}

#[test]
fn enrollers_are_found_by_id_and_say_what_they_may_give() {
    let hosts = enrolling().parse().unwrap().hosts;
    let enroller = hosts.enrollers.get(&"builder".parse().unwrap()).unwrap();
    assert!(enroller.may_name(&"ci-77".parse().unwrap()));
    assert!(enroller.may_name(&"build-7".parse().unwrap()));
    assert!(!enroller.may_name(&"build-77".parse().unwrap()));
    let may =
        |key: &str, value: &str| enroller.may_label(&key.parse().unwrap(), &value.parse().unwrap());
    assert!(may("env", "ci") && may("tier", "Whatever"));
    assert!(!may("env", "prod") && !may("role", "web"));
    assert_eq!(enroller.labels.get(&"tier".parse().unwrap()), Some(&Values::Any));
    assert_eq!((enroller.max_uses, enroller.max_hosts), (Some(100), DEFAULT_MAX_HOSTS));
    assert!(hosts.enrollers.get(&"deploy-bot".parse().unwrap()).is_none());
}

#[test]
fn fields_of_enrollers_are_checked() {
    let cases = [
        ("id = \"builder\"\n", "", "[[enroller]] lacks the field `id`"),
        ("keys = [\"<pipeline>\"]\n", "", "[[enroller]] lacks the field `keys`"),
        ("[\"<pipeline>\"]", "[]", "this list is empty"),
        ("[\"<pipeline>\"]", "[\"<pipeline>\", \"<pipeline>\"]", "this key stands twice"),
        ("[\"ci-*\", \"build-?\"]", "[]", "this list is empty"),
        ("logins = [\"ci\"]", "logins = []", "this list is empty"),
        ("env = [\"staging\", \"ci\"]", "env = []", "this list is empty"),
        ("env = [\"staging\", \"ci\"]", "env = \"ci\"", "expected a list, found a string"),
        ("max_for = \"7d\"\n", "", "[[enroller]] lacks the field `max_for`"),
        ("max_for = \"7d\"", "max_for = \"0s\"", "a duration must be longer than zero"),
        (
            "max_for = \"7d\"",
            "max_for = \"30d1s\"",
            "30d1s is too long; a host is vouched for anew after 30 d at most",
        ),
        ("max_uses = 100", "max_uses = 0", "this number must be from 1 to 10000"),
        ("max_uses = 100", "max_uses = 10001", "this number must be from 1 to 10000"),
        ("max_uses = 100", "max_hosts = 0", "this number must be from 1 to 100000"),
        ("max_uses = 100", "uses = 1", "`uses` is not a field of [[enroller]]"),
    ];
    assert_refused_of(&enrolling(), "hosts.toml", &cases);
    let accepted = [
        ("max_uses = 100", "max_uses = 10000\nmax_hosts = 100000"),
        ("max_uses = 100\n", ""),
        ("labels = { env = [\"staging\", \"ci\"], tier = [\"*\"] }\n", ""),
        ("max_for = \"7d\"", "max_for = \"30d\""),
    ];
    assert_accepted_of(&enrolling(), "hosts.toml", &accepted);
}

#[test]
fn no_enroller_names_a_listed_host() {
    let names = "\"build-?\"";
    let refused = |glob: &str, host: &str| {
        let problems = enrolling().with("hosts.toml", names, &format!("\"{glob}\"")).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            problems[0].message,
            format!("`{glob}` covers the host `{host}`, which this file lists")
        );
    };
    refused("*", "prod-host");
    refused("db-?", "db-1");
    refused("bastion", "bastion");
    assert_accepted_of(
        &enrolling(),
        "hosts.toml",
        &[(names, "\"db-??\""), (names, "\"bastion?\"")],
    );
    // Alone, as a client reads it, the file is held against itself all the same.
    let files = enrolling().with("hosts.toml", names, "\"*\"").bytes();
    assert!(Hosts::parse(&files.hosts).is_err());
    assert!(Hosts::parse(&enrolling().bytes().hosts).is_ok());
}

#[test]
fn an_enroller_is_nobody_else() {
    let id = "id = \"builder\"";
    let other = "[[enroller]]\nid = \"builder\"\nkeys = [\"<pipeline-2>\"]\nnames = [\"x-*\"]\nlogins = [\"ci\"]\nmax_for = \"1d\"\n[[enroller]]";
    assert_refused_of(
        &enrolling(),
        "hosts.toml",
        &[
            (id, "id = \"alice\"", "the id `alice` is taken"),
            (id, "id = \"deploy-bot\"", "the id `deploy-bot` is taken"),
            (id, "id = \"root-admin\"", "the id `root-admin` is taken"),
            ("<pipeline>", "<alice>", "this key belongs to `alice`"),
            ("<pipeline>", "<bot>", "this key belongs to `deploy-bot`"),
            ("<pipeline>", "<admin>", "this key belongs to `root-admin`"),
            ("[[enroller]]", other, "there are two enrollers with the id `builder`"),
        ],
    );
    let second = other.replace("builder", "second");
    let twice = second.replace("<pipeline-2>", "<pipeline>");
    assert_refused_of(
        &enrolling(),
        "hosts.toml",
        &[("[[enroller]]", &twice, "this key stands twice")],
    );
    assert_accepted_of(&enrolling(), "hosts.toml", &[("[[enroller]]", &second)]);
}

#[test]
fn rules_may_name_what_an_enroller_may_give() {
    let hosts = "hosts = [\"prod-host\", \"web-*\"]";
    let logins = "logins = [\"deploy\"]";
    let accepted =
        [(hosts, "hosts = [\"prod-host\", \"ci-7\"]"), (logins, "logins = [\"deploy\", \"ci\"]")];
    assert_accepted_of(&enrolling(), "policy.toml", &accepted);
    assert_refused_of(
        &enrolling(),
        "policy.toml",
        &[
            (hosts, "hosts = [\"prod-host\", \"cj-7\"]", "there is no host `cj-7`"),
            (logins, "logins = [\"deploy\", \"cj\"]", "no host of this rule has the login `cj`"),
        ],
    );
}

#[test]
fn nobody_joins_as_what_a_listed_host_is_reached_by() {
    for (glob, fits) in [("www*", false), ("db.example.com", false), ("*.example.org", true)] {
        let mut files = enrolling();
        files.hosts = files.hosts.replace("\"ci-*\"", &format!("\"{glob}\""));
        files.hosts = files.hosts.replacen(
            "address = \"10.0.0.5:22\"",
            "address = \"DB.example.com:2222\"\naliases = [\"www\"]",
            1,
        );
        match (files.parse(), fits) {
            (Ok(bundle), true) => {
                let owner = |name: &str| bundle.hosts.owner(&name.parse().unwrap()).cloned();
                let first = bundle.hosts.iter().next().unwrap().name.clone();
                assert_eq!(owner("www"), Some(first.clone()));
                assert_eq!(owner("db.example.com"), Some(first));
                assert_eq!(owner("other"), None);
            }
            (Err(problems), false) => {
                let text = problems.to_string();
                assert!(text.contains("covers an alias or the address of the host"), "{text}");
            }
            (parsed, _) => panic!("{glob}: {:?}", parsed.map(|_| ())),
        }
    }
}
