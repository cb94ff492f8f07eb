//! `Access.Certify`: the next certificate of an approved request.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_signer::protocol::{Issuance, Op, Outcome};
use prost::bytes::Bytes;

use crate::serve::call::Call;
use crate::serve::front::{issued, unexpected};
use crate::serve::store::Record;

pub(super) async fn certify(
    call: &Call,
    message: &v1::CertifyRequest,
) -> Result<v1::CertifyResponse, Refusal> {
    let front = &**call.front();
    front.trusted.bundle()?;
    call.admit()?;
    let request: Digest = message
        .digest
        .parse()
        .map_err(|error| Refusal::new(Reason::Malformed, format!("digest: {error}.")))?;
    call.about(request);
    let epoch = front.signer.epoch();
    let outcome = front.record(&epoch, request, Op::Certify { request }).await?;
    let Outcome::Certified(issuance) = outcome else { return Err(unexpected()) };
    let _announcement = front.announce(request);
    let record = Record::Certificate { request, issued: issued(&issuance) };
    front.keep(vec![record]).await?;
    // Into memory before it is told, so that nobody who read it a moment before misses this.
    let known = front.memory.get(&*front.store, request).await?;
    if let Some(known) = known {
        front.tell_hosts(known.chain.request().body(), &issuance);
    }
    front.memory.change(request, |known| known.add_issued(issued(&issuance)));
    Ok(v1::CertifyResponse { certificate: Some(certificate(issuance, front.log.signer)) })
}

/// A certificate as the API has it.
pub(super) fn certificate(issuance: Issuance, signer: u16) -> v1::Certificate {
    v1::Certificate {
        certificate: issuance.certificate.0.into(),
        entry: issuance.entry.into(),
        index: issuance.index,
        checkpoint: issuance.checkpoint.into(),
        proof: hashes(&Bytes::from(issuance.proof.0)),
        signer: signer.into(),
    }
}

/// The hashes of 32 bytes that a proof joins.
pub(super) fn hashes(proof: &Bytes) -> Vec<Bytes> {
    let places = (0..proof.len()).step_by(32);
    places.map(|at| proof.slice(at..at.saturating_add(32).min(proof.len()))).collect()
}
