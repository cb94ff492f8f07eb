//! `jit-ssh-ca report`: who had access where, as whom, from when until when, why, and by whose leave.
//!
//! From the log alone, so it says what was allowed and certified, not what was done with it: whether
//! somebody logged in is for the hosts to report.
//!
//! - `row`: one access, from what the log says of one request; `csv`: rows for spreadsheets.

mod csv;
mod row;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::audit::folder::Folder;
use crate::clock;
use crate::history::{History, Since};
use crate::policy::config::{count, plural};
use crate::terminal;
use row::Row;

/// Reports accesses.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The CA's configuration folder, which names the state
    #[arg(long, value_name = "DIR", default_value = "ca-config", conflicts_with = "from")]
    config: PathBuf,
    /// A state folder, or one that `log export` made
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Access that was not over by then: like 30d or 2026-11-01
    #[arg(long, value_name = "TIME", default_value = "30d")]
    since: Since,
    /// Print one object per access
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values, with a heading
    #[arg(long)]
    csv: bool,
}

/// Reports accesses, oldest first.
pub(crate) fn cmd_report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let folder = Folder::named(args.from.as_deref(), &args.config)?;
    let now = clock::now();
    let since = args.since.moment(now)?;
    let history = History::read(&folder, since)?;
    history.tell_gaps();
    let rows = history.requests.iter().filter_map(|past| Row::of(past, now));
    let rows: Vec<Row> = rows.filter(|row| row.lasts_until(since)).collect();
    if args.csv {
        terminal::data(&csv::line(Row::HEADING.map(str::to_owned)))?;
    }
    for row in &rows {
        if args.json {
            terminal::object(row)?;
        } else if args.csv {
            terminal::data(&csv::line(row.cells()))?;
        } else {
            terminal::data(&row.in_words())?;
        }
    }
    terminal::say(&format!("{} since {}.", summary(&rows), terminal::utc(since)));
    let lost = history.gaps.len();
    if lost > 0 {
        terminal::say(&format!("warning: {} above, so this may not be all.", count(lost, "gap")));
    }
    Ok(ExitCode::SUCCESS)
}

/// `7 accesses, 2 of them never certified, 1 not begun`.
fn summary(rows: &[Row]) -> String {
    let begun = rows.iter().filter(|row| row.has_begun());
    let unused = begun.filter(|row| !row.certified).count();
    let early = rows.iter().filter(|row| !row.has_begun()).count();
    let mut parts = vec![plural(rows.len(), "access", "accesses")];
    if unused > 0 {
        parts.push(format!("{unused} of them never certified"));
    }
    if early > 0 {
        parts.push(format!("{early} not begun"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests;
