//! What a case finds.

use std::collections::BTreeSet;

use super::{Case, Expected};
use crate::bundle::{Approval, Bundle};
use crate::lifecycle::Basis;
use crate::names::ActorId;
use crate::policy::judgement::Judgement;

/// What a case finds.
#[derive(Debug)]
pub struct Verdict<'b> {
    /// What was expected, in words.
    pub expected: String,
    /// What is found, in words.
    pub found: String,
    /// Whether they are the same.
    pub holds: bool,
    /// What may be behind it where they are not.
    pub hint: Option<String>,
    /// What the rules say.
    pub judgement: Option<Judgement<'b>>,
}

pub(super) fn judge<'b>(case: &Case, bundle: &'b Bundle) -> Verdict<'b> {
    let expected = case.expected.to_string();
    match case.supposed.judge(bundle) {
        Ok(judgement) => {
            let holds = holds(&case.expected, &judgement, bundle);
            let found = found(&case.expected, &judgement, bundle);
            let hint = (!holds).then(|| hint(case, bundle)).flatten();
            Verdict { expected, found, holds, hint, judgement: Some(judgement) }
        }
        Err(error) => Verdict {
            expected,
            found: error.to_string(),
            holds: false,
            hint: None,
            judgement: None,
        },
    }
}

fn holds(expected: &Expected, judgement: &Judgement<'_>, bundle: &Bundle) -> bool {
    match (expected, &judgement.decision) {
        (Expected::Allowed { rule, approvals, auto, approvers }, Ok(by)) => {
            rule.as_ref().is_none_or(|rule| *rule == by.name)
                && approvals.is_none_or(|count| count == judgement.approvals())
                && auto.is_none_or(|auto| auto == (judgement.basis() == Some(Basis::Auto)))
                && approvers
                    .as_ref()
                    .is_none_or(|ids| ids.iter().eq(could_approve(judgement, bundle)))
        }
        (Expected::Refused { reason, rule, text }, Err(refusal)) => {
            let said = |text: &String| {
                refusal.message.contains(text.as_str())
                    || refusal.hint.as_ref().is_some_and(|hint| hint.contains(text.as_str()))
            };
            refusal.reason == *reason
                && rule.as_ref().is_none_or(|rule| judgement.rule_name() == Some(rule))
                && text.as_ref().is_none_or(said)
        }
        (Expected::Allowed { .. }, Err(_)) | (Expected::Refused { .. }, Ok(_)) => false,
    }
}

/// Who could approve, each once, sorted; nobody where nobody is asked.
fn could_approve<'b>(judgement: &Judgement<'b>, bundle: &'b Bundle) -> BTreeSet<&'b ActorId> {
    if judgement.basis() != Some(Basis::Approvals) {
        return BTreeSet::new();
    }
    let steps = judgement.steps(bundle);
    steps.iter().flat_map(|step| &step.persons).map(|actor| &actor.id).collect()
}

/// What is found, in the words of what was expected: approvers only where they were asked about.
fn found(expected: &Expected, judgement: &Judgement<'_>, bundle: &Bundle) -> String {
    let rule = match &judgement.decision {
        Ok(rule) => rule,
        Err(refusal) => {
            let by = judgement.rule_name().map(|rule| format!(" by {rule}")).unwrap_or_default();
            return format!("refused{by} ({}): {}", refusal.reason, refusal.message);
        }
    };
    let how = match judgement.basis() {
        Some(Basis::Auto) => "approved by itself".to_owned(),
        Some(Basis::BreakGlass) => "break-glass, no approvals".to_owned(),
        Some(Basis::Approvals) | None => approvals(judgement.approvals()),
    };
    let asked = matches!(expected, Expected::Allowed { approvers: Some(_), .. });
    let by = if asked {
        let ids: Vec<String> =
            could_approve(judgement, bundle).iter().map(ToString::to_string).collect();
        format!(" by {}", people(&ids))
    } else {
        String::new()
    };
    format!("rule {}, {how}{by}", rule.name)
}

/// A rule with hours that the case does not name a moment for.
fn hint(case: &Case, bundle: &Bundle) -> Option<String> {
    let timed = bundle.policy.allow.iter().find(|rule| {
        matches!(&rule.approval, Approval::Auto(auto) if auto.hours.is_some())
            && rule.hosts.iter().any(|pattern| {
                let hosts = case.supposed.hosts.iter().filter_map(|name| bundle.hosts.get(name));
                hosts.into_iter().any(|host| pattern.covers(host))
            })
    });
    let rule = timed.filter(|_| !case.is_dated)?;
    Some(format!(
        "the rule {} goes by the hours, and the case names no moment: give it `at`",
        rule.name
    ))
}

fn approvals(count: usize) -> String {
    match count {
        1 => "1 approval".to_owned(),
        count => format!("{count} approvals"),
    }
}

fn people(ids: &[String]) -> String {
    if ids.is_empty() { "nobody".to_owned() } else { ids.join(", ") }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = match self {
            Expected::Allowed { rule, approvals: count, auto, approvers } => {
                let ids = approvers.as_ref().map(|ids| {
                    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    format!("by {}", people(&ids))
                });
                let auto = auto.map(|auto| match auto {
                    true => "approved by itself".to_owned(),
                    false => "not approved by itself".to_owned(),
                });
                let rule = rule.as_ref().map(|rule| format!("rule {rule}"));
                [rule, count.map(approvals), auto, ids]
            }
            Expected::Refused { reason, rule, text } => [
                Some(format!("refused ({reason})")),
                rule.as_ref().map(|rule| format!("by {rule}")),
                text.as_ref().map(|text| format!("saying {text:?}")),
                None,
            ],
        };
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
