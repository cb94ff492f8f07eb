//! Which rule decides a request.
//!
//! Any `deny` that touches any part of the request refuses it. Else the first `allow` that covers
//! the whole request decides everything. None: refused, with the nearest rule and what did not fit
//! (`misfit.rs`).
//!
//! - [`judgement`]: all that the rules say to one request, real or supposed;
//! - [`cases`]: what an admin expects of the rules, and whether it is so;
//! - [`lint`]: rules that can not do what they seem to; [`compare`]: who may do what after a change;
//! - [`moment`]: moments as files have them;
//! - `census`, `set`: people and hosts by the kinds that rules tell apart.

pub mod cases;
mod census;
pub mod compare;
pub mod judgement;
pub mod lint;
mod misfit;
pub mod moment;
mod set;
#[cfg(test)]
mod texts;

use crate::bundle::{Actor, Allow, Approval, Deny, Host, Selection, SourceRule, Strength, Who};
use crate::cidr::Cidr;
use crate::enrolment::View;
use crate::names::Login;
use crate::refusal::{Reason, Refusal};
use crate::sshsig::Presence;
use crate::statement::Request;
use crate::time::UnixTime;
use misfit::{Misfit, explain_misfit, list, no_rule, refused};

/// What a rule is held against.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// Who asks: `request.by`, as the bundle knows them.
    pub requester: &'a Actor,
    /// How the request is signed.
    pub presence: Presence,
    /// Where the request prolongs another: which extension of the first request it is, from 1.
    pub extension: Option<u8>,
}

/// Everyone a request is about, and the hosts it names.
struct Parties<'b> {
    requester: &'b Actor,
    /// Who will use the access.
    subject: &'b Actor,
    hosts: Vec<&'b Host>,
}

/// Finds the rule that decides a request, with the hosts that are there at `now`.
///
/// # Errors
/// [`Refusal`] with [`Reason::PolicyRefused`], [`Reason::SourceNeeded`], or
/// [`Reason::UnknownSigner`] for a subject who is not in the bundle.
pub fn decide<'b>(
    asked: Asked<'_>,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<&'b Allow, Refusal> {
    let (request, view) = (asked.request, view.into());
    let bundle = view.bundle;
    let parties = parties(asked, view, now)?;
    if let Some(deny) = first_deny(request, &parties, view) {
        return Err(refused(format!(
            "the rule {} forbids {} on {}",
            deny.name,
            list(&request.logins),
            list(&request.hosts)
        )));
    }
    let mut nearest: Option<(Misfit, &Allow)> = None;
    for allow in bundle.policy.allow_candidates(parties.requester) {
        match misfit(allow, asked, &parties) {
            None => return Ok(allow),
            Some(found) => {
                if nearest.as_ref().is_none_or(|(best, _)| found.rank() > best.rank()) {
                    nearest = Some((found, allow));
                }
            }
        }
    }
    Err(no_rule(request, nearest, &bundle.policy))
}

/// What each rule says to a request, in the order of the file: for who wants to know why.
///
/// # Errors
/// As [`decide`], where the request is refused whatever the rules say.
pub fn explain<'b>(
    asked: Asked<'_>,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<Vec<(&'b Allow, Option<Refusal>)>, Refusal> {
    let view = view.into();
    let parties = parties(asked, view, now)?;
    let say = |allow: &'b Allow| {
        let misfit = misfit(allow, asked, &parties);
        (allow, misfit.map(|misfit| explain_misfit(asked.request, misfit, allow)))
    };
    Ok(view.bundle.policy.allow.iter().map(say).collect())
}

/// The first `deny` that touches any part of a request.
///
/// # Errors
/// As [`decide`], for a host, login or person that is not in the bundle.
pub fn denied_by<'b>(
    asked: Asked<'_>,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<Option<&'b Deny>, Refusal> {
    let view = view.into();
    let parties = parties(asked, view, now)?;
    Ok(first_deny(asked.request, &parties, view))
}

fn first_deny<'b>(request: &Request, parties: &Parties<'_>, view: View<'b>) -> Option<&'b Deny> {
    let actors = [parties.requester, parties.subject];
    let actors = if request.by == request.subject { &actors[..1] } else { &actors[..] };
    let mut candidates = view.bundle.policy.deny_candidates(actors, &parties.hosts);
    candidates.find(|deny| touches(deny, request, parties))
}

fn parties<'p>(asked: Asked<'p>, view: View<'p>, now: UnixTime) -> Result<Parties<'p>, Refusal> {
    let request = asked.request;
    let subject = if request.by == request.subject {
        asked.requester
    } else {
        view.bundle.people.get(&request.subject).ok_or_else(|| {
            let message = format!("there is nobody with the id {} in the bundle.", request.subject);
            Refusal::new(Reason::UnknownSigner, message)
                .hint("a request names the person who will use the access, as people.toml has them")
        })?
    };
    Ok(Parties { requester: asked.requester, subject, hosts: hosts(request, view, now)? })
}

/// The hosts of the request, each offering each login.
fn hosts<'b>(request: &Request, view: View<'b>, now: UnixTime) -> Result<Vec<&'b Host>, Refusal> {
    let mut hosts = Vec::with_capacity(request.hosts.len());
    for name in &request.hosts {
        let found = view.host(name, now)?;
        if !found.was_there(request.at) {
            return Err(refused(format!(
                "the host {name} is another machine than when the request was made"
            ))
            .hint("ask anew with: jit-ssh login"));
        }
        let host = found.host();
        if let Some(login) = request.logins.iter().find(|login| !host.logins.contains(login)) {
            let offered: Vec<&Login> = host.logins.iter().collect();
            return Err(refused(format!("the host {name} does not offer the login {login}"))
                .hint(format!("it offers: {}", list(&offered))));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn touches(deny: &Deny, request: &Request, parties: &Parties<'_>) -> bool {
    let who = match &deny.who {
        Selection::All => true,
        Selection::Only(who) => covers(who, parties.requester) || covers(who, parties.subject),
    };
    let host = match &deny.hosts {
        Selection::All => true,
        Selection::Only(patterns) => {
            parties.hosts.iter().any(|host| patterns.iter().any(|pattern| pattern.covers(host)))
        }
    };
    let login = match &deny.logins {
        Selection::All => true,
        Selection::Only(logins) => logins.iter().any(|login| request.logins.contains(login)),
    };
    who && host && login
}

fn covers(who: &[Who], actor: &Actor) -> bool {
    who.iter().any(|who| who.covers(actor))
}

fn misfit(allow: &Allow, asked: Asked<'_>, parties: &Parties<'_>) -> Option<Misfit> {
    let request = asked.request;
    if !covers(&allow.who, parties.requester) {
        return Some(Misfit::Who);
    }
    if !speaks_for(allow, request, parties) {
        let meant = allow.on_behalf.is_some() && request.by != request.subject;
        return Some(if meant { Misfit::OnBehalf } else { Misfit::Otherwise });
    }
    let uncovered = |host: &&&Host| !allow.hosts.iter().any(|pattern| pattern.covers(host));
    if let Some(host) = parties.hosts.iter().find(uncovered) {
        return Some(Misfit::Host(host.name.clone()));
    }
    if let Some(login) = request.logins.iter().find(|login| !allow.logins.contains(login)) {
        return Some(Misfit::Login(login.clone()));
    }
    if let Some(misfit) = terms(allow, asked) {
        return Some(misfit);
    }
    let reason = request.reason.trim();
    let fits = |pattern: &crate::bundle::Pattern| pattern.is_match(reason);
    if reason.chars().count() < allow.reason.min.max(1)
        || !allow.reason.pattern.as_ref().is_none_or(fits)
    {
        return Some(Misfit::Reason);
    }
    if let Approval::Auto(auto) = &allow.approval
        && !auto.covers(request.begins())
    {
        return Some(Misfit::Hours);
    }
    match sources(&allow.source, &request.source) {
        Sources::Granted(_) => None,
        Sources::None => Some(Misfit::Source),
        Sources::AddressNeeded => Some(Misfit::SourceNeeded),
    }
}

/// Whether the rule is about a request by this one for that one.
fn speaks_for(allow: &Allow, request: &Request, parties: &Parties<'_>) -> bool {
    match &allow.on_behalf {
        None => request.by == request.subject,
        Some(persons) => {
            request.by != request.subject
                && !parties.requester.is_person()
                && parties.subject.is_person()
                && covers(persons, parties.subject)
        }
    }
}

/// How long, and on which of the rule's terms: the usual ones, an extension's, or break-glass.
fn terms(allow: &Allow, asked: Asked<'_>) -> Option<Misfit> {
    let request = asked.request;
    let longest = if request.break_glass.is_some() {
        let Some(break_glass) = &allow.break_glass else {
            return Some(Misfit::BreakGlass);
        };
        if !is_strong(asked.presence, break_glass.strength) {
            return Some(Misfit::Strength(break_glass.strength));
        }
        break_glass.max_for.min(allow.max_for)
    } else if request.extends.is_some() {
        let Some(extend) = &allow.extend else {
            return Some(Misfit::Extend);
        };
        // Without its place nothing is known of what it prolongs: refused.
        if asked.extension.is_none_or(|place| place == 0 || place > extend.times.get()) {
            return Some(Misfit::TooOften(extend.times.get()));
        }
        extend.max
    } else {
        allow.max_for
    };
    (request.r#for > longest).then_some(Misfit::TooLong(longest))
}

/// Whether a signature with this presence has this strength.
pub(crate) fn is_strong(presence: Presence, strength: Strength) -> bool {
    match strength {
        Strength::Any => true,
        Strength::Hardware => presence >= Presence::Touched,
        Strength::Verified => presence >= Presence::UserVerified,
    }
}

/// What becomes of a request's `source` under a rule.
pub(crate) enum Sources {
    /// These ranges; empty for anywhere.
    Granted(Vec<Cidr>),
    /// Nothing is left.
    None,
    /// The rule binds to the client's address, and the request does not name exactly one.
    AddressNeeded,
}

/// Intersects what a rule allows with what a request names (an empty list names everything).
///
/// Under `client` the requester signs the address, so that a front can not choose it; the front
/// checks only that it is the one it sees.
pub(crate) fn sources(rule: &SourceRule, asked: &[Cidr]) -> Sources {
    match rule {
        SourceRule::Any => Sources::Granted(asked.to_vec()),
        SourceRule::Client => match asked {
            [range] if range.as_single().is_some() => Sources::Granted(vec![*range]),
            _ => Sources::AddressNeeded,
        },
        SourceRule::Only(allowed) if asked.is_empty() => Sources::Granted(allowed.clone()),
        SourceRule::Only(allowed) => {
            let mut granted: Vec<Cidr> = Vec::new();
            for both in allowed.iter().flat_map(|a| asked.iter().filter_map(|b| a.intersection(b)))
            {
                if !granted.contains(&both) {
                    granted.push(both);
                }
            }
            if granted.is_empty() { Sources::None } else { Sources::Granted(granted) }
        }
    }
}
