//! `jit-ssh-ca policy replay`: the log's requests under other rules.
//!
//! Each request is judged by the bundle that was in force when it was recorded, and by the changed
//! one, with the same words: refused, asked of persons, automatic, or break-glass.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::lifecycle::{Basis, check_approvable, principals};
use jit_ssh_core::names::RuleName;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::{Asked, decide};
use jit_ssh_core::refusal::{Reason, Refusal};
use serde::Serialize;

use super::config::{Audience, Config, count};
use crate::audit::folder::Folder;
use crate::clock;
use crate::history::{History, Past, Since};
use crate::terminal::{self, utc};

/// Replays the log.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The changed configuration folder, which names the state
    #[arg(long, value_name = "DIR", default_value = "ca-config")]
    config: PathBuf,
    /// The log: a state folder, or one that `log export` made [default: that state]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// How far to look back, like 90d or 2026-11-01
    #[arg(long, value_name = "TIME", default_value = "90d")]
    since: Since,
    /// Most examples of each change
    #[arg(long, value_name = "N", default_value_t = 5)]
    examples: usize,
    /// Print one object per change, and one with the counts
    #[arg(long)]
    json: bool,
}

/// What a bundle makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Refused(Refusal),
    Asked {
        rule: RuleName,
        approvals: usize,
    },
    Automatic {
        rule: RuleName,
    },
    BreakGlass {
        rule: RuleName,
    },
    /// The bundle of then can not be read.
    Unknown,
}

/// The same without the rule: what one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Refused,
    Asked,
    Automatic,
    BreakGlass,
    Unknown,
}

/// A request that other rules make something else of.
struct Changed<'h> {
    past: &'h Past,
    before: Mode,
    after: Mode,
}

/// All that a replay finds.
struct Replay<'h> {
    /// How many there are of each kind under the changed rules.
    now: BTreeMap<Kind, usize>,
    all: usize,
    changed: Vec<Changed<'h>>,
}

/// Replays the log.
pub(crate) fn cmd_replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let folder = Folder::named(args.from.as_deref(), &args.config)?;
    let config = Config::read(&args.config, Audience::of(args.json))?;
    let since = args.since.moment(clock::now())?;
    let history = History::read(&folder, since)?;
    history.tell_gaps();
    let recorded = history.requests.iter().filter(|past| past.recorded >= since);
    let replay = Replay::of(recorded, &config.bundle);
    if args.json {
        for changed in &replay.changed {
            terminal::object(&printed(changed))?;
        }
        return terminal::object(&replay.counts()).map(|()| ExitCode::SUCCESS);
    }
    terminal::data(&replay.in_words(args.examples))?;
    Ok(ExitCode::SUCCESS)
}

impl<'h> Replay<'h> {
    fn of(requests: impl Iterator<Item = &'h Past>, bundle: &Bundle) -> Replay<'h> {
        let mut replay = Replay { now: BTreeMap::new(), all: 0, changed: Vec::new() };
        for past in requests {
            let (before, after) = (before(past), after(past, bundle));
            replay.all = replay.all.saturating_add(1);
            let now = replay.now.entry(after.kind()).or_default();
            *now = now.saturating_add(1);
            if !before.is_as(&after) {
                replay.changed.push(Changed { past, before, after });
            }
        }
        replay
    }

    fn number(&self, kind: Kind) -> usize {
        self.now.get(&kind).copied().unwrap_or(0)
    }

    fn counts(&self) -> Counts {
        Counts {
            requests: self.all,
            unchanged: self.all.saturating_sub(self.changed.len()),
            refused: self.number(Kind::Refused),
            asked: self.number(Kind::Asked),
            automatic: self.number(Kind::Automatic),
            break_glass: self.number(Kind::BreakGlass),
        }
    }

    fn in_words(&self, examples: usize) -> String {
        let Counts { requests, unchanged, refused, asked, automatic, break_glass } = self.counts();
        let mut lines = vec![
            format!(
                "{}: under these rules {refused} refused, {asked} asked, {automatic} automatic, {break_glass} break-glass",
                count(requests, "request")
            ),
            format!("{unchanged} as they were"),
        ];
        let mut groups: BTreeMap<(Kind, Kind), Vec<&Changed<'_>>> = BTreeMap::new();
        for changed in &self.changed {
            let key = (changed.before.kind(), changed.after.kind());
            groups.entry(key).or_default().push(changed);
        }
        for ((before, after), group) in groups {
            let (before, after) = (before.as_str(), after.as_str());
            let change = if before == after {
                format!("{before}, now of others or by more or fewer")
            } else {
                format!("{before} then, {after} now")
            };
            lines.push(format!("{} {change}:", group.len()));
            lines.extend(group.iter().take(examples).map(|changed| changed.line()));
            let more = group.len().saturating_sub(examples);
            if more > 0 {
                lines.push(format!("  and {more} more"));
            }
        }
        lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n")
    }
}

impl Changed<'_> {
    fn line(&self) -> String {
        format!(
            "  {}  {}  {}, {}: {} -> {}",
            self.past.id(),
            utc(self.past.request().at),
            subject(self.past),
            self.past.outcome(),
            self.before,
            self.after
        )
    }
}

/// `alice: deploy@web-1`.
fn subject(past: &Past) -> String {
    let request = past.request();
    let names = principals(&request.hosts, &request.logins);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    format!("{}: {}", request.subject, names.join(", "))
}

/// What the bundle of then made of it.
fn before(past: &Past) -> Mode {
    match past.first.as_ref().map(|said| (&said.decision, said.needed)) {
        None => Mode::Unknown,
        Some((Err(refusal), _)) => Mode::Refused(refusal.clone()),
        Some((Ok((rule, basis)), approvals)) => Mode::of(rule, *basis, approvals),
    }
}

/// What `bundle` makes of it.
fn after(past: &Past, bundle: &Bundle) -> Mode {
    let request = past.request();
    let known = bundle.people.get(&request.by).filter(|a| a.keys.contains(past.signed().key()));
    let Some(requester) = known else {
        return Mode::Refused(Refusal::new(
            Reason::UnknownSigner,
            format!("{}, or the key that signed it, is not in people.toml.", request.by),
        ));
    };
    let presence = past.signed().presence();
    let asked = Asked { request, requester, presence, extension: past.extension };
    let decision = decide(asked, past.view(bundle), past.recorded)
        .and_then(|rule| check_approvable(rule, request, bundle).map(|()| rule));
    match decision {
        Err(refusal) => Mode::Refused(refusal),
        Ok(rule) => Mode::of(&rule.name, Basis::of(rule, request), rule.approval.count()),
    }
}

impl Mode {
    fn of(rule: &RuleName, basis: Basis, approvals: usize) -> Mode {
        let rule = rule.clone();
        match basis {
            Basis::Approvals => Mode::Asked { rule, approvals },
            Basis::Auto => Mode::Automatic { rule },
            Basis::BreakGlass => Mode::BreakGlass { rule },
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Mode::Refused(_) => Kind::Refused,
            Mode::Asked { .. } => Kind::Asked,
            Mode::Automatic { .. } => Kind::Automatic,
            Mode::BreakGlass { .. } => Kind::BreakGlass,
            Mode::Unknown => Kind::Unknown,
        }
    }

    /// Whether a requester would see no difference: another rule of the same kind is none.
    fn is_as(&self, other: &Mode) -> bool {
        match (self, other) {
            (Mode::Asked { approvals, .. }, Mode::Asked { approvals: others, .. }) => {
                approvals == others
            }
            _ => self.kind() == other.kind(),
        }
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Refused => "refused",
            Kind::Asked => "asked",
            Kind::Automatic => "automatic",
            Kind::BreakGlass => "break-glass",
            Kind::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mode::Refused(refusal) => {
                write!(f, "refused: {}", refusal.message.trim_end_matches('.'))
            }
            Mode::Asked { rule, approvals } => {
                write!(f, "{} by {rule}", count(*approvals, "approval"))
            }
            Mode::Automatic { rule } => write!(f, "automatic by {rule}"),
            Mode::BreakGlass { rule } => write!(f, "break-glass by {rule}"),
            Mode::Unknown => f.write_str("unknown"),
        }
    }
}

/// What `--json` prints at the end.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Counts {
    requests: usize,
    unchanged: usize,
    refused: usize,
    asked: usize,
    automatic: usize,
    break_glass: usize,
}

/// What `--json` prints of a change.
#[derive(Debug, Serialize)]
struct Printed {
    id: String,
    who: String,
    principals: Vec<String>,
    at: u64,
    outcome: String,
    before: PrintedMode,
    after: PrintedMode,
}

#[derive(Debug, Serialize)]
struct PrintedMode {
    kind: Kind,
    rule: Option<String>,
    approvals: Option<usize>,
    message: Option<String>,
}

fn printed(changed: &Changed<'_>) -> Printed {
    let request = changed.past.request();
    let names = principals(&request.hosts, &request.logins);
    Printed {
        id: changed.past.id().to_string(),
        who: request.subject.to_string(),
        principals: names.iter().map(ToString::to_string).collect(),
        at: request.at.0,
        outcome: changed.past.outcome(),
        before: printed_mode(&changed.before),
        after: printed_mode(&changed.after),
    }
}

fn printed_mode(mode: &Mode) -> PrintedMode {
    let (rule, approvals, message) = match mode {
        Mode::Refused(refusal) => (None, None, Some(refusal.message.clone())),
        Mode::Asked { rule, approvals } => (Some(rule), Some(*approvals), None),
        Mode::Automatic { rule } | Mode::BreakGlass { rule } => (Some(rule), Some(0), None),
        Mode::Unknown => (None, None, None),
    };
    PrintedMode { kind: mode.kind(), rule: rule.map(ToString::to_string), approvals, message }
}

#[cfg(test)]
mod tests;
