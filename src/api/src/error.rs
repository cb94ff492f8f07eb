//! Errors as they travel: a [`Refusal`] of core becomes a gRPC status with `google.rpc.ErrorInfo`,
//! and comes back as the same refusal. Never a guess from text.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use jit_ssh_core::refusal::Refusal;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub use jit_ssh_core::refusal::Reason;

/// The `ErrorInfo.domain` of every error of this service.
pub const DOMAIN: &str = "jit-ssh";

/// Metadata with what to do about it.
const HINT: &str = "hint";
/// Metadata with the address the service sees the client under.
const ADDRESS: &str = "address";

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The service said no, and why.
    #[error(transparent)]
    Refused(#[from] ErrorDetail),
    /// The service said no with a reason this version does not know.
    #[error(
        "the CA refuses with {reason}, which this version of the program does not know: {message}"
    )]
    UnknownReason {
        /// `ErrorInfo.reason`.
        reason: String,
        /// The service's sentence.
        message: String,
    },
    /// The connection broke, or no answer came in time. The call may or may not have been heard.
    #[error("the CA does not answer: {0}")]
    Unreachable(String),
    /// The answer is no answer of this service.
    #[error("the CA answered in a way this program does not understand: {0}")]
    Foreign(String),
}

impl ApiError {
    /// The service's reason, if it gave one that is known.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            ApiError::Refused(detail) => Some(detail.refusal.reason),
            ApiError::UnknownReason { .. } | ApiError::Unreachable(_) | ApiError::Foreign(_) => {
                None
            }
        }
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> ApiError {
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN);
        let Some(mut info) = info else { return without_info(&status) };
        let message = status.message().to_owned();
        let Ok(reason) = info.reason.parse::<Reason>() else {
            return ApiError::UnknownReason { reason: info.reason, message };
        };
        let hint = info.metadata.remove(HINT);
        let metadata = info.metadata.into_iter().collect();
        ErrorDetail { refusal: Refusal { reason, message, hint }, metadata }.into()
    }
}

/// Judges a status that did not come from our services: from the transport, or from gRPC itself.
fn without_info(status: &Status) -> ApiError {
    let text = match std::error::Error::source(status) {
        Some(source) => innermost(source).to_string(),
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ApiError::Unreachable(text),
        // tonic reports a connection that breaks in mid-call as Unknown or Internal with a source.
        Code::Unknown | Code::Internal if std::error::Error::source(status).is_some() => {
            ApiError::Unreachable(text)
        }
        code => ApiError::Foreign(format!("{code:?}: {text}")),
    }
}

fn innermost<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

/// A refusal with what a program may want to know beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct ErrorDetail {
    /// What is refused and why.
    pub refusal: Refusal,
    metadata: BTreeMap<String, String>,
}

impl ErrorDetail {
    /// A refusal with nothing beside it.
    pub fn new(refusal: Refusal) -> ErrorDetail {
        ErrorDetail { refusal, metadata: BTreeMap::new() }
    }

    /// Adds the address the service sees the client under: goes with [`Reason::SourceNeeded`].
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> ErrorDetail {
        self.metadata.insert(ADDRESS.to_owned(), address.to_string());
        self
    }

    /// The address the service sees the client under, if it told.
    pub fn address(&self) -> Option<IpAddr> {
        self.metadata.get(ADDRESS)?.parse().ok()
    }

    /// The gRPC status that carries this.
    pub fn to_status(&self) -> Status {
        let Refusal { reason, message, hint } = &self.refusal;
        let hint = hint.iter().map(|hint| (HINT.to_owned(), hint.clone()));
        let metadata: HashMap<_, _> = self.metadata.clone().into_iter().chain(hint).collect();
        let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata);
        Status::with_error_details(code_of(*reason), message.clone(), details)
    }
}

/// The gRPC status that carries `refusal` to the client.
pub fn status_of(refusal: &Refusal) -> Status {
    ErrorDetail::new(refusal.clone()).to_status()
}

/// The gRPC code of each reason: for proxies and generic clients; ours look at the reason alone.
fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::PolicyRefused | Reason::NotAllowed | Reason::TokenSpent => Code::PermissionDenied,
        Reason::NotApproved
        | Reason::Denied
        | Reason::Cancelled
        | Reason::Lapsed
        | Reason::Ended
        | Reason::Released
        | Reason::Revoked
        | Reason::TooEarly
        | Reason::ReviewNeeded
        | Reason::Settled
        | Reason::SourceNeeded
        | Reason::NoBundle
        | Reason::NoHostCa
        | Reason::StaleBundle
        | Reason::NotEnoughAdmins => Code::FailedPrecondition,
        Reason::Malformed
        | Reason::BadSignature
        | Reason::WrongCa
        | Reason::ClockSkew
        | Reason::BundleRefused
        | Reason::AmbiguousId => Code::InvalidArgument,
        Reason::UnknownSigner | Reason::NoSession => Code::Unauthenticated,
        Reason::UnknownRequest | Reason::UnknownHost | Reason::UnknownToken => Code::NotFound,
        Reason::IdTaken | Reason::NameTaken => Code::AlreadyExists,
        Reason::Quota => Code::ResourceExhausted,
        Reason::LogUnavailable | Reason::SignerUnavailable | Reason::StoreUnavailable => {
            Code::Unavailable
        }
        Reason::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_grpc_with_hint_and_address() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason, "äh: it is so.").hint("do this: jit-ssh\nor that");
            let ApiError::Refused(detail) = status_of(&refusal).into() else {
                unreachable!("{reason}")
            };
            assert_eq!(detail.refusal, refusal);
            assert_eq!(detail.address(), None);
        }
        let refusal = Refusal::new(Reason::SourceNeeded, "the rule wants the address.");
        let sent = ErrorDetail::new(refusal.clone()).with_address("::1".parse().unwrap());
        let ApiError::Refused(detail) = sent.to_status().into() else { unreachable!() };
        assert_eq!(detail.refusal, refusal);
        assert_eq!(detail.address(), Some("::1".parse().unwrap()));
    }

    #[test]
    fn a_status_without_our_error_info_is_never_taken_for_a_refusal() {
        let foreign = [Status::permission_denied("POLICY_REFUSED"), Status::not_found("x")];
        for status in foreign {
            assert!(matches!(ApiError::from(status), ApiError::Foreign(_)));
        }
        let details = ErrorDetails::with_error_info("POLICY_REFUSED", "elsewhere", HashMap::new());
        let status = Status::with_error_details(Code::PermissionDenied, "no", details);
        assert!(matches!(ApiError::from(status), ApiError::Foreign(_)));
        let details = ErrorDetails::with_error_info("FROM_THE_FUTURE", DOMAIN, HashMap::new());
        let status = Status::with_error_details(Code::PermissionDenied, "no", details);
        assert!(matches!(ApiError::from(status), ApiError::UnknownReason { .. }));
        assert!(matches!(ApiError::from(Status::unavailable("gone")), ApiError::Unreachable(_)));
    }
}
