//! `jit-ssh-ca policy lint`: rules that can not do what they seem to.

use std::path::PathBuf;
use std::process::ExitCode;

use jit_ssh_core::policy::lint::{Finding, Severity, lint};
use serde::Serialize;

use super::config::{Audience, Config, count};
use crate::clock;
use crate::failure::Failure;
use crate::terminal;

/// Lints the rules.
#[derive(Debug, clap::Args)]
pub(crate) struct LintArgs {
    /// The configuration folder
    #[arg(long, value_name = "DIR", default_value = "ca-config")]
    config: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print one object per finding
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a finding.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    severity: &'static str,
    kind: &'static str,
    rule: Option<String>,
    file: &'static str,
    line: usize,
    column: usize,
    message: &'a str,
    help: Option<&'a str>,
}

/// Lints the rules; fails on errors.
pub(crate) fn cmd_lint(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.config, Audience::of(args.json))?;
    let found = lint(&config.bundle, &config.files, clock::now());
    for finding in &found {
        if args.json {
            terminal::object(&printed(finding))?;
        } else {
            // The texts in it come from files that were parsed: names, and lines made fit to show.
            terminal::data(&format!("{finding}\n"))?;
        }
    }
    if errors(&found) > 0 || (args.strict && !found.is_empty()) {
        return Err(lint_failed(&found).into());
    }
    if found.is_empty() {
        terminal::say("the rules have no errors and no warnings.");
    } else {
        terminal::say(&format!("the rules have {}.", count(found.len(), "warning")));
    }
    Ok(ExitCode::SUCCESS)
}

/// How many of these are errors.
fn errors(found: &[Finding]) -> usize {
    found.iter().filter(|finding| finding.severity == Severity::Error).count()
}

/// The failure of rules with findings.
fn lint_failed(found: &[Finding]) -> Failure {
    let errors = errors(found);
    let warnings = found.len().saturating_sub(errors);
    let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
    Failure::named("POLICY_LINT", format!("the rules have {errors} and {warnings}."))
}

fn printed(finding: &Finding) -> Printed<'_> {
    Printed {
        severity: finding.severity.as_str(),
        kind: finding.kind.as_str(),
        rule: finding.rule.as_ref().map(ToString::to_string),
        file: finding.at.file,
        line: finding.at.line,
        column: finding.at.column,
        message: &finding.at.message,
        help: finding.at.help.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testlog::{POLICY, TestLog};

    #[test]
    fn errors_fail_and_warnings_only_where_asked() {
        let log = TestLog::new(POLICY);
        let run = |policy: &str, strict| {
            let args = LintArgs { config: log.config(policy), strict, json: true };
            cmd_lint(&args).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(run(POLICY, false), Ok(ExitCode::SUCCESS), "break-glass with any key");
        assert_eq!(run(POLICY, true).unwrap_err(), "the rules have 0 errors and 1 warning.");
        let without = POLICY.replace("break_glass", "# break_glass");
        assert_eq!(run(&without, true), Ok(ExitCode::SUCCESS));
        let shadowed = without.clone()
            + &without
                .replace("\"prod\"\nwho", "\"again\"\nwho")
                .replace("\"test-auto\"", "\"test-again\"");
        assert_eq!(run(&shadowed, false).unwrap_err(), "the rules have 2 errors and 0 warnings.");
    }
}
