//! Which decisions count, and what they grant together.

use super::{Grant, Status, before_first_certificate, signer};
use crate::bundle::{Actor, Allow, Approval, Bundle, Step, Strength};
use crate::chain::Chain;
use crate::names::{ActorId, HostName, Login};
use crate::refusal::{Reason, Refusal};
use crate::sshsig::Presence;
use crate::statement::{Decision, MAX_SKEW, Request, Verdict, Verified};
use crate::time::{Seconds, UnixTime};

/// The first denial by somebody the rule asks, if it came before any certificate.
pub(super) fn denial(
    chain: &Chain,
    rule: &Allow,
    bundle: &Bundle,
    decide_by: UnixTime,
) -> Option<Status> {
    let Approval::Steps(steps) = &rule.approval else {
        return None;
    };
    chain
        .decisions()
        .iter()
        .filter(|d| d.body().verdict == Verdict::Deny)
        .filter(|d| before_first_certificate(chain, d.body().at) && d.body().at <= decide_by)
        .find(|d| steps.iter().any(|step| approver(d, step, chain, bundle).is_ok()))
        .map(|d| Status::Denied {
            by: d.body().by.clone(),
            reason: d.body().reason.clone().unwrap_or_default(),
        })
}

/// The approvals that count and what they grant.
pub(super) struct Counted {
    pub(super) needed: usize,
    pub(super) given: usize,
    pub(super) grant: Option<Grant>,
    /// Approved, but what the approvals leave together is nothing.
    pub(super) refusal: Option<Refusal>,
}

pub(super) fn count(chain: &Chain, rule: &Allow, bundle: &Bundle, decide_by: UnixTime) -> Counted {
    let request = chain.request().body();
    let mut grant = Grant {
        approved_at: request.at,
        span: request.r#for,
        hosts: request.hosts.clone(),
        logins: request.logins.clone(),
    };
    let steps = match &rule.approval {
        Approval::Auto(_) => {
            return Counted { needed: 0, given: 0, grant: Some(grant), refusal: None };
        }
        Approval::Steps(steps) => steps,
    };
    let (mut needed, mut complete) = (0usize, true);
    // One person counts once over all steps: whoever an earlier step counted is taken.
    let mut taken: Vec<&ActorId> = Vec::new();
    for step in steps {
        let count = usize::from(step.count.get());
        needed = needed.saturating_add(count);
        let mut counted = 0usize;
        for decision in chain.decisions() {
            if counted == count {
                break;
            }
            let body = decision.body();
            if body.at > decide_by
                || taken.contains(&&body.by)
                || approver(decision, step, chain, bundle).is_err()
            {
                continue;
            }
            let Some((span, hosts, logins)) = within(body, request) else {
                continue;
            };
            taken.push(&body.by);
            counted = counted.saturating_add(1);
            grant.approved_at = grant.approved_at.max(body.at);
            grant.span = grant.span.min(span);
            grant.hosts.retain(|host| hosts.contains(host));
            grant.logins.retain(|login| logins.contains(login));
        }
        complete &= counted == count;
    }
    let given = taken.len();
    if !complete {
        return Counted { needed, given, grant: None, refusal: None };
    }
    if grant.hosts.is_empty() || grant.logins.is_empty() {
        let refusal = Refusal::new(
            Reason::PolicyRefused,
            "the approvals have no host or no login in common, so together they grant nothing.",
        )
        .hint("ask anew, and let the approvers agree on hosts and logins");
        return Counted { needed, given, grant: None, refusal: Some(refusal) };
    }
    Counted { needed, given, grant: Some(grant), refusal: None }
}

/// The bounds of an approval that asks for nothing beyond the request.
pub(super) fn within<'d>(
    decision: &'d Decision,
    request: &Request,
) -> Option<(Seconds, &'d [HostName], &'d [Login])> {
    decision.bounds().filter(|(span, hosts, logins)| {
        *span <= request.r#for
            && hosts.iter().all(|host| request.hosts.contains(host))
            && logins.iter().all(|login| request.logins.contains(login))
    })
}

/// The person who made a decision, if `step` asks them.
pub(super) fn approver<'b>(
    decision: &Verified<Decision>,
    step: &Step,
    chain: &Chain,
    bundle: &'b Bundle,
) -> Result<&'b Actor, Refusal> {
    let request = chain.request().body();
    let by = &decision.body().by;
    let actor = signer(by, decision, bundle)?;
    may_decide(actor, step, request)?;
    let strong = match step.strength {
        Strength::Any => true,
        Strength::Hardware => decision.presence() >= Presence::Touched,
        Strength::Verified => decision.presence() >= Presence::UserVerified,
    };
    if !strong {
        return Err(not_allowed(format!("this approval needs strength {}.", step.strength)));
    }
    // A decision names the request's digest, so it can not honestly be older.
    if decision.body().at < request.at.minus_secs(MAX_SKEW) {
        return Err(not_allowed("the decision is dated before the request.".to_owned()));
    }
    Ok(actor)
}

fn may_decide(actor: &Actor, step: &Step, request: &Request) -> Result<(), Refusal> {
    if actor.id == request.by || actor.id == request.subject {
        return Err(not_allowed(format!("{} made this request and can not decide it.", actor.id))
            .hint("ask somebody else who may approve it"));
    }
    if !actor.is_person() {
        return Err(not_allowed(format!("{} is a machine; only persons decide.", actor.id)));
    }
    if !step.from.iter().any(|who| who.covers(actor)) {
        let from = step.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(not_allowed(format!("{} may not decide this request.", actor.id))
            .hint(format!("those who may: {from}")));
    }
    Ok(())
}

pub(super) fn not_allowed(message: String) -> Refusal {
    Refusal::new(Reason::NotAllowed, message)
}

/// Whether `actor` is one of those the rule asks to decide `request`.
pub fn can_decide(actor: &Actor, rule: &Allow, request: &Request) -> bool {
    match &rule.approval {
        Approval::Auto(_) => false,
        Approval::Steps(steps) => steps.iter().any(|step| may_decide(actor, step, request).is_ok()),
    }
}

/// Whether a decision counts or counted: made by somebody the rule asks, in time, within bounds.
pub fn counts(decision: &Verified<Decision>, chain: &Chain, rule: &Allow, bundle: &Bundle) -> bool {
    let Approval::Steps(steps) = &rule.approval else {
        return false;
    };
    let request = chain.request().body();
    let body = decision.body();
    body.at <= request.at.plus(rule.decide_within)
        && (body.verdict == Verdict::Deny || within(body, request).is_some())
        && steps.iter().any(|step| approver(decision, step, chain, bundle).is_ok())
}
