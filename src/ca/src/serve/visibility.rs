//! Who sees which request (design.md, 11): their own, those they may decide or have decided;
//! auditors and admins see all.

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::lifecycle::{Evaluation, Status, can_decide};
use jit_ssh_core::names::ActorId;

use super::memory::Known;
use super::sessions::Caller;

/// Whether `caller` may see a request, given where it stands under `bundle`.
pub(super) fn may_see(
    caller: &Caller,
    known: &Known,
    evaluation: &Evaluation<'_>,
    bundle: &Bundle,
) -> bool {
    caller.reads_all()
        || is_own(&caller.id, known)
        || has_decided(&caller.id, known)
        || may_decide(&caller.id, known, evaluation, bundle)
}

/// Whether `id` made the request or is its subject.
pub(super) fn is_own(id: &ActorId, known: &Known) -> bool {
    let request = known.chain.request().body();
    request.by == *id || request.subject == *id
}

/// Whether the request waits for a decision of `id`: it is pending, they are asked, and they have
/// not decided yet.
pub(super) fn awaits(
    id: &ActorId,
    known: &Known,
    evaluation: &Evaluation<'_>,
    bundle: &Bundle,
) -> bool {
    evaluation.status == Status::Pending
        && !has_decided(id, known)
        && may_decide(id, known, evaluation, bundle)
}

fn has_decided(id: &ActorId, known: &Known) -> bool {
    known.chain.decisions().iter().any(|decision| decision.body().by == *id)
}

fn may_decide(id: &ActorId, known: &Known, evaluation: &Evaluation<'_>, bundle: &Bundle) -> bool {
    let request = known.chain.request().body();
    let asked = evaluation.rule.zip(bundle.people.get(id));
    asked.is_some_and(|(rule, actor)| can_decide(actor, rule, request))
}

#[cfg(test)]
mod tests;
