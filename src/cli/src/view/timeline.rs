//! What happened to a request, in order, each by its cause. What somebody signed is read from the
//! signed bytes; the rest is as the CA says.

use jit_ssh_api::v1::{Basis, Status};
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Cause, Decision, End, Verdict};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::{View, status_name};
use crate::text::{all_of, utc};

/// One thing that happened. Scripts rely on the names: never change one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// When.
    pub(crate) at: UnixTime,
    /// What.
    pub(crate) event: &'static str,
    /// Who did it; null where it was the rule or the clock.
    pub(crate) by: Option<String>,
    /// What else there is to say.
    pub(crate) detail: String,
}

impl Event {
    fn new(at: UnixTime, event: &'static str, by: Option<&impl ToString>, detail: String) -> Event {
        Event { at, event, by: by.map(ToString::to_string), detail }
    }

    /// By nobody: by the rule or the clock.
    fn of_itself(at: u64, event: &'static str, detail: String) -> Event {
        Event { at: UnixTime(at), event, by: None, detail }
    }

    /// One line for people, harmless.
    pub(crate) fn line(&self) -> String {
        let by = self.by.as_ref().map(|by| format!("by {}", harmless(by)));
        let detail = Some(harmless(&self.detail)).filter(|detail| !detail.is_empty());
        let rest: Vec<String> = by.into_iter().chain(detail).collect();
        let line = format!("{}  {:11}  {}", utc(self.at), self.event, rest.join(": "));
        line.trim_end().to_owned()
    }
}

/// What happened to `view`, oldest first. `extensions` are the requests that prolong it.
pub(crate) fn timeline(view: &View, extensions: &[View], now: UnixTime) -> Vec<Event> {
    let mut events = vec![requested(view)];
    let decisions = view.decisions.iter();
    events.extend(decisions.map(|(decision, counts)| decided(view, decision.body(), *counts)));
    events.extend(approved(view));
    events.extend(opened(view, now));
    events.extend(view.said.certificates.iter().map(|issued| {
        let until = utc(UnixTime(issued.valid_before));
        Event::of_itself(issued.at, "certificate", format!("serial {} until {until}", issued.serial))
    }));
    events.extend(extensions.iter().map(extended));
    events.extend(view.ends.iter().map(|end| ended_by(end.body())));
    events.extend(over(view));
    // Those of one second stay in the order in which they follow from each other.
    events.sort_by_key(|event| event.at);
    events
}

fn requested(view: &View) -> Event {
    let asked = view.asked();
    let mut detail = String::new();
    if asked.subject != asked.by {
        detail.push_str(&format!("for {}, ", asked.subject));
    }
    detail.push_str(&format!(
        "{} as {} on {}",
        asked.r#for,
        all_of(&asked.logins.iter().map(Login::as_str).collect::<Vec<_>>()),
        all_of(&asked.hosts.iter().map(HostName::as_str).collect::<Vec<_>>())
    ));
    if let Some(opens) = asked.not_before {
        detail.push_str(&format!(" from {}", utc(opens)));
    }
    if let Some(extends) = &asked.extends {
        detail.push_str(&format!(", prolonging {}", extends.short_id()));
    }
    detail.push_str(&format!("; key {}", asked.key.fingerprint()));
    Event::new(asked.at, "requested", Some(&asked.by), detail)
}

/// A decision: an approval or denial, or the review of what went ahead without.
fn decided(view: &View, decision: &Decision, counts: bool) -> Event {
    let asked = view.asked();
    let reviews = asked.break_glass.is_some();
    let event = match (reviews, decision.verdict) {
        (true, Verdict::Approve | Verdict::Deny) => "reviewed",
        (false, Verdict::Approve) => "approval",
        (false, Verdict::Deny) => "denial",
    };
    let mut says: Vec<String> = Vec::new();
    match decision.bounds() {
        _ if reviews => says.push(
            match decision.verdict {
                Verdict::Approve => "found right",
                Verdict::Deny => "found wrong",
            }
            .to_owned(),
        ),
        Some((span, hosts, logins)) => {
            let narrower = span < asked.r#for
                || hosts.len() < asked.hosts.len()
                || logins.len() < asked.logins.len();
            if narrower {
                says.push(format!(
                    "narrowed to {span} as {} on {}",
                    all_of(&logins.iter().map(Login::as_str).collect::<Vec<_>>()),
                    all_of(&hosts.iter().map(HostName::as_str).collect::<Vec<_>>())
                ));
            }
        }
        None => {}
    }
    if !counts && !reviews {
        says.push("does not count".to_owned());
    }
    says.extend(decision.reason.clone());
    Event::new(decision.at, event, Some(&decision.by), says.join("; "))
}

fn approved(view: &View) -> Option<Event> {
    let said = &view.said;
    if said.approved_at == 0 {
        return None;
    }
    let rule = &said.rule;
    let under = if rule.is_empty() { String::new() } else { format!(" under the rule {rule}") };
    let (by, how) = match view.basis() {
        Basis::BreakGlass => {
            let second = view.asked().break_glass.as_deref().unwrap_or_default();
            (Some(&view.asked().by), format!("break-glass{under}, without approvals: {second}"))
        }
        Basis::Auto => (None, format!("by the rule {rule} itself")),
        Basis::Approvals | Basis::Unspecified => {
            let (given, needed) = (said.approvals_given, said.approvals_needed);
            (None, format!("{given} of {needed} approvals{under}"))
        }
    };
    let mut detail = how;
    if said.access_until > 0 {
        let until = utc(UnixTime(said.access_until));
        detail.push_str(&format!("; {} until {until}", all_of(&view.principals())));
    }
    Some(Event::new(UnixTime(said.approved_at), "approved", by, detail))
}

/// That a window that began later has opened, if nobody ended the request before.
fn opened(view: &View, now: UnixTime) -> Option<Event> {
    let said = &view.said;
    let opens = UnixTime(said.opens_at);
    let denied = view.decisions.iter().map(|(decision, _)| decision.body());
    let denied = denied.filter(|d| d.verdict == Verdict::Deny).map(|d| d.at);
    let stopped = view.ends.iter().map(|end| end.body().at).chain(denied).any(|at| at <= opens);
    let came = said.opens_at > said.approved_at && opens <= now && !stopped;
    came.then(|| Event::of_itself(said.opens_at, "opened", String::new()))
}

fn extended(extension: &View) -> Event {
    let asked = extension.asked();
    let (id, status) = (extension.id(), status_name(extension.status()));
    let detail = format!("{id} for {}, {status}", asked.r#for);
    Event::new(asked.at, "extended", Some(&asked.by), detail)
}

fn ended_by(end: &End) -> Event {
    let event = match end.cause {
        Cause::Cancel => "cancelled",
        Cause::Release => "released",
        Cause::Revoke => "revoked",
    };
    Event::new(end.at, event, Some(&end.by), end.reason.clone().unwrap_or_default())
}

/// That the clock ended it.
fn over(view: &View) -> Option<Event> {
    let said = &view.said;
    let (event, at) = match view.status() {
        Status::Ended => ("ended", said.access_until),
        Status::Lapsed if said.approved_at > 0 => ("lapsed", said.use_by),
        Status::Lapsed => ("lapsed", said.decide_by),
        Status::Unspecified
        | Status::Pending
        | Status::Approved
        | Status::Active
        | Status::Denied
        | Status::Cancelled
        | Status::Refused
        | Status::Released
        | Status::Revoked => return None,
    };
    (at > 0).then(|| Event::of_itself(at, event, said.detail.clone()))
}
