//! `jit-ssh login --dry-run`: what would follow, without asking for anything.

use jit_ssh_api::v1;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Request;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::ask::request;
use crate::ca::Ca;
use crate::cli::Context;
use crate::failure::{Failure, Outcome};
use crate::grants::Subject;
use crate::submission::{explain, explain_open};
use crate::text::{all_of, either, span, utc};
use crate::view::{StepRow, basis_name, lay_out, step_words};
use crate::wish::Wish;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    dry_run: bool,
    rule: &'a str,
    unsaid: Vec<&'static str>,
    reason: Option<&'a str>,
    reason_min: u32,
    reason_pattern: Option<&'a str>,
    reason_hint: Option<&'a str>,
    otherwise_rule: Option<&'a str>,
    otherwise_basis: Option<&'static str>,
    basis: Option<&'static str>,
    hosts: &'a [HostName],
    logins: &'a [Login],
    r#for: u32,
    not_before: Option<UnixTime>,
    approvals_needed: u32,
    approvers: &'a [String],
    steps: Vec<StepRow<'a>>,
    decide_within: u32,
    use_within: u32,
    cert_for: u32,
    max_for: u32,
    permit: &'a [String],
    typical_wait: Option<u32>,
    typical_of: u32,
    extend_max: Option<u32>,
    extend_times: u32,
    break_glass_max: Option<u32>,
    break_glass_strength: Option<&'a str>,
    break_glass_told: &'a [String],
}

/// Stands for a reason that nobody said: no rule judges it.
const UNSAID: &str = "not said yet";

/// Tells what would follow from a wish. A refusal says what would fit.
pub(super) async fn dry_run(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: &Wish,
    subject: &Subject,
) -> Result<Outcome, Failure> {
    let ui = &context.ui;
    let (request, answer) = match wish.reason() {
        Some(reason) => {
            let request = request(ca.enrolment, wish, subject, reason.to_owned())?;
            let answer = explain(ca, &request).await?;
            (request, answer)
        }
        None => {
            let request = request(ca.enrolment, wish, subject, UNSAID.to_owned())?;
            let answer = explain_open(ca, &request).await?;
            (request, answer)
        }
    };
    ui.data(&lay_out(&lines(wish, &request, &answer)))?;
    ui.object(&explained(wish, &request, &answer))?;
    Ok(Outcome::Done)
}

fn explained<'a>(
    wish: &'a Wish,
    request: &'a Request,
    answer: &'a v1::ExplainResponse,
) -> Explained<'a> {
    let some = |secs: u32| (secs > 0).then_some(secs);
    let text = |text: &'a str| Some(text).filter(|text| !text.is_empty());
    Explained {
        dry_run: true,
        rule: &answer.rule,
        unsaid: unsaid(wish),
        reason: wish.reason(),
        reason_min: answer.reason_min.max(1),
        reason_pattern: text(&answer.reason_pattern),
        reason_hint: text(&answer.reason_hint),
        otherwise_rule: text(&answer.otherwise_rule),
        otherwise_basis: basis_name(answer.otherwise_basis()),
        basis: basis_name(answer.basis()),
        hosts: &request.hosts,
        logins: &request.logins,
        r#for: request.r#for.get(),
        not_before: request.not_before,
        approvals_needed: answer.approvals_needed,
        approvers: &answer.approvers,
        steps: answer.steps.iter().map(StepRow::of).collect(),
        decide_within: answer.decide_within,
        use_within: answer.use_within,
        cert_for: answer.cert_for,
        max_for: answer.max_for,
        permit: &answer.permit,
        typical_wait: (answer.typical_of > 0).then_some(answer.typical_wait),
        typical_of: answer.typical_of,
        extend_max: some(answer.extend_max),
        extend_times: answer.extend_times,
        break_glass_max: some(answer.break_glass_max),
        break_glass_strength: Some(answer.break_glass_strength.as_str())
            .filter(|strength| !strength.is_empty()),
        break_glass_told: &answer.break_glass_told,
    }
}

/// The options that the command line leaves open.
fn unsaid(wish: &Wish) -> Vec<&'static str> {
    let said = [
        ("because", wish.because.is_some()),
        ("for", wish.span.is_some()),
        ("permit", wish.permit.is_some()),
    ];
    said.into_iter().filter(|(_, said)| !said).map(|(name, _)| name).collect()
}

/// What is to be said why, where nothing is, and what follows from not doing so; harmless.
fn reason_lines(answer: &v1::ExplainResponse) -> Vec<(&'static str, String)> {
    let rule = harmless(&answer.rule);
    let wants = reason_wanted(answer);
    let said = format!("not said yet: {rule} wants {wants}; say it with --because TEXT");
    let otherwise = match (answer.otherwise_rule.as_str(), answer.otherwise_basis()) {
        (other, _) if other == answer.rule => return vec![("reason", said)],
        ("", _) => "refused: no rule takes a reason that says less".to_owned(),
        (other, v1::Basis::Auto) => format!("{} decides, by itself", harmless(other)),
        (other, v1::Basis::BreakGlass) => format!("{} decides, as break-glass", harmless(other)),
        (other, v1::Basis::Approvals | v1::Basis::Unspecified) => {
            format!("{} decides, by approvals", harmless(other))
        }
    };
    vec![("reason", said), ("with another", otherwise)]
}

/// What the rule wants of a reason, in words; harmless.
fn reason_wanted(answer: &v1::ExplainResponse) -> String {
    let pattern = harmless(&answer.reason_pattern);
    let wants = match (answer.reason_min, pattern.as_str()) {
        (0 | 1, "") => "a word at least".to_owned(),
        (0 | 1, pattern) => format!("something like \"{pattern}\""),
        (min, "") => format!("at least {min} characters"),
        (min, pattern) => format!("at least {min} characters and something like \"{pattern}\""),
    };
    match harmless(&answer.reason_hint).as_str() {
        "" => wants,
        hint => format!("{wants} ({hint})"),
    }
}

/// The answer for people, harmless.
fn lines(
    wish: &Wish,
    request: &Request,
    answer: &v1::ExplainResponse,
) -> Vec<(&'static str, String)> {
    let secs = |secs: u32| span(u64::from(secs));
    let mut lines = vec![("rule", harmless(&answer.rule))];
    if wish.reason().is_none() {
        lines.extend(reason_lines(answer));
    }
    lines.push(("would be approved", approved_by(answer)));
    if let [_, _, ..] = answer.steps.as_slice() {
        lines.extend(answer.steps.iter().map(|step| ("step", step_words(step, step.needed))));
        lines.push(("by", all_of(&answer.approvers)));
    }
    if answer.approvals_needed > 0 {
        lines.push(("decided within", secs(answer.decide_within)));
    }
    if answer.typical_of > 0 {
        let (wait, of) = (secs(answer.typical_wait), answer.typical_of);
        lines.push(("usually takes", format!("{wait} (median of the last {of})")));
    }
    if let Some(opens) = request.not_before {
        lines.push(("opens", utc(opens)));
    }
    lines.push(("used within", secs(answer.use_within)));
    lines.push(("certificate", format!("for at most {}", secs(answer.cert_for))));
    let (asked, longest) = (request.r#for, secs(answer.max_for));
    let unsaid = if wish.span.is_none() { " unless --for says another time" } else { "" };
    lines.push(("access", format!("for {asked}{unsaid}, of at most {longest}")));
    let permit = match answer.permit.as_slice() {
        [] => "nothing beside commands".to_owned(),
        permit => all_of(permit),
    };
    lines.push(("permit", permit));
    lines.push(("extension", extension(answer)));
    lines.push(("break-glass", break_glass(answer)));
    lines
}

fn approved_by(answer: &v1::ExplainResponse) -> String {
    let told = if answer.break_glass_told.is_empty() {
        "others".to_owned()
    } else {
        either(&answer.break_glass_told)
    };
    match (answer.basis(), answer.steps.as_slice()) {
        (v1::Basis::BreakGlass, _) => {
            format!("by nobody: it goes ahead, and {told} reviews it afterwards")
        }
        (v1::Basis::Auto, _) => "by the rule itself".to_owned(),
        (v1::Basis::Approvals | v1::Basis::Unspecified, [step]) => {
            format!("by {}: {}", step_words(step, step.needed), all_of(&answer.approvers))
        }
        (v1::Basis::Approvals | v1::Basis::Unspecified, []) => {
            format!("by {} of {}", answer.approvals_needed, all_of(&answer.approvers))
        }
        (v1::Basis::Approvals | v1::Basis::Unspecified, steps) => {
            format!("by {} persons in {} steps", answer.approvals_needed, steps.len())
        }
    }
}

fn extension(answer: &v1::ExplainResponse) -> String {
    match (answer.extend_max, answer.extend_times) {
        (0, _) | (_, 0) => "none".to_owned(),
        (max, 1) => format!("once, by at most {}", span(u64::from(max))),
        (max, times) => format!("by at most {} at once, {times} times", span(u64::from(max))),
    }
}

fn break_glass(answer: &v1::ExplainResponse) -> String {
    let v1::ExplainResponse { break_glass_max, break_glass_strength, break_glass_told, .. } =
        answer;
    if *break_glass_max == 0 {
        return "none".to_owned();
    }
    let strength = match break_glass_strength.as_str() {
        "" | "any" => String::new(),
        strength => format!(" with strength {}", harmless(strength)),
    };
    let longest = span(u64::from(*break_glass_max));
    format!("for at most {longest}{strength}; told: {}", all_of(break_glass_told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::grant_with;

    fn step(from: &str, needed: u32, strength: &str) -> v1::ApprovalStep {
        let from = vec![from.to_owned()];
        v1::ApprovalStep { from, needed, given: 0, strength: strength.to_owned() }
    }

    fn answer() -> v1::ExplainResponse {
        v1::ExplainResponse {
            rule: "prod".into(),
            approvals_needed: 1,
            approvers: vec!["bob".into(), "carol".into()],
            decide_within: 3_600,
            use_within: 900,
            cert_for: 300,
            max_for: 1_800,
            permit: vec!["pty".into()],
            basis: v1::Basis::Approvals.into(),
            steps: vec![step("group:sre-leads", 1, "hardware")],
            typical_wait: 200,
            typical_of: 12,
            extend_max: 1_800,
            extend_times: 2,
            break_glass_max: 900,
            break_glass_strength: "hardware".into(),
            break_glass_told: vec!["bob".into(), "carol".into()],
            reason_min: 10,
            reason_pattern: "INC-[0-9]+".into(),
            reason_hint: "name the incident".into(),
            otherwise_rule: String::new(),
            otherwise_basis: v1::Basis::Unspecified.into(),
            extension: 0,
        }
    }

    fn wish() -> Wish {
        Wish {
            hosts: vec!["prod-host".parse().unwrap()],
            login: "deploy".parse().unwrap(),
            span: jit_ssh_core::time::Seconds::new(600),
            because: Some("INC-42".to_owned()),
            permit: None,
            manner: crate::wish::Manner::Usual,
        }
    }

    #[test]
    fn a_reason_that_is_not_said_is_asked_for_as_the_rule_wants_it() {
        let grant = grant_with("INC-42", |_| ());
        let open = Wish { because: None, span: None, ..wish() };
        let shown = |wish: &Wish, answer: &v1::ExplainResponse| {
            lay_out(&lines(wish, grant.request.body(), answer))
        };
        let told = shown(&open, &answer());
        assert!(
            told.contains(
                "reason             not said yet: prod wants at least 10 characters and something \
                 like \"INC-[0-9]+\" (name the incident); say it with --because TEXT\n\
                 with another       refused: no rule takes a reason that says less\n"
            ),
            "{told}"
        );
        assert!(told.contains("for 10m unless --for says another time, of at most 30m"), "{told}");
        let said = shown(&wish(), &answer());
        assert!(!said.contains("reason") && !said.contains("unless --for"), "{said}");

        let other = v1::ExplainResponse {
            otherwise_rule: "night".into(),
            otherwise_basis: v1::Basis::Auto.into(),
            ..answer()
        };
        let told = shown(&open, &other);
        assert!(told.contains("with another       night decides, by itself\n"), "{told}");
        let same = v1::ExplainResponse {
            reason_min: 1,
            reason_pattern: String::new(),
            reason_hint: String::new(),
            otherwise_rule: "prod".into(),
            ..answer()
        };
        let told = shown(&open, &same);
        assert!(told.contains("prod wants a word at least; say it"), "{told}");
        assert!(!told.contains("with another"), "{told}");

        let json = |wish: &Wish, answer| {
            serde_json::to_value(explained(wish, grant.request.body(), answer)).unwrap()
        };
        let told = json(&open, &other);
        assert_eq!(told["unsaid"], serde_json::json!(["because", "for", "permit"]));
        assert_eq!((&told["reason"], &told["reason_min"]), (&serde_json::Value::Null, &10.into()));
        assert_eq!(told["reason_pattern"], "INC-[0-9]+");
        assert_eq!(
            (&told["otherwise_rule"], &told["otherwise_basis"]),
            (&"night".into(), &"auto".into())
        );
        let told = json(&wish(), &answer());
        assert_eq!(
            (&told["reason"], &told["unsaid"]),
            (&"INC-42".into(), &serde_json::json!(["permit"]))
        );
        assert_eq!(told["otherwise_rule"], serde_json::Value::Null);
    }

    #[test]
    fn what_would_follow_is_told_with_names_clocks_and_ways_out() {
        let grant = grant_with("INC-42", |request| request.not_before = None);
        let shown = lay_out(&lines(&wish(), grant.request.body(), &answer()));
        assert_eq!(
            shown,
            "rule               prod\n\
             would be approved  by 1 of group:sre-leads with strength hardware: bob and carol\n\
             decided within     1h\n\
             usually takes      3m20s (median of the last 12)\n\
             used within        15m\n\
             certificate        for at most 5m\n\
             access             for 10m, of at most 30m\n\
             permit             pty\n\
             extension          by at most 30m at once, 2 times\n\
             break-glass        for at most 15m with strength hardware; told: bob and carol\n"
        );
        let auto = v1::ExplainResponse {
            rule: "\u{1b}[2J".into(),
            approvals_needed: 0,
            basis: v1::Basis::Auto.into(),
            ..v1::ExplainResponse::default()
        };
        let shown = lay_out(&lines(&wish(), grant.request.body(), &auto));
        assert!(shown.contains("by the rule itself") && !shown.contains('\u{1b}'), "{shown}");
        assert!(!shown.contains("decided within") && !shown.contains("usually takes"), "{shown}");
    }

    #[test]
    fn several_steps_are_told_each_by_itself_and_programs_get_all_of_it() {
        let grant = grant_with("INC-42", |_| ());
        let steps = vec![step("group:leads", 1, "any"), step("person:dora", 1, "verified")];
        let answer = v1::ExplainResponse { steps, approvals_needed: 2, ..answer() };
        let shown = lay_out(&lines(&wish(), grant.request.body(), &answer));
        assert!(shown.contains("by 2 persons in 2 steps"), "{shown}");
        assert!(shown.contains("step               1 of group:leads\n"), "{shown}");
        assert!(shown.contains("1 of person:dora with strength verified\n"), "{shown}");
        let wish = wish();
        let json = serde_json::to_value(explained(&wish, grant.request.body(), &answer)).unwrap();
        assert_eq!(json["steps"][1]["strength"], "verified");
        assert_eq!((&json["typical_wait"], &json["typical_of"]), (&200.into(), &12.into()));
        assert_eq!((&json["extend_max"], &json["break_glass_max"]), (&1800.into(), &900.into()));
        assert_eq!((&json["basis"], &json["for"]), (&"approvals".into(), &600.into()));
    }
}
