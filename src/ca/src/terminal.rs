//! The terminal: data to stdout, talk to stderr, and a question where somebody can answer.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::FormatItem;

use crate::failure::Failure;

/// A moment in UTC: `2026-05-20 14:03:10 UTC`.
pub(crate) fn utc(moment: UnixTime) -> String {
    moment.utc()
}

/// A moment in UTC in a format; `None` where it is too far off for a date.
pub(crate) fn formatted(moment: UnixTime, format: &[FormatItem<'_>]) -> Option<String> {
    let secs = i64::try_from(moment.0).ok()?;
    OffsetDateTime::from_unix_timestamp(secs).ok()?.format(format).ok()
}

/// Says something on stderr, line by line, each made harmless.
pub(crate) fn say(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.trim_end_matches('\n').split('\n') {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(err, "{}", harmless(line));
    }
}

/// Prints data. `text` must be harmless.
///
/// # Errors
/// If stdout takes nothing any more.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(unheard)
}

/// Prints one object as one line.
///
/// # Errors
/// If stdout takes nothing any more.
pub(crate) fn object(row: &impl Serialize) -> anyhow::Result<()> {
    data(&serde_json::to_string(row)?)
}

fn unheard(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("nothing can be written to stdout")
}

/// Asks for a yes.
///
/// # Errors
/// A usage error where nobody can be asked; an error where the answer is no.
pub(crate) fn confirm(question: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage("this must be confirmed, and there is no terminal to ask on.")
            .hint("--yes confirms it; --dry-run only shows what would change")
            .into());
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" | "Yes" => Ok(()),
        _ => Err(Failure::error("not confirmed; nothing was done.").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_date_and_time_in_utc() {
        assert_eq!(utc(UnixTime(1_790_000_900)), "2026-09-21 14:28:20 UTC");
    }
}
