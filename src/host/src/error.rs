//! An error as a person sees it: what happened, what to do, and the exit code.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

/// Who has to act, as the exit code tells it (the same codes as the person's command).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something is wrong here or at the CA.
    Error = 1,
    /// The command line asks for what does not exist.
    Usage = 2,
    /// The CA can not be reached.
    Unreachable = 7,
}

/// Why a command failed: a stable name, a full sentence, and what to do about it.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit: Exit,
    name: Cow<'static, str>,
    message: String,
    hints: Vec<String>,
}

/// What `--json` prints of it, as `jit-ssh` does.
#[derive(Debug, Serialize)]
struct JsonError<'a> {
    error: &'a str,
    message: &'a str,
    hint: Option<String>,
}

impl CommandError {
    /// A failure that is nobody's typing mistake.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, name: "ERROR".into(), message: message.into(), hints: Vec::new() }
    }

    /// A command line that can not be obeyed.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }.named("USAGE")
    }

    /// A CA that does not answer.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, ..Self::new(message) }.named("UNREACHABLE")
    }

    /// Gives it the name that programs know it by. Scripts rely on it: never change one.
    pub(crate) fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What `--json` prints of it: one object in one line.
    pub(crate) fn json(&self) -> String {
        let hint = (!self.hints.is_empty()).then(|| self.hints.join("; "));
        let object = JsonError { error: &self.name, message: &self.message, hint };
        serde_json::to_string(&object).expect("text in an object is always JSON")
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// The kind of failure.
    #[cfg(test)]
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}
