//! What is wrong in a configuration file, shown as compilers show it: place, line, caret, way out.

use std::fmt;

use crate::plain;

/// All problems found in one reading, by file and then by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// One problem, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, such as `people.toml`.
    pub file: &'static str,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    /// The line itself; `None` where the problem is the file as a whole, or must not be shown.
    pub excerpt: Option<Excerpt>,
}

/// The line a problem is on, fit for a terminal, with the place of the caret below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    line: String,
    caret: usize,
    width: usize,
}

impl Excerpt {
    /// Longest piece of a line that is shown, in characters.
    const SHOWN: usize = 160;
    /// What is shown before the problem when a long line has to be cut.
    const LEAD: usize = 60;

    /// The piece of `line` around the `width` characters after the first `before`.
    pub(super) fn of(line: &str, before: usize, width: usize) -> Excerpt {
        let skipped = match line.chars().nth(Self::SHOWN) {
            Some(_) => before.saturating_sub(Self::LEAD),
            None => 0,
        };
        let mut shown = String::from(if skipped > 0 { "…" } else { "" });
        shown.extend(line.chars().skip(skipped).take(Self::SHOWN).map(fit_for_terminal));
        let caret = before.saturating_sub(skipped).saturating_add(usize::from(skipped > 0));
        let room = shown.chars().count().saturating_sub(caret);
        Excerpt { line: shown, caret, width: width.min(room).max(1) }
    }
}

/// A character that neither moves the cursor nor turns the text around.
fn fit_for_terminal(char: char) -> char {
    match char {
        '\t' => ' ',
        _ if plain::moves(char) => char::REPLACEMENT_CHARACTER,
        _ => char,
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help, excerpt } = self;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "error: {message}\n{gutter}--> {file}:{line}:{column}")?;
        if let Some(Excerpt { line, caret, width }) = excerpt {
            let (indent, carets) = (" ".repeat(*caret), "^".repeat(*width));
            write!(f, "\n{gutter} |\n{number} | {line}\n{gutter} | {indent}{carets}")?;
        }
        match help {
            Some(help) => write!(f, "\n{gutter} = help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, diagnostic) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

impl std::error::Error for Diagnostics {}
