//! Which rule decides a request.
//!
//! Any `deny` that touches any part of the request refuses it. Else the first `allow` that covers
//! the whole request decides everything. None: refused, with the nearest rule and what did not fit.

use std::fmt;

use crate::bundle::{
    Actor, Allow, Approval, Bundle, Deny, Host, Selection, SourceRule, Strength, Who,
};
use crate::cidr::Cidr;
use crate::names::{HostName, Login};
use crate::refusal::{Reason, Refusal};
use crate::sshsig::Presence;
use crate::statement::Request;
use crate::time::{Seconds, UnixTime};

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

/// Finds the rule that decides a request.
///
/// # Errors
/// [`Refusal`] with [`Reason::PolicyRefused`], [`Reason::SourceNeeded`], or
/// [`Reason::UnknownSigner`] for a subject who is not in the bundle.
pub fn decide<'b>(asked: Asked<'_>, bundle: &'b Bundle) -> Result<&'b Allow, Refusal> {
    let request = asked.request;
    let parties = parties(asked, bundle)?;
    if let Some(deny) = bundle.policy.deny.iter().find(|deny| touches(deny, request, &parties)) {
        return Err(refused(format!(
            "the rule {} forbids {} on {}",
            deny.name,
            list(&request.logins),
            list(&request.hosts)
        )));
    }
    let mut nearest: Option<(Misfit, &Allow)> = None;
    for allow in &bundle.policy.allow {
        match misfit(allow, asked, &parties) {
            None => return Ok(allow),
            Some(found) => {
                if nearest.as_ref().is_none_or(|(best, _)| found.rank() > best.rank()) {
                    nearest = Some((found, allow));
                }
            }
        }
    }
    Err(no_rule(request, nearest))
}

/// What each rule says to a request, in the order of the file: for who wants to know why.
///
/// # Errors
/// As [`decide`], where the request is refused whatever the rules say.
pub fn explain<'b>(
    asked: Asked<'_>,
    bundle: &'b Bundle,
) -> Result<Vec<(&'b Allow, Option<Refusal>)>, Refusal> {
    let parties = parties(asked, bundle)?;
    let say = |allow: &'b Allow| {
        let misfit = misfit(allow, asked, &parties);
        (allow, misfit.map(|misfit| explain_misfit(asked.request, misfit, allow)))
    };
    Ok(bundle.policy.allow.iter().map(say).collect())
}

/// The first `deny` that touches any part of a request.
///
/// # Errors
/// As [`decide`], for a host, login or person that is not in the bundle.
pub fn denied_by<'b>(asked: Asked<'_>, bundle: &'b Bundle) -> Result<Option<&'b Deny>, Refusal> {
    let parties = parties(asked, bundle)?;
    Ok(bundle.policy.deny.iter().find(|deny| touches(deny, asked.request, &parties)))
}

fn parties<'p>(asked: Asked<'p>, bundle: &'p Bundle) -> Result<Parties<'p>, Refusal> {
    let request = asked.request;
    let subject = if request.by == request.subject {
        asked.requester
    } else {
        bundle.people.get(&request.subject).ok_or_else(|| {
            let message = format!("there is nobody with the id {} in the bundle.", request.subject);
            Refusal::new(Reason::UnknownSigner, message)
                .hint("a request names the person who will use the access, as people.toml has them")
        })?
    };
    Ok(Parties { requester: asked.requester, subject, hosts: hosts(request, bundle)? })
}

/// The hosts of the request, each offering each login.
fn hosts<'b>(request: &Request, bundle: &'b Bundle) -> Result<Vec<&'b Host>, Refusal> {
    let mut found = Vec::with_capacity(request.hosts.len());
    for name in &request.hosts {
        let host = bundle
            .hosts
            .get(name)
            .ok_or_else(|| refused(format!("there is no host {name} in the bundle")))?;
        if let Some(login) = request.logins.iter().find(|login| !host.logins.contains(login)) {
            let offered: Vec<&Login> = host.logins.iter().collect();
            return Err(refused(format!("the host {name} does not offer the login {login}"))
                .hint(format!("it offers: {}", list(&offered))));
        }
        found.push(host);
    }
    Ok(found)
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

/// The first thing about a rule that does not fit a request.
enum Misfit {
    Who,
    /// It asks for another, and the rule does not let it; or the other way round.
    OnBehalf,
    Host(HostName),
    Login(Login),
    /// The rule has no break-glass.
    BreakGlass,
    /// The rule has no extensions.
    Extend,
    TooLong(Seconds),
    /// So many extensions and no more.
    TooOften(u8),
    /// Break-glass wants a stronger key.
    Strength(Strength),
    Reason,
    /// The rule approves by itself only at other times.
    Hours,
    Source,
    SourceNeeded,
}

impl Misfit {
    /// How far the rule came: later checks mean a nearer rule.
    fn rank(&self) -> u8 {
        match self {
            Misfit::Who => 0,
            Misfit::OnBehalf => 1,
            Misfit::Host(_) => 2,
            Misfit::Login(_) => 3,
            Misfit::BreakGlass | Misfit::Extend => 4,
            Misfit::TooLong(_) | Misfit::TooOften(_) => 5,
            Misfit::Strength(_) => 6,
            Misfit::Reason => 7,
            Misfit::Hours => 8,
            Misfit::Source => 9,
            Misfit::SourceNeeded => 10,
        }
    }
}

fn misfit(allow: &Allow, asked: Asked<'_>, parties: &Parties<'_>) -> Option<Misfit> {
    let request = asked.request;
    if !covers(&allow.who, parties.requester) {
        return Some(Misfit::Who);
    }
    if !speaks_for(allow, request, parties) {
        return Some(Misfit::OnBehalf);
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

fn no_rule(request: &Request, nearest: Option<(Misfit, &Allow)>) -> Refusal {
    match nearest {
        Some((misfit, rule)) => explain_misfit(request, misfit, rule),
        None => none_allows(request, "the policy has no allow rule".to_owned())
            .hint("an admin can add one to policy.toml"),
    }
}

fn none_allows(request: &Request, why: String) -> Refusal {
    let asker = if request.by == request.subject {
        request.by.to_string()
    } else {
        format!("{} for {}", request.by, request.subject)
    };
    let (logins, hosts) = (list(&request.logins), list(&request.hosts));
    refused(format!("no rule allows {asker} as {logins} on {hosts}: {why}"))
}

fn explain_misfit(request: &Request, misfit: Misfit, rule: &Allow) -> Refusal {
    let name = &rule.name;
    let none = |why: String| none_allows(request, why);
    match misfit {
        Misfit::Who => none(format!("no rule is for {}", request.by))
            .hint("ask an admin which group the work needs"),
        Misfit::OnBehalf => on_behalf(request, rule),
        Misfit::Host(host) => none(format!("the nearest rule, {name}, does not cover {host}"))
            .hint(format!("{name} covers: {}", list(&rule.hosts))),
        Misfit::Login(login) => {
            none(format!("the nearest rule, {name}, does not allow the login {login}"))
                .hint(format!("{name} allows: {}", list(&rule.logins)))
        }
        Misfit::BreakGlass => none(format!("the rule {name} has no break-glass"))
            .hint("ask without it, and let those decide who are asked"),
        Misfit::Extend => none(format!("the rule {name} has no extensions"))
            .hint("ask anew with: jit-ssh login --new"),
        Misfit::TooLong(longest) => none(format!(
            "it asks for {}, and the rule {name} allows at most {longest}",
            request.r#for
        ))
        .hint(format!("ask again with --for {longest}")),
        Misfit::TooOften(times) => {
            none(format!("the rule {name} allows {times} extensions, and this is one more"))
                .hint("ask anew with: jit-ssh login --new")
        }
        Misfit::Strength(strength) => none(format!(
            "break-glass under the rule {name} needs a request signed with strength {strength}"
        ))
        .hint("sign with a security key (sk-*) that people.toml lists for you"),
        Misfit::Reason => bad_reason(request, rule),
        Misfit::Hours => hours(request, rule),
        Misfit::Source => {
            let allowed = match &rule.source {
                SourceRule::Only(ranges) => list(ranges),
                SourceRule::Any | SourceRule::Client => String::new(),
            };
            none(format!("the rule {name} allows no address of {}", list(&request.source)))
                .hint(format!("{name} allows: {allowed}"))
        }
        Misfit::SourceNeeded => Refusal::new(
            Reason::SourceNeeded,
            format!(
                "the rule {name} binds the certificate to the client's address, so the request must name exactly that address in `source`"
            ),
        ),
    }
}

fn on_behalf(request: &Request, rule: &Allow) -> Refusal {
    let name = &rule.name;
    match &rule.on_behalf {
        None => {
            none_allows(request, format!("the rule {name} lets everyone ask only for themselves"))
                .hint("a machine may ask for persons where a rule has `on_behalf`")
        }
        Some(persons) if request.by == request.subject => none_allows(
            request,
            format!("under the rule {name} {} asks for persons, not for itself", request.by),
        )
        .hint(format!("it may ask for: {}", list(persons))),
        Some(persons) => none_allows(
            request,
            format!("under the rule {name} {} does not ask for {}", request.by, request.subject),
        )
        .hint(format!("it may ask for: {}", list(persons))),
    }
}

fn bad_reason(request: &Request, rule: &Allow) -> Refusal {
    let mut needs = vec![format!("at least {} characters", rule.reason.min.max(1))];
    if let Some(pattern) = &rule.reason.pattern {
        needs.push(format!("something like {:?}", pattern.as_str()));
    }
    let needs = needs.join(" and ");
    let why = format!("the reason does not fit the rule {}, which wants {needs}", rule.name);
    let refusal = none_allows(request, why);
    match &rule.reason.hint {
        Some(hint) => refusal.hint(hint.clone()),
        None => refusal,
    }
}

fn hours(request: &Request, rule: &Allow) -> Refusal {
    let name = &rule.name;
    let begins: UnixTime = request.begins();
    match &rule.approval {
        Approval::Auto(auto) if auto.is_past(begins) => {
            let day = auto.review_by.map(|day| day.to_string()).unwrap_or_default();
            none_allows(
                request,
                format!("the rule {name} was to be reviewed by {day} and holds no longer"),
            )
            .hint("an admin looks at it and sets a new `review_by` in policy.toml")
        }
        Approval::Auto(auto) => {
            let hours = auto.hours.as_ref().map(ToString::to_string).unwrap_or_default();
            none_allows(request, format!("the rule {name} approves by itself only {hours}"))
                .hint("ask again within these hours, or for a time within them with --at")
        }
        Approval::Steps(_) => none_allows(request, format!("the rule {name} does not fit")),
    }
}

fn refused(message: String) -> Refusal {
    Refusal::new(Reason::PolicyRefused, format!("{message}."))
}

/// Items joined by commas.
fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
