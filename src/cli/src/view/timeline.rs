//! What happened to a request, in order, each by its cause. What somebody signed is read from the
//! signed bytes; the rest is as the CA says.

use jit_ssh_api::v1::{self, Basis, Closed, Status};
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Cause, Decision, End, Verdict};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::{View, status_name};
use crate::text::{all_of, span, utc};

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

/// What happened to `view`, oldest first. `extensions` are the requests that prolong it, `prolonged`
/// those that it prolongs, the nearest first.
pub(crate) fn timeline(
    view: &View,
    extensions: &[View],
    prolonged: &[View],
    now: UnixTime,
) -> Vec<Event> {
    let mut events = vec![requested(view)];
    let decisions = view.decisions.iter();
    events.extend(decisions.map(|(decision, counts)| decided(view, decision.body(), *counts)));
    events.extend(approved(view));
    events.extend(opened(view, now));
    events.extend(view.said.certificates.iter().map(|issued| {
        let until = utc(UnixTime(issued.valid_before));
        Event::of_itself(
            issued.at,
            "certificate",
            format!("serial {} until {until}", issued.serial),
        )
    }));
    events.extend(extensions.iter().map(extended));
    events.extend(view.said.uses.iter().flat_map(used));
    events.extend(view.ends.iter().map(|end| ended_by(end.body())));
    events.extend(fell(view, prolonged));
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
    if reviews {
        let found = match decision.verdict {
            Verdict::Approve => "found right",
            Verdict::Deny => "found wrong",
        };
        says.push(found.to_owned());
    } else if let Some(less) = view.narrowed(decision) {
        says.push(format!("narrowed to {less}"));
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

/// That somebody logged in with a certificate of it, and that this ended, as the host told it.
fn used(told: &v1::Use) -> Vec<Event> {
    let place = format!("{}@{} from {}", told.login, told.host, told.from);
    let other = if told.other_key { ", by a key that is not the host's now" } else { "" };
    let begun = || Event::of_itself(told.begun_at, "login", format!("{place}{other}"));
    let ended = || {
        let lasted = match (told.begun_at, told.closed()) {
            (0, _) | (_, Closed::Unseen) => String::new(),
            (begun, _) => format!(" after {}", span(told.ended_at.saturating_sub(begun))),
        };
        let how = match told.closed() {
            Closed::Expired => ": ended by the guard with the access",
            Closed::Revoked => ": ended by the guard, as it was revoked or given back",
            Closed::Unseen => ": gone when the guard came back",
            Closed::Closed | Closed::Unspecified => "",
        };
        Event::of_itself(told.ended_at, "logout", format!("{place}{lasted}{how}{other}"))
    };
    let events = [(told.begun_at > 0).then(begun), (told.ended_at > 0).then(ended)];
    events.into_iter().flatten().collect()
}

fn extended(extension: &View) -> Event {
    let asked = extension.asked();
    let (id, status) = (extension.id(), status_name(extension.status()));
    let detail = format!("{id} for {}, {status}", asked.r#for);
    Event::new(asked.at, "extended", Some(&asked.by), detail)
}

/// That it fell with one that it prolongs, if it did: by the first release or revocation of any of
/// them, unless an end of its own came before.
fn fell(view: &View, prolonged: &[View]) -> Option<Event> {
    if !matches!(view.status(), Status::Released | Status::Revoked) {
        return None;
    }
    let ends = prolonged.iter().flat_map(|of| of.ends.iter().map(move |end| (of, end.body())));
    let (of, end) = ends.min_by_key(|(_, end)| end.at)?;
    if view.ends.iter().any(|own| own.body().at <= end.at) {
        return None;
    }
    let mut event = ended_by(end);
    let with = format!("(with {}, which it prolongs)", of.id());
    event.detail = if event.detail.is_empty() { with } else { format!("{} {with}", event.detail) };
    Some(event)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grant;
    use crate::grants::tests::{ca, grant, grant_with};
    use crate::view::tests::{revocation, said_of, signed};

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn at(secs: u32) -> UnixTime {
        NOW.plus_secs(secs)
    }

    fn decision(of: &Grant, by: &str, secs: u32, span: u32, counts: bool) -> v1::Decision {
        let asked = of.request.body();
        let decision = Decision::approve(
            ca(),
            by.parse().unwrap(),
            of.digest(),
            jit_ssh_core::time::Seconds::new(span).unwrap(),
            asked.hosts.clone(),
            asked.logins.clone(),
            None,
            at(secs),
        );
        v1::Decision { statement: Some(signed(&decision)), counts, ..v1::Decision::default() }
    }

    fn denial(of: &Grant, secs: u32) -> v1::Decision {
        let why = "not tonight".to_owned();
        let denial = Decision::deny(ca(), "bob".parse().unwrap(), of.digest(), why, at(secs));
        v1::Decision { statement: Some(signed(&denial)), counts: true, ..v1::Decision::default() }
    }

    fn view(of: &Grant, said: v1::AccessState) -> View {
        let base = said_of(of);
        View::open(v1::AccessState { request: base.request, ..said }, &ca()).unwrap()
    }

    /// The lines without their times, key and ids.
    fn lines(view: &View, extensions: &[View], now: UnixTime) -> Vec<String> {
        let events = timeline(view, extensions, &[], now);
        assert!(events.is_sorted_by_key(|event| event.at));
        let plain = |event: &Event| {
            let line = event.line().replace(&view.asked().key.fingerprint(), "KEY");
            let line = extensions
                .iter()
                .fold(line, |line, extension| line.replace(extension.id().as_str(), "EXT"));
            let words: Vec<&str> = line.split_whitespace().skip(3).collect();
            words.join(" ")
        };
        events.iter().map(plain).collect()
    }

    #[test]
    fn a_life_is_told_in_order_each_by_its_cause_also_after_the_end() {
        let of = grant("INC-42");
        let extension = grant_with("INC-42", |request| {
            request.extends = Some(of.digest());
            request.at = at(250);
        });
        let extension = view(
            &extension,
            v1::AccessState { status: Status::Revoked.into(), ..v1::AccessState::default() },
        );
        let said = v1::AccessState {
            status: Status::Revoked.into(),
            rule: "prod".into(),
            basis: Basis::Approvals.into(),
            decisions: vec![
                decision(&of, "dave", 50, 600, false),
                decision(&of, "bob", 100, 300, true),
            ],
            approvals_given: 1,
            approvals_needed: 1,
            approved_at: at(100).0,
            opens_at: at(100).0,
            access_until: at(400).0,
            certificates: vec![v1::IssuedCertificate {
                serial: 7,
                at: at(120).0,
                valid_before: at(400).0,
            }],
            ends: vec![signed(&revocation(&of, at(300)))],
            ..v1::AccessState::default()
        };
        assert_eq!(
            lines(&view(&of, said), &[extension], at(9_000)),
            [
                "requested by alice: 10m as deploy on prod-host; key KEY",
                "approval by dave: does not count",
                "approval by bob: narrowed to 5m as deploy on prod-host",
                "approved 1 of 1 approvals under the rule prod; deploy@prod-host until \
                 2026-09-21 14:20:00 UTC",
                "certificate serial 7 until 2026-09-21 14:20:00 UTC",
                "extended by alice: EXT for 10m, revoked",
                "revoked by bob: over",
            ]
        );
    }

    #[test]
    fn logins_and_their_ends_are_told_by_the_hosts() {
        let of = grant("INC-42");
        let told = |begun: u32, ended: u32, closed: Closed| v1::Use {
            host: "prod-host".into(),
            login: "deploy".into(),
            from: "10.1.2.3".into(),
            serial: 7,
            begun_at: if begun == 0 { 0 } else { at(begun).0 },
            ended_at: if ended == 0 { 0 } else { at(ended).0 },
            closed: closed.into(),
            other_key: begun == 0,
        };
        let said = v1::AccessState {
            status: Status::Ended.into(),
            uses: vec![
                told(10, 600, Closed::Expired),
                told(20, 0, Closed::Unspecified),
                told(0, 700, Closed::Closed),
                told(30, 800, Closed::Unseen),
            ],
            ..v1::AccessState::default()
        };
        assert_eq!(
            lines(&view(&of, said), &[], at(9_000))[1..],
            [
                "login deploy@prod-host from 10.1.2.3",
                "login deploy@prod-host from 10.1.2.3",
                "login deploy@prod-host from 10.1.2.3",
                "logout deploy@prod-host from 10.1.2.3 after 9m50s: ended by the guard with the access",
                "logout deploy@prod-host from 10.1.2.3, by a key that is not the host's now",
                "logout deploy@prod-host from 10.1.2.3: gone when the guard came back",
            ]
        );
    }

    #[test]
    fn a_window_opens_in_its_time_unless_it_was_ended_before() {
        let of = grant_with("INC-42", |request| request.not_before = Some(at(500)));
        let said = |ends: Vec<v1::SignedStatement>| v1::AccessState {
            status: Status::Approved.into(),
            basis: Basis::Auto.into(),
            rule: "test".into(),
            approved_at: NOW.0,
            opens_at: at(500).0,
            ends,
            ..v1::AccessState::default()
        };
        let opened = |ends, now| {
            let lines = lines(&view(&of, said(ends)), &[], now);
            assert_eq!(lines[1], "approved by the rule test itself");
            lines.contains(&"opened".to_owned())
        };
        assert!(!opened(vec![], at(499)));
        assert!(opened(vec![], at(500)));
        assert!(!opened(vec![signed(&revocation(&of, at(499)))], at(600)));
        assert!(opened(vec![signed(&revocation(&of, at(501)))], at(600)));
    }

    #[test]
    fn break_glass_is_reviewed_not_decided_and_the_clock_ends_the_rest() {
        let broken = grant_with("INC-42", |request| request.break_glass = Some("fire".into()));
        let said = v1::AccessState {
            status: Status::Ended.into(),
            basis: Basis::BreakGlass.into(),
            rule: "prod".into(),
            reviewed: true,
            approved_at: NOW.0,
            access_until: at(600).0,
            decisions: vec![denial(&broken, 900)],
            detail: "the access is over.".into(),
            ..v1::AccessState::default()
        };
        let told = lines(&view(&broken, said), &[], at(9_000));
        assert!(
            told[1].starts_with(
                "approved by alice: break-glass under the rule prod, without approvals: fire"
            ),
            "{}",
            told[1]
        );
        assert_eq!(told[2], "ended the access is over.");
        assert_eq!(told[3], "reviewed by bob: found wrong; not tonight");

        let of = grant("INC-42");
        let said = |approved_at| v1::AccessState {
            status: Status::Lapsed.into(),
            approved_at,
            decide_by: at(3_600).0,
            use_by: at(900).0,
            ..v1::AccessState::default()
        };
        let last = |said| timeline(&view(&of, said), &[], &[], at(9_000)).pop().unwrap();
        assert_eq!((last(said(0)).event, last(said(0)).at), ("lapsed", at(3_600)));
        assert_eq!(last(said(NOW.0)).at, at(900), "approved and not used");
        let denied = v1::AccessState {
            status: Status::Denied.into(),
            decisions: vec![denial(&of, 10)],
            ..v1::AccessState::default()
        };
        let told = lines(&view(&of, denied), &[], at(20));
        assert_eq!(told[1..], ["denial by bob: not tonight"]);
    }

    #[test]
    fn what_fell_with_the_one_it_prolongs_says_so_at_that_moment() {
        let first = grant("INC-42");
        let extension = grant_with("INC-42", |request| request.extends = Some(first.digest()));
        let said = |ends| v1::AccessState {
            status: Status::Revoked.into(),
            ends,
            ..v1::AccessState::default()
        };
        let of = [view(&first, said(vec![signed(&revocation(&first, at(300)))]))];
        let falls = |said, of: &[View]| {
            let events = timeline(&view(&extension, said), &[], of, at(9_000));
            let falls = events.into_iter().filter(|event| event.event == "revoked");
            falls.map(|event| (event.at, event.by, event.detail)).collect::<Vec<_>>()
        };
        let why = revocation(&first, at(300)).reason.unwrap();
        let with = format!("{why} (with {}, which it prolongs)", first.request.id());
        let by = Some(revocation(&first, at(300)).by.to_string());
        assert_eq!(falls(said(vec![]), &of), [(at(300), by, with)]);
        // It was over before by itself, or stands, or nothing is known of what it prolongs.
        let own = || vec![signed(&revocation(&extension, at(200)))];
        assert_eq!(falls(said(own()), &of).len(), 1);
        assert_eq!(falls(said(own()), &of)[0].0, at(200));
        let active = v1::AccessState { status: Status::Active.into(), ..said(vec![]) };
        assert_eq!(falls(active, &of), []);
        assert_eq!(falls(said(vec![]), &[]), []);
    }
}
