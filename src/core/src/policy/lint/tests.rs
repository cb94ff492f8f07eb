//! Each finding stands beside the same rules with one thing changed, of which nothing is said.

use super::*;
use crate::policy::texts::{Texts, allow, texts};
use crate::testkit::START;

/// What is found, as kind, severity and rule.
fn found(texts: &Texts) -> Vec<(&'static str, &'static str, String)> {
    lint(&texts.bundle(), &texts.files(), START)
        .into_iter()
        .map(|finding| {
            let rule = finding.rule.map(|rule| rule.to_string()).unwrap_or_default();
            (finding.kind.as_str(), finding.severity.as_str(), rule)
        })
        .collect()
}

#[track_caller]
fn clean(texts: &Texts) {
    assert_eq!(found(texts), []);
}

#[track_caller]
fn one(texts: &Texts, kind: &'static str, severity: &'static str, rule: &str) {
    assert_eq!(found(texts), [(kind, severity, rule.to_owned())]);
}

#[test]
fn good_rules_and_no_rules_are_nothing_to_speak_of() {
    clean(&texts(&allow("prod", "")));
    clean(&texts(""));
    clean(&texts("").people("").hosts(""));
}

#[test]
fn a_rule_that_an_earlier_one_covers_is_an_error_and_each_way_out_of_it_is_not() {
    let wide =
        allow("wide", "logins = [\"deploy\", \"root\"]\nhosts = [\"label:env=prod\", \"test-*\"]");
    let shadowed = |terms: &str| texts(&(wide.clone() + &allow("narrow", terms)));
    for terms in [
        "",
        "max_for = \"10m\"",
        "logins = [\"root\"]",
        "hosts = [\"label:env=prod,role=db\"]",
        "hosts = [\"test-1\"]",
        "hosts = [\"test-*\"]\nauto = {}",
        "reason = { min = 20 }",
        "source = \"client\"",
    ] {
        one(&shadowed(terms), "shadowed", "error", "narrow");
    }
    for terms in [
        "max_for = \"31m\"",
        "who = [\"group:leads\", \"group:sre\"]",
        "who = [\"machine:bot\"]",
        "hosts = [\"*-1\"]\nlogins = [\"root\", \"deploy\"]\nwho = [\"group:leads\"]",
        "break_glass = { strength = \"hardware\" }\nwho = [\"person:frank\", \"group:sre\"]",
    ] {
        let texts = shadowed(terms)
            .people("alice sre\ndave sre\nbob leads,sre\ncarol leads\nfrank* leads\nbot! ci");
        clean(&texts);
    }
    // Above, it is the first to fit where it fits.
    clean(&texts(&(allow("narrow", "max_for = \"10m\"") + &wide)));
}

#[test]
fn what_an_earlier_rule_covers_only_today_is_a_warning() {
    let wide = allow(
        "wide",
        "who = [\"group:sre\", \"group:leads\"]\nhosts = [\"web-1\", \"web-2\", \"db-1\"]",
    );
    let texts = texts(&(wide + &allow("narrow", "")));
    one(&texts, "shadowed", "warning", "narrow");
    clean(&texts.clone().hosts(&format!("{}\nweb-3 deploy env=prod", texts.hosts)));
}

#[test]
fn terms_of_an_earlier_rule_that_leave_something_leave_the_later_one_alone() {
    for (earlier, later, shadowed) in [
        ("reason = { min = 10 }", "reason = { min = 9 }", false),
        ("reason = { min = 10 }", "reason = { min = 10 }", true),
        ("reason = { pattern = \"INC\" }", "", false),
        ("reason = { pattern = \"INC\" }", "reason = { pattern = \"INC\", min = 5 }", true),
        ("auto = { hours = \"Mon 08:00-09:00 UTC\" }", "auto = {}", false),
        ("auto = { review_by = \"2030-01-01\" }", "", false),
        ("auto = { review_by = \"2030-01-02\" }", "auto = { review_by = \"2030-01-02\" }", true),
        ("auto = { review_by = \"2030-01-02\" }", "auto = { review_by = \"2030-01-03\" }", false),
        ("source = \"client\"", "", false),
        ("source = \"client\"", "source = \"client\"", true),
        ("source = [\"10.0.0.0/8\"]", "source = [\"10.1.0.0/16\"]", true),
        ("source = [\"10.1.0.0/16\"]", "source = [\"10.0.0.0/8\"]", false),
        ("source = [\"10.1.0.0/16\"]", "source = \"client\"", false),
        ("subject_key = \"hardware\"", "", false),
        ("subject_key = \"hardware\"", "subject_key = \"verified\"", true),
        ("subject_key = \"verified\"", "subject_key = \"hardware\"", false),
        ("", "commands = [\"uptime\"]", true),
        ("commands = [\"uptime\"]", "", false),
        ("commands = [\"uptime\", \"id\"]", "commands = [\"uptime\"]", true),
        ("commands = [\"uptime\"]", "commands = [\"uptime\", \"id\"]", false),
    ] {
        let texts = texts(&(allow("earlier", earlier) + &allow("later", later)));
        match shadowed {
            true => one(&texts, "shadowed", "error", "later"),
            false => clean(&texts),
        }
    }
}

#[test]
fn a_rule_whose_every_request_is_denied_is_told() {
    let deny = "[[deny]]\nname = \"d\"\nhosts = [\"label:role=db\"]\nlogins = [\"root\"]\n";
    let rule = |logins: &str| {
        texts(&(deny.to_owned() + &allow("db", &format!("hosts = [\"db-*\"]\nlogins = {logins}"))))
    };
    one(&rule("[\"root\"]"), "denied", "warning", "db");
    clean(&rule("[\"root\", \"deploy\"]"));
}

#[test]
fn a_rule_for_no_host_is_told() {
    one(&texts(&allow("later", "hosts = [\"mail-*\"]")), "no-host", "warning", "later");
    one(&texts(&allow("all", "hosts = [\"*\"]")), "every-host", "warning", "all");
    one(&texts(&allow("all", "hosts = [\"?*\"]")), "every-host", "warning", "all");
    clean(&texts(&allow("most", "hosts = [\"w*\"]")));
}

#[test]
fn approvals_that_only_the_requester_could_give_are_told_with_whom_they_leave_out() {
    let lead = "approvals = [{ from = [\"person:bob\"], count = 1 }]";
    let texts_of = |terms: &str| texts(&allow("prod", terms));
    one(&texts_of(lead), "own-approval", "warning", "prod");
    one(&texts_of(&format!("who = [\"person:bob\"]\n{lead}")), "unsatisfiable", "error", "prod");
    clean(&texts_of(&format!("who = [\"person:alice\"]\n{lead}")));
    // Two of two, one after the other: whoever is among them can not get them.
    let both = "approvals = [{ from = [\"group:leads\"], count = 1 }, { from = [\"group:leads\"], count = 1 }]";
    one(&texts_of(both), "own-approval", "warning", "prod");
    let message = lint(&texts_of(both).bundle(), &texts_of(both).files(), START)[0].to_string();
    assert!(message.starts_with("warning: under `prod` nobody can let in bob: "), "{message}");
    assert!(message.contains("--> policy.toml:"), "{message}");
    clean(&texts_of(both).people("alice sre\nbob leads,sre\ncarol leads\nerin leads\nbot! ci"));
}

#[test]
fn the_subject_of_a_machine_does_not_approve_either() {
    let rule = "who = [\"machine:bot\"]\non_behalf = [\"person:bob\"]\napprovals = [{ from = [\"person:bob\"], count = 1 }]";
    one(&texts(&allow("bot", rule)), "unsatisfiable", "error", "bot");
    clean(&texts(&allow(
        "bot",
        &rule.replace("on_behalf = [\"person:bob\"]", "on_behalf = [\"person:alice\"]"),
    )));
}

#[test]
fn a_strength_that_too_few_keys_have_is_an_error() {
    let rule = "approvals = [{ from = [\"group:leads\"], count = 1, strength = \"hardware\" }]";
    one(&texts(&allow("prod", rule)), "unsatisfiable", "error", "prod");
    let with = |people: &str| texts(&allow("prod", rule)).people(people);
    clean(&with("alice sre\nbob leads,sre\ncarol* leads"));
    one(&with("alice sre\nbob* leads,sre\ncarol leads"), "own-approval", "warning", "prod");
}

#[test]
fn break_glass_is_told_where_any_key_does_and_where_none_can() {
    let rule =
        |strength: &str| allow("prod", &format!("break_glass = {{ strength = \"{strength}\" }}"));
    let people = "alice* sre\nbob leads\ncarol leads";
    one(&texts(&rule("any")), "weak-break-glass", "warning", "prod");
    one(&texts(&rule("hardware")), "nobody-breaks-glass", "warning", "prod");
    clean(&texts(&rule("hardware")).people(people));
}

#[test]
fn rules_to_be_reviewed_are_told_two_weeks_ahead() {
    // START is 2026-09-21.
    let rule = |day: &str| texts(&allow("auto", &format!("auto = {{ review_by = \"{day}\" }}")));
    one(&rule("2026-09-20"), "review-past", "warning", "auto");
    one(&rule("2026-09-21"), "review-soon", "warning", "auto");
    one(&rule("2026-10-04"), "review-soon", "warning", "auto");
    clean(&rule("2026-10-05"));
}

#[test]
fn a_deny_rule_that_forbids_nothing_is_told() {
    let deny = |hosts: &str, logins: &str| {
        let deny = format!("[[deny]]\nname = \"d\"\nhosts = [\"{hosts}\"]\n{logins}\n");
        texts(&(deny + &allow("prod", "")))
    };
    one(&deny("mail-*", ""), "idle-deny", "warning", "d");
    clean(&deny("test-*", "logins = [\"deploy\"]"));
    clean(&deny("test-*", ""));
}

#[test]
fn groups_without_persons_that_are_to_read_are_told() {
    let auditors =
        |group: &str| texts(&format!("auditors = [\"group:{group}\"]\n{}", allow("prod", "")));
    one(&auditors("ci"), "empty-group", "warning", "");
    clean(&auditors("leads"));
}

#[test]
fn a_bastion_that_takes_no_jumps_is_told_with_what_is_behind_it() {
    let with = |bastion: &str, via: &str| {
        let usual = texts("").hosts;
        let hosts = format!("{usual}\nbastion {bastion} env=edge\nin-1 deploy env=prod {via}");
        texts(&allow("prod", "")).hosts(&hosts)
    };
    clean(&with("ops,jump", "via=bastion"));
    clean(&with("ops", ""));
    let texts = with("ops", "via=bastion");
    one(&texts, "no-jump", "warning", "");
    let more = texts.clone().hosts(&format!("{}\nin-2 deploy env=prod via=bastion", texts.hosts));
    let found = lint(&more.bundle(), &more.files(), START);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "warning: `bastion` does not list the login `jump`: access to `in-1` and 1 more behind it comes \
         without a certificate for the way, and who goes through needs access to `bastion` too\n  \
         --> hosts.toml:19:10\n   |\n19 | logins = [\"ops\"]\n   |          ^^^^^^^\n   \
         = help: list `jump` in its logins, make that account there (useradd --system --no-create-home \
         jump), and run `jit-ssh-host setup` on it"
        ]
    );
}

#[test]
fn findings_show_the_field_they_are_about() {
    let texts = texts(&allow("all", "hosts = [\"*\"]"));
    let shown = lint(&texts.bundle(), &texts.files(), START)[0].to_string();
    assert_eq!(
        shown,
        "warning: `all` covers every host, those that come later too: `*`\n \
         --> policy.toml:8:9\n  |\n8 | hosts = [\"*\"]\n  |         ^^^^^\n  \
         = help: name hosts or labels, so that a new host is nobody's by accident"
    );
}
