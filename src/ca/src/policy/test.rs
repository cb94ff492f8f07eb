//! `jit-ssh-ca policy test`: whether the rules do what `policy_test.toml` expects of them.

use std::path::PathBuf;
use std::process::ExitCode;

use jit_ssh_core::policy::cases::{Case, FILE, Verdict};
use serde::Serialize;

use super::check::{as_expected, case_in_words, cases, tests_failed};
use super::config::{Audience, Config};
use crate::clock;
use crate::failure::Failure;
use crate::terminal;

/// Runs the cases.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// The configuration folder
    #[arg(long, value_name = "DIR", default_value = "ca-config")]
    config: PathBuf,
    /// Print one object per case
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a case.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    case: &'a str,
    line: usize,
    ok: bool,
    expected: &'a str,
    found: &'a str,
    /// The rule that decides, forbids, or came nearest.
    rule: Option<String>,
    hint: Option<&'a str>,
    /// Why the other rules do not decide.
    others: Vec<PrintedOther>,
}

#[derive(Debug, Serialize)]
struct PrintedOther {
    rule: String,
    why: String,
}

/// Runs the cases; fails if one does.
pub(crate) fn cmd_test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let audience = Audience::of(args.json);
    let config = Config::read(&args.config, audience)?;
    let cases = cases(&config.dir, &config.bundle, clock::now(), audience)?.ok_or_else(|| {
        let path = config.dir.join(FILE);
        Failure::named("POLICY_TEST", format!("there is no {}.", path.display()))
            .hint("write what you expect of the rules there, as ca-config/policy_test.toml of `init` shows")
    })?;
    let mut failed = 0usize;
    for case in &cases {
        let verdict = case.judge(&config.bundle);
        failed = failed.saturating_add(usize::from(!verdict.holds));
        if args.json {
            terminal::object(&printed(case, &verdict))?;
        } else {
            terminal::data(&case_in_words(case, &verdict))?;
        }
    }
    if failed > 0 {
        return Err(tests_failed(failed, cases.len()).into());
    }
    terminal::say(&as_expected(cases.len()));
    Ok(ExitCode::SUCCESS)
}

fn printed<'a>(case: &'a Case, verdict: &'a Verdict<'_>) -> Printed<'a> {
    let judgement = verdict.judgement.as_ref();
    let others = judgement.map_or(&[][..], |judgement| &judgement.others);
    let other = |other: &jit_ssh_core::policy::judgement::Other<'_>| PrintedOther {
        rule: other.rule.name.to_string(),
        why: other.why(),
    };
    Printed {
        case: &case.name,
        line: case.line,
        ok: verdict.holds,
        expected: &verdict.expected,
        found: &verdict.found,
        rule: judgement.and_then(|judgement| judgement.rule_name()).map(ToString::to_string),
        hint: verdict.hint.as_deref(),
        others: others.iter().map(other).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::history::testlog::{POLICY, TestLog};

    const GOOD: &str = "[[case]]\nname = \"sre\"\nwho = \"alice\"\nwhere = [\"web-1\"]\nas = [\"deploy\"]\nfor = \"10m\"\nexpect = { rule = \"prod\" }\n";

    fn run(cases: Option<&str>, json: bool) -> Result<ExitCode, String> {
        let log = TestLog::new(POLICY);
        let config = log.config(POLICY);
        if let Some(cases) = cases {
            fs::write(config.join(FILE), cases).unwrap();
        }
        cmd_test(&TestArgs { config, json }).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_file_without_cases_says_where_to_learn_and_one_case_is_one() {
        assert_eq!(as_expected(0), "no cases in policy_test.toml yet; see docs/policy.md.");
        assert_eq!(as_expected(1), "policy_test.toml: 1 case as expected.");
        assert_eq!(as_expected(2), "policy_test.toml: 2 cases as expected.");
    }

    #[test]
    fn cases_that_hold_are_fine_and_one_that_does_not_fails() {
        for json in [false, true] {
            assert_eq!(run(Some(GOOD), json), Ok(ExitCode::SUCCESS));
            let bad = GOOD.replace("\"prod\"", "\"test-auto\"");
            let error = run(Some(&bad), json).unwrap_err();
            assert_eq!(error, "1 of 1 case in policy_test.toml is not as expected.");
        }
        assert_eq!(run(Some(""), false), Ok(ExitCode::SUCCESS));
    }

    #[test]
    fn a_file_that_is_missing_or_has_problems_is_told() {
        assert!(run(None, false).unwrap_err().starts_with("there is no "));
        let error = run(Some(&GOOD.replace("alice", "alica")), false).unwrap_err();
        assert!(error.ends_with("policy_test.toml has 1 problem."), "{error}");
    }
}
