//! What people and programs see. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::enforces::Enforced;
use super::finding::{Finding, Severity};

#[derive(Serialize)]
struct JsonFinding<'a> {
    code: &'a str,
    severity: &'a str,
    r#where: Option<String>,
    message: &'a str,
    fix: &'a str,
}

/// For people.
pub(super) fn text(name: &str, enforced: &[Enforced], findings: &[Finding]) -> String {
    let mut out = format!("What {name} enforces:\n");
    for promise in enforced {
        let _ = writeln!(out, "  {:<9} {}", promise.enforces, promise.how);
    }
    for finding in findings {
        let told = finding.weakness.describe();
        let place = finding.place.as_ref().map(|place| format!("  {place}")).unwrap_or_default();
        let _ = writeln!(out, "\n{:<8}  {}{place}", told.severity.as_str(), told.code);
        let _ = writeln!(out, "  {}\n  fix: {}", told.message, told.fix);
    }
    let count = |severity| {
        findings.iter().filter(|found| found.weakness.describe().severity == severity).count()
    };
    let (critical, warning) = (count(Severity::Critical), count(Severity::Warning));
    let plural = |count: usize, word: &str, more: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}{more}"),
    };
    let _ = match critical.saturating_add(warning) {
        0 => writeln!(out, "\nNo weakness found."),
        all => writeln!(
            out,
            "\n{}: {critical} critical, {}.",
            plural(all, "weakness", "es"),
            plural(warning, "warning", "s")
        ),
    };
    out
}

/// For programs: one object in each line.
///
/// # Errors
/// If text can not be put into JSON.
pub(super) fn json(
    enforced: &[Enforced],
    findings: &[Finding],
) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for promise in enforced {
        out.push_str(&serde_json::to_string(promise)?);
        out.push('\n');
    }
    for finding in findings {
        let told = finding.weakness.describe();
        let object = JsonFinding {
            code: told.code,
            severity: told.severity.as_str(),
            r#where: finding.place.as_ref().map(ToString::to_string),
            message: &told.message,
            fix: &told.fix,
        };
        out.push_str(&serde_json::to_string(&object)?);
        out.push('\n');
    }
    Ok(out)
}
