//! Running the cases, for `policy test` and for `apply`; and what `apply` tells of the lint.

use std::path::Path;

use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::cases::{self, Case, Verdict};
use jit_ssh_core::policy::lint::{Finding, Severity, lint};
use jit_ssh_core::time::UnixTime;

use super::config::{Audience, count, plural, read_cases, tell};
use crate::failure::Failure;
use crate::terminal;

/// Reads the cases beside the configuration; `None` if there is no such file.
///
/// # Errors
/// If the file can not be read or has problems, which are told.
pub(crate) fn cases(
    config: &Path,
    bundle: &Bundle,
    now: UnixTime,
    audience: Audience,
) -> anyhow::Result<Option<Vec<Case>>> {
    let Some(bytes) = read_cases(config)? else { return Ok(None) };
    match cases::parse(&bytes, bundle, now) {
        Ok(cases) => Ok(Some(cases)),
        Err(problems) => {
            let found = tell(&problems, audience)?;
            let path = config.join(cases::FILE);
            Err(Failure::named("POLICY_TEST", format!("{} has {found}.", path.display())).into())
        }
    }
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
            let more = plural(more, "more rule does", "more rules do");
            lines.push(format!("        and {more} not fit"));
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
    let Some(cases) = cases(config, bundle, now, Audience::People)? else { return Ok(()) };
    let mut failed = 0usize;
    for case in &cases {
        let verdict = case.judge(bundle);
        if !verdict.holds {
            terminal::say(&case_in_words(case, &verdict));
            failed = failed.saturating_add(1);
        }
    }
    if failed == 0 {
        terminal::say(&as_expected(cases.len()));
        return Ok(());
    }
    Err(tests_failed(failed, cases.len())
        .hint("mend the rules or the cases; or, knowing why they fail: --skip-tests")
        .into())
}

/// What is said where no case fails.
pub(crate) fn as_expected(cases: usize) -> String {
    match cases {
        0 => format!("no cases in {} yet; see docs/policy.md.", cases::FILE),
        cases => format!("{}: {} as expected.", cases::FILE, count(cases, "case")),
    }
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
pub(crate) fn tell_lint(bundle: &Bundle, files: &BundleFiles, now: UnixTime) -> Vec<Finding> {
    let found = lint(bundle, files, now);
    warnings(&found).iter().for_each(|text| terminal::say(text));
    found
}

/// What is found, with how many there are first; nothing where nothing is found. An error of the lint is
/// no more than a warning to who applies, who is told that it is one to the lint.
fn warnings(found: &[Finding]) -> Vec<String> {
    if found.is_empty() {
        return Vec::new();
    }
    let verb = if found.len() == 1 { "does" } else { "do" };
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error).count();
    let errors = match (errors, found.len()) {
        (0, _) => String::new(),
        (1, 1) => " (`policy lint` calls it an error)".to_owned(),
        (errors, _) => format!(" (`policy lint` calls {errors} of them errors)"),
    };
    let warnings = count(found.len(), "warning");
    let heading = format!("{warnings} about the rules, which {verb} not stop this{errors}:");
    let shown = found.iter().map(|finding| {
        let text = finding.at.to_string();
        format!("warning{}\n", text.strip_prefix("error").unwrap_or(&text))
    });
    std::iter::once(heading).chain(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testlog::{POLICY, at, files};

    #[test]
    fn what_the_lint_finds_is_announced_as_warnings_that_stop_nothing() {
        let told = |policy: &str| {
            let files = files(policy);
            let bundle = Bundle::parse(1, &files, &[]).unwrap();
            warnings(&tell_lint(&bundle, &files, at(0)))
        };
        assert!(told(&POLICY.replace("break_glass", "# break_glass")).is_empty());
        let one = told(POLICY);
        assert_eq!(one[0], "1 warning about the rules, which does not stop this:");
        assert!(one[1].starts_with("warning: under `prod` any key"), "{}", one[1]);
        // An error of the lint too: here, a rule that an earlier one covers.
        let again = POLICY.replace("\"prod\"\nwho", "\"again\"\nwho").replace("test-auto", "more");
        let more = told(&format!("{POLICY}{again}"));
        assert!(
            more[0].ends_with("which do not stop this (`policy lint` calls 2 of them errors):"),
            "{}",
            more[0]
        );
        assert!(more.iter().skip(1).all(|text| text.starts_with("warning: ")), "{more:?}");
    }
}
