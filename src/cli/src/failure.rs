//! What went wrong, as people and programs hear of it, and the exit code that follows.

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

use jit_ssh_api::agent::AgentError;
use jit_ssh_api::own_key::SigningError;
use jit_ssh_api::{ApiError, ClientError};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::StatementError;

use crate::ui::JsonError;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All done.
    Done,
    /// Something went wrong.
    Error,
    /// The command can not be understood, or would have to ask and can not.
    Usage,
    /// The request stands and waits.
    Pending,
    /// An approver said no.
    Denied,
    /// Lapsed, ended or cancelled.
    Over,
    /// No rule allows it.
    Refused,
    /// The CA can not be reached, or can not work now.
    Unreachable,
    /// The ssh-agent does not do its part.
    Agent,
    /// A program ran in place of the command, and ended with this code.
    Program(u8),
}

impl Outcome {
    /// The exit code. Scripts rely on it: never change one.
    pub(crate) fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Error => 1,
            Outcome::Usage => 2,
            Outcome::Pending => 3,
            Outcome::Denied => 4,
            Outcome::Over => 5,
            Outcome::Refused => 6,
            Outcome::Unreachable => 7,
            Outcome::Agent => 8,
            Outcome::Program(code) => code,
        }
    }

    fn of(reason: Reason) -> Outcome {
        match reason {
            Reason::PolicyRefused | Reason::NotAllowed | Reason::ReviewNeeded => Outcome::Refused,
            Reason::NotApproved | Reason::TooEarly => Outcome::Pending,
            Reason::Denied => Outcome::Denied,
            Reason::Cancelled
            | Reason::Lapsed
            | Reason::Ended
            | Reason::Released
            | Reason::Revoked => Outcome::Over,
            Reason::LogUnavailable | Reason::SignerUnavailable | Reason::StoreUnavailable => {
                Outcome::Unreachable
            }
            Reason::Settled
            | Reason::Malformed
            | Reason::BadSignature
            | Reason::WrongCa
            | Reason::ClockSkew
            | Reason::UnknownSigner
            | Reason::UnknownRequest
            | Reason::UnknownHost
            | Reason::NoHostCa
            | Reason::AmbiguousId
            | Reason::IdTaken
            | Reason::NameTaken
            | Reason::UnknownToken
            | Reason::TokenSpent
            | Reason::SourceNeeded
            | Reason::NoBundle
            | Reason::StaleBundle
            | Reason::BundleRefused
            | Reason::NotEnoughAdmins
            | Reason::NoSession
            | Reason::Quota
            | Reason::Internal => Outcome::Error,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(outcome.code())
    }
}

/// An error: how the command ends, a stable name, a full sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Decides the exit code.
    pub(crate) outcome: Outcome,
    /// The stable name: the service's reason, or one of ours.
    pub(crate) name: Cow<'static, str>,
    /// What happened, to what.
    pub(crate) message: String,
    /// What to do, if there is something.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure of this machine or of what came from elsewhere.
    pub(crate) fn new(outcome: Outcome, name: &'static str, message: impl Into<String>) -> Failure {
        Failure { outcome, name: name.into(), message: message.into(), hint: None }
    }

    /// The command as given can not be carried out.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Usage, "USAGE", message)
    }

    /// Something the CA sent is not what it must be.
    pub(crate) fn untrue(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Error, "UNTRUE", message)
            .hint("nothing was used; tell an admin of the CA, and keep this message")
    }

    /// A file can not be read or written.
    pub(crate) fn file(path: &Path, problem: impl std::fmt::Display) -> Failure {
        Failure::new(Outcome::Error, "FILE", format!("{}: {problem}", path.display()))
    }

    /// The same with a hint.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// What `--json` prints of it.
    pub(crate) fn json(&self) -> JsonError<'_> {
        JsonError { error: &self.name, message: &self.message, hint: self.hint.as_deref() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure {
            outcome: Outcome::of(refusal.reason),
            name: refusal.reason.as_str().into(),
            message: refusal.message,
            hint: refusal.hint,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        let message = error.to_string();
        match error {
            ApiError::Refused(detail) => detail.refusal.into(),
            ApiError::UnknownReason { reason, .. } => Failure {
                outcome: Outcome::Error,
                name: reason.into(),
                message,
                hint: Some("this jit-ssh may be older than the CA".to_owned()),
            },
            ApiError::Unreachable(_) => Failure::new(Outcome::Unreachable, "UNREACHABLE", message)
                .hint("try again; asking twice makes one request"),
            ApiError::Foreign(_) => Failure::new(Outcome::Error, "FOREIGN_ANSWER", message)
                .hint("is this the CA's own address and port?"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let message = error.to_string();
        match error {
            ClientError::Unreachable { .. } => {
                Failure::new(Outcome::Unreachable, "UNREACHABLE", message).hint(
                    "nothing was sent; certificates you hold keep working, see: jit-ssh status",
                )
            }
            ClientError::Untrusted { .. } => Failure::new(Outcome::Error, "UNTRUSTED", message)
                .hint("somebody else may be answering there, or the CA was set up anew"),
            ClientError::Pin { .. } => Failure::new(Outcome::Error, "PIN", message)
                .hint("get the enroll URL anew from an admin, by a way you trust"),
            ClientError::Root(_) | ClientError::Anchor(_) => {
                Failure::new(Outcome::Error, "ROOT", message)
            }
            ClientError::Token => Failure::untrue(message),
            ClientError::Api(error) => error.into(),
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Failure {
        let hint = match &error {
            AgentError::KeyType => "use an Ed25519 or ECDSA key, or leave --key away",
            error => error.hint(),
        };
        Failure::new(Outcome::Agent, "AGENT", format!("{error}.")).hint(hint)
    }
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Failure {
        let message = format!("{error}.");
        match error {
            SigningError::Agent(error) => error.into(),
            SigningError::NotHeld(_) => {
                Failure::new(Outcome::Agent, "AGENT", message).hint("ssh-add your key")
            }
            SigningError::Unusable(_) => Failure::new(Outcome::Error, "KEY", message),
            SigningError::Untrue(_) | SigningError::OtherKey { .. } => {
                Failure::new(Outcome::Agent, "BAD_SIGNATURE", message)
                    .hint("nothing was sent; try another ssh-agent or key")
            }
        }
    }
}

impl From<StatementError> for Failure {
    fn from(error: StatementError) -> Failure {
        // Of our own making: what a person typed went into it.
        Failure::usage(format!("{error}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_promised_ones() {
        let codes = [
            (Outcome::Done, 0),
            (Outcome::Error, 1),
            (Outcome::Usage, 2),
            (Outcome::Pending, 3),
            (Outcome::Denied, 4),
            (Outcome::Over, 5),
            (Outcome::Refused, 6),
            (Outcome::Unreachable, 7),
            (Outcome::Agent, 8),
        ];
        for (outcome, code) in codes {
            assert_eq!(outcome.code(), code);
        }
        for (reason, code) in [
            (Reason::PolicyRefused, 6),
            (Reason::NotAllowed, 6),
            (Reason::NotApproved, 3),
            (Reason::Denied, 4),
            (Reason::Cancelled, 5),
            (Reason::Lapsed, 5),
            (Reason::Ended, 5),
            (Reason::Released, 5),
            (Reason::Revoked, 5),
            (Reason::TooEarly, 3),
            (Reason::ReviewNeeded, 6),
            (Reason::SignerUnavailable, 7),
            (Reason::UnknownRequest, 1),
            (Reason::Internal, 1),
        ] {
            let failure = Failure::from(Refusal::new(reason, "x").hint("y"));
            assert_eq!(failure.outcome.code(), code, "{reason}");
            assert_eq!(failure.name, reason.as_str());
            assert_eq!(failure.hint.as_deref(), Some("y"));
        }
        assert_eq!(Failure::from(AgentError::Absent).outcome, Outcome::Agent);
        assert_eq!(Failure::from(ApiError::Unreachable("x".into())).outcome, Outcome::Unreachable);
    }
}
