//! Requests as the API shows them: where each stands, computed at the moment of the answer.

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Allow, Bundle};
use jit_ssh_core::chain::Issued;
use jit_ssh_core::lifecycle::{Evaluation, Status, can_decide, counts, principals, standing};
use jit_ssh_core::statement::{Request, Verdict, Verified};
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;

use super::memory::Known;

/// Most ids of approvers that are named.
const MAX_APPROVERS: usize = 50;

/// A request with all that is known of it.
pub(super) fn access(
    known: &Known,
    evaluation: &Evaluation<'_>,
    bundle: &Bundle,
) -> v1::AccessState {
    let chain = &known.chain;
    let (request, digest) = (chain.request().body(), chain.digest());
    let grant = evaluation.grant.as_ref();
    let principals = match grant {
        Some(grant) => grant.principals(),
        None => principals(&request.hosts, &request.logins),
    };
    v1::AccessState {
        request: Some(signed(chain.request())),
        digest: digest.to_string(),
        id: digest.short_id().to_string(),
        status: status(&evaluation.status).into(),
        rule: evaluation.rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
        detail: detail(known, evaluation),
        decisions: decisions(known, evaluation, bundle),
        approvals_needed: count(evaluation.needed),
        approvals_given: count(evaluation.given),
        approvers: approvers(known, evaluation, bundle),
        decide_by: decide_by(evaluation),
        approved_at: grant.map_or(0, |grant| grant.approved_at.0),
        use_by: evaluation.use_by.map_or(0, |use_by| use_by.0),
        access_until: access_until(evaluation),
        principals: principals.iter().map(ToString::to_string).collect(),
        certificates: known.issued.iter().map(certificate).collect(),
        end: chain.ends().first().map(signed),
        ..v1::AccessState::default()
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

/// Who can still decide; nobody where it is decided, or where nobody is asked.
pub(super) fn approvers(
    known: &Known,
    evaluation: &Evaluation<'_>,
    bundle: &Bundle,
) -> Vec<String> {
    match (&evaluation.status, evaluation.rule) {
        (Status::Pending, Some(rule)) if evaluation.needed > 0 => {
            let decided = |id: &_| known.chain.decisions().iter().any(|d| d.body().by == *id);
            let request = known.chain.request().body();
            deciders(rule, request, bundle)
                .filter(|id| !decided(id))
                .take(MAX_APPROVERS)
                .map(ToString::to_string)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Who a rule asks, at most [`MAX_APPROVERS`].
pub(super) fn asked(rule: &Allow, request: &Request, bundle: &Bundle) -> Vec<String> {
    deciders(rule, request, bundle).take(MAX_APPROVERS).map(ToString::to_string).collect()
}

fn deciders<'b>(
    rule: &'b Allow,
    request: &'b Request,
    bundle: &'b Bundle,
) -> impl Iterator<Item = &'b jit_ssh_core::names::ActorId> {
    let can = move |actor: &&jit_ssh_core::bundle::Actor| can_decide(actor, rule, request);
    bundle.people.iter().filter(can).map(|actor| &actor.id)
}

/// A count as the API has it.
pub(super) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The next moment at which the status changes by the clock alone; `None` if never.
pub(super) fn next_turn(evaluation: &Evaluation<'_>) -> Option<UnixTime> {
    let grant = evaluation.grant.as_ref();
    match evaluation.status {
        // What holds until a moment has lapsed a second later.
        Status::Pending => Some(evaluation.decide_by.plus_secs(1)),
        Status::Approved => {
            let unused = evaluation.use_by.map(|use_by| use_by.plus_secs(1));
            unused.into_iter().chain(grant.map(|grant| grant.access_until())).min()
        }
        Status::Active => grant.map(|grant| grant.access_until()),
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

fn signed<T>(statement: &Verified<T>) -> v1::SignedStatement {
    v1::SignedStatement {
        statement: Bytes::copy_from_slice(statement.bytes()),
        signatures: vec![Bytes::copy_from_slice(statement.signature())],
    }
}

fn decisions(known: &Known, evaluation: &Evaluation<'_>, bundle: &Bundle) -> Vec<v1::Decision> {
    let chain = &known.chain;
    let show = |decision: &Verified<jit_ssh_core::statement::Decision>| v1::Decision {
        statement: Some(signed(decision)),
        by: decision.body().by.to_string(),
        approves: decision.body().verdict == Verdict::Approve,
        at: decision.body().at.0,
        reason: decision.body().reason.clone().unwrap_or_default(),
        counts: evaluation.rule.is_some_and(|rule| counts(decision, chain, rule, bundle)),
    };
    chain.decisions().iter().map(show).collect()
}

fn certificate(issued: &Issued) -> v1::IssuedCertificate {
    v1::IssuedCertificate {
        serial: issued.serial,
        at: issued.at.0,
        valid_before: issued.valid_before.0,
    }
}

fn detail(known: &Known, evaluation: &Evaluation<'_>) -> String {
    let id = known.chain.request().id();
    match &evaluation.status {
        Status::Pending => {
            let missing = evaluation.needed.saturating_sub(evaluation.given);
            format!("request {id} waits: {missing} of {} approvals are missing.", evaluation.needed)
        }
        Status::Approved => format!("request {id} is approved; no certificate was fetched yet."),
        Status::Active => format!("request {id} is approved and in use."),
        over => standing(&known.chain, over).message,
    }
}
