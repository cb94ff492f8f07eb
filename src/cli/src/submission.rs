//! Handing in a request.

use std::net::IpAddr;

use jit_ssh_api::{ApiError, Reason, v1};
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{self, Request, Verified};

use crate::ca::Ca;
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
