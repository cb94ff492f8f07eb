//! Which decisions count, and what they grant together.

use super::prolong::Prolonged;
use super::tally::{Candidate, StepTally, Tally};
use super::{Basis, Grant, Status, before_first_certificate, signer};
use crate::bundle::{Actor, Allow, Approval, Bundle, Step, Steps, Who};
use crate::chain::Chain;
use crate::names::{HostName, Login};
use crate::policy::is_strong;
use crate::refusal::{Reason, Refusal};
use crate::statement::{Decision, MAX_SKEW, Request, Verdict, Verified};
use crate::time::{Seconds, UnixTime};

/// The first denial, if it came before any certificate. Whether its maker is asked, and in time, was
/// judged when it was recorded ([`admit_decision`](super::admit_decision)): from then on it holds,
/// whatever becomes of its maker or of the rule. Nobody denies their own request.
pub(super) fn denial(chain: &Chain) -> Option<Status> {
    let request = chain.request().body();
    chain
        .decisions()
        .iter()
        .map(Verified::body)
        .filter(|decision| decision.verdict == Verdict::Deny)
        .filter(|denial| denial.by != request.by && denial.by != request.subject)
        .find(|denial| before_first_certificate(chain, denial.at))
        .map(|denial| Status::Denied {
            by: denial.by.clone(),
            reason: denial.reason.clone().unwrap_or_default(),
        })
}

/// The approvals that count and what they grant.
pub(super) struct Counted {
    pub(super) needed: usize,
    pub(super) given: usize,
    pub(super) steps: Vec<StepTally>,
    pub(super) grant: Option<Grant>,
    /// Approved, but what is left to grant is nothing.
    pub(super) refusal: Option<Refusal>,
}

impl Counted {
    /// Holds what is granted to `until`, when a host of it is gone.
    pub(super) fn end_at(&mut self, until: UnixTime) {
        let Some(grant) = &mut self.grant else { return };
        let left = u32::try_from(until.since(grant.counts_from)).unwrap_or(u32::MAX);
        match Seconds::new(left) {
            Some(left) => grant.span = grant.span.min(left),
            None => {
                self.grant = None;
                self.refusal = Some(Refusal::new(
                    Reason::PolicyRefused,
                    format!(
                        "a host of this request is there until {} only, before the access begins.",
                        until.utc()
                    ),
                ));
            }
        }
    }
}

pub(super) fn count(
    chain: &Chain,
    rule: &Allow,
    basis: Basis,
    bundle: &Bundle,
    decide_by: UnixTime,
    prolonged: Option<&Prolonged>,
) -> Counted {
    let request = chain.request().body();
    let mut grant = Grant {
        approved_at: request.at,
        opens_at: request.begins(),
        counts_from: request.begins(),
        span: request.r#for,
        hosts: request.hosts.clone(),
        logins: request.logins.clone(),
    };
    let mut counted =
        Counted { needed: 0, given: 0, steps: Vec::new(), grant: None, refusal: None };
    if let (Basis::Approvals, Approval::Steps(steps)) = (basis, &rule.approval) {
        let tally = tally(chain, steps, bundle, decide_by, |body, bounds| {
            grant.approved_at = grant.approved_at.max(body.at);
            grant.narrow(bounds);
        });
        counted.steps = tally.steps();
        let sum = |of: fn(&StepTally) -> usize| {
            counted.steps.iter().map(of).fold(0usize, usize::saturating_add)
        };
        (counted.needed, counted.given) = (sum(|step| step.needed), sum(|step| step.given));
        if !tally.is_complete() {
            return counted;
        }
    }
    narrowings(chain).for_each(|bounds| grant.narrow(bounds));
    if grant.hosts.is_empty() || grant.logins.is_empty() {
        let refusal = Refusal::new(
            Reason::PolicyRefused,
            "the approvals have no host or no login in common, so together they grant nothing.",
        )
        .hint("ask anew, and let the approvers agree on hosts and logins");
        counted.refusal = Some(refusal);
        return counted;
    }
    grant.opens_at = grant.approved_at.max(grant.opens_at);
    grant.counts_from = grant.opens_at.max(prolonged.map_or(grant.opens_at, |of| of.access_until));
    if let Some(first) = chain.first_issued() {
        // One clock: what is approved anew, under other rules or by others, lasts no longer than what
        // was certified.
        let latest = first.access_until.minus_secs(grant.span.get());
        grant.counts_from = grant.counts_from.min(latest);
    }
    counted.grant = Some(grant);
    counted
}

impl Grant {
    fn narrow(&mut self, (span, hosts, logins): Bounds<'_>) {
        self.span = self.span.min(span);
        self.hosts.retain(|host| hosts.contains(host));
        self.logins.retain(|login| logins.contains(login));
    }
}

/// How long, on which hosts, and as whom an approval allows.
type Bounds<'d> = (Seconds, &'d [HostName], &'d [Login]);

/// The bounds of every approval given before there was a certificate. Each was needed when it was
/// recorded: where the rule of now needs fewer, or asks others, or nobody, what its maker held back
/// stays held back.
fn narrowings(chain: &Chain) -> impl Iterator<Item = Bounds<'_>> {
    let request = chain.request().body();
    let decisions = chain.decisions().iter().map(Verified::body);
    decisions
        .filter(|body| body.by != request.by && body.by != request.subject)
        .filter(|body| chain.first_issued().is_none_or(|first| body.at <= first.at))
        .filter_map(|body| within(body, request))
}

/// Counts the approvals in the order in which they were given until no more are needed; tells
/// `counted` of each that counts.
fn tally<'c>(
    chain: &'c Chain,
    steps: &Steps,
    bundle: &Bundle,
    decide_by: UnixTime,
    mut counted: impl FnMut(&'c Decision, Bounds<'c>),
) -> Tally<'c> {
    let mut tally = Tally::new(steps.iter().map(|step| usize::from(step.count.get())));
    for decision in chain.decisions() {
        if tally.is_complete() {
            break;
        }
        let body = decision.body();
        let Some(bounds) = within(body, chain.request().body()) else { continue };
        if body.at <= decide_by && tally.add(candidate(decision, steps, chain, bundle)) {
            counted(body, bounds);
        }
    }
    tally
}

/// The maker of a decision and the steps it is good for.
fn candidate<'d>(
    decision: &'d Verified<Decision>,
    steps: &Steps,
    chain: &Chain,
    bundle: &Bundle,
) -> Candidate<'d> {
    let good = |step: &Step| approver(decision, step, chain, bundle).is_ok();
    let places = steps.iter().enumerate().filter(|(_, step)| good(step));
    Candidate { person: &decision.body().by, steps: places.map(|(place, _)| place).collect() }
}

/// Whether one more approval, this one, would change how far a request is.
pub(super) fn adds(
    decision: &Verified<Decision>,
    chain: &Chain,
    steps: &Steps,
    bundle: &Bundle,
    decide_by: UnixTime,
) -> bool {
    let mut tally = tally(chain, steps, bundle, decide_by, |_, _| ());
    tally.add(candidate(decision, steps, chain, bundle))
}

/// Who could still approve a request so that it changes something: for whom a place is left, by
/// their groups. Whether their key is strong enough shows when they sign.
pub fn could_approve<'b>(
    chain: &Chain,
    rule: &Allow,
    bundle: &'b Bundle,
) -> impl Iterator<Item = &'b Actor> {
    let request = chain.request().body();
    let decide_by = request.at.plus(rule.decide_within);
    let open: Vec<&Step> = match &rule.approval {
        Approval::Auto(_) => Vec::new(),
        Approval::Steps(steps) => {
            let base = || tally(chain, steps, bundle, decide_by, |_, _| ());
            // A stand-in with a place in one step alone: is there room once others have moved?
            let room = |place: usize| {
                let person = &request.by;
                base().add(Candidate { person, steps: vec![place] })
            };
            steps.iter().enumerate().filter(|(place, _)| room(*place)).map(|(_, s)| s).collect()
        }
    };
    let who: Vec<Who> = open.iter().flat_map(|step| step.from.iter().cloned()).collect();
    let decided: Vec<_> = chain.decisions().iter().map(|d| d.body().by.clone()).collect();
    let request = (request.by.clone(), request.subject.clone());
    bundle.people.covered_by(&who).filter(move |actor| {
        actor.id != request.0 && actor.id != request.1 && !decided.contains(&actor.id)
    })
}

/// Checks that a new request can be approved at all: that the people of the bundle, without those of
/// the request, could give what its rule asks for. Whether their keys are strong enough shows when
/// they sign.
///
/// # Errors
/// [`Reason::PolicyRefused`]: it would wait for nobody until it lapses.
pub fn check_approvable(rule: &Allow, request: &Request, bundle: &Bundle) -> Result<(), Refusal> {
    let Approval::Steps(steps) = &rule.approval else { return Ok(()) };
    if Basis::of(rule, request) != Basis::Approvals {
        return Ok(());
    }
    let mut tally = Tally::new(steps.iter().map(|step| usize::from(step.count.get())));
    let who: Vec<Who> = steps.iter().flat_map(|step| step.from.iter().cloned()).collect();
    for actor in bundle.people.covered_by(&who) {
        let good = |step: &Step| may_decide(actor, step, request).is_ok();
        let places = steps.iter().enumerate().filter(|(_, step)| good(step));
        let steps = places.map(|(place, _)| place).collect();
        tally.add(Candidate { person: &actor.id, steps });
        if tally.is_complete() {
            return Ok(());
        }
    }
    Err(Refusal::new(
        Reason::PolicyRefused,
        format!(
            "nobody could approve this request: the rule {} asks for {steps}, there are too few persons beside {}, and nobody approves their own request.",
            rule.name, request.subject
        ),
    )
    .hint("an admin must name more approvers in people.toml or policy.toml; then ask again"))
}

/// The bounds of an approval that asks for nothing beyond the request.
pub(super) fn within<'d>(decision: &'d Decision, request: &Request) -> Option<Bounds<'d>> {
    decision.bounds().filter(|(span, hosts, logins)| {
        *span <= request.r#for
            && hosts.iter().all(|host| request.hosts.contains(host))
            && logins.iter().all(|login| request.logins.contains(login))
    })
}

/// The person who made a decision, if `step` asks them and takes their signature.
pub(super) fn approver<'b>(
    decision: &Verified<Decision>,
    step: &Step,
    chain: &Chain,
    bundle: &'b Bundle,
) -> Result<&'b Actor, Refusal> {
    let actor = asked(decision, step, chain, bundle)?;
    if is_strong(decision.presence(), step.strength) {
        return Ok(actor);
    }
    Err(not_allowed(format!("this approval needs strength {}.", step.strength))
        .hint("sign with a security key (sk-*) that people.toml lists for you"))
}

/// The person who made a decision, if `step` asks them.
fn asked<'b>(
    decision: &Verified<Decision>,
    step: &Step,
    chain: &Chain,
    bundle: &'b Bundle,
) -> Result<&'b Actor, Refusal> {
    let request = chain.request().body();
    let actor = signer(&decision.body().by, decision, bundle)?;
    may_decide(actor, step, request)?;
    // A decision names the request's digest, so it can not honestly be older.
    if decision.body().at < request.at.minus_secs(MAX_SKEW) {
        return Err(not_allowed("the decision is dated before the request.".to_owned()));
    }
    Ok(actor)
}

/// The person who made a decision, if any step asks them: with a strong enough signature if it
/// approves.
pub(super) fn decider<'b>(
    decision: &Verified<Decision>,
    steps: &Steps,
    chain: &Chain,
    bundle: &'b Bundle,
) -> Result<&'b Actor, Refusal> {
    let mut refusal = None;
    for step in steps {
        let this = match decision.body().verdict {
            Verdict::Approve => approver(decision, step, chain, bundle),
            Verdict::Deny => asked(decision, step, chain, bundle),
        };
        match this {
            Ok(actor) => return Ok(actor),
            // That a step asks them and wants a stronger key says more than that one does not.
            Err(found) if refusal.is_none() || asked(decision, step, chain, bundle).is_ok() => {
                refusal = Some(found);
            }
            Err(_) => {}
        }
    }
    Err(refusal.unwrap_or_else(|| not_allowed("nobody is asked to decide this.".to_owned())))
}

fn may_decide(actor: &Actor, step: &Step, request: &Request) -> Result<(), Refusal> {
    if actor.id == request.by || actor.id == request.subject {
        let does = if actor.id == request.by { "made" } else { "is the subject of" };
        return Err(not_allowed(format!(
            "{} {does} this request and can not decide it.",
            actor.id
        ))
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
        && decider(decision, steps, chain, bundle).is_ok()
}
