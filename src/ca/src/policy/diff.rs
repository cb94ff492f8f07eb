//! `jit-ssh-ca policy diff`: who gains and who loses what between two configurations, and which rules
//! say something else.

use std::path::PathBuf;
use std::process::ExitCode;

use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::compare::{Direction, Reworked, Shift, compare, reworked};
use serde::Serialize;

use super::config::{Audience, Config};
use crate::apply::difference;
use crate::terminal;

/// Compares two configurations.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The configuration folder before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The configuration folder after
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print one object per change
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of what people gain and lose.
#[derive(Debug, Serialize)]
pub(crate) struct PrintedShift {
    /// `gains` or `loses`.
    change: &'static str,
    who: Vec<String>,
    group: Option<String>,
    what: String,
    rules: Vec<String>,
}

/// What `--json` prints of what changes in a rule.
#[derive(Debug, Serialize)]
pub(crate) struct PrintedRule {
    /// Always `rule`.
    change: &'static str,
    /// `null` for what is about more than one.
    rule: Option<String>,
    what: String,
}

/// What `--json` prints of what changes in the files.
#[derive(Debug, Serialize)]
struct PrintedChange {
    /// Always `file`.
    change: &'static str,
    what: String,
}

/// Compares two configurations.
pub(crate) fn cmd_diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let audience = Audience::of(args.json);
    let (old, new) = (Config::read(&args.old, audience)?, Config::read(&args.new, audience)?);
    let shifts = compare(&old.bundle, &new.bundle);
    let rules = reworked(&old.bundle, &new.bundle, &shifts);
    let changes = difference::between(Some(&old.bundle), &new.bundle);
    if args.json {
        for shift in &shifts {
            terminal::object(&printed(shift))?;
        }
        for rule in &rules {
            terminal::object(&printed_rule(rule))?;
        }
        for change in &changes {
            terminal::object(&PrintedChange { change: "file", what: change.to_string() })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    terminal::data(&in_words(&shifts, &rules).join("\n"))?;
    for change in &changes {
        let lines = change.to_string();
        let lines: Vec<String> = lines.split('\n').map(harmless).collect();
        terminal::data(&lines.join("\n"))?;
    }
    if changes.is_empty() {
        terminal::say("nothing changes but comments, order and spelling.");
    }
    Ok(ExitCode::SUCCESS)
}

/// What people gain and lose, and what changes in the rules, a line each. Nothing only where the
/// rules decide as before.
pub(crate) fn in_words(shifts: &[Shift], rules: &[Reworked]) -> Vec<String> {
    if shifts.is_empty() && rules.is_empty() {
        return vec!["nobody gains or loses anything.".to_owned()];
    }
    let shifts = shifts.iter().map(ToString::to_string);
    shifts.chain(rules.iter().map(ToString::to_string)).map(|line| harmless(&line)).collect()
}

/// What changes in a rule, for programs.
pub(crate) fn printed_rule(changed: &Reworked) -> PrintedRule {
    let rule = changed.rule.as_ref().map(ToString::to_string);
    PrintedRule { change: "rule", rule, what: changed.what.clone() }
}

/// What people gain and lose, for programs.
pub(crate) fn printed(shift: &Shift) -> PrintedShift {
    PrintedShift {
        change: match shift.direction {
            Direction::Gains => "gains",
            Direction::Loses => "loses",
        },
        who: shift.who.iter().map(ToString::to_string).collect(),
        group: shift.group.as_ref().map(ToString::to_string),
        what: shift.what.clone(),
        rules: shift.rules.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testlog::{POLICY, TestLog};

    #[test]
    fn two_folders_are_compared_and_one_that_is_no_configuration_is_refused() {
        let (old, new) = (TestLog::new(POLICY), TestLog::new(POLICY));
        let args = |json| DiffArgs {
            old: old.config(POLICY),
            new: new.config(&POLICY.replace("30m", "40m")),
            json,
        };
        assert_eq!(cmd_diff(&args(false)).unwrap(), ExitCode::SUCCESS);
        assert_eq!(cmd_diff(&args(true)).unwrap(), ExitCode::SUCCESS);
        let broken = args(false);
        new.config("x = 1");
        let error = cmd_diff(&broken).unwrap_err().to_string();
        assert!(error.ends_with("has 1 problem."), "{error}");
    }

    #[test]
    fn nobody_gaining_anything_is_said_only_where_the_rules_stay() {
        let log = TestLog::new(POLICY);
        let told = |policy: &str| {
            let new = Config::read(&log.config(policy), Audience::People).unwrap().bundle;
            let old = Config::read(&log.config(POLICY), Audience::People).unwrap().bundle;
            let shifts = compare(&old, &new);
            in_words(&shifts, &reworked(&old, &new, &shifts))
        };
        assert_eq!(told(&format!("# a word\n{POLICY}")), ["nobody gains or loses anything."]);
        let longer = POLICY.replace("cert_for = \"5m\"", "cert_for = \"6m\"");
        assert_eq!(told(&longer), ["rule prod: cert_for now 6m instead of 5m"]);
    }
}
