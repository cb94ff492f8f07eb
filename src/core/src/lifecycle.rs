//! Where a request stands: a pure function of the statements known, the bundle and the clock.
//!
//! ```text
//! pending ─▶ approved ─▶ active (first certificate) ─▶ ended
//!    │           └─▶ lapsed (unused)                ├▶ released (requester)
//!    │                                              └▶ revoked (by whom, why)
//!    └─▶ denied · cancelled · lapsed (undecided) · refused (the bundle no longer allows it)
//! ```
//!
//! People, keys, groups and rules are those of the bundle given, so everything is re-checked
//! whenever somebody asks. What was denied or ended stays so: denials and ends were judged when they
//! were recorded. The order in which statements became known does not matter.
//!
//! - `approval.rs`: which decisions count, and what they grant together;
//! - `tally.rs`: who counts for which step;
//! - `prolong.rs`: what a request may be that prolongs another;
//! - `admit.rs`: what is checked before a statement is recorded; `standing.rs`: a status in words;
//! - `lifetime.rs`: how long anything can come of a request; `told.rs`: by which bundle history is told.

mod admit;
mod approval;
mod lifetime;
mod prolong;
mod standing;
mod tally;
mod told;

pub use admit::{admit_decision, admit_end, admit_request, is_reviewed, review_needed};
pub use approval::{can_decide, check_approvable, could_approve, counts};
pub use lifetime::{LONGEST_LIFE, is_too_late, over_at, over_at_under};
pub use standing::standing;

use crate::bundle::{Actor, Allow, Approval, Bundle};
use crate::chain::Chain;
use crate::enrolment::View;
use crate::names::{ActorId, HostName, Login, Principal};
use crate::policy::{self, Asked};
use crate::refusal::{Reason, Refusal};
use crate::statement::{Cause, Request, Verified};
use crate::time::{Seconds, UnixTime};
use approval::{Counted, count, denial};
pub use prolong::{Prolonged, prolongs};
pub use tally::StepTally;
pub use told::{in_force_at, is_live, told_by};

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Approvals are missing.
    Pending,
    /// Approved; no certificate yet.
    Approved,
    /// Approved, certified, and not at its end.
    Active,
    /// The access time is over.
    Ended,
    /// The requester gave it back.
    Released,
    /// An approver or admin took it away.
    Revoked {
        /// Who.
        by: ActorId,
        /// Why, if told.
        reason: Option<String>,
    },
    /// An approver said no.
    Denied {
        /// Who.
        by: ActorId,
        /// Why.
        reason: String,
    },
    /// The requester took it back before there was a certificate.
    Cancelled,
    /// Not decided by `decide_by`.
    LapsedUndecided,
    /// Not used by `use_by`.
    LapsedUnused,
    /// The bundle does not allow it.
    Refused(Refusal),
}

/// What approves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Persons.
    Approvals,
    /// The rule, by itself.
    Auto,
    /// Its requester, for a second reason; persons review it afterwards.
    BreakGlass,
}

impl Basis {
    /// What approves `request` where `rule` decides it.
    pub fn of(rule: &Allow, request: &Request) -> Basis {
        match &rule.approval {
            Approval::Auto(_) => Basis::Auto,
            Approval::Steps(_) if request.break_glass.is_some() => Basis::BreakGlass,
            Approval::Steps(_) => Basis::Approvals,
        }
    }
}

/// What the counted approvals grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// When the last needed approval was given.
    pub approved_at: UnixTime,
    /// From when on certificates are issued.
    pub opens_at: UnixTime,
    /// What `span` is counted from: the approval; the moment the access was asked for, if that is
    /// later; or the end of the access it prolongs.
    pub counts_from: UnixTime,
    /// How long access lasts.
    pub span: Seconds,
    /// The hosts granted.
    pub hosts: Vec<HostName>,
    /// The logins granted on each.
    pub logins: Vec<Login>,
}

impl Grant {
    /// When the access ends.
    pub fn access_until(&self) -> UnixTime {
        self.counts_from.plus(self.span)
    }

    /// Every granted `login@host`, sorted.
    pub fn principals(&self) -> Vec<Principal> {
        principals(&self.hosts, &self.logins)
    }
}

/// Every `login@host` of these, sorted: certificates have one encoding.
pub fn principals(hosts: &[HostName], logins: &[Login]) -> Vec<Principal> {
    let mut all: Vec<Principal> = hosts
        .iter()
        .flat_map(|host| logins.iter().map(|login| Principal::new(login.clone(), host.clone())))
        .collect();
    all.sort();
    all
}

/// All there is to say of a request at a moment.
#[derive(Debug, Clone)]
pub struct Evaluation<'b> {
    /// Where it stands.
    pub status: Status,
    /// The rule that decides it; `None` if none does (any more).
    pub rule: Option<&'b Allow>,
    /// What approves it; `None` if no rule does.
    pub basis: Option<Basis>,
    /// Approvals the rule asks for; 0 only where nobody is asked.
    pub needed: usize,
    /// Approvals that count.
    pub given: usize,
    /// The same, step by step.
    pub steps: Vec<StepTally>,
    /// What is granted, once approved.
    pub grant: Option<Grant>,
    /// Until when it can be decided.
    pub decide_by: UnixTime,
    /// Until when the first certificate must be taken, once approved.
    pub use_by: Option<UnixTime>,
}

impl Evaluation<'_> {
    /// Which approvals are missing, in words without a full stop.
    pub fn missing(&self) -> String {
        let missing = self.needed.saturating_sub(self.given);
        let Some(Approval::Steps(steps)) = self.rule.map(|rule| &rule.approval) else {
            return "a rule is missing".to_owned();
        };
        let open = steps.iter().zip(&self.steps).filter(|(_, tally)| tally.given < tally.needed);
        let from: Vec<String> = open
            .map(|(step, tally)| {
                let who: Vec<String> = step.from.iter().map(ToString::to_string).collect();
                let strength = match step.strength {
                    crate::bundle::Strength::Any => String::new(),
                    stronger => format!(" with strength {stronger}"),
                };
                let left = tally.needed.saturating_sub(tally.given);
                format!("{left} from {}{strength}", who.join(" or "))
            })
            .collect();
        format!("{missing} of {} approvals are missing, {}", self.needed, from.join(", "))
    }
}

/// Computes where the request of `chain` stands under the bundle of `view`, with the hosts that are
/// there, at `now`.
pub fn evaluate<'b>(chain: &Chain, view: impl Into<View<'b>>, now: UnixTime) -> Evaluation<'b> {
    let view = view.into();
    let bundle = view.bundle;
    let request = chain.request().body();
    let mut evaluation = Evaluation {
        status: Status::Pending,
        rule: None,
        basis: None,
        needed: 0,
        given: 0,
        steps: Vec::new(),
        grant: None,
        decide_by: request.at,
        use_by: None,
    };
    let (rule, prolonged) = match rule_of(chain, view, now) {
        Ok(found) => found,
        Err(refusal) => {
            evaluation.status =
                settled_without_rule(chain, now).unwrap_or(Status::Refused(refusal));
            return evaluation;
        }
    };
    let decide_by = request.at.plus(rule.decide_within);
    // An extension comes before the end of what it prolongs, or not at all.
    evaluation.decide_by =
        prolonged.as_ref().map_or(decide_by, |of| decide_by.min(of.access_until));
    evaluation.rule = Some(rule);
    let basis = Basis::of(rule, request);
    evaluation.basis = Some(basis);
    let mut counted = count(chain, rule, basis, bundle, evaluation.decide_by, prolonged.as_ref());
    if let Some(until) = view.until(&request.hosts, now) {
        counted.end_at(until);
    }
    evaluation.needed = counted.needed;
    evaluation.given = counted.given;
    evaluation.use_by =
        counted.grant.as_ref().map(|g| g.counts_from.plus(rule.use_within).min(g.access_until()));
    evaluation.status = match prolonged.and_then(|prolonged| prolonged.cut_short) {
        Some(status) => status,
        None => status(chain, &evaluation, &counted, now),
    };
    evaluation.steps = counted.steps;
    evaluation.grant = counted.grant;
    evaluation
}

/// The rule that decides the request of `chain`, and what the request prolongs, if it does.
fn rule_of<'b>(
    chain: &Chain,
    view: View<'b>,
    now: UnixTime,
) -> Result<(&'b Allow, Option<Prolonged>), Refusal> {
    let requester = requester(chain.request(), view.bundle)?;
    let prolonged = prolong::find(chain, view, now)?;
    let asked = Asked {
        request: chain.request().body(),
        requester,
        presence: chain.request().presence(),
        extension: prolonged.as_ref().map(|prolonged| prolonged.place),
    };
    let rule = policy::decide(asked, view, now)?;
    if let Some(prolonged) = &prolonged {
        prolonged.check_rule(chain.request().id(), rule)?;
    }
    Ok((rule, prolonged))
}

/// The requester, who must still be in the bundle with the key that signed.
fn requester<'b>(request: &Verified<Request>, bundle: &'b Bundle) -> Result<&'b Actor, Refusal> {
    signer(&request.body().by, request, bundle)
}

/// The actor `by`, who must be in the bundle with the key that signed `statement`.
fn signer<'b, T>(
    by: &ActorId,
    statement: &Verified<T>,
    bundle: &'b Bundle,
) -> Result<&'b Actor, Refusal> {
    let actor = bundle.people.get(by).ok_or_else(|| {
        Refusal::new(
            Reason::UnknownSigner,
            format!("there is nobody with the id {by} in the bundle."),
        )
        .hint("ask an admin to add you to people.toml, and give your public key")
    })?;
    if !actor.keys.contains(statement.key()) {
        return Err(Refusal::new(
            Reason::UnknownSigner,
            format!("the signing key {} is not a key of {by}.", statement.key().fingerprint()),
        )
        .hint("sign with a key that people.toml lists for you, or ask an admin to add this one"));
    }
    Ok(actor)
}

/// What stays true of a request when no rule covers it any more.
fn settled_without_rule(chain: &Chain, now: UnixTime) -> Option<Status> {
    let until = chain.last_issued().map(|issued| issued.access_until);
    if let Some(status) = ended_by_someone(chain, until, now).or_else(|| denial(chain)) {
        return Some(status);
    }
    until.is_some_and(|until| now >= until).then_some(Status::Ended)
}

/// Whether somebody ended the request before its time, which was `until`: an approver or admin, or
/// who made it. Taking it back counts also where a certificate was issued meanwhile. Whatever its
/// date, an end counts while there is something to end.
fn ended_by_someone(chain: &Chain, until: Option<UnixTime>, now: UnixTime) -> Option<Status> {
    let in_time = |at: UnixTime| until.is_none_or(|until| at < until || now < until);
    let mut ends = chain.ends().iter().map(Verified::body).filter(|end| in_time(end.at));
    if let Some(revoke) = ends.clone().find(|end| end.cause == Cause::Revoke) {
        return Some(Status::Revoked { by: revoke.by.clone(), reason: revoke.reason.clone() });
    }
    let request = chain.request().body();
    let own = ends.any(|end| end.by == request.by || end.by == request.subject);
    match (own, chain.first_issued()) {
        (false, _) => None,
        (true, None) => Some(Status::Cancelled),
        (true, Some(_)) => Some(Status::Released),
    }
}

fn before_first_certificate(chain: &Chain, at: UnixTime) -> bool {
    chain.first_issued().is_none_or(|first| at < first.at)
}

fn status(chain: &Chain, evaluation: &Evaluation<'_>, counted: &Counted, now: UnixTime) -> Status {
    let until = counted.grant.as_ref().map(Grant::access_until);
    let until = until.or(chain.last_issued().map(|last| last.access_until));
    if let Some(ended) = ended_by_someone(chain, until, now) {
        return ended;
    }
    if let Some(denial) = denial(chain) {
        return denial;
    }
    let issued = chain.first_issued().is_some();
    let Some(grant) = &counted.grant else {
        if chain.last_issued().is_some_and(|last| now >= last.access_until) {
            return Status::Ended;
        }
        if let Some(refusal) = &counted.refusal {
            return Status::Refused(refusal.clone());
        }
        if issued {
            // Never pending again: denials and cancels that came meanwhile would be lost.
            return Status::Refused(no_longer_approved(chain));
        }
        return if now > evaluation.decide_by { Status::LapsedUndecided } else { Status::Pending };
    };
    let over = now >= grant.access_until();
    let too_late = evaluation.use_by.is_none_or(|use_by| now > use_by);
    match (issued, over) {
        (true, true) => Status::Ended,
        (true, false) => Status::Active,
        (false, true) => Status::LapsedUnused,
        (false, false) if too_late => Status::LapsedUnused,
        (false, false) => Status::Approved,
    }
}

fn no_longer_approved(chain: &Chain) -> Refusal {
    Refusal::new(
        Reason::NotApproved,
        format!(
            "the approvals of request {} do not count any more under the bundle in force.",
            chain.request().id()
        ),
    )
    .hint("ask anew with: jit-ssh login")
}

#[cfg(test)]
mod tests;
