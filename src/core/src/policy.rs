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

use crate::bundle::{
    Actor, Allow, Approval, Deny, Host, ReasonRule, Selection, SourceRule, Strength, Who,
};
use crate::cidr::Cidr;
use crate::enrolment::View;
use crate::names::{HostName, Login, Principal};
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

/// How the reason of a request is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonTaken {
    /// As the request says it.
    AsSaid,
    /// It is still to be said, and will fit the rule.
    WillFit,
    /// It is still to be said, and will fit no rule that wants more than a word.
    WillNotFit,
}

impl ReasonTaken {
    fn fits(self, rule: &ReasonRule, said: &str) -> bool {
        let said = said.trim();
        match self {
            ReasonTaken::AsSaid => {
                said.chars().count() >= rule.min.max(1)
                    && rule.pattern.as_ref().is_none_or(|pattern| pattern.is_match(said))
            }
            ReasonTaken::WillFit => true,
            ReasonTaken::WillNotFit => rule.min <= 1 && rule.pattern.is_none(),
        }
    }
}

/// Most jumps of one request: each is a certificate, beside that for the logins.
const MAX_JUMPS: usize = Principal::MAX_COUNT;

/// Everyone a request is about, and the hosts it names.
struct Parties<'b> {
    requester: &'b Actor,
    /// Who will use the access.
    subject: &'b Actor,
    hosts: Vec<&'b Host>,
    /// The bastions on the way to them.
    bastions: Vec<&'b Host>,
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
    decide_with(asked, ReasonTaken::AsSaid, view, now)
}

/// Finds the rule that would decide a request whose reason may still be open. Only to foretell:
/// whatever is issued was decided by [`decide`].
///
/// # Errors
/// As [`decide`].
pub fn decide_with<'b>(
    asked: Asked<'_>,
    reason: ReasonTaken,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<&'b Allow, Refusal> {
    let (request, view) = (asked.request, view.into());
    let bundle = view.bundle;
    let parties = parties(asked, view, now)?;
    if let Some(deny) = first_deny(request, &parties, view) {
        return Err(refused(forbids(deny, request, &parties)));
    }
    let mut nearest: Option<(Misfit, &Allow)> = None;
    for allow in bundle.policy.allow_candidates(parties.requester) {
        match misfit(allow, asked, reason, &parties) {
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
        let misfit = misfit(allow, asked, ReasonTaken::AsSaid, &parties);
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
    let hosts: Vec<&Host> = parties.hosts.iter().chain(&parties.bastions).copied().collect();
    let mut candidates = view.bundle.policy.deny_candidates(actors, &hosts);
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
    check_command(request)?;
    let hosts = hosts(request, view, now)?;
    let jumps = view.bundle.hosts.jumps(hosts.iter().map(|host| &host.name));
    if jumps.len() > MAX_JUMPS {
        return Err(refused(format!(
            "there are {} jumps on the way to these hosts, and one request has at most {MAX_JUMPS}",
            jumps.len()
        ))
        .hint("ask for fewer hosts at a time"));
    }
    let bastions = jumps.iter().filter_map(|jump| view.bundle.hosts.get(jump.bastion())).collect();
    Ok(Parties { requester: asked.requester, subject, hosts, bastions })
}

/// Refuses what would open more than the one command that a request names, whatever a rule permits: who
/// approves `only command uptime` must not have approved a tunnel.
fn check_command(request: &Request) -> Result<(), Refusal> {
    let more: Vec<_> = request.permit.iter().filter(|permit| permit.exceeds_command()).collect();
    if request.command.is_none() || more.is_empty() {
        return Ok(());
    }
    Err(refused(format!("beside one command it asks for {}", list(&more)))
        .hint("beside a command only pty can be asked for: whatever else there is opens more"))
}

/// The hosts of the request, each offering each login.
fn hosts<'b>(request: &Request, view: View<'b>, now: UnixTime) -> Result<Vec<&'b Host>, Refusal> {
    if let Some(login) = request.logins.iter().find(|login| login.is_jump()) {
        return Err(refused(format!("nobody can ask for the login {login}"))
            .hint("it comes by itself with access to a host behind a bastion: ask for that host"));
    }
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
    let (hosts, logins) = touched(deny, request, parties);
    who && (!hosts.is_empty() && !logins.is_empty() || shut(deny, parties).is_some())
}

/// A bastion on the way whose jumps a `deny` is about.
fn shut<'p>(deny: &Deny, parties: &Parties<'p>) -> Option<&'p Host> {
    let jumps = match &deny.logins {
        Selection::All => true,
        Selection::Only(logins) => logins.iter().any(Login::is_jump),
    };
    let bastion = |bastion: &&&Host| match &deny.hosts {
        Selection::All => true,
        Selection::Only(patterns) => patterns.iter().any(|pattern| pattern.covers(bastion)),
    };
    parties.bastions.iter().filter(|_| jumps).find(bastion).copied()
}

/// What a `deny` that touches a request forbids of it.
fn forbids(deny: &Deny, request: &Request, parties: &Parties<'_>) -> String {
    let (hosts, logins) = touched(deny, request, parties);
    match shut(deny, parties) {
        Some(bastion) if hosts.is_empty() || logins.is_empty() => {
            let behind = list(&request.hosts);
            format!(
                "the rule {} forbids jumps through {}, which {behind} is behind",
                deny.name, bastion.name
            )
        }
        Some(_) | None => {
            format!("the rule {} forbids {} on {}", deny.name, list(&logins), list(&hosts))
        }
    }
}

/// Which hosts and logins of the request a `deny` is about.
fn touched<'p>(
    deny: &Deny,
    request: &'p Request,
    parties: &Parties<'p>,
) -> (Vec<&'p HostName>, Vec<&'p Login>) {
    let host = |host: &&&Host| match &deny.hosts {
        Selection::All => true,
        Selection::Only(patterns) => patterns.iter().any(|pattern| pattern.covers(host)),
    };
    let login = |login: &&Login| match &deny.logins {
        Selection::All => true,
        Selection::Only(logins) => logins.contains(*login),
    };
    let hosts = parties.hosts.iter().filter(host).map(|host| &host.name);
    (hosts.collect(), request.logins.iter().filter(login).collect())
}

fn covers(who: &[Who], actor: &Actor) -> bool {
    who.iter().any(|who| who.covers(actor))
}

fn misfit(
    allow: &Allow,
    asked: Asked<'_>,
    reason: ReasonTaken,
    parties: &Parties<'_>,
) -> Option<Misfit> {
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
    if let Some(commands) = &allow.commands
        && !request.command.as_ref().is_some_and(|one| commands.iter().any(|of| of.covers(one)))
    {
        return Some(Misfit::Command);
    }
    if let Some(misfit) = terms(allow, asked) {
        return Some(misfit);
    }
    if !reason.fits(&allow.reason, &request.reason) {
        return Some(Misfit::Reason);
    }
    if let Approval::Auto(auto) = &allow.approval
        && !auto.covers(request.begins())
    {
        return Some(Misfit::Hours);
    }
    if allow.subject_key > Strength::Any && !request.key.is_security_key() {
        return Some(Misfit::SubjectKey(allow.subject_key));
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

#[cfg(test)]
mod tests;
