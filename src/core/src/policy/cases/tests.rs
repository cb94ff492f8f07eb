//! Each case that holds stands beside one that does not, or a file that is refused.

use super::*;
use crate::policy::texts::{allow, texts};
use crate::testkit::START;

fn bundle() -> Bundle {
    let deny =
        "[[deny]]\nname = \"no-root-on-db\"\nhosts = [\"label:role=db\"]\nlogins = [\"root\"]\n";
    let prod = allow(
        "prod",
        "logins = [\"deploy\", \"root\"]\nreason = { min = 10, pattern = \"INC-[0-9]+\" }\nsource = \"client\"\n\
         break_glass = { strength = \"hardware\", max_for = \"10m\" }",
    );
    let test = allow(
        "test",
        "who = [\"group:sre\", \"machine:bot\"]\nhosts = [\"test-*\"]\nauto = { hours = \"Mon-Fri 08:00-18:00 Europe/Berlin\", review_by = \"2030-12-31\" }",
    );
    let bot = allow("bot", "who = [\"machine:bot\"]\non_behalf = [\"group:sre\"]");
    texts(&[deny, &prod, &test, &bot].concat()).bundle()
}

fn case(fields: &str, expect: &str) -> String {
    format!("[[case]]\nname = \"it\"\n{fields}\nexpect = {{ {expect} }}\n")
}

const ALICE: &str = "who = \"alice\"\nwhere = [\"web-1\"]\nas = [\"deploy\"]\nfor = \"10m\"";

fn holds(fields: &str, expect: &str) -> (bool, String, Option<String>) {
    let bundle = bundle();
    let cases =
        parse(case(fields, expect).as_bytes(), &bundle, START).unwrap_or_else(|p| panic!("{p}"));
    let [case] = cases.as_slice() else { panic!("one case") };
    let verdict = case.judge(&bundle);
    (verdict.holds, verdict.found, verdict.hint)
}

#[track_caller]
fn yes(fields: &str, expect: &str) {
    let (holds, found, _) = holds(fields, expect);
    assert!(holds, "{expect}: {found}");
}

#[track_caller]
fn no(fields: &str, expect: &str, words: &str) {
    let (holds, found, _) = holds(fields, expect);
    assert!(!holds, "{expect}");
    assert_eq!(found, words);
}

#[test]
fn a_granted_request_names_its_rule_its_approvals_and_its_approvers() {
    yes(ALICE, "rule = \"prod\", approvals = 1");
    yes(ALICE, "approvers = [\"carol\", \"bob\"], auto = false");
    let found = "rule prod, 1 approval";
    no(ALICE, "rule = \"test\"", found);
    no(ALICE, "approvals = 2", found);
    no(ALICE, "auto = true", found);
    let by = "rule prod, 1 approval by bob, carol";
    no(ALICE, "approvers = [\"bob\"]", by);
    no(ALICE, "approvers = [\"bob\", \"carol\", \"dave\"]", by);
    let bob = ALICE.replace("alice", "bob");
    yes(&bob, "approvers = [\"carol\"]");
    no(ALICE, "refused = \"POLICY_REFUSED\"", found);
}

#[test]
fn a_refusal_names_the_deny_rule_or_the_nearest_one() {
    let root = "who = \"alice\"\nwhere = [\"db-1\"]\nas = [\"root\"]\nfor = \"10m\"";
    yes(root, "refused = \"POLICY_REFUSED\", rule = \"no-root-on-db\"");
    let found =
        "refused by no-root-on-db (POLICY_REFUSED): the rule no-root-on-db forbids root on db-1.";
    no(root, "refused = \"POLICY_REFUSED\", rule = \"prod\"", found);
    no(root, "rule = \"prod\"", found);
    no(root, "refused = \"SOURCE_NEEDED\"", found);

    let long = ALICE.replace("10m", "31m");
    yes(&long, "refused = \"POLICY_REFUSED\", rule = \"prod\", text = \"at most 30m\"");
    yes(&long, "refused = \"POLICY_REFUSED\", text = \"--for 30m\"");
    no(
        &long,
        "refused = \"POLICY_REFUSED\", text = \"at most 20m\"",
        "refused by prod (POLICY_REFUSED): no rule allows alice as deploy on web-1: it asks for 31m, and the rule prod allows at most 30m.",
    );
    let carol = ALICE.replace("alice", "carol");
    yes(&carol, "refused = \"POLICY_REFUSED\"");
    no(
        &carol,
        "refused = \"POLICY_REFUSED\", rule = \"prod\"",
        "refused (POLICY_REFUSED): no rule allows carol as deploy on web-1: no rule is for carol.",
    );
}

#[test]
fn a_request_that_nobody_could_approve_is_refused_as_when_it_is_made() {
    let only_bob = "approvals = [{ from = [\"person:bob\"], count = 1 }]\nbreak_glass = { strength = \"hardware\" }";
    let bundle = texts(&(allow("prod", only_bob) + &allow("later", ""))).bundle();
    let judge = |fields: &str, expect: &str| {
        let cases = parse(case(fields, expect).as_bytes(), &bundle, START);
        let verdict = cases.unwrap_or_else(|p| panic!("{p}"))[0].judge(&bundle);
        let others = verdict.judgement.unwrap().others;
        let others = others.iter().map(|other| format!("{}: {}", other.rule.name, other.why()));
        (verdict.holds, verdict.found, others.collect::<Vec<_>>())
    };
    let (holds, found, _) = judge(ALICE, "rule = \"prod\", approvers = [\"bob\"]");
    assert!(holds, "{found}");
    let bob = ALICE.replace("alice", "bob");
    let said = "nobody could approve this request: the rule prod asks for ";
    let refused = format!("refused = \"POLICY_REFUSED\", rule = \"prod\", text = \"{said}\"");
    let (holds, found, others) = judge(&bob, &refused);
    assert!(holds, "{found}");
    assert!(others[0].starts_with(&format!("prod: {said}")), "{others:?}");
    let (holds, found, _) = judge(&bob, "rule = \"prod\"");
    assert!(
        !holds && found.starts_with(&format!("refused by prod (POLICY_REFUSED): {said}")),
        "{found}"
    );
    // Nobody is asked who breaks the glass.
    let glass = format!("{bob}\nstrength = \"hardware\"\nbreak_glass = \"nobody is here\"");
    let (holds, found, _) = judge(&glass, "rule = \"prod\"");
    assert!(holds, "{found}");
}

#[test]
fn a_given_reason_is_judged_and_one_that_is_left_out_fits() {
    yes(&format!("{ALICE}\nreason = \"INC-7 disk full\""), "rule = \"prod\"");
    yes(&format!("{ALICE}\nreason = \"disk is full\""), "refused = \"POLICY_REFUSED\"");
}

#[test]
fn hours_and_review_go_by_the_moment_of_the_case() {
    let test = "who = \"alice\"\nwhere = [\"test-1\"]\nas = [\"deploy\"]\nfor = \"10m\"";
    let at = |moment: &str| format!("{test}\nat = \"{moment}\"");
    yes(&at("2026-11-24T10:00:00Z"), "rule = \"test\", auto = true, approvals = 0");
    yes(&at("2026-11-24T17:00:00Z"), "refused = \"POLICY_REFUSED\", rule = \"test\"");
    yes(&at("2026-11-24T17:00:00+01:00"), "rule = \"test\"");
    yes(&at("2031-01-02T10:00:00Z"), "refused = \"POLICY_REFUSED\", text = \"reviewed\"");
    // Without a moment it is now, which is a Monday afternoon; who expects else is told why.
    let (as_now, _, hint) = holds(test, "auto = false");
    assert!(!as_now);
    assert!(hint.unwrap().contains("goes by the hours, and the case names no moment"));
    assert_eq!(holds(&at("2026-11-24T10:00:00Z"), "auto = false").2, None);
}

#[test]
fn break_glass_needs_the_strength_and_no_approval() {
    let glass = format!("{ALICE}\nbreak_glass = \"nobody answers\"");
    yes(&glass, "refused = \"POLICY_REFUSED\", text = \"strength hardware\"");
    let strong = format!("{glass}\nstrength = \"hardware\"");
    yes(&strong, "rule = \"prod\", approvals = 0, approvers = [], auto = false");
    no(&strong, "approvals = 1", "rule prod, break-glass, no approvals");
}

#[test]
fn a_machine_asks_for_a_person_who_does_not_approve() {
    let bot = "who = \"bot\"\nfor_person = \"bob\"\nwhere = [\"web-1\"]\nas = [\"deploy\"]\nfor = \"10m\"";
    yes(bot, "rule = \"bot\", approvers = [\"carol\"]");
    yes(&bot.replace("\"bob\"", "\"carol\""), "refused = \"POLICY_REFUSED\"");
    yes(&bot.replace("bot", "alice"), "refused = \"POLICY_REFUSED\"");
}

#[test]
fn an_address_that_is_named_is_judged() {
    let policy = allow("ranges", "source = [\"10.20.0.0/16\"]");
    let bundle = texts(&policy).bundle();
    let found = |from: &str| {
        let text = case(&format!("{ALICE}\n{from}"), "rule = \"ranges\"");
        parse(text.as_bytes(), &bundle, START).unwrap()[0].judge(&bundle).holds
    };
    assert!(found("") && found("from = \"10.20.0.7\""));
    assert!(!found("from = \"10.21.0.7\""));
}

/// What is wrong with a file, as line, column and message.
fn problems(text: &str) -> Vec<(usize, usize, String)> {
    let problems = parse(text.as_bytes(), &bundle(), START).expect_err("it has a problem").0;
    problems.into_iter().map(|p| (p.line, p.column, p.message)).collect()
}

#[test]
fn every_problem_of_the_file_is_told_with_its_place() {
    let good = case(ALICE, "rule = \"prod\"");
    assert!(parse(good.as_bytes(), &bundle(), START).is_ok());
    assert!(parse(b"", &bundle(), START).unwrap().is_empty());
    for (from, to, expected) in [
        ("\"alice\"", "\"alica\"", (3, 7, "there is nobody with the id `alica`")),
        ("\"web-1\"", "\"web-9\"", (4, 10, "there is no host `web-9`")),
        ("[\"deploy\"]", "[]", (5, 6, "this list is empty")),
        ("\"10m\"", "10", (6, 7, "expected a string, found an integer")),
        ("rule =", "rules =", (7, 12, "`rules` is not a field of expect")),
        ("\"prod\"", "\"prof\"", (7, 19, "there is no rule `prof`")),
        ("name = \"it\"\n", "", (1, 1, "[[case]] lacks the field `name`")),
        ("rule = \"prod\"", "refused = \"NO\"", (7, 22, "`NO` is not a reason of a refusal")),
        (
            "rule = \"prod\"",
            "text = \"x\", rule = \"prod\"",
            (7, 10, "`text` is found in a refusal: it needs `refused`"),
        ),
        ("rule = \"prod\"", "auto = \"no\"", (7, 19, "expected a boolean, found a string")),
    ] {
        assert_eq!(good.matches(from).count(), 1, "{from}");
        let found = problems(&good.replace(from, to));
        let (line, column, message) = expected;
        assert!(found.contains(&(line, column, message.to_owned())), "{to}: {found:?}");
    }
    for (expect, message) in [
        ("", "nothing is expected: name `rule`, `approvals`, `auto`, `approvers` or `refused`"),
        (
            "refused = \"POLICY_REFUSED\", approvals = 1",
            "a refused request has no approvals: `refused` goes with `rule` and `text` only",
        ),
    ] {
        assert_eq!(problems(&case(ALICE, expect))[0].2, message);
    }
    let at = format!("{ALICE}\nat = \"yesterday\"");
    assert!(problems(&case(&at, "rule = \"prod\""))[0].2.contains("is not a moment"));
    let found = problems(&good.repeat(2));
    assert_eq!(found[0], (9, 8, "there are two cases named `it`".to_owned()));
    // All of them at once, and with the line itself.
    let two = good.replace("alice", "alica").replace("web-1", "web-9");
    assert_eq!(problems(&two).len(), 2);
    let shown = parse(two.as_bytes(), &bundle(), START).unwrap_err().to_string();
    assert!(
        shown.contains("--> policy_test.toml:3:7\n  |\n3 | who = \"alica\"\n  |       ^^^^^^^"),
        "{shown}"
    );
    assert!(shown.contains("help: did you mean `alice`?"), "{shown}");
}

#[test]
fn a_request_that_nobody_could_make_is_a_problem_of_the_file() {
    let twice = ALICE.replace("[\"web-1\"]", "[\"web-1\", \"web-1\"]");
    assert!(problems(&case(&twice, "rule = \"prod\""))[0].2.contains("listed twice"));
    let many: Vec<String> = (0..17).map(|n| format!("\"l{n}\"")).collect();
    let many = ALICE.replace("[\"deploy\"]", &format!("[{}]", many.join(", ")));
    let found = problems(&case(&many, "rule = \"prod\""));
    assert!(
        found[0].2.starts_with("there can be no such request: hosts and logins: "),
        "{found:?}"
    );
}

const SAMPLE: [(&str, &str); 4] = [
    (include_str!("../../../../../ca-config/people.toml"), "people"),
    (include_str!("../../../../../ca-config/hosts.toml"), "hosts"),
    (include_str!("../../../../../ca-config/policy.toml"), "policy"),
    (include_str!("../../../../../ca-config/policy_test.toml"), "cases"),
];

#[test]
fn the_sample_is_empty_as_it_is_and_holds_without_its_prefix() {
    use crate::testkit::{World, software_key};
    let bare = |text: &str| -> String {
        text.lines().map(|line| format!("{}\n", line.strip_prefix("#| ").unwrap_or(line))).collect()
    };
    let [people, hosts, policy, cases] = SAMPLE.map(|(text, _)| bare(text));
    let mut people = people;
    for (name, seed) in [("{{alice}}", 1), ("{{bob}}", 2), ("{{deploy-bot}}", 3)] {
        people = people.replace(name, &software_key(seed).1.to_string());
    }
    let files = crate::bundle::BundleFiles {
        people: people.into(),
        hosts: hosts.into(),
        policy: policy.into(),
        signers: World::default().files("").signers,
    };
    let bundle = Bundle::parse(1, &files, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(parse(SAMPLE[3].0.as_bytes(), &bundle, START).unwrap().is_empty());
    let cases = parse(cases.as_bytes(), &bundle, START).unwrap_or_else(|p| panic!("{p}"));
    assert!(cases.len() >= 5);
    for case in cases {
        let verdict = case.judge(&bundle);
        assert!(verdict.holds, "{}: {} / {}", case.name, verdict.expected, verdict.found);
    }
}
