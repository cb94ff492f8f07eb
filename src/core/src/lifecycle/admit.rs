//! What is checked before a statement is recorded. Nothing here leads to a certificate: that is
//! [`authorize`](crate::authorize::authorize()) alone.

use super::approval::{approver, not_allowed, within};
use super::{Status, evaluate, requester, signer};
use crate::bundle::{Allow, Approval, Bundle};
use crate::chain::Chain;
use crate::policy;
use crate::refusal::{Reason, Refusal};
use crate::statement::{Decision, End, Request, Verdict, Verified};
use crate::time::UnixTime;

/// Checks a new request before it is recorded: by a known key, and allowed by a rule.
///
/// # Errors
/// [`Refusal`] that names the rule, what was asked and what would fit.
pub fn admit_request<'b>(
    request: &Verified<Request>,
    bundle: &'b Bundle,
) -> Result<&'b Allow, Refusal> {
    policy::decide(request.body(), requester(request, bundle)?, bundle)
}

/// Checks a new decision before it is recorded.
///
/// # Errors
/// [`Refusal`] if the matter is settled, the person may not decide, or the approval is wider than
/// the request.
pub fn admit_decision(
    decision: &Verified<Decision>,
    chain: &Chain,
    bundle: &Bundle,
    now: UnixTime,
) -> Result<(), Refusal> {
    let body = decision.body();
    let request = chain.request().body();
    let id = chain.request().id();
    signer(&body.by, decision, bundle)?;
    let evaluation = evaluate(chain, bundle, now);
    let Some(rule) = evaluation.rule else {
        return Err(standing(chain, &evaluation.status));
    };
    let Approval::Steps(steps) = &rule.approval else {
        return Err(Refusal::new(
            Reason::Settled,
            format!("request {id} is approved by the rule {}; nobody is asked.", rule.name),
        ));
    };
    // The most telling refusal: the one of the last step asked.
    let mut asked = Err(not_allowed(format!("nobody is asked to decide request {id}.")));
    for step in steps {
        asked = approver(decision, step, chain, bundle).map(drop);
        if asked.is_ok() {
            break;
        }
    }
    asked?;
    if body.verdict == Verdict::Approve && within(body, request).is_none() {
        return Err(not_allowed(format!("this approval is wider than request {id}."))
            .hint("approve the same or less: fewer hosts, fewer logins, a shorter time"));
    }
    if body.at > evaluation.decide_by {
        // It would be recorded and never count.
        return Err(Refusal::new(
            Reason::Lapsed,
            format!(
                "the decision is dated {} s after request {id} had to be decided.",
                body.at.since(evaluation.decide_by)
            ),
        )
        .hint("check the clock of the machine that signed it"));
    }
    match (&evaluation.status, body.verdict) {
        (Status::Pending, Verdict::Approve | Verdict::Deny) | (Status::Approved, Verdict::Deny) => {
        }
        (Status::Approved, Verdict::Approve) => {
            return Err(Refusal::new(
                Reason::Settled,
                format!("request {id} is approved already; this changes nothing."),
            ));
        }
        (Status::Active, Verdict::Approve | Verdict::Deny) => {
            let left = evaluation.grant.map_or(0, |grant| grant.access_until().since(now));
            return Err(Refusal::new(
                Reason::Settled,
                format!(
                    "request {id} has a certificate already, and {left} s are left; a decision changes nothing."
                ),
            ));
        }
        (status, Verdict::Approve | Verdict::Deny) => return Err(standing(chain, status)),
    }
    if body.verdict == Verdict::Approve
        && chain
            .decisions()
            .iter()
            .any(|d| d.body().by == body.by && d.body().verdict == Verdict::Approve)
    {
        return Err(Refusal::new(
            Reason::Settled,
            format!("{} has approved request {id} already; each person counts once.", body.by),
        ));
    }
    Ok(())
}

/// Checks a new end before it is recorded.
///
/// # Errors
/// [`Refusal`] if it is not the requester's, or there is nothing left to take back.
pub fn admit_end(
    end: &Verified<End>,
    chain: &Chain,
    bundle: &Bundle,
    now: UnixTime,
) -> Result<(), Refusal> {
    let id = chain.request().id();
    let own_key = end.key() == chain.request().key();
    if end.body().by != chain.request().body().by {
        return Err(not_allowed(format!("request {id} can be cancelled only by who made it.")));
    }
    if !own_key {
        signer(&end.body().by, end, bundle)?;
    }
    match evaluate(chain, bundle, now).status {
        Status::Pending | Status::Approved => Ok(()),
        Status::Active => Err(Refusal::new(
            Reason::Settled,
            format!("request {id} has a certificate already and can not be cancelled."),
        )
        .hint("`jit-ssh logout` removes the certificate from your agent")),
        status => Err(standing(chain, &status)),
    }
}

/// Why nothing follows from the request of `chain` in this status.
pub fn standing(chain: &Chain, status: &Status) -> Refusal {
    let id = chain.request().id();
    match status {
        Status::Pending => {
            Refusal::new(Reason::NotApproved, format!("request {id} is not approved yet."))
        }
        Status::Approved | Status::Active => {
            Refusal::new(Reason::Settled, format!("request {id} is approved."))
        }
        Status::Ended => {
            Refusal::new(Reason::Ended, format!("the access of request {id} is over."))
                .hint("ask anew with: jit-ssh login")
        }
        Status::Denied { by, reason } => {
            Refusal::new(Reason::Denied, format!("request {id} was denied by {by}: {reason}"))
        }
        Status::Cancelled => {
            Refusal::new(Reason::Cancelled, format!("request {id} was cancelled by who made it."))
        }
        Status::LapsedUndecided => {
            Refusal::new(Reason::Lapsed, format!("request {id} was not decided in time."))
                .hint("ask anew with: jit-ssh login")
        }
        Status::LapsedUnused => {
            Refusal::new(Reason::Lapsed, format!("request {id} was approved but not used in time."))
                .hint("ask anew with: jit-ssh login")
        }
        Status::Refused(refusal) => refusal.clone(),
    }
}
