//! Handing in a request, or asking what would follow from it.

use std::net::IpAddr;

use jit_ssh_api::{ApiError, Reason, v1};
use jit_ssh_core::cidr::Cidr;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{self, Request, Verified};

use crate::ca::Ca;
use crate::clock;
use crate::failure::Failure;

/// Why a request was not taken.
pub(crate) enum Submission {
    /// The certificate must be bound to this address, and the request does not say so.
    SourceNeeded(IpAddr, Refusal),
    /// Anything else.
    Failed(Failure),
}

impl From<Submission> for Failure {
    fn from(submission: Submission) -> Failure {
        match submission {
            Submission::SourceNeeded(_, refusal) => refusal.into(),
            Submission::Failed(failure) => failure,
        }
    }
}

/// Asks what would follow from a request, without making it.
pub(crate) async fn explain(
    ca: &mut Ca<'_>,
    request: &Request,
) -> Result<v1::ExplainResponse, Failure> {
    explain_with(ca, request, false).await
}

/// The same of a request whose reason is not said yet: as though it fitted the rule.
pub(crate) async fn explain_open(
    ca: &mut Ca<'_>,
    request: &Request,
) -> Result<v1::ExplainResponse, Failure> {
    explain_with(ca, request, true).await
}

async fn explain_with(
    ca: &mut Ca<'_>,
    request: &Request,
    reason_open: bool,
) -> Result<v1::ExplainResponse, Failure> {
    statement::encode(request)?;
    ca.read(async |client| {
        let explain = async |request: &Request| {
            let bytes = statement::encode(request);
            let bytes = bytes.map_err(|e| ApiError::Foreign(format!("{e}")))?;
            client.explain(v1::ExplainRequest { request: bytes.into(), reason_open }).await
        };
        match explain(request).await {
            Err(ApiError::Refused(detail)) if request.source.is_empty() => {
                match (detail.refusal.reason, detail.address()) {
                    // As when it is made: the certificate is bound to where it is asked from.
                    (Reason::SourceNeeded, Some(address)) => {
                        let mut bound = request.clone();
                        bound.source = vec![Cidr::single(address)];
                        explain(&bound).await
                    }
                    _ => Err(ApiError::Refused(detail)),
                }
            }
            answer => answer,
        }
    })
    .await
}

/// Hands in a request. Where the rule binds the certificate to where it is asked from, that is named, once.
pub(crate) async fn submit_from_here(
    ca: &Ca<'_>,
    request: &mut Request,
) -> Result<(Verified<Request>, v1::SubmitResponse), Submission> {
    match submit(ca, request).await {
        Err(Submission::SourceNeeded(address, _)) => {
            request.source = vec![Cidr::single(address)];
            request.at = clock::now();
            submit(ca, request).await
        }
        submitted => submitted,
    }
}

/// Signs a request and hands it in; asks to certify at once where a rule allows it.
pub(crate) async fn submit(
    ca: &Ca<'_>,
    request: &Request,
) -> Result<(Verified<Request>, v1::SubmitResponse), Submission> {
    let signed = ca.enrolment.identity.sign(request).map_err(Submission::Failed)?;
    let verified: Verified<Request> =
        statement::open(&signed.bytes, &signed.signature, &ca.enrolment.ca())
            .map_err(|e| Submission::Failed(e.into()))?;
    let message = v1::SubmitRequest { request: Some(signed.to_message()), certify: true };
    let answer = match ca.client().submit(message.clone()).await {
        // The same statement twice is the same request: without this, nobody would know whether
        // the request stands.
        Err(ApiError::Unreachable(_)) => ca.client().submit(message).await,
        answer => answer,
    };
    let answer = answer.map_err(|error| match error {
        ApiError::Refused(detail) => match (detail.refusal.reason, detail.address()) {
            (Reason::SourceNeeded, Some(address)) if request.source.is_empty() => {
                Submission::SourceNeeded(address, detail.refusal)
            }
            _ => Submission::Failed(detail.refusal.into()),
        },
        other => Submission::Failed(other.into()),
    })?;
    if answer.digest == verified.digest().to_string() {
        return Ok((verified, answer));
    }
    Err(Submission::Failed(Failure::untrue("the CA answered about another request than was sent.")))
}
