//! What a rule asks of a request's reason.

use std::fmt;
use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};

/// What a request's reason must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonRule {
    /// Fewest characters, at least 1.
    pub min: usize,
    /// What must be found somewhere in the reason.
    pub pattern: Option<Pattern>,
    /// What to tell a person whose reason does not do.
    pub hint: Option<String>,
}

impl Default for ReasonRule {
    fn default() -> Self {
        Self { min: 1, pattern: None, hint: None }
    }
}

/// A regular expression of bounded size; matching takes time linear in the text.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Longest source text, in characters.
    const MAX_CHARS: usize = 200;
    /// Largest compiled program, in bytes: matching takes at most this much work per character.
    const MAX_COMPILED: usize = 64 << 10;

    /// The source text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the pattern is found anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// Why a text is not a usable regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern is found everywhere: leave it out to say so.
    #[error("this pattern is empty")]
    Empty,
    /// The source text is too long.
    #[error("this pattern is longer than {} characters", Pattern::MAX_CHARS)]
    TooLong,
    /// Not a regular expression, or too large a one.
    #[error("this is not a usable regular expression: {0}")]
    Syntax(String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(PatternError::TooLong);
        }
        RegexBuilder::new(text)
            .size_limit(Self::MAX_COMPILED)
            .build()
            .map(Pattern)
            .map_err(|error| PatternError::Syntax(error.to_string()))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.as_str())
    }
}
