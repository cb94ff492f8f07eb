//! `Access.Submit`: a signed request comes in, and where a rule approves by itself the certificate
//! goes out with the same answer.

use jit_ssh_api::v1;
use jit_ssh_core::bundle::SourceRule;
use jit_ssh_core::chain::Chain;
use jit_ssh_core::cidr::Cidr;
use jit_ssh_core::lifecycle::{admit_request, evaluate};
use jit_ssh_core::policy::{self, Asked};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::sshsig::Presence;
use jit_ssh_core::statement::Request;
use jit_ssh_signer::protocol::{Op, Outcome};

use super::certify::{self, certificate};
use crate::serve::arrived::Arrived;
use crate::serve::call::Call;
use crate::serve::front::{Front, issued, unexpected};
use crate::serve::in_force::Standing;
use crate::serve::memory::{Claim, Known};
use crate::serve::store::{Record, RecordKind};
use crate::serve::{clock, show};

pub(super) async fn submit(
    call: &Call,
    message: v1::SubmitRequest,
) -> Result<v1::SubmitResponse, Refusal> {
    let front = &**call.front();
    let in_force = front.trusted.bundle()?;
    call.admit()?;
    let arrived = Arrived::<Request>::read(message.request, &front.fingerprint)?;
    let request = arrived.digest();
    call.about(request);
    check_source(call, arrived.body(), &in_force)?;
    let claim = front.memory.claim(&*front.store, request).await?;
    check_reviewed(front, &arrived, &in_force, &claim)?;

    let epoch = front.signer.epoch();
    let op = Op::Submit { statement: arrived.to_signed(), certify: message.certify };
    let extends = arrived.body().extends;
    let recorded = match extends {
        Some(of) => front.record(&epoch, of, op).await?,
        None => match front.signer.record(op.clone(), &epoch).await {
            Ok(recorded) => recorded,
            Err(refused) => front.for_hosts(&epoch, &arrived.body().hosts, refused, op).await?,
        },
    };
    let Outcome::Recorded { digest, certificate: issuance, .. } = recorded else {
        return Err(unexpected());
    };
    let _announcement = front.announce(request);
    // Who watches what it prolongs sees it there.
    let _told_there = extends.map(|of| front.announce(of));
    let kind = RecordKind::request(arrived.body());
    let by = arrived.body().by.clone();
    if arrived.body().break_glass.is_some() {
        front.metrics.break_glass();
    }
    let (statement, record) = arrived.recorded(digest, kind, request, by)?;
    let mut records = vec![record];
    let mut known = Known::new(Chain::new(statement));
    if let Some(issuance) = &issuance {
        known.add_issued(issued(issuance));
        records.push(Record::Certificate { request, issued: issued(issuance) });
        front.metrics.certificate(&Ok::<_, Refusal>(()));
    }
    if claim.stands_in_store() {
        // Submitted before: what was said of it since belongs to the answer.
        front.memory.get(&*front.store, request).await?;
    }
    if let Some(of) = extends
        && front.memory.get(&*front.store, of).await?.is_none()
    {
        // The signer knows what it prolongs and we do not yet: the log has it.
        front.lost.mark();
    }
    let known = front.memory.take_in(&*front.store, known).await?;
    front.keep(records).await?;
    let mut jumps = Vec::new();
    if let Some(issuance) = &issuance {
        let body = known.chain.request().body();
        front.tell_hosts(body, &body.hosts, issuance);
        jumps = certify::jumps(front, request, Some(&known), issuance).await?;
    }

    let evaluation = evaluate(&known.chain, in_force.view(), clock::now());
    let signer = front.log.signer;
    Ok(v1::SubmitResponse {
        digest: request.to_string(),
        status: show::status(&evaluation.status).into(),
        rule: evaluation.rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
        decide_by: show::decide_by(&evaluation),
        access_until: show::access_until(&evaluation),
        approvals_needed: show::count(evaluation.needed),
        approvers: show::approvers(&known, &evaluation, &in_force.bundle),
        certificate: issuance.map(|issuance| certificate(issuance, signer)),
        jumps,
    })
}

/// Refuses a break-glass request of somebody whose last one nobody has reviewed. Each signer holds
/// this for what it has seen; the front holds it for all of them.
fn check_reviewed(
    front: &Front,
    arrived: &Arrived<Request>,
    in_force: &Standing,
    claim: &Claim<'_>,
) -> Result<(), Refusal> {
    let body = arrived.body();
    if body.break_glass.is_none() || claim.stands() {
        return Ok(());
    }
    let Some(earlier) = front.memory.unreviewed_of(&body.subject, arrived.digest()) else {
        return Ok(());
    };
    // Only who could make it hears of the other one.
    let chain = Chain::new(arrived.verify(&front.fingerprint)?);
    match admit_request(&chain, Some(&earlier.chain), in_force.view(), clock::now()) {
        Err(refusal) if refusal.reason == Reason::ReviewNeeded => Err(refusal),
        // Any other refusal is the signer's to give.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Under a rule that binds to the client's address, the address signed must be the one seen: the
/// signer can not know it, and the front can not choose it.
fn check_source(call: &Call, request: &Request, in_force: &Standing) -> Result<(), Refusal> {
    if !in_force.binds_clients {
        return Ok(());
    }
    let Some(requester) = in_force.bundle.people.get(&request.by) else { return Ok(()) };
    let asked = Asked { request, requester, presence: Presence::UserVerified, extension: None };
    match policy::decide(asked, in_force.view(), clock::now()) {
        Ok(rule) if rule.source == SourceRule::Client => {
            let seen = Cidr::single(call.peer());
            if request.source == [seen] {
                return Ok(());
            }
            Err(Refusal::new(
                Reason::SourceNeeded,
                format!(
                    "the rule {} binds the certificate to the client's address: the request must name exactly {seen} in `source`.",
                    rule.name
                ),
            ))
        }
        // Any other refusal is the signer's to give: it alone knows what was recorded before.
        Ok(_) | Err(_) => Ok(()),
    }
}
