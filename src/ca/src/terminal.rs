//! The terminal: data to stdout, talk to stderr, and a question where somebody can answer.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use jit_ssh_core::time::UnixTime;
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::failure::Failure;

/// `text` with everything made visible that could move the cursor, hide, or turn the text around:
/// what others wrote must not be able to look like something else.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if disturbs(char) { out.extend(char.escape_unicode()) } else { out.push(char) }
    }
    out
}

fn disturbs(char: char) -> bool {
    char.is_control()
        || matches!(char,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero width and direction marks; separators, embeddings and overrides.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Word joiner, invisible operators, isolates, deprecated format characters.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, interlinear annotation.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Variation selectors and tags: text within text.
            | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

/// A moment in UTC: `2026-05-20 14:03:10 UTC`.
pub(crate) fn utc(moment: UnixTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    i64::try_from(moment.0)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .and_then(|moment| moment.format(&format).ok())
        .unwrap_or_else(|| format!("{moment} s"))
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
    fn hostile_text_can_neither_move_the_cursor_nor_turn_around_nor_hide() {
        for bad in ["\u{1b}[2J", "a\rb", "a\nb", "\u{202e}gpj", "a\u{200b}b", "\u{9b}31m", "\0"] {
            let shown = harmless(bad);
            assert!(!shown.chars().any(disturbs) && shown.contains("\\u{"), "{shown:?}");
        }
        for good in ["INC-42 disk full", "Störung an der Platte", "磁盘已满"] {
            assert_eq!(harmless(good), good);
        }
        assert_eq!(utc(UnixTime(1_790_000_900)), "2026-09-21 14:28:20 UTC");
    }
}
