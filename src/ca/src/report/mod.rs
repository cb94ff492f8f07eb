//! `jit-ssh-ca report`: who had access where, as whom, from when until when, why, and by whose leave.
//!
//! From the log: what was allowed and certified. Whether somebody logged in the hosts tell, and that
//! is in the front's database, each report with its host's signature; where there is none, as beside
//! an exported log, the report says that it does not know.
//!
//! - `row`: one access, from what log and hosts say of one request; `csv`: rows for spreadsheets.

mod csv;
mod row;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::audit::folder::Folder;
use crate::clock;
use crate::history::{History, Past, Since};
use crate::policy::config::{count, plural};
use crate::serve::{ToldReader, ToldUse};
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
    let told = told(&folder);
    let (root, _) = folder.root()?;
    let ca = root.fingerprint();
    let used = |past: &Past| -> Option<Vec<ToldUse>> {
        let (told, bundle) = told.as_ref().zip(history.bundle.as_ref())?;
        let serials: Vec<u64> = past.certificates.iter().map(|one| one.serial).collect();
        let uses = told.uses(past.signed(), &serials, past.view(bundle), &ca);
        uses.inspect_err(|problem| terminal::say(&format!("warning: {problem}."))).ok()
    };
    let rows = history.requests.iter().filter_map(|past| Row::of(past, used(past), now));
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

/// What hosts told; `None`, with a word why, where that is not known here.
fn told(folder: &Folder) -> Option<ToldReader> {
    let path = folder.front_database();
    let told = match path {
        Some(path) => ToldReader::open(&path),
        None => Err("an exported log has no word of the hosts".to_owned()),
    };
    let warn = |problem: &String| {
        terminal::say(&format!("warning: {problem}; whether accesses were used is not told."));
    };
    told.inspect_err(warn).ok()
}

/// `7 accesses, 2 of them never certified, 1 not used yet, 1 not begun`.
fn summary(rows: &[Row]) -> String {
    let begun = rows.iter().filter(|row| row.has_begun());
    let unused = begun.filter(|row| !row.certified && !row.is_open()).count();
    let open = rows.iter().filter(|row| row.is_open()).count();
    let early = rows.iter().filter(|row| !row.has_begun()).count();
    let mut parts = vec![plural(rows.len(), "access", "accesses")];
    if unused > 0 {
        parts.push(format!("{unused} of them never certified"));
    }
    if open > 0 {
        parts.push(format!("{open} not used yet"));
    }
    if early > 0 {
        parts.push(format!("{early} not begun"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests;
