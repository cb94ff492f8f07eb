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

use crate::bundle::{Actor, Allow, Approval, Bundle, Step, Strength};
use crate::chain::Chain;
use crate::names::{ActorId, HostName, Login, Principal};
use crate::policy;
use crate::refusal::{Reason, Refusal};
use crate::sshsig::Presence;
use crate::statement::{Cause, Decision, End, MAX_SKEW, Request, Verdict, Verified};
use crate::time::{Seconds, UnixTime};

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

/// The first denial by somebody the rule asks, if it came before any certificate.
fn denial(chain: &Chain, rule: &Allow, bundle: &Bundle, decide_by: UnixTime) -> Option<Status> {
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
struct Counted {
    needed: usize,
    given: usize,
    grant: Option<Grant>,
    /// Approved, but what the approvals leave together is nothing.
    refusal: Option<Refusal>,
}

fn count(chain: &Chain, rule: &Allow, bundle: &Bundle, decide_by: UnixTime) -> Counted {
    let request = chain.request().body();
    let mut grant = Grant {
        approved_at: request.at,
        span: request.r#for,
        hosts: request.hosts.clone(),
        logins: request.logins.clone(),
    };
    let steps = match &rule.approval {
        Approval::Auto => {
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
fn within<'d>(
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
fn approver<'b>(
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

fn not_allowed(message: String) -> Refusal {
    Refusal::new(Reason::NotAllowed, message)
}

/// Whether `actor` is one of those the rule asks to decide `request`.
pub fn can_decide(actor: &Actor, rule: &Allow, request: &Request) -> bool {
    match &rule.approval {
        Approval::Auto => false,
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

#[cfg(test)]
mod tests;
