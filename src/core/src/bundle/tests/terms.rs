//! When a rule approves by itself, who asks for whom, going ahead without approvals, prolonging.

use super::*;
use crate::bundle::{Allow, Approval, Strength};
use crate::time::UnixTime;

const AUTO: &str = "auto = {}";
const APPROVALS: &str =
    r#"approvals = [{ from = ["group:sre-leads", "person:carol"], count = 2, strength = "any" }]"#;
const BOT: &str = "who = [\"machine:deploy-bot\"]";

/// The first or second allow rule with this change to `policy.toml`.
fn rule(place: usize, from: &str, to: &str) -> Allow {
    let files = good().with("policy.toml", from, to);
    files.parse().unwrap_or_else(|problems| panic!("{problems}")).policy.allow[place].clone()
}

#[test]
fn auto_may_have_hours_and_a_last_day() {
    let hours = "hours = \"Mon-Fri 08:00-18:00 Europe/Berlin\"";
    let last = "review_by = \"2027-01-31\"";
    // Monday 2026-11-23 08:00 in Berlin, and the first moment of 2027-02-01 in UTC, a Monday too.
    let (morning, over) = (UnixTime(1_795_417_200), UnixTime(1_801_440_000));
    for (fields, in_hours, at_night, afterwards) in [
        ("".to_owned(), true, true, true),
        (hours.to_owned(), true, false, true),
        (last.to_owned(), true, true, false),
        (format!("{hours}, {last}"), true, false, false),
    ] {
        let rule = rule(1, AUTO, &format!("auto = {{ {fields} }}"));
        let Approval::Auto(auto) = &rule.approval else { panic!("auto") };
        let covered = [morning, morning.minus_secs(1), over.plus_secs(9 * 3_600)]
            .map(|start| auto.covers(start));
        assert_eq!(covered, [in_hours, at_night, afterwards], "{fields}");
        let past = [over.minus_secs(1), over].map(|now| auto.is_past(now));
        assert_eq!(past, [false, !afterwards], "{fields}");
    }
}

#[test]
fn hours_and_last_day_are_checked() {
    let refused = |field: &str| format!("auto = {{ {field} }}");
    assert_refused(
        "policy.toml",
        &[
            (
                AUTO,
                &refused("hours = \"Mon-Fri\""),
                "`Mon-Fri` is not hours; write them like \"Mon-Fri 08:00-18:00 Europe/Berlin\"",
            ),
            (
                AUTO,
                &refused("hours = \"mon 08:00-18:00 UTC\""),
                "`mon` is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun",
            ),
            (
                AUTO,
                &refused("hours = \"Mon 08:00-24:01 UTC\""),
                "`24:01` is not a time of the day; write it like 08:00, at most 24:00",
            ),
            (AUTO, &refused("hours = []"), "expected a string, found a list"),
            (
                AUTO,
                &refused("review_by = \"2027-02-29\""),
                "\"2027-02-29\" is not a day; write it like \"2027-01-31\"",
            ),
            (AUTO, &refused("review_by = 2027-01-31"), "expected a string, found a date"),
            (AUTO, &refused("until = \"2027-01-31\""), "`until` is not a field of auto"),
        ],
    );
    let files = good().with(
        "policy.toml",
        AUTO,
        "auto = { hours = \"Mon 08:00-18:00 Europe/Berlni\", review_by = \"soon\" }",
    );
    assert_eq!(
        files.parse().unwrap_err().to_string(),
        r#"error: `Europe/Berlni` is no time zone of the IANA database; did you mean `Europe/Berlin`?
  --> policy.toml:30:18
   |
30 | auto = { hours = "Mon 08:00-18:00 Europe/Berlni", review_by = "soon" }
   |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: "soon" is not a day; write it like "2027-01-31"
  --> policy.toml:30:63
   |
30 | auto = { hours = "Mon 08:00-18:00 Europe/Berlni", review_by = "soon" }
   |                                                               ^^^^^^"#
    );
}

#[test]
fn machines_may_ask_on_behalf_of_persons() {
    let with = |who: &str, on_behalf: &str| format!("who = [{who}]\non_behalf = {on_behalf}");
    let bot = |on_behalf: &str| with("\"machine:deploy-bot\"", on_behalf);
    assert_refused(
        "policy.toml",
        &[
            (BOT, &bot("[]"), "this list is empty"),
            (BOT, &bot("\"group:sre\""), "expected a list, found a string"),
            (BOT, &bot("[\"machine:deploy-bot\"]"), "nobody can ask on behalf of a machine"),
            (BOT, &bot("[\"group:ci\"]"), "there is no person in group `ci`"),
            (BOT, &bot("[\"person:zoe\"]"), "there is no person `zoe`"),
            (BOT, &bot("[\"group:sre\", \"group:sre\"]"), "`group:sre` is listed twice"),
            (
                BOT,
                &with("\"machine:deploy-bot\", \"person:alice\"", "[\"group:sre\"]"),
                "`alice` is a person, and can not ask for others",
            ),
            (
                BOT,
                &with("\"group:sre\"", "[\"group:sre\"]"),
                "there is no machine in group `sre`, and persons can not ask for others",
            ),
        ],
    );
    assert_eq!(rule(1, BOT, BOT).on_behalf, None);
    for (who, on_behalf) in [
        ("\"machine:deploy-bot\"", "group:sre"),
        ("\"group:ci\"", "person:carol"),
        ("\"group:ci\", \"machine:deploy-bot\"", "person:alice"),
    ] {
        let rule = rule(1, BOT, &with(who, &format!("[\"{on_behalf}\"]")));
        assert_eq!(rule.on_behalf, Some(vec![on_behalf.parse().unwrap()]));
    }
}

#[test]
fn single_commands_leave_the_program_in_no_doubt_and_open_nothing_beside_them() {
    let with = |commands: &str| format!("{BOT}\ncommands = {commands}");
    assert_refused(
        "policy.toml",
        &[
            (BOT, &with("[]"), "this list is empty"),
            (BOT, &with("\"uptime\""), "expected a list, found a string"),
            (BOT, &with("[\"uptime\", \"uptime\"]"), "`uptime` is listed twice"),
            (
                BOT,
                &with("[\"*\"]"),
                "`*` leaves open which program runs: the first word can have no star",
            ),
            (
                BOT,
                &with("[\" uptime\"]"),
                "` uptime` is not a command: it is one line of 1 to 1024 bytes, without spaces at its ends",
            ),
            (
                BOT,
                &with("[\"uptime\"]\npermit = [\"pty\", \"port-forwarding\"]"),
                "beside `commands`, only `pty` can be permitted",
            ),
        ],
    );
    assert_eq!(rule(1, BOT, BOT).commands, None);
    let one = rule(1, BOT, &with("[\"deploy *\"]\npermit = [\"pty\"]"));
    assert_eq!(one.commands, Some(vec!["deploy *".parse().unwrap()]));
}

#[test]
fn whoever_asks_for_others_is_checked_even_if_the_others_are_wrong() {
    let files =
        good().with("policy.toml", BOT, "who = [\"person:alice\"]\non_behalf = [\"group:cl\"]");
    let problems = files.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(
        problems[0].help.as_deref(),
        Some("beside `on_behalf`, name machines only; give persons a rule of their own")
    );
    assert_eq!(problems[1].help.as_deref(), Some("did you mean `ci`?"));
}

#[test]
fn a_group_with_a_machine_in_it_may_ask_for_others() {
    let asks = "who = [\"group:sre\"]\non_behalf = [\"person:carol\"]";
    let mixed = good().with("people.toml", "groups = [\"ci\"]", "groups = [\"sre\"]");
    assert!(mixed.with("policy.toml", BOT, asks).parse().is_ok());
    assert!(good().with("policy.toml", BOT, asks).parse().is_err());
}

#[test]
fn glass_is_broken_on_the_terms_of_the_rule() {
    let with = |table: &str| format!("{APPROVALS}\nbreak_glass = {table}");
    let refused = [
        ("true", "expected a table, found a boolean"),
        ("{ strength = \"hard\" }", "`hard` is not a strength; known are any, hardware, verified"),
        ("{ max_for = \"30m1s\" }", "going ahead can not last longer than the rule's max_for, 30m"),
        ("{ max_for = \"25h\" }", "1d1h is too long; at most 1d is accepted here"),
        ("{ max_for = \"0s\" }", "a duration must be longer than zero"),
        ("{ notify = \"group:sre\" }", "expected a list, found a string"),
        ("{ notify = [\"machine:deploy-bot\"] }", "a machine can not be told"),
        ("{ notify = [\"group:ci\"] }", "there is no person in group `ci`"),
        ("{ notify = [\"group:dev\"] }", "nobody is in a group `dev`"),
        ("{ review = true }", "`review` is not a field of break_glass"),
    ];
    for (table, message) in refused {
        assert_refused("policy.toml", &[(APPROVALS, &with(table), message)]);
    }
    for (table, strength, max_for, notify) in [
        ("{}", Strength::Any, 1_800, ""),
        ("{ strength = \"hardware\" }", Strength::Hardware, 1_800, ""),
        ("{ max_for = \"30m\" }", Strength::Any, 1_800, ""),
        (
            "{ strength = \"verified\", max_for = \"15m\", notify = [\"group:sre-leads\"] }",
            Strength::Verified,
            900,
            "group:sre-leads",
        ),
        ("{ notify = [] }", Strength::Any, 1_800, ""),
        ("{ notify = [\"person:alice\"] }", Strength::Any, 1_800, "person:alice"),
    ] {
        let broken = rule(0, APPROVALS, &with(table)).break_glass.unwrap();
        assert_eq!((broken.strength, broken.max_for.get()), (strength, max_for), "{table}");
        let told: Vec<_> = broken.notify.iter().map(ToString::to_string).collect();
        assert_eq!(told.join(" "), notify, "{table}");
    }
    assert_eq!(rule(0, APPROVALS, APPROVALS).break_glass, None);
}

#[test]
fn there_is_no_glass_where_nobody_is_asked() {
    let message = "nobody is asked beside `auto`, so there is nothing to go ahead of";
    let approvals = "approvals = [{ from = [\"person:bob\"], count = 1 }]";
    assert_refused("policy.toml", &[(AUTO, "auto = {}\nbreak_glass = {}", message)]);
    assert_accepted("policy.toml", &[(AUTO, &format!("{approvals}\nbreak_glass = {{}}"))]);
    let not_here = "`break_glass` is for persons who ask for themselves, not beside `on_behalf`";
    let for_others = format!("{approvals}\non_behalf = [\"group:sre\"]");
    let broken = format!("{for_others}\nbreak_glass = {{}}");
    assert_refused("policy.toml", &[(AUTO, &broken, not_here)]);
    assert_accepted("policy.toml", &[(AUTO, &for_others)]);

    let both = "auto = { hours = 1 }\nbreak_glass = { max_for = \"1d\" }";
    let problems = good().with("policy.toml", AUTO, both).problems();
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "expected a string, found an integer",
            message,
            "going ahead can not last longer than the rule's max_for, 10m",
        ]
    );
}

#[test]
fn access_may_be_prolonged_within_bounds() {
    let with = |table: &str| format!("{AUTO}\nextend = {table}");
    let number = "this number must be from 1 to 10";
    for (table, message) in [
        ("true", "expected a table, found a boolean"),
        ("{ max = \"30m\" }", "extend lacks the field `times`"),
        ("{ times = 2 }", "extend lacks the field `max`"),
        ("{ max = \"24h1s\", times = 2 }", "1d1s is too long; at most 1d is accepted here"),
        ("{ max = \"0s\", times = 2 }", "a duration must be longer than zero"),
        ("{ max = \"30m\", times = 0 }", number),
        ("{ max = \"30m\", times = 11 }", number),
        ("{ max = \"30m\", times = -1 }", number),
        ("{ max = \"30m\", times = \"2\" }", "expected an integer, found a string"),
        ("{ max = \"30m\", times = 2, min = 1 }", "`min` is not a field of extend"),
    ] {
        assert_refused("policy.toml", &[(AUTO, &with(table), message)]);
    }
    for (table, max, times) in
        [("{ max = \"24h\", times = 1 }", 86_400, 1), ("{ max = \"1s\", times = 10 }", 1, 10)]
    {
        let extend = rule(1, AUTO, &with(table)).extend.unwrap();
        assert_eq!((extend.max.get(), extend.times.get()), (max, times));
    }
    assert_eq!(rule(1, AUTO, AUTO).extend, None);
}

#[test]
fn terms_read_as_sentences() {
    let auto = |fields: &str| rule(1, AUTO, &format!("auto = {{ {fields} }}")).approval.to_string();
    let (hours, last) = ("hours = \"Sat,Sun 00:00-24:00 UTC\"", "review_by = \"2027-01-31\"");
    assert_eq!(auto(""), "by itself");
    assert_eq!(auto(hours), "by itself within Sat,Sun 00:00-24:00 UTC");
    assert_eq!(auto(last), "by itself, last on 2027-01-31");
    assert_eq!(
        auto(&format!("{hours}, {last}")),
        "by itself within Sat,Sun 00:00-24:00 UTC, last on 2027-01-31"
    );
    assert_eq!(
        rule(0, APPROVALS, APPROVALS).approval.to_string(),
        "2 of group:sre-leads, person:carol"
    );
    let glass = |table: &str| {
        let rule = rule(0, APPROVALS, &format!("{APPROVALS}\nbreak_glass = {table}"));
        rule.break_glass.unwrap().to_string()
    };
    assert_eq!(glass("{}"), "for at most 30m");
    assert_eq!(
        glass(
            "{ strength = \"hardware\", max_for = \"15m\", notify = [\"group:sre-leads\", \"person:alice\"] }"
        ),
        "for at most 15m with strength hardware, telling group:sre-leads, person:alice"
    );
    let extend = |times: u8| {
        let rule = rule(1, AUTO, &format!("{AUTO}\nextend = {{ max = \"30m\", times = {times} }}"));
        rule.extend.unwrap().to_string()
    };
    assert_eq!(extend(1), "once, by at most 30m");
    assert_eq!(extend(2), "2 times, each by at most 30m");
}
