//! What a rule finds, and what is shown of it. Pure.

use std::fmt::Write as _;

use jit_ssh_core::plain::harmless;
use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Access does not work, or must not be used.
    Critical,
    /// It works less far, or less safely, than it could.
    Warning,
    /// Worth knowing, and no weakness.
    Note,
}

/// A finding, in `--json` as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What programs know it by. Scripts rely on it: never change one.
    pub(super) code: &'static str,
    pub(super) severity: Severity,
    /// What is so, and why it matters.
    pub(super) message: String,
    /// What to do about it.
    pub(super) fix: String,
}

impl Finding {
    pub(super) fn is_weakness(&self) -> bool {
        self.severity != Severity::Note
    }
}

/// For people, who read the worst first.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let (message, fix) = (harmless(&finding.message), harmless(&finding.fix));
        let _ = writeln!(out, "{severity:<8}  {}\n  {message}\n  fix: {fix}\n", finding.code);
    }
    let weak = findings.iter().filter(|finding| finding.is_weakness()).count();
    out.push_str(&match weak {
        0 => "No weakness found.".to_owned(),
        1 => "1 weakness.".to_owned(),
        many => format!("{many} weaknesses."),
    });
    out
}
