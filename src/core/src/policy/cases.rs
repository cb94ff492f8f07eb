//! `policy_test.toml`: what an admin expects of the rules, and whether it is so.
//!
//! Read as the bundle's files are: all problems at once, each with its place. Not part of the bundle,
//! and never signed.
//!
//! - `read`: from the file to cases; `verdict`: what a case finds.

mod read;
mod verdict;

use crate::bundle::{Bundle, Diagnostics};
use crate::names::{ActorId, RuleName};
use crate::refusal::Reason;
use crate::time::UnixTime;

use super::judgement::Supposed;
pub use verdict::Verdict;

/// The file's name.
pub const FILE: &str = "policy_test.toml";

/// One case: a supposed request, and what should come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// What people call it.
    pub name: String,
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// The request.
    pub supposed: Supposed,
    /// Whether the file names the moment of the request.
    pub is_dated: bool,
    /// What should come of it.
    pub expected: Expected,
}

/// What should come of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A rule covers it. Each field is checked if it is there; at least one is.
    Allowed {
        /// By this rule.
        rule: Option<RuleName>,
        /// With so many approvals.
        approvals: Option<usize>,
        /// Whether the rule approves by itself.
        auto: Option<bool>,
        /// Exactly these persons could approve it, sorted.
        approvers: Option<Vec<ActorId>>,
    },
    /// It is refused.
    Refused {
        /// For this reason.
        reason: Reason,
        /// By this deny rule, or with this rule as the nearest.
        rule: Option<RuleName>,
        /// With these words in the refusal or its hint.
        text: Option<String>,
    },
}

/// Reads the file. `now` is the moment of the cases that name none.
///
/// # Errors
/// All its problems; who and which hosts it names are checked against `bundle`.
pub fn parse(bytes: &[u8], bundle: &Bundle, now: UnixTime) -> Result<Vec<Case>, Diagnostics> {
    read::parse(bytes, bundle, now)
}

impl Case {
    /// Whether what is expected is so under `bundle`.
    pub fn judge<'b>(&self, bundle: &'b Bundle) -> Verdict<'b> {
        verdict::judge(self, bundle)
    }
}

#[cfg(test)]
mod tests;
