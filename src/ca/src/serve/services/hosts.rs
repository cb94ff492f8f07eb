//! `jitssh.v1.Hosts`: what hosts ask for, without a session.

use jit_ssh_api::v1;
use jit_ssh_api::v1::hosts_server::Hosts;
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_signer::protocol::{HostIssuance, Op, Outcome};
use prost::bytes::Bytes;
use tonic::{Request, Response, Status, async_trait};

use super::HostsService;
use crate::serve::call::Call;
use crate::serve::front::unexpected;

#[async_trait]
impl Hosts for HostsService {
    async fn renew_host_certificate(
        &self,
        request: Request<v1::RenewHostCertificateRequest>,
    ) -> Result<Response<v1::RenewHostCertificateResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/RenewHostCertificate", &request);
        let result = renew(&call, &request.into_inner()).await;
        call.end(result)
    }
}

/// The signer decides; the front stores nothing of it, since the log has it.
async fn renew(
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
    let Outcome::HostCertified(issuance) = front.signer.call(Op::CertifyHost { name }).await?
    else {
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
