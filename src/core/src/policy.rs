//! Which rule decides a request.
//!
//! Any `deny` that touches any part of the request refuses it. Else the first `allow` that covers
//! the whole request decides everything. None: refused, with the nearest rule and what did not fit.

use std::fmt;

use crate::bundle::{Actor, Allow, Bundle, Deny, Host, Selection, SourceRule};
use crate::cidr::Cidr;
use crate::names::{HostName, Login};
use crate::refusal::{Reason, Refusal};
use crate::statement::Request;

/// Finds the rule that decides `request` of `requester`.
///
/// # Errors
/// [`Refusal`] with [`Reason::PolicyRefused`] or [`Reason::SourceNeeded`].
pub fn decide<'b>(
    request: &Request,
    requester: &Actor,
    bundle: &'b Bundle,
) -> Result<&'b Allow, Refusal> {
    if request.by != request.subject {
        return Err(refused(format!(
            "{} asks for {}; in this version everyone asks for themselves",
            request.by, request.subject
        )));
    }
    let hosts = hosts(request, bundle)?;
    for deny in &bundle.policy.deny {
        if touches(deny, request, requester, &hosts) {
            return Err(refused(format!(
                "the rule {} forbids {} on {}",
                deny.name,
                list(&request.logins),
                list(&request.hosts)
            )));
        }
    }
    let mut nearest: Option<(Misfit, &Allow)> = None;
    for allow in &bundle.policy.allow {
        match misfit(allow, request, requester, &hosts) {
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

fn touches(deny: &Deny, request: &Request, requester: &Actor, hosts: &[&Host]) -> bool {
    let who = match &deny.who {
        Selection::All => true,
        Selection::Only(who) => who.iter().any(|who| who.covers(requester)),
    };
    let host = match &deny.hosts {
        Selection::All => true,
        Selection::Only(patterns) => {
            hosts.iter().any(|host| patterns.iter().any(|pattern| pattern.covers(host)))
        }
    };
    let login = match &deny.logins {
        Selection::All => true,
        Selection::Only(logins) => logins.iter().any(|login| request.logins.contains(login)),
    };
    who && host && login
}

/// The first thing about a rule that does not fit a request.
enum Misfit {
    Who,
    Host(HostName),
    Login(Login),
    TooLong,
    Reason,
    SourceNeeded,
    Source,
}

impl Misfit {
    /// How far the rule came: later checks mean a nearer rule.
    fn rank(&self) -> u8 {
        match self {
            Misfit::Who => 0,
            Misfit::Host(_) => 1,
            Misfit::Login(_) => 2,
            Misfit::TooLong => 3,
            Misfit::Reason => 4,
            Misfit::Source => 5,
            Misfit::SourceNeeded => 6,
        }
    }
}

fn misfit(allow: &Allow, request: &Request, requester: &Actor, hosts: &[&Host]) -> Option<Misfit> {
    if !allow.who.iter().any(|who| who.covers(requester)) {
        return Some(Misfit::Who);
    }
    let uncovered = |host: &&&Host| !allow.hosts.iter().any(|pattern| pattern.covers(host));
    if let Some(host) = hosts.iter().find(uncovered) {
        return Some(Misfit::Host(host.name.clone()));
    }
    if let Some(login) = request.logins.iter().find(|login| !allow.logins.contains(login)) {
        return Some(Misfit::Login(login.clone()));
    }
    if request.r#for > allow.max_for {
        return Some(Misfit::TooLong);
    }
    let reason = request.reason.trim();
    let fits = |pattern: &crate::bundle::Pattern| pattern.is_match(reason);
    if reason.chars().count() < allow.reason.min.max(1)
        || !allow.reason.pattern.as_ref().is_none_or(fits)
    {
        return Some(Misfit::Reason);
    }
    match sources(&allow.source, &request.source) {
        Sources::Granted(_) => None,
        Sources::None => Some(Misfit::Source),
        Sources::AddressNeeded => Some(Misfit::SourceNeeded),
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
    let asked = format!("{} as {} on {}", request.by, list(&request.logins), list(&request.hosts));
    let none = |why: String| refused(format!("no rule allows {asked}: {why}"));
    let Some((misfit, rule)) = nearest else {
        return none("the policy has no allow rule".to_owned())
            .hint("an admin can add one to policy.toml");
    };
    let name = &rule.name;
    match misfit {
        Misfit::Who => none(format!("no rule is for {}", request.by))
            .hint("ask an admin which group the work needs"),
        Misfit::Host(host) => none(format!("the nearest rule, {name}, does not cover {host}"))
            .hint(format!("{name} covers: {}", list(&rule.hosts))),
        Misfit::Login(login) => {
            none(format!("the nearest rule, {name}, does not allow the login {login}"))
                .hint(format!("{name} allows: {}", list(&rule.logins)))
        }
        Misfit::TooLong => none(format!(
            "it asks for {}, and the rule {name} allows at most {}",
            request.r#for, rule.max_for
        ))
        .hint(format!("ask again with --for {}", rule.max_for)),
        Misfit::Reason => {
            let mut needs = vec![format!("at least {} characters", rule.reason.min.max(1))];
            if let Some(pattern) = &rule.reason.pattern {
                needs.push(format!("something like {:?}", pattern.as_str()));
            }
            let why = format!(
                "the reason does not fit the rule {name}, which wants {}",
                needs.join(" and ")
            );
            match &rule.reason.hint {
                Some(hint) => none(why).hint(hint.clone()),
                None => none(why),
            }
        }
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

fn refused(message: String) -> Refusal {
    Refusal::new(Reason::PolicyRefused, format!("{message}."))
}

/// Items joined by commas.
fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
