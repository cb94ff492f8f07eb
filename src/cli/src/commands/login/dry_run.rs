//! `jit-ssh login --dry-run`: what would follow, without asking for anything. Comes after the same
//! decisions as the login itself: whether something is at hand, to be prolonged, or to be taken up.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Request;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::ask::request;
use super::earlier::{Earlier, would_take_up};
use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::grants::{Grant, Subject};
use crate::obtain::Access;
use crate::submission::{explain, explain_open};
use crate::text::{all_of, either, span, utc};
use crate::view::{StepRow, View, basis_name, lay_out, step_words};
use crate::wish::Wish;

/// What a login would do. Scripts rely on these names: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Would {
    /// Make a new request.
    Ask,
    /// Make a request that prolongs live access.
    Extend,
    /// Nothing: the certificate is at hand.
    Use,
    /// Take another certificate under a request that grants it.
    Renew,
    /// Go on waiting for a request that stands.
    Wait,
}

/// What `--json` prints where nothing new would be asked: what stands, as elsewhere.
#[derive(Debug, Serialize)]
struct Stands<T> {
    dry_run: bool,
    would: Would,
    #[serde(flatten)]
    what: T,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    dry_run: bool,
    would: Would,
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
    extends: Option<Digest>,
    prolongs_until: Option<UnixTime>,
    extension: Option<u32>,
    extensions_left: u32,
    break_glass_max: Option<u32>,
    break_glass_strength: Option<&'a str>,
    break_glass_told: &'a [String],
}

/// Stands for a reason that nobody said: no rule judges it.
pub(in crate::commands) const UNSAID: &str = "not said yet";

/// Tells what would follow from a wish. A refusal says what would fit.
pub(super) async fn dry_run(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: &Wish,
    subject: &Subject,
    same: Vec<Grant>,
) -> Result<Outcome, Failure> {
    let ui = &context.ui;
    if let Some((view, stands)) = would_take_up(context, ca, same).await? {
        return nothing_new(context, &view, stands);
    }
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

/// Says that the login would end for want of an ssh-agent.
pub(super) fn tell_of_agent(context: &Context, failure: &Failure) {
    let hint = failure.hint.as_deref().unwrap_or_default();
    context.ui.say(&format!(
        "warning: without --dry-run this would fail (exit code {}): {} {}",
        failure.outcome.code(),
        harmless(&failure.message),
        harmless(hint)
    ));
}

/// Tells that nothing would be asked, since access is at hand.
pub(super) fn nothing_asked(context: &Context, access: &Access) -> Result<Outcome, Failure> {
    let ui = &context.ui;
    let nothing = "ask for nothing: access is at hand; --extend would ask for more time";
    let mut lines = vec![("login would", nothing.to_owned())];
    lines.extend(access.lines());
    ui.data(&lay_out(&lines))?;
    ui.object(&Stands { dry_run: true, would: Would::Use, what: access })?;
    Ok(Outcome::Done)
}

/// Tells that nothing new would be asked, since an earlier request stands.
fn nothing_new(context: &Context, view: &View, stands: Earlier) -> Result<Outcome, Failure> {
    let ui = &context.ui;
    let id = view.id();
    let (would, what) = match stands {
        Earlier::Waits => (Would::Wait, format!("go on waiting for request {id}")),
        Earlier::Grants | Earlier::Over => {
            (Would::Renew, format!("take a certificate under request {id}; nobody is asked"))
        }
    };
    let lines = [("login would", what), ("standing", view.standing(clock::now()))];
    ui.data(&lay_out(&lines))?;
    ui.object(&Stands { dry_run: true, would, what: view.row() })?;
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
        would: if wish.prolongs().is_some() { Would::Extend } else { Would::Ask },
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
        extends: request.extends,
        prolongs_until: wish.prolongs().map(|of| of.access_until),
        extension: some(answer.extension),
        extensions_left: answer.extend_times.saturating_sub(answer.extension),
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
pub(super) fn reason_wanted(answer: &v1::ExplainResponse) -> String {
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
    let would = match wish.prolongs() {
        Some(of) => {
            let until = utc(of.access_until);
            format!("ask to prolong request {}, which lasts until {until}", of.request.short_id())
        }
        None => "make a new request".to_owned(),
    };
    let mut lines = vec![("login would", would), ("rule", harmless(&answer.rule))];
    match (wish.reason(), &wish.because) {
        (None, _) => lines.extend(reason_lines(answer)),
        (Some(reason), None) => lines.push((
            "reason",
            format!("as before, unless --because says another: {}", harmless(reason)),
        )),
        (Some(_), Some(_)) => {}
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
    if let Some(command) = &request.command {
        lines.push(("only command", harmless(command)));
    }
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
    if answer.extension > 0 {
        let (place, times) = (answer.extension, answer.extend_times);
        let left = match times.saturating_sub(place) {
            0 => "none is left after it".to_owned(),
            left => format!("{left} left after it"),
        };
        let max = span(u64::from(answer.extend_max));
        return format!("number {place} of {times}, by at most {max} at once; {left}");
    }
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
mod tests;
