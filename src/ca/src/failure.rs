//! Errors as the administrator meets them: a sentence, hints, and the exit code.

use std::process::ExitCode;

use jit_ssh_api::agent::AgentError;
use jit_ssh_api::own_key::SigningError;
use jit_ssh_api::{ApiError, ClientError, Reason};
use serde::Serialize;

use crate::audit::LogFault;
use crate::terminal;

/// How a command ends when it did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Something went wrong.
    Error,
    /// The command line asks for what can not be.
    Usage,
    /// More admins must sign.
    Pending,
    /// The CA does not answer.
    Unreachable,
}

impl Outcome {
    /// The exit code, as design.md, section 12 promises it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Outcome::Error => 1,
            Outcome::Usage => 2,
            Outcome::Pending => 3,
            Outcome::Unreachable => 7,
        }
    }
}

/// An error that knows its exit code and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    outcome: Outcome,
    /// The stable name that programs get.
    name: &'static str,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn error(message: impl Into<String>) -> Failure {
        Failure::named("ERROR", message)
    }

    /// Something went wrong that programs tell apart by this name.
    pub(crate) fn named(name: &'static str, message: impl Into<String>) -> Failure {
        Failure { outcome: Outcome::Error, name, message: message.into(), hints: Vec::new() }
    }

    /// The command line asks for what can not be.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { outcome: Outcome::Usage, ..Failure::named("USAGE", message) }
    }

    /// The same with one more hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }
}

/// What `--json` prints of an error, as `jit-ssh` does.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct JsonError {
    /// The service's reason, or a name of ours.
    error: String,
    message: String,
    hint: Option<String>,
}

impl JsonError {
    /// The same as an object.
    pub(crate) fn of(error: &anyhow::Error) -> JsonError {
        let hints = hints(error);
        let hint = (!hints.is_empty()).then(|| hints.join("; "));
        JsonError { error: name(error), message: format!("{error:#}"), hint }
    }

    /// Of a command line that can not be understood.
    pub(crate) fn usage(error: &clap::Error) -> JsonError {
        let text = error.to_string();
        let sentence = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let sentence = sentence.collect::<Vec<_>>().join(" ");
        let message = sentence.trim_start_matches("error: ").to_owned();
        JsonError { error: "USAGE".to_owned(), message, hint: None }
    }
}

/// Tells of an error on stderr, and gives the exit code.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    terminal::say(&format!("error: {error:#}"));
    for hint in hints(error) {
        terminal::say(&format!("hint: {hint}"));
    }
    ExitCode::from(outcome(error).code())
}

/// The stable name of an error.
fn name(error: &anyhow::Error) -> String {
    if let Some(failure) = cause::<Failure>(error) {
        return failure.name.to_owned();
    }
    let name = match cause::<ClientError>(error) {
        Some(ClientError::Unreachable { .. }) => Some("UNREACHABLE"),
        Some(ClientError::Untrusted { .. }) => Some("UNTRUSTED"),
        Some(ClientError::Pin { .. }) => Some("PIN"),
        Some(ClientError::Root(_) | ClientError::Anchor(_)) => Some("ROOT"),
        Some(ClientError::Token) => Some("UNTRUE"),
        Some(ClientError::Api(_)) | None => None,
    };
    let name = name.or_else(|| match api(error)? {
        ApiError::Unreachable(_) => Some("UNREACHABLE"),
        ApiError::Foreign(_) => Some("FOREIGN_ANSWER"),
        ApiError::Refused(_) | ApiError::UnknownReason { .. } => None,
    });
    match (name, api(error)) {
        (Some(name), _) => name.to_owned(),
        (None, Some(ApiError::Refused(detail))) => detail.refusal.reason.as_str().to_owned(),
        (None, Some(ApiError::UnknownReason { reason, .. })) => reason.clone(),
        _ if agent_hints(error).is_some() => "AGENT".to_owned(),
        _ if cause::<LogFault>(error).is_some() => "LOG_FAULT".to_owned(),
        _ if cause::<std::io::Error>(error).is_some() => "FILE".to_owned(),
        _ => "ERROR".to_owned(),
    }
}

/// The first cause of this type.
fn cause<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    // anyhow also looks through contexts, the chain through sources.
    error.downcast_ref().or_else(|| error.chain().find_map(|cause| cause.downcast_ref()))
}

fn hints(error: &anyhow::Error) -> Vec<String> {
    if let Some(failure) = cause::<Failure>(error) {
        return failure.hints.clone();
    }
    if let Some(ApiError::Refused(detail)) = api(error) {
        return detail.refusal.hint.iter().cloned().collect();
    }
    if let Some(hints) = agent_hints(error) {
        return hints.iter().map(|hint| (*hint).to_owned()).collect();
    }
    if outcome(error) == Outcome::Unreachable {
        return vec!["is `jit-ssh-ca serve` running there?".to_owned()];
    }
    Vec::new()
}

fn agent_hints(error: &anyhow::Error) -> Option<Vec<&'static str>> {
    let agent = match cause::<SigningError>(error) {
        Some(SigningError::NotHeld(_)) => return Some(vec!["add the private half with ssh-add"]),
        Some(SigningError::Agent(agent)) => agent,
        _ => cause::<AgentError>(error)?,
    };
    Some(match agent {
        AgentError::Absent => vec![agent.hint(), "or name a key file with --identity"],
        _ => vec![agent.hint()],
    })
}

fn api(error: &anyhow::Error) -> Option<&ApiError> {
    match cause::<ClientError>(error) {
        Some(ClientError::Api(api)) => Some(api),
        _ => cause::<ApiError>(error),
    }
}

fn outcome(error: &anyhow::Error) -> Outcome {
    if let Some(failure) = cause::<Failure>(error) {
        return failure.outcome;
    }
    if let Some(ClientError::Unreachable { .. }) = cause::<ClientError>(error) {
        return Outcome::Unreachable;
    }
    match api(error) {
        Some(ApiError::Unreachable(_)) => Outcome::Unreachable,
        Some(error) => match error.reason() {
            Some(Reason::SignerUnavailable | Reason::LogUnavailable | Reason::StoreUnavailable) => {
                Outcome::Unreachable
            }
            Some(Reason::NotEnoughAdmins) => Outcome::Pending,
            _ => Outcome::Error,
        },
        None => Outcome::Error,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use jit_ssh_core::refusal::Refusal;

    use super::*;

    #[test]
    fn the_cause_decides_the_exit_code_whatever_is_said_around_it() {
        let cases: [(anyhow::Error, u8, usize, &str); 10] = [
            (anyhow::anyhow!("x"), 1, 0, "ERROR"),
            (std::io::Error::other("x").into(), 1, 0, "FILE"),
            (LogFault::Gone.into(), 1, 0, "LOG_FAULT"),
            (Failure::usage("x").hint("y").into(), 2, 1, "USAGE"),
            (AgentError::Absent.into(), 1, 2, "AGENT"),
            (SigningError::Agent(AgentError::Garbled).into(), 1, 1, "AGENT"),
            (SigningError::NotHeld("SHA256:x".into()).into(), 1, 1, "AGENT"),
            (ApiError::Unreachable("gone".into()).into(), 7, 1, "UNREACHABLE"),
            (ClientError::Api(ApiError::Unreachable("gone".into())).into(), 7, 1, "UNREACHABLE"),
            (
                ApiError::Refused(jit_ssh_api::ErrorDetail::new(
                    Refusal::new(Reason::StaleBundle, "x").hint("y"),
                ))
                .into(),
                1,
                1,
                "STALE_BUNDLE",
            ),
        ];
        for (error, code, count, name) in cases {
            let wrapped = Err::<(), _>(error).context("while applying").unwrap_err();
            assert_eq!(outcome(&wrapped).code(), code, "{wrapped:#}");
            assert_eq!(hints(&wrapped).len(), count, "{wrapped:#}");
            let object = JsonError::of(&wrapped);
            assert_eq!((object.error.as_str(), object.hint.is_some()), (name, count > 0));
            assert_eq!(object.message, format!("{wrapped:#}"));
        }
    }
}
