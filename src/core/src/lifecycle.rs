//! Where a request stands: a pure function of the statements known, the bundle and the clock.
//!
//! ```text
//! pending ─▶ approved ─▶ active (first certificate) ─▶ ended
//!    │           └─▶ lapsed (unused)
//!    └─▶ denied · cancelled · lapsed (undecided) · refused (the bundle no longer allows it)
//! ```
//!
//! People, keys, groups and rules are those of the bundle given, so everything is re-checked
//! whenever somebody asks. The order in which statements became known does not matter.
//!
//! - `approval.rs`: which decisions count, and what they grant together;
//! - `admit.rs`: what is checked before a statement is recorded.

mod admit;
mod approval;

pub use admit::{admit_decision, admit_end, admit_request, standing};
pub use approval::{can_decide, counts};

use crate::bundle::{Actor, Allow, Bundle};
use crate::chain::Chain;
use crate::names::{ActorId, HostName, Login, Principal};
use crate::policy;
use crate::refusal::{Reason, Refusal};
use crate::statement::{Cause, Request, Verified};
use crate::time::{Seconds, UnixTime};
use approval::{Counted, count, denial};

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
    /// An approver said no.
    Denied {
        /// Who.
        by: ActorId,
        /// Why.
        reason: String,
    },
    /// The requester took it back.
    Cancelled,
    /// Not decided by `decide_by`.
    LapsedUndecided,
    /// Not used by `use_by`.
    LapsedUnused,
    /// The bundle does not allow it.
    Refused(Refusal),
}

/// What the counted approvals grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// When the last needed approval was given.
    pub approved_at: UnixTime,
    /// How long access lasts from then.
    pub span: Seconds,
    /// The hosts granted.
    pub hosts: Vec<HostName>,
    /// The logins granted on each.
    pub logins: Vec<Login>,
}

impl Grant {
    /// When the access ends.
    pub fn access_until(&self) -> UnixTime {
        self.approved_at.plus(self.span)
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
    /// Approvals the rule asks for; 0 only under a rule that approves by itself.
    pub needed: usize,
    /// Approvals that count.
    pub given: usize,
    /// What is granted, once approved.
    pub grant: Option<Grant>,
    /// Until when it can be decided.
    pub decide_by: UnixTime,
    /// Until when the first certificate must be taken, once approved.
    pub use_by: Option<UnixTime>,
}

/// Computes where the request of `chain` stands under `bundle` at `now`.
pub fn evaluate<'b>(chain: &Chain, bundle: &'b Bundle, now: UnixTime) -> Evaluation<'b> {
    let request = chain.request().body();
    let mut evaluation = Evaluation {
        status: Status::Pending,
        rule: None,
        needed: 0,
        given: 0,
        grant: None,
        decide_by: request.at,
        use_by: None,
    };
    let rule = match requester(chain.request(), bundle)
        .and_then(|requester| policy::decide(request, requester, bundle))
    {
        Ok(rule) => rule,
        Err(refusal) => {
            evaluation.status =
                settled_without_rule(chain, now).unwrap_or(Status::Refused(refusal));
            return evaluation;
        }
    };
    let decide_by = request.at.plus(rule.decide_within);
    let counted = count(chain, rule, bundle, decide_by);
    evaluation.rule = Some(rule);
    evaluation.decide_by = decide_by;
    evaluation.needed = counted.needed;
    evaluation.given = counted.given;
    evaluation.use_by =
        counted.grant.as_ref().map(|g| g.approved_at.plus(rule.use_within).min(g.access_until()));
    evaluation.status = status(chain, rule, bundle, &evaluation, &counted, now);
    evaluation.grant = counted.grant;
    evaluation
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
    if cancelled(chain) {
        return Some(Status::Cancelled);
    }
    let over = chain.last_issued().is_some_and(|issued| now >= issued.access_until);
    over.then_some(Status::Ended)
}

/// Whether the requester took the request back before a certificate existed. The request's own key
/// is enough: a person who lost a key can still be safe by it.
fn cancelled(chain: &Chain) -> bool {
    let request = chain.request();
    chain.ends().iter().any(|end| {
        end.body().cause == Cause::Cancel
            && end.body().by == request.body().by
            && end.key() == request.key()
            && before_first_certificate(chain, end.body().at)
    })
}

fn before_first_certificate(chain: &Chain, at: UnixTime) -> bool {
    chain.first_issued().is_none_or(|first| at < first.at)
}

fn status(
    chain: &Chain,
    rule: &Allow,
    bundle: &Bundle,
    evaluation: &Evaluation<'_>,
    counted: &Counted,
    now: UnixTime,
) -> Status {
    if cancelled(chain) || cancelled_by_other_key(chain, bundle) {
        return Status::Cancelled;
    }
    if let Some(denial) = denial(chain, rule, bundle, evaluation.decide_by) {
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

/// A cancel signed with another of the requester's present keys.
fn cancelled_by_other_key(chain: &Chain, bundle: &Bundle) -> bool {
    chain.ends().iter().any(|end| {
        end.body().cause == Cause::Cancel
            && end.body().by == chain.request().body().by
            && signer(&end.body().by, end, bundle).is_ok()
            && before_first_certificate(chain, end.body().at)
    })
}

#[cfg(test)]
mod tests;
