//! An error as a person sees it: what happened, what to do, and the exit code.

use std::fmt;
use std::process::ExitCode;

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

/// Why a command failed: a full sentence, and what to do about it.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit: Exit,
    message: String,
    hints: Vec<String>,
}

impl CommandError {
    /// A failure that is nobody's typing mistake.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, message: message.into(), hints: Vec::new() }
    }

    /// A command line that can not be obeyed.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// A CA that does not answer.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, ..Self::new(message) }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
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
