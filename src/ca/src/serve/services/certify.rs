//! `Access.Certify`: the next certificate of an approved request.

use jit_ssh_api::v1;
use jit_ssh_core::certificate::lint;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::Entry;
use jit_ssh_core::names::Principal;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_signer::protocol::{Issuance, Op, Outcome};
use prost::bytes::Bytes;

use crate::serve::call::Call;
use crate::serve::front::{Front, issued, unexpected};
use crate::serve::memory::Known;
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
    if let Some(known) = &known {
        let body = known.chain.request().body();
        front.tell_hosts(body, &body.hosts, &issuance);
    }
    front.memory.change(request, |known| known.add_issued(issued(&issuance)));
    let jumps = jumps(front, request, known.as_deref(), &issuance).await?;
    Ok(v1::CertifyResponse { certificate: Some(certificate(issuance, front.log.signer)), jumps })
}

/// The certificates for the jumps to what this one opens, issued at once. Where the bundle has none this
/// asks nobody.
///
/// # Errors
/// As for the certificate itself; then the whole call fails, and can be made again.
pub(super) async fn jumps(
    front: &Front,
    request: Digest,
    known: Option<&Known>,
    access: &Issuance,
) -> Result<Vec<v1::Certificate>, Refusal> {
    let in_force = front.trusted.bundle()?;
    let opens = match Entry::parse(access.entry.as_bytes()) {
        Ok(Entry::Certificate(entry)) => lint::read(&entry.tbs.0).map_err(|_| unexpected())?.opens,
        Ok(Entry::Statement(_) | Entry::HostCertificate(_)) | Err(_) => return Err(unexpected()),
    };
    let hosts = opens.logins().iter().map(Principal::host);
    let mut certificates = Vec::new();
    for jump in in_force.bundle.hosts.jumps(hosts) {
        let epoch = front.signer.epoch();
        let bastion = jump.bastion().clone();
        let outcome = front.record(&epoch, request, Op::CertifyJump { request, jump }).await?;
        let Outcome::Certified(issuance) = outcome else { return Err(unexpected()) };
        front.keep(vec![Record::Certificate { request, issued: issued(&issuance) }]).await?;
        if let Some(known) = known {
            front.tell_hosts(known.chain.request().body(), &[bastion], &issuance);
        }
        front.memory.change(request, |known| known.add_issued(issued(&issuance)));
        front.metrics.certificate(&Ok::<_, Refusal>(()));
        certificates.push(certificate(issuance, front.log.signer));
    }
    Ok(certificates)
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
