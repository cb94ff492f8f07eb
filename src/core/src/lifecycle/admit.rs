//! What is checked before a statement is recorded. Nothing here leads to a certificate: that is
//! [`authorize`](crate::authorize::authorize()) alone.

use super::approval::{adds, check_approvable, decider, not_allowed, within};
use super::standing::settled;
use super::{
    Evaluation, Status, before_first_certificate, could_approve, evaluate, rule_of, signer,
    standing,
};
use crate::bundle::{Allow, Approval, Bundle, Steps};
use crate::chain::Chain;
use crate::enrolment::View;
use crate::names::ActorId;
use crate::refusal::{Reason, Refusal};
use crate::statement::{Arrival, Cause, Decision, End, Verdict, Verified};
use crate::time::UnixTime;

/// Checks a new request before it is recorded: by a known key, allowed by a rule, and one that somebody
/// could approve where approvals are asked for. `chain` is the
/// request with what it prolongs; `unreviewed` an earlier break-glass request of the same subject
/// that nobody has reviewed.
///
/// # Errors
/// [`Refusal`] that names the rule, what was asked and what would fit.
pub fn admit_request<'b>(
    chain: &Chain,
    unreviewed: Option<&Chain>,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<&'b Allow, Refusal> {
    let view = view.into();
    let (rule, prolonged) = rule_of(chain, view, now)?;
    if let Some(status) = prolonged.and_then(|prolonged| prolonged.cut_short) {
        return Err(chain.prolonged().map_or_else(
            || not_allowed("what this request prolongs is over.".to_owned()),
            |of| standing(of, &status),
        ));
    }
    if chain.request().body().break_glass.is_some()
        && let Some(earlier) = unreviewed
    {
        return Err(review_needed(earlier));
    }
    check_approvable(rule, chain.request().body(), view.bundle)?;
    Ok(rule)
}

/// Why there can be no other break-glass request: nobody has reviewed the one of `earlier`.
pub fn review_needed(earlier: &Chain) -> Refusal {
    let (id, subject) = (earlier.request().id(), &earlier.request().body().subject);
    Refusal::new(
        Reason::ReviewNeeded,
        format!("the break-glass request {id} of {subject} was not reviewed yet, so there can be no other."),
    )
    .hint(format!("somebody who could have approved it, or an admin, reviews it with: jit-ssh approve {id}, or deny {id}"))
}

/// Checks a new decision before it is recorded.
///
/// # Errors
/// [`Refusal`] if the matter is settled, the person may not decide, or the approval is wider than
/// the request.
pub fn admit_decision<'b>(
    decision: &Verified<Decision>,
    chain: &Chain,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let view = view.into();
    let bundle = view.bundle;
    let body = decision.body();
    let request = chain.request().body();
    let id = chain.request().id();
    let evaluation = evaluate(chain, view, now);
    if request.break_glass.is_some() {
        return admit_review(decision, chain, bundle, &evaluation);
    }
    let Some(rule) = evaluation.rule else {
        signer(&body.by, decision, bundle)?;
        return Err(settled(chain, &evaluation.status, CHANGES_NOTHING));
    };
    let Approval::Steps(steps) = &rule.approval else {
        signer(&body.by, decision, bundle)?;
        return Err(Refusal::new(
            Reason::Settled,
            format!("request {id} is approved by the rule {}; nobody is asked.", rule.name),
        ));
    };
    if let Some(refusal) = only_admin(decision, chain, rule, steps, bundle) {
        return Err(refusal);
    }
    signer(&body.by, decision, bundle)?;
    decider(decision, steps, chain, bundle)?;
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
    open_for(body.verdict, chain, &evaluation, now)?;
    if body.verdict == Verdict::Approve
        && !adds(decision, chain, steps, bundle, evaluation.decide_by)
    {
        let has = chain
            .decisions()
            .iter()
            .any(|d| d.body().by == body.by && d.body().verdict == Verdict::Approve);
        let message = if has {
            format!("{} has approved request {id} already; each person counts once.", body.by)
        } else {
            format!(
                "request {id} has all the approvals that {} could give; another changes nothing.",
                body.by
            )
        };
        return Err(Refusal::new(Reason::Settled, message));
    }
    Ok(())
}

/// Whether a verdict can still change where a request stands.
fn open_for(
    verdict: Verdict,
    chain: &Chain,
    evaluation: &Evaluation<'_>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let id = chain.request().id();
    match (&evaluation.status, verdict) {
        (Status::Pending, Verdict::Approve | Verdict::Deny) | (Status::Approved, Verdict::Deny) => {
            Ok(())
        }
        (Status::Approved, Verdict::Approve) => Err(Refusal::new(
            Reason::Settled,
            format!("request {id} is approved already; this changes nothing."),
        )),
        (Status::Active, Verdict::Approve | Verdict::Deny) => {
            let left = evaluation.grant.as_ref().map_or(0, |grant| grant.access_until().since(now));
            Err(Refusal::new(
                Reason::Settled,
                format!(
                    "request {id} has a certificate already, and {left} s are left; a decision changes nothing."
                ),
            )
            .hint(format!("to take the access away: jit-ssh revoke {id}")))
        }
        (status, Verdict::Approve | Verdict::Deny) => Err(settled(chain, status, CHANGES_NOTHING)),
    }
}

/// What a decision does that comes too late.
const CHANGES_NOTHING: &str = "this decision changes nothing";

/// Why an admin does not decide a request by being one, if the rule does not name them; `None` for
/// everybody else. It is theirs to take access away.
fn only_admin(
    decision: &Verified<Decision>,
    chain: &Chain,
    rule: &Allow,
    steps: &Steps,
    bundle: &Bundle,
) -> Option<Refusal> {
    let (by, id) = (&decision.body().by, chain.request().id());
    let request = chain.request().body();
    let named = bundle.people.get(by).is_some_and(|actor| {
        steps.iter().any(|step| step.from.iter().any(|who| who.covers(actor)))
    });
    let is_own = *by == request.by || *by == request.subject;
    if named || is_own || !is_admin(by, decision, bundle) {
        return None;
    }
    let persons: Vec<String> =
        could_approve(chain, rule, bundle).map(|actor| actor.id.to_string()).collect();
    let who = match persons.as_slice() {
        [] => "nobody else can decide it now".to_owned(),
        persons => format!("who can decide it: {}", persons.join(", ")),
    };
    let message = format!(
        "{by} is an admin, and admins decide requests only where a rule names them; the rule {} does not.",
        rule.name
    );
    Some(
        not_allowed(message)
            .hint(format!("{who}; an admin can take it away with: jit-ssh revoke {id}")),
    )
}

/// Checks a decision on a break-glass request: it needs no approval, and one review, at any time. A
/// "no" before the first certificate also stops it.
fn admit_review(
    decision: &Verified<Decision>,
    chain: &Chain,
    bundle: &Bundle,
    evaluation: &Evaluation<'_>,
) -> Result<(), Refusal> {
    let body = decision.body();
    let request = chain.request().body();
    if body.by == request.by || body.by == request.subject {
        return Err(not_allowed(format!("{} can not review their own access.", body.by)));
    }
    let asked = match evaluation.rule.map(|rule| &rule.approval) {
        Some(Approval::Steps(steps)) => decider(decision, steps, chain, bundle).map(drop),
        _ => Err(not_allowed(format!("{} may not review this request.", body.by))),
    };
    if !is_admin(&body.by, decision, bundle) {
        asked?;
    }
    let stops = body.verdict == Verdict::Deny
        && matches!(evaluation.status, Status::Approved)
        && before_first_certificate(chain, body.at);
    if is_reviewed(chain) && !stops {
        return Err(Refusal::new(
            Reason::Settled,
            format!("request {} is reviewed already; this changes nothing.", chain.request().id()),
        ));
    }
    Ok(())
}

/// Whether somebody has reviewed a break-glass request. Who may was checked when it was recorded.
pub fn is_reviewed(chain: &Chain) -> bool {
    let request = chain.request().body();
    chain.decisions().iter().any(|d| d.body().by != request.by && d.body().by != request.subject)
}

/// Checks a new end before it is recorded. One that was recorded at another node arrives relayed: there
/// a request may have stood elsewhere, so that taking back and giving back are one and the same.
///
/// # Errors
/// [`Refusal`] if the person may not end it so, or there is nothing left to end.
pub fn admit_end<'b>(
    end: &Verified<End>,
    chain: &Chain,
    view: impl Into<View<'b>>,
    arrival: Arrival,
    now: UnixTime,
) -> Result<(), Refusal> {
    let view = view.into();
    let bundle = view.bundle;
    let id = chain.request().id();
    let evaluation = evaluate(chain, view, now);
    match end.body().cause {
        Cause::Cancel | Cause::Release => own_end(end, chain, bundle)?,
        Cause::Revoke => may_revoke(end, chain, bundle, &evaluation)?,
    }
    match (&evaluation.status, end.body().cause) {
        (Status::Pending | Status::Approved, Cause::Cancel | Cause::Revoke)
        | (Status::Active, Cause::Release | Cause::Revoke) => Ok(()),
        (Status::Pending | Status::Approved | Status::Active, Cause::Cancel | Cause::Release)
            if arrival == Arrival::Relayed =>
        {
            Ok(())
        }
        (Status::Pending | Status::Approved, Cause::Release) => Err(Refusal::new(
            Reason::Settled,
            format!("request {id} has no certificate yet, so there is nothing to give back."),
        )
        .hint(format!("to take the request back: jit-ssh cancel {id}"))),
        (Status::Active, Cause::Cancel) => Err(Refusal::new(
            Reason::Settled,
            format!("request {id} has a certificate already and can not be cancelled."),
        )
        .hint(format!("to give the access back: jit-ssh release {id}"))),
        // What it opened may go on under a rule that is gone: it can be ended all the same.
        (Status::Refused(_), Cause::Release | Cause::Revoke)
            if chain.open(now).next().is_some() =>
        {
            Ok(())
        }
        (status, cause) => {
            let undone = match cause {
                Cause::Cancel => "there is nothing to cancel",
                Cause::Release => "there is nothing to give back",
                Cause::Revoke => "there is nothing to revoke",
            };
            Err(settled(chain, status, undone))
        }
    }
}

/// Whether an end is by who made the request, or by who uses the access. The request's own key is
/// enough: a person who lost it from the bundle can still be safe by it.
fn own_end(end: &Verified<End>, chain: &Chain, bundle: &Bundle) -> Result<(), Refusal> {
    let (id, request) = (chain.request().id(), chain.request().body());
    let by = &end.body().by;
    if *by == request.by && end.key() == chain.request().key() {
        return Ok(());
    }
    if *by != request.by && *by != request.subject {
        let cause = end.body().cause.as_str();
        return Err(not_allowed(format!(
            "{by} did not ask for request {id} and can not {cause} it."
        ))
        .hint(format!("who could approve it, or an admin, can use: jit-ssh revoke {id}")));
    }
    signer(by, end, bundle).map(drop)
}

fn may_revoke(
    end: &Verified<End>,
    chain: &Chain,
    bundle: &Bundle,
    evaluation: &Evaluation<'_>,
) -> Result<(), Refusal> {
    let by = &end.body().by;
    if is_admin(by, end, bundle) {
        return Ok(());
    }
    let actor = signer(by, end, bundle)?;
    let request = chain.request().body();
    let is_own = *by == request.by || *by == request.subject;
    let asked = evaluation.rule.is_some_and(|rule| super::can_decide(actor, rule, request));
    let approved = actor.is_person()
        && chain
            .decisions()
            .iter()
            .any(|d| d.body().by == *by && d.body().verdict == Verdict::Approve);
    if !is_own && (asked || approved) {
        return Ok(());
    }
    let id = chain.request().id();
    let refusal = not_allowed(format!("{by} may not revoke request {id}."));
    Err(if is_own {
        refusal.hint(format!("to give your own access back: jit-ssh release {id}"))
    } else {
        refusal.hint("those who could approve it may, and the admins")
    })
}

/// Whether an admin made the statement: with the key of `root.json`, or with one that the bundle
/// lists for the same id.
fn is_admin<T>(by: &ActorId, statement: &Verified<T>, bundle: &Bundle) -> bool {
    let admin = bundle.admins.iter().find(|(id, _)| id == by);
    admin.is_some_and(|(_, key)| key == statement.key() || signer(by, statement, bundle).is_ok())
}
