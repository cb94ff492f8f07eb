//! Running the cases, for `policy test` and for `apply`; and what `apply` tells of the lint.

use std::path::Path;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::cases::{self, Case, Verdict};
use jit_ssh_core::policy::lint::{Finding, lint};
use jit_ssh_core::time::UnixTime;

use super::config::{count, read_cases};
use crate::failure::Failure;
use crate::terminal;

/// Reads the cases beside the configuration; `None` if there is no such file.
///
/// # Errors
/// If the file can not be read or has problems, which are told on stderr.
pub(crate) fn cases(
    config: &Path,
    bundle: &Bundle,
    now: UnixTime,
) -> anyhow::Result<Option<Vec<Case>>> {
    let Some(bytes) = read_cases(config)? else { return Ok(None) };
    cases::parse(&bytes, bundle, now).map(Some).map_err(|problems| {
        terminal::say(&format!("{problems}\n"));
        let path = config.join(cases::FILE);
        let found = count(problems.0.len(), "problem");
        Failure::named("POLICY_TEST", format!("{} has {found}.", path.display())).into()
    })
}

/// Most rules that are told of one case.
const OTHERS: usize = 10;

/// A case as people read it: one line if it holds, all that helps if it does not.
pub(crate) fn case_in_words(case: &Case, verdict: &Verdict<'_>) -> String {
    let name = harmless(&case.name);
    if verdict.holds {
        return format!("ok    {name}");
    }
    let mut lines = vec![
        format!("FAIL  {name} ({}:{})", cases::FILE, case.line),
        format!("        expected: {}", harmless(&verdict.expected)),
        format!("        found:    {}", harmless(&verdict.found)),
    ];
    if let Some(judgement) = &verdict.judgement {
        let others = judgement.others.iter().take(OTHERS);
        lines.extend(
            others.map(|other| format!("        {}: {}", other.rule.name, harmless(&other.why()))),
        );
        let more = judgement.others.len().saturating_sub(OTHERS);
        if more > 0 {
            lines.push(format!("        and {more} more rules do not fit"));
        }
    }
    lines.extend(verdict.hint.iter().map(|hint| format!("        hint: {}", harmless(hint))));
    lines.join("\n")
}

/// Runs the cases for `apply`: tells those that fail on stderr.
///
/// # Errors
/// If one fails, or the file has problems.
pub(crate) fn require_cases(config: &Path, bundle: &Bundle, now: UnixTime) -> anyhow::Result<()> {
    let Some(cases) = cases(config, bundle, now)? else { return Ok(()) };
    let mut failed = 0usize;
    for case in &cases {
        let verdict = case.judge(bundle);
        if !verdict.holds {
            terminal::say(&case_in_words(case, &verdict));
            failed = failed.saturating_add(1);
        }
    }
    if failed == 0 {
        terminal::say(&format!("policy_test.toml: {} as expected.", count(cases.len(), "case")));
        return Ok(());
    }
    Err(tests_failed(failed, cases.len())
        .hint("mend the rules or the cases; or, knowing why they fail: --skip-tests")
        .into())
}

/// The failure of cases that are not as expected.
pub(crate) fn tests_failed(failed: usize, all: usize) -> Failure {
    let verb = if failed == 1 { "is" } else { "are" };
    let message =
        format!("{failed} of {} in {} {verb} not as expected.", count(all, "case"), cases::FILE);
    Failure::named("POLICY_TEST", message)
}

/// Lints the rules for `apply`: tells what is found on stderr. Nothing found stops it: a rule that can
/// do nothing lets nobody in, and the people or keys it waits for may come later.
pub(crate) fn tell_lint(bundle: &Bundle, policy: &[u8], now: UnixTime) -> Vec<Finding> {
    let found = lint(bundle, policy, now);
    for finding in &found {
        terminal::say(&format!("{finding}\n"));
    }
    found
}
