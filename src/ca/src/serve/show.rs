//! Requests as the API shows them: where each stands, computed at the moment of the answer.
//!
//! - `detail`: where it stands in one sentence;
//! - `people`: who is asked, could act, is told;
//! - `uses`: what hosts told of its use.

mod detail;
mod people;
mod uses;

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Allow, Approval, Bundle, Step};
use jit_ssh_core::chain::Issued;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::lifecycle::{
    Basis, Evaluation, Grant, Status, StepTally, counts, evaluate, principals,
};
use jit_ssh_core::statement::{Verdict, Verified};
use jit_ssh_core::time::UnixTime;

use super::eras::Views;
use super::memory::Known;
use super::visibility::is_own;
pub(super) use detail::detail;
pub(super) use people::{approvers, asked, told};
pub(super) use uses::used;

/// A request with all that is known of it. Who could act now is told by the bundle in force, the rest
/// by the one that tells the request.
pub(super) fn access(known: &Known, views: &Views, now: UnixTime) -> v1::AccessState {
    let chain = &known.chain;
    let (view, current) = (views.told.view(), &views.current);
    let bundle = view.bundle;
    let (evaluation, asked) = (&evaluate(chain, view, now), &evaluate(chain, current.view(), now));
    let (request, digest) = (chain.request().body(), chain.digest());
    let approvers = approvers(known, asked, &current.bundle);
    let grant = evaluation.grant.as_ref();
    let principals = match grant {
        Some(grant) => grant.principals(),
        None => principals(&request.hosts, &request.logins),
    };
    v1::AccessState {
        request: Some(chain.request().into()),
        digest: digest.to_string(),
        id: digest.short_id().to_string(),
        status: status(&evaluation.status).into(),
        rule: evaluation.rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
        detail: detail(known, evaluation, &approvers, now),
        decisions: decisions(known, evaluation, bundle),
        approvals_needed: count(evaluation.needed),
        approvals_given: count(evaluation.given),
        approvers,
        decide_by: decide_by(evaluation),
        approved_at: grant.map_or(0, |grant| grant.approved_at.0),
        use_by: evaluation.use_by.map_or(0, |use_by| use_by.0),
        access_until: access_until(evaluation),
        principals: principals.iter().map(ToString::to_string).collect(),
        certificates: known.issued.iter().map(certificate).collect(),
        end: chain.ends().first().map(v1::SignedStatement::from),
        basis: basis(evaluation.basis).into(),
        steps: match (evaluation.basis, evaluation.rule) {
            (Some(Basis::Approvals), Some(rule)) => steps(rule, &evaluation.steps),
            (Some(Basis::Auto | Basis::BreakGlass) | None, _) | (_, None) => Vec::new(),
        },
        opens_at: grant.map_or(0, |grant| grant.opens_at.0),
        reviewed: request.break_glass.is_some() && !known.unreviewed(),
        ends: chain.ends().iter().map(v1::SignedStatement::from).collect(),
        live_seconds: live_seconds(known, now),
        prolongs_until: prolongs_until(known, view, now),
        extensions: known.extensions.iter().map(|(_, digest)| digest.to_string()).collect(),
        uses: Vec::new(),
        told: Vec::new(),
        permits: evaluation.rule.map(|rule| v1::Permits {
            names: rule.permitted(&request.permit).iter().map(ToString::to_string).collect(),
        }),
    }
}

/// The status's name in the API.
pub(super) fn status(status: &Status) -> v1::Status {
    match status {
        Status::Pending => v1::Status::Pending,
        Status::Approved => v1::Status::Approved,
        Status::Active => v1::Status::Active,
        Status::Ended => v1::Status::Ended,
        Status::Released => v1::Status::Released,
        Status::Revoked { .. } => v1::Status::Revoked,
        Status::Denied { .. } => v1::Status::Denied,
        Status::Cancelled => v1::Status::Cancelled,
        Status::LapsedUndecided | Status::LapsedUnused => v1::Status::Lapsed,
        Status::Refused(_) => v1::Status::Refused,
    }
}

/// Until when it can be decided; 0 where nobody is asked: under a rule that approves by itself, or
/// where no rule covers it any more.
pub(super) fn decide_by(evaluation: &Evaluation<'_>) -> u64 {
    if evaluation.needed == 0 { 0 } else { evaluation.decide_by.0 }
}

/// When the access ends; 0 if it is not approved.
pub(super) fn access_until(evaluation: &Evaluation<'_>) -> u64 {
    evaluation.grant.as_ref().map_or(0, |grant| grant.access_until().0)
}

/// What approves a request under a rule.
pub(super) fn basis(basis: Option<Basis>) -> v1::Basis {
    match basis {
        None => v1::Basis::Unspecified,
        Some(Basis::Approvals) => v1::Basis::Approvals,
        Some(Basis::Auto) => v1::Basis::Auto,
        Some(Basis::BreakGlass) => v1::Basis::BreakGlass,
    }
}

/// The steps of a rule's approvals, with how far each is; `given` may be shorter, and then nothing
/// is given for the others.
pub(super) fn steps(rule: &Allow, given: &[StepTally]) -> Vec<v1::ApprovalStep> {
    let Approval::Steps(steps) = &rule.approval else { return Vec::new() };
    let given = given.iter().map(|tally| tally.given).chain(std::iter::repeat(0));
    let show = |(step, given): (&Step, usize)| v1::ApprovalStep {
        from: step.from.iter().map(ToString::to_string).collect(),
        needed: u32::from(step.count.get()),
        given: count(given),
        strength: step.strength.as_str().to_owned(),
    };
    steps.iter().zip(given).map(show).collect()
}

/// For how many seconds from `now` a certificate of the request is still valid; 0 if none is.
pub(super) fn live_seconds(known: &Known, now: UnixTime) -> u32 {
    let left = known.issued.iter().map(|issued| issued.valid_before.since(now)).max();
    u32::try_from(left.unwrap_or(0)).unwrap_or(u32::MAX)
}

/// When the access ends that a request prolongs; 0 if it prolongs none, or one that is not granted.
fn prolongs_until(known: &Known, view: View<'_>, now: UnixTime) -> u64 {
    known.chain.prolonged().map_or(0, |of| access_until(&evaluate(of, view, now)))
}

/// A count as the API has it.
pub(super) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The next moment after `now` at which the clock alone changes what is shown; `None` if there is
/// none.
pub(super) fn next_turn(evaluation: &Evaluation<'_>, now: UnixTime) -> Option<UnixTime> {
    let grant = evaluation.grant.as_ref();
    match evaluation.status {
        // What holds until a moment has lapsed a second later.
        Status::Pending => Some(evaluation.decide_by.plus_secs(1)),
        Status::Approved => {
            let unused = evaluation.use_by.map(|use_by| use_by.plus_secs(1));
            let opens = grant.map(|grant| grant.opens_at).filter(|opens_at| now < *opens_at);
            unused.into_iter().chain(opens).chain(grant.map(Grant::access_until)).min()
        }
        Status::Active => grant.map(Grant::access_until),
        Status::Ended
        | Status::Released
        | Status::Revoked { .. }
        | Status::Denied { .. }
        | Status::Cancelled
        | Status::LapsedUndecided
        | Status::LapsedUnused
        | Status::Refused(_) => None,
    }
}

fn decisions(known: &Known, evaluation: &Evaluation<'_>, bundle: &Bundle) -> Vec<v1::Decision> {
    let chain = &known.chain;
    let show = |decision: &Verified<jit_ssh_core::statement::Decision>| v1::Decision {
        statement: Some(decision.into()),
        by: decision.body().by.to_string(),
        approves: decision.body().verdict == Verdict::Approve,
        at: decision.body().at.0,
        reason: decision.body().reason.clone().unwrap_or_default(),
        counts: match evaluation.basis {
            // Who may review was checked when it was recorded, and there is no time for it.
            Some(Basis::BreakGlass) => is_others(decision, known),
            Some(Basis::Approvals | Basis::Auto) | None => {
                evaluation.rule.is_some_and(|rule| counts(decision, chain, rule, bundle))
            }
        },
    };
    chain.decisions().iter().map(show).collect()
}

fn is_others(decision: &Verified<jit_ssh_core::statement::Decision>, known: &Known) -> bool {
    !is_own(&decision.body().by, known)
}

fn certificate(issued: &Issued) -> v1::IssuedCertificate {
    v1::IssuedCertificate {
        serial: issued.serial,
        at: issued.at.0,
        valid_before: issued.valid_before.0,
    }
}
