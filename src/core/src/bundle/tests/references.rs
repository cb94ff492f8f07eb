//! Names in rules must be there, in the role they are named in.

use super::*;
use crate::bundle::Who;

/// Asserts that this change to `policy.toml` is one problem with this message and help.
fn assert_unknown(from: &str, to: &str, message: &str, help: Option<&str>) {
    let problems = good().with("policy.toml", from, to).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].message.as_str(), problems[0].help.as_deref()), (message, help));
}

#[test]
fn who_must_be_someone() {
    let who = "who = [\"machine:deploy-bot\"]";
    let named = |name: &str| format!("who = [\"{name}\"]");
    for (name, message, help) in [
        ("person:alcie", "there is no person `alcie`", Some("did you mean `alice`?")),
        ("person:zoe", "there is no person `zoe`", None),
        (
            "machine:deploybot",
            "there is no machine `deploybot`",
            Some("did you mean `deploy-bot`?"),
        ),
        ("group:sre-lead", "nobody is in a group `sre-lead`", Some("did you mean `sre-leads`?")),
        ("machine:alice", "`alice` is not a machine", Some("write `person:alice`")),
        ("person:deploy-bot", "`deploy-bot` is not a person", Some("write `machine:deploy-bot`")),
    ] {
        assert_unknown(who, &named(name), message, help);
    }
    let form = "does not say who; write `person:ID`, `machine:ID` or `group:NAME`";
    for name in ["alice", "user:alice", "Person:alice", ""] {
        assert_unknown(who, &named(name), &format!("`{name}` {form}"), None);
    }
    assert_refused(
        "policy.toml",
        &[(who, "who = [\"group:ci\", \"group:ci\"]", "`group:ci` is listed twice")],
    );
    assert_accepted("policy.toml", &[(who, &named("person:alice")), (who, &named("group:ci"))]);
}

#[test]
fn auditors_must_be_someone() {
    let auditors = "auditors = [\"group:sre-leads\"]";
    assert_unknown(auditors, "auditors = [\"group:audit\"]", "nobody is in a group `audit`", None);
    assert_refused("policy.toml", &[(auditors, "auditors = []", "this list is empty")]);
    assert_accepted("policy.toml", &[(auditors, ""), (auditors, "auditors = [\"person:alice\"]")]);
}

#[test]
fn a_host_that_is_named_must_be_there() {
    let hosts = "hosts = [\"label:env=prod,role=web\"]";
    let help = Some("did you mean `prod-host`?");
    assert_unknown(hosts, "hosts = [\"prod-hots\"]", "there is no host `prod-hots`", help);
    // What fits no host yet may do so later; a rule without hosts has no logins to check.
    assert_accepted(
        "policy.toml",
        &[(hosts, "hosts = [\"new-*\"]"), (hosts, "hosts = [\"label:env=new\"]")],
    );
}

#[test]
fn a_login_must_be_offered_by_a_host_of_the_rule() {
    let message = "no host of this rule has the login `deplo`";
    assert_unknown(
        "logins = [\"deploy\"]",
        "logins = [\"deplo\"]",
        message,
        Some("did you mean `deploy`?"),
    );
    // `postgres` is a login of db-1, which this rule does not cover.
    let message = "no host of this rule has the login `postgres`";
    assert_unknown("logins = [\"deploy\"]", "logins = [\"postgres\"]", message, None);

    // A slip in a deny rule would let in whom it should keep out.
    let deny = "hosts = [\"label:role=db\"]\nlogins = [\"root\"]";
    let message = "no host of this rule has the login `roto`";
    assert_unknown(
        deny,
        "hosts = [\"db-1\"]\nlogins = [\"roto\"]",
        message,
        Some("did you mean `root`?"),
    );
    assert_unknown(deny, "logins = [\"roto\"]", message, Some("did you mean `root`?"));
    assert_accepted("policy.toml", &[(deny, "logins = [\"jump\"]")]);
}

#[test]
fn rule_names_are_unique_across_allow_and_deny() {
    let name = "name = \"pipeline\"";
    assert_refused(
        "policy.toml",
        &[
            (name, "name = \"sre-prod\"", "there are two rules named `sre-prod`"),
            (
                name,
                "name = \"nobody-as-root-on-db\"",
                "there are two rules named `nobody-as-root-on-db`",
            ),
        ],
    );
    assert_accepted("policy.toml", &[(name, "name = \"sre-prod-2\"")]);
}

#[test]
fn who_covers_exactly_whom_it_names() {
    let people = good().parse().unwrap().people;
    let covered = |text: &str| {
        let who: Who = text.parse().unwrap();
        assert_eq!(who.to_string(), text);
        people
            .iter()
            .filter(|actor| who.covers(actor))
            .map(|actor| actor.id.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(covered("person:alice"), ["alice"]);
    assert_eq!(covered("machine:deploy-bot"), ["deploy-bot"]);
    assert_eq!(covered("group:sre"), ["alice", "bob"]);
    let nobody: [&str; 0] = [];
    for other in ["person:deploy-bot", "machine:alice", "group:sr", "group:alice", "person:sre"] {
        assert_eq!(covered(other), nobody, "{other}");
    }
}
