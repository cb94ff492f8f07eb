//! `jit-ssh-ca policy suggest`: rules that approve by themselves what people always approved.
//!
//! Automation is earned: a pattern was approved often, by several persons, and nobody ever said no to
//! it or took it away. What is proposed is never wider than the rule that asks for it now, nor than
//! the evidence; it lapses after 90 days. Each is put on trial before it is proposed: it must approve by
//! itself every request it cites. Nothing is changed: the rule's text is printed, to be read,
//! pasted and applied by an admin.
//!
//! - `evidence`: what the log says of each pattern; `hours`: when it happened; `rule`: the rule's text;
//! - `trial`: what the rule would make of the requests it cites.

mod evidence;
mod hours;
mod rule;
mod trial;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::Serialize;

use super::config::{Audience, Config, count};
use crate::audit::folder::Folder;
use crate::clock;
use crate::history::{History, Past, Since};
use crate::terminal;
use evidence::{Bounds, Pattern};
use hours::Week;
use trial::Trial;

/// Proposes rules.
#[derive(Debug, clap::Args)]
pub(crate) struct SuggestArgs {
    /// The configuration folder, which names the state
    #[arg(long, value_name = "DIR", default_value = "ca-config")]
    config: PathBuf,
    /// The log: a state folder, or one that `log export` made [default: that state]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// How far to look back, like 90d or 2026-11-01
    #[arg(long, value_name = "TIME", default_value = "90d")]
    since: Since,
    /// Fewest approved requests
    #[arg(long, value_name = "N", default_value = "10")]
    min: NonZeroUsize,
    /// Fewest persons who approved them
    #[arg(long, value_name = "N", default_value = "3")]
    approvers: NonZeroUsize,
    /// The time zone of the hours, like Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// Print one object per rule
    #[arg(long)]
    json: bool,
}

/// A rule, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Suggestion {
    /// The rule's name.
    rule: String,
    /// The rule as it stands in policy.toml.
    text: String,
    /// The rule that asks for approvals now: the new one belongs above it.
    above: String,
    requests: usize,
    /// The ids of these requests. The rule would have approved each of them by itself.
    evidence: Vec<String>,
    who: Vec<String>,
    hosts: Vec<String>,
    /// Each with how many of the requests they approved.
    approvers: Vec<(String, usize)>,
    /// Seconds from request to approval, in the middle.
    median_wait: u64,
    /// The hours in which they were made, if they cluster.
    hours: Option<String>,
}

/// Proposes rules.
pub(crate) fn cmd_suggest(args: &SuggestArgs) -> anyhow::Result<ExitCode> {
    let week = Week::new(&args.zone)?;
    let folder = Folder::named(args.from.as_deref(), &args.config)?;
    let config = Config::read(&args.config, Audience::of(args.json))?;
    let now = clock::now();
    let since = args.since.moment(now)?;
    let history = History::read(&folder, since)?;
    history.tell_gaps();
    let bounds = Bounds { requests: args.min.get(), approvers: args.approvers.get() };
    let recorded = history.requests.iter().filter(|past| past.recorded >= since);
    let suggestions = suggestions(recorded, &config.bundle, &config.files, bounds, &week, now);
    for suggestion in &suggestions {
        if args.json {
            terminal::object(suggestion)?;
        } else {
            terminal::data(&suggestion.in_words())?;
        }
    }
    if suggestions.is_empty() {
        terminal::say(&format!(
            "nothing is suggested: no pattern was approved {} as it was asked, by {} in all, and never denied or revoked.",
            count(args.min.get(), "time"),
            count(args.approvers.get(), "person")
        ));
    } else {
        terminal::say(
            "nothing was changed: paste what you agree with into policy.toml, then: jit-ssh-ca policy replay",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules that the requests earn: each of them approves by itself all the requests it cites.
fn suggestions<'h>(
    requests: impl Iterator<Item = &'h Past>,
    bundle: &'h Bundle,
    files: &BundleFiles,
    bounds: Bounds,
    week: &Week,
    now: UnixTime,
) -> Vec<Suggestion> {
    let holds = |pattern: &Pattern<'h>| {
        let suggestion = suggestion(pattern, bundle, week, now, &[]);
        match Trial::of(&suggestion, files) {
            Ok(trial) => trial.approved(&pattern.cited),
            Err(problem) => {
                terminal::say(&format!(
                    "warning: the rule {} is left out, for it would not fit in: {problem}",
                    suggestion.rule
                ));
                Vec::new()
            }
        }
    };
    let mut suggestions: Vec<Suggestion> = Vec::new();
    for pattern in evidence::patterns(requests, bundle, bounds, holds) {
        let names: Vec<String> = suggestions.iter().map(|other| other.rule.clone()).collect();
        suggestions.push(suggestion(&pattern, bundle, week, now, &names));
    }
    suggestions
}

fn suggestion(
    pattern: &Pattern<'_>,
    bundle: &Bundle,
    week: &Week,
    now: UnixTime,
    proposed: &[String],
) -> Suggestion {
    let hours = week.cluster(&pattern.moments);
    let name = rule::name(pattern, bundle, proposed);
    let text = rule::text(&name, pattern, hours.as_deref(), now);
    Suggestion {
        rule: name,
        text,
        above: pattern.rule.name.to_string(),
        requests: pattern.cited.len(),
        evidence: pattern.cited.iter().map(|past| past.id().to_string()).collect(),
        who: pattern.requesters.iter().map(ToString::to_string).collect(),
        hosts: pattern.hosts.iter().map(ToString::to_string).collect(),
        approvers: pattern.approvers.iter().map(|(id, n)| (id.to_string(), *n)).collect(),
        median_wait: pattern.median_wait,
        hours,
    }
}

impl Suggestion {
    /// The rule with its evidence in comments, ready to be pasted.
    fn in_words(&self) -> String {
        let approvers: Vec<String> =
            self.approvers.iter().map(|(id, count)| format!("{id} ({count})")).collect();
        let wait = u32::try_from(self.median_wait).ok().and_then(Seconds::new);
        let wait = wait.map_or("no time".to_owned(), |wait| wait.to_string());
        let hours = self.hours.as_ref().map(|hours| format!(", all within {hours}"));
        let comments = [
            format!(
                "{} of {} on {}, each approved as asked, none denied or revoked",
                count(self.requests, "request"),
                listed(&self.who),
                listed(&self.hosts)
            ),
            format!(
                "approved by {}; they waited {wait} in the middle{}",
                approvers.join(", "),
                hours.unwrap_or_default()
            ),
            format!("put it above the rule {}, which asks for approvals now", self.above),
        ];
        let comments: Vec<String> =
            comments.iter().map(|line| format!("# {}\n", harmless(line))).collect();
        format!("{}{}", comments.concat(), self.text)
    }
}

/// The first few of many.
fn listed(items: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
