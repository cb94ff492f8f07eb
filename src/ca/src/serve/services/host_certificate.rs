//! `Hosts.RenewHostCertificate`: the certificate by which clients know a host.

use jit_ssh_api::v1;
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_signer::protocol::{HostIssuance, Op, Outcome};
use prost::bytes::Bytes;

use crate::serve::call::Call;
use crate::serve::front::unexpected;

/// The signer decides; the front stores nothing of it, since the log has it.
pub(super) async fn renew(
    call: &Call,
    message: &v1::RenewHostCertificateRequest,
) -> Result<v1::RenewHostCertificateResponse, Refusal> {
    let front = &**call.front();
    front.trusted.bundle()?;
    call.admit()?;
    let name: HostName = message
        .name
        .parse()
        .map_err(|error| Refusal::new(Reason::Malformed, format!("name: {error}.")))?;
    let op = Op::CertifyHost { name: name.clone() };
    let outcome = match front.signer.call(op.clone()).await {
        Ok(outcome) => outcome,
        Err(refused) => {
            let epoch = front.signer.epoch();
            front.for_hosts(&epoch, &[name], refused, op).await?
        }
    };
    let Outcome::HostCertified(issuance) = outcome else {
        return Err(unexpected());
    };
    let certificate = certificate(issuance, front.log.signer);
    Ok(v1::RenewHostCertificateResponse { certificate: Some(certificate) })
}

fn certificate(issuance: HostIssuance, signer: u16) -> v1::Certificate {
    v1::Certificate {
        certificate: issuance.certificate.0.into(),
        entry: issuance.entry.into(),
        index: issuance.index,
        checkpoint: issuance.checkpoint.into(),
        proof: super::certify::hashes(&Bytes::from(issuance.proof.0)),
        signer: signer.into(),
    }
}
