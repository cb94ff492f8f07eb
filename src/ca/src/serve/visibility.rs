//! Who sees which request (design.md, 11): their own, those they may decide, have decided or have
//! ended; break-glass also whoever must be told of it, or had to be when it was made. Auditors and
//! admins see all.

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::lifecycle::{Evaluation, Status, can_decide, could_approve, evaluate};
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
        || has_spoken(&caller.id, known)
        || may_decide(&caller.id, known, evaluation, bundle)
        || is_told(&caller.id, known, evaluation, bundle)
}

/// Whether break-glass concerned `id` when it was made, under the bundle of then: who was skipped or told
/// goes on seeing it, whatever becomes of the rule. Who may review it is for the bundle of now to say.
pub(super) fn was_concerned(id: &ActorId, known: &Known, then: View<'_>) -> bool {
    let request = known.chain.request().body();
    if request.break_glass.is_none() {
        return false;
    }
    let evaluation = evaluate(&known.chain, then, request.at);
    may_decide(id, known, &evaluation, then.bundle) || is_told(id, known, &evaluation, then.bundle)
}

/// Whether `id` made the request or is its subject.
pub(super) fn is_own(id: &ActorId, known: &Known) -> bool {
    let request = known.chain.request().body();
    request.by == *id || request.subject == *id
}

/// Whether the request waits for `id`: for a decision of theirs that would change something, or, if
/// it went ahead without approvals, for somebody to review it.
pub(super) fn awaits(
    id: &ActorId,
    known: &Known,
    evaluation: &Evaluation<'_>,
    bundle: &Bundle,
) -> bool {
    if known.unreviewed() {
        return !is_own(id, known)
            && (may_decide(id, known, evaluation, bundle)
                || is_told(id, known, evaluation, bundle));
    }
    evaluation.status == Status::Pending
        && !has_decided(id, known)
        && may_decide(id, known, evaluation, bundle)
        && has_place(id, known, evaluation, bundle)
}

/// Whether an approval of `id`, who is asked, would count. Where there is one step only, there is a
/// place as long as the request is pending.
fn has_place(id: &ActorId, known: &Known, evaluation: &Evaluation<'_>, bundle: &Bundle) -> bool {
    let Some(rule) = evaluation.rule else { return false };
    evaluation.steps.len() <= 1
        || could_approve(&known.chain, rule, bundle).any(|actor| actor.id == *id)
}

fn has_decided(id: &ActorId, known: &Known) -> bool {
    known.chain.decisions().iter().any(|decision| decision.body().by == *id)
}

fn has_spoken(id: &ActorId, known: &Known) -> bool {
    has_decided(id, known) || known.chain.ends().iter().any(|end| end.body().by == *id)
}

fn may_decide(id: &ActorId, known: &Known, evaluation: &Evaluation<'_>, bundle: &Bundle) -> bool {
    let request = known.chain.request().body();
    let asked = evaluation.rule.zip(bundle.people.get(id));
    asked.is_some_and(|(rule, actor)| can_decide(actor, rule, request))
}

/// Whether `id` is told of break-glass beside those who were skipped: whom the rule names, and the
/// admins.
fn is_told(id: &ActorId, known: &Known, evaluation: &Evaluation<'_>, bundle: &Bundle) -> bool {
    if known.chain.request().body().break_glass.is_none() {
        return false;
    }
    let rule = evaluation.rule.and_then(|rule| rule.break_glass.as_ref());
    let named = rule.zip(bundle.people.get(id)).is_some_and(|(break_glass, actor)| {
        actor.is_person() && break_glass.notify.iter().any(|who| who.covers(actor))
    });
    named || bundle.admins.iter().any(|(admin, _)| admin == id)
}

#[cfg(test)]
mod tests;
