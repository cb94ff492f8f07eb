//! `Access.Decide` and `Access.End`: what is said of a request after it was made.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::lifecycle::evaluate;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{Body, Decision, End, Verified};
use jit_ssh_signer::protocol::{Op, Outcome};

use crate::serve::arrived::Arrived;
use crate::serve::call::Call;
use crate::serve::front::unexpected;
use crate::serve::memory::Known;
use crate::serve::store::RecordKind;
use crate::serve::{clock, show};

pub(super) async fn decide(
    call: &Call,
    message: v1::DecideRequest,
) -> Result<v1::DecideResponse, Refusal> {
    let front = call.front();
    let in_force = front.trusted.bundle()?;
    call.admit()?;
    let arrived = Arrived::<Decision>::read(message.decision, &front.fingerprint)?;
    let about = (arrived.body().request, arrived.body().by.clone());
    let known = hand_in(call, arrived, RecordKind::Decision, about, |known, decision| {
        known.chain.add_decision(decision).is_ok()
    })
    .await?;
    let now = clock::now();
    let evaluation = evaluate(&known.chain, in_force.view(), now);
    front.note_approval(&known, &evaluation);
    let approvers = show::approvers(&known, &evaluation, &in_force.bundle);
    Ok(v1::DecideResponse {
        status: show::status(&evaluation.status).into(),
        access_until: show::access_until(&evaluation),
        approvals_needed: show::count(evaluation.needed),
        approvals_given: show::count(evaluation.given),
        detail: show::detail(&known, &evaluation, &approvers, now),
    })
}

pub(super) async fn end(call: &Call, message: v1::EndRequest) -> Result<v1::EndResponse, Refusal> {
    let front = call.front();
    let in_force = front.trusted.bundle()?;
    call.admit()?;
    let arrived = Arrived::<End>::read(message.end, &front.fingerprint)?;
    let about = (arrived.body().request, arrived.body().by.clone());
    let cause = arrived.body().cause;
    let known = hand_in(call, arrived, RecordKind::End, about, |known, end| {
        known.chain.add_end(end).is_ok()
    })
    .await;
    front.metrics.end(cause, &known);
    let (known, now) = (known?, clock::now());
    let evaluation = evaluate(&known.chain, in_force.view(), now);
    let falling = front.memory.falling_with(&*front.store, &known).await?;
    let falling = falling.iter().map(|known| show::live_seconds(known, now));
    Ok(v1::EndResponse {
        status: show::status(&evaluation.status).into(),
        live_seconds: falling.fold(show::live_seconds(&known, now), u32::max),
    })
}

/// Has a statement about a request recorded, keeps it, and adds it to what is known.
async fn hand_in<T: Body + Clone>(
    call: &Call,
    arrived: Arrived<T>,
    kind: RecordKind,
    (request, by): (Digest, ActorId),
    add: impl Fn(&mut Known, Verified<T>) -> bool,
) -> Result<Arc<Known>, Refusal> {
    let front = call.front();
    call.about(request);
    let epoch = front.signer.epoch();
    let op = Op::Submit { statement: arrived.to_signed(), certify: false };
    let Outcome::Recorded { digest, .. } = front.record(&epoch, request, op).await? else {
        return Err(unexpected());
    };
    let _announcement = front.announce(request);
    let (statement, record) = arrived.recorded(digest, kind, request, by)?;
    let mut fits = true;
    let resident = front.memory.change(request, |known| fits = add(known, statement.clone()));
    front.keep(vec![record]).await?;
    if !fits {
        return Err(unexpected());
    }
    if let Some(known) = resident {
        return Ok(known);
    }
    // It is in the store by now, and comes into memory with it; added once more in case somebody
    // else read the request a moment before.
    let Some(known) = front.memory.get(&*front.store, request).await? else {
        // The signer knows the request and we do not yet: the log has it.
        front.lost.mark();
        return Err(Refusal::new(
            Reason::StoreUnavailable,
            "what you signed is recorded, but the request is not at hand here yet.",
        )
        .hint("look again in a moment"));
    };
    let again = |known: &mut Known| {
        add(known, statement);
    };
    Ok(front.memory.change(request, again).unwrap_or(known))
}
