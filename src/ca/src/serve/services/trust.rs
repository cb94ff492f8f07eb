//! `jitssh.v1.Trust`: every call begins and ends here; root, bundle, CA keys and revocation lists are
//! answered here.

use jit_ssh_api::v1;
use jit_ssh_api::v1::trust_server::Trust;
use jit_ssh_core::refusal::{Reason, Refusal};
use prost::bytes::Bytes;
use tonic::{Request, Response, Status, async_trait};

use super::{TrustService, apply, session};
use crate::serve::call::Call;
use crate::serve::in_force::Files;
use crate::serve::published_krl::signed_krl;

#[async_trait]
impl Trust for TrustService {
    async fn get_root(
        &self,
        request: Request<v1::GetRootRequest>,
    ) -> Result<Response<v1::GetRootResponse>, Status> {
        let call = Call::begin(&self.0, "Trust/GetRoot", &request);
        call.end(Ok(v1::GetRootResponse { root: self.0.root_bytes.clone() }))
    }

    async fn get_bundle(
        &self,
        request: Request<v1::GetBundleRequest>,
    ) -> Result<Response<v1::GetBundleResponse>, Status> {
        let call = Call::begin(&self.0, "Trust/GetBundle", &request);
        let result = get_bundle(&call, &request.into_inner()).await;
        call.end(result)
    }

    async fn apply_bundle(
        &self,
        request: Request<v1::ApplyBundleRequest>,
    ) -> Result<Response<v1::ApplyBundleResponse>, Status> {
        let call = Call::begin(&self.0, "Trust/ApplyBundle", &request);
        let result = apply::apply(&call, request.into_inner()).await;
        call.end(result)
    }

    async fn get_ca_keys(
        &self,
        request: Request<v1::GetCaKeysRequest>,
    ) -> Result<Response<v1::GetCaKeysResponse>, Status> {
        let call = Call::begin(&self.0, "Trust/GetCaKeys", &request);
        let result = get_ca_keys(&call);
        call.end(result)
    }

    async fn get_krl(
        &self,
        request: Request<v1::GetKrlRequest>,
    ) -> Result<Response<v1::GetKrlResponse>, Status> {
        let call = Call::begin(&self.0, "Trust/GetKrl", &request);
        let result = get_krl(&call).await;
        call.end(result)
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let call = Call::begin(&self.0, "Trust/OpenSession", &request);
        let result = session::open(&call, request.into_inner());
        call.end(result)
    }
}

fn get_ca_keys(call: &Call) -> Result<v1::GetCaKeysResponse, Refusal> {
    let in_force = call.front().trusted.bundle()?;
    let keys = in_force.bundle.signers.iter().map(|signer| signer.ca_key.to_string());
    Ok(v1::GetCaKeysResponse { user_ca_keys: keys.collect() })
}

async fn get_krl(call: &Call) -> Result<v1::GetKrlResponse, Refusal> {
    let front = call.front().clone();
    let reading = tokio::task::spawn_blocking(move || signed_krl(&front.log));
    let krl = reading.await.map_err(|e| Refusal::new(Reason::Internal, format!("{e}.")))??;
    Ok(v1::GetKrlResponse { krls: vec![krl] })
}

async fn get_bundle(
    call: &Call,
    message: &v1::GetBundleRequest,
) -> Result<v1::GetBundleResponse, Refusal> {
    let front = call.front();
    let parts = parts(message)?;
    // Files can be large: few answers with them are made at a time.
    let _turn = match parts.is_empty() {
        true => None,
        false => front.sending_files.acquire().await.ok(),
    };
    if message.proposal {
        return proposal(call, &parts).await;
    }
    let in_force = front.trusted.bundle()?;
    let private = |part: &v1::BundlePart| match part {
        v1::BundlePart::People | v1::BundlePart::Policy | v1::BundlePart::Unspecified => true,
        v1::BundlePart::Hosts | v1::BundlePart::Signers => false,
    };
    if parts.iter().any(private) {
        call.reader_of_all()?;
    }
    Ok(v1::GetBundleResponse {
        bundle: Some(in_force.statement.clone()),
        files: files(&parts, &in_force.files),
    })
}

/// The bundle that waits for more admins: for admins only, who have sessions even before the first
/// bundle, for without seeing it the second admin could not sign it.
async fn proposal(call: &Call, parts: &[v1::BundlePart]) -> Result<v1::GetBundleResponse, Refusal> {
    call.admin()?;
    let Some(proposal) = apply::standing_proposal(call.front()).await? else {
        return Ok(v1::GetBundleResponse { bundle: None, files: Vec::new() });
    };
    let all = Files {
        people: proposal.people,
        hosts: proposal.hosts,
        policy: proposal.policy,
        signers: proposal.signers,
    };
    let (statement, signatures) = (proposal.statement, proposal.signatures);
    Ok(v1::GetBundleResponse {
        bundle: Some(v1::SignedStatement { statement, signatures }),
        files: files(parts, &all),
    })
}

fn parts(message: &v1::GetBundleRequest) -> Result<Vec<v1::BundlePart>, Refusal> {
    let mut parts = Vec::new();
    for part in &message.parts {
        match v1::BundlePart::try_from(*part) {
            Ok(part) if part != v1::BundlePart::Unspecified && !parts.contains(&part) => {
                parts.push(part);
            }
            _ => return Err(Refusal::new(Reason::Malformed, "parts: name each part once.")),
        }
    }
    Ok(parts)
}

fn files(parts: &[v1::BundlePart], files: &Files) -> Vec<v1::BundleFile> {
    let content = |part: &v1::BundlePart| match part {
        v1::BundlePart::People => files.people.clone(),
        v1::BundlePart::Hosts => files.hosts.clone(),
        v1::BundlePart::Policy => files.policy.clone(),
        v1::BundlePart::Signers => files.signers.clone(),
        v1::BundlePart::Unspecified => Bytes::new(),
    };
    parts
        .iter()
        .map(|part| v1::BundleFile { part: (*part).into(), content: content(part) })
        .collect()
}
