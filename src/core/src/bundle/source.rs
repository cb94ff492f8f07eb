//! One configuration file while it is read: its text, and what was found wrong in it.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Range;

use toml::de::DeTable;

use super::BundleFiles;
use super::diagnostic::{Diagnostic, Diagnostics, Excerpt};
use super::reader::{Table, did_you_mean};

/// A file's text, and the problems found in it so far.
pub(crate) struct Source<'s> {
    file: &'static str,
    text: &'s str,
    found: RefCell<Found>,
    line_starts: OnceCell<Vec<usize>>,
    /// Where the piece that is being read begins; its spans count from there.
    piece_start: Cell<usize>,
}

/// A stretch of a file in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    /// Problems beyond [`Source::MAX_PROBLEMS`].
    uncounted: usize,
    /// Whether the text can not be read at all, or must not be shown.
    sealed: bool,
}

struct Problem {
    at: Span,
    message: String,
    help: Option<String>,
}

impl<'s> Source<'s> {
    /// More problems than this in one file are counted, not kept.
    const MAX_PROBLEMS: usize = 200;

    /// The file `file` with these bytes. What is not text, or holds a private key, reads as a
    /// problem.
    pub(crate) fn new(file: &'static str, bytes: &'s [u8]) -> Self {
        let (text, broken) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), true)
            }
        };
        let source = Self {
            file,
            text,
            found: RefCell::default(),
            line_starts: OnceCell::default(),
            piece_start: Cell::default(),
        };
        if let Some(start) = PRIVATE_KEY_MARKS.iter().find_map(|mark| text.find(mark)) {
            let help = "take it out, and replace the key: it must never leave its owner's machine";
            source.seal(Span { start, end: start }, "this is a private key", help);
        } else if broken {
            let end = Span { start: text.len(), end: text.len() };
            source.seal(end, "the file is not UTF-8 text from here on", "save it as UTF-8");
        }
        source
    }

    /// Parses the file and hands its top level to `read`. `None` if it is not TOML, which is then
    /// among the problems.
    pub(crate) fn read<T>(&self, read: impl FnOnce(Table<'_>) -> T) -> Option<T> {
        if self.found.borrow().sealed {
            return None;
        }
        match DeTable::parse(self.text) {
            Ok(tree) => Some(read(Table::root(self, tree.get_ref()))),
            Err(error) => self.not_toml(&error),
        }
    }

    /// Like [`Source::read`], but hands the file over in pieces, cut before lines that begin with
    /// one of `headers`: the tree of a whole file takes some 35 times its size in memory.
    pub(crate) fn read_in_pieces(
        &self,
        headers: &[&str],
        mut read: impl FnMut(Table<'_>),
    ) -> Option<()> {
        if self.found.borrow().sealed {
            return None;
        }
        let mut rest = self.text;
        while !rest.is_empty() {
            self.piece_start.set(self.text.len().saturating_sub(rest.len()));
            let (mut piece, mut later) = rest.split_at(cut(rest, headers));
            let mut parsed = DeTable::parse(piece);
            if parsed.is_err() {
                // Either it is not TOML, or the cut went through a text of many lines.
                (piece, later) = (rest, "");
                parsed = DeTable::parse(piece);
            }
            match parsed {
                Ok(tree) => read(Table::root(self, tree.get_ref())),
                Err(error) => return self.not_toml(&error),
            }
            rest = later;
        }
        Some(())
    }

    /// A stretch of the piece that is being read, as a stretch of the file.
    pub(crate) fn span(&self, in_piece: Range<usize>) -> Span {
        let start = self.piece_start.get();
        Span {
            start: in_piece.start.saturating_add(start),
            end: in_piece.end.saturating_add(start),
        }
    }

    /// Records a problem.
    pub(crate) fn problem(&self, at: Span, message: String, help: Option<String>) {
        let found = &mut *self.found.borrow_mut();
        if found.problems.len() < Self::MAX_PROBLEMS {
            found.problems.push(Problem { at, message, help });
        } else {
            found.uncounted = found.uncounted.saturating_add(1);
        }
    }

    /// Records that `name` is not among what is `known`, with the nearest that is.
    pub(crate) fn unknown<'c>(
        &self,
        at: Span,
        message: String,
        name: &str,
        known: impl Iterator<Item = &'c str>,
    ) {
        // Each search walks all that is known: past the first few problems it is not worth it.
        let worth_it = self.found.borrow().problems.len() < 50;
        let help = worth_it.then(|| did_you_mean(name, known)).flatten();
        self.problem(at, message, help);
    }

    /// The line `at` begins on, counted from 1.
    pub(crate) fn line(&self, at: Span) -> usize {
        self.line_starts().partition_point(|&start| start <= at.start).max(1)
    }

    /// All problems, by place.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let Found { mut problems, uncounted, sealed } = self.found.take();
        problems.sort_by_key(|problem| problem.at.start);
        let mut diagnostics: Vec<_> = problems
            .into_iter()
            .map(|Problem { at, message, help }| {
                let (line, column, excerpt) = self.locate(at);
                let excerpt = (!sealed).then_some(excerpt);
                Diagnostic { file: self.file, line, column, message, help, excerpt }
            })
            .collect();
        if uncounted > 0 {
            let message = format!("{uncounted} more problems in this file are not shown");
            diagnostics.push(whole_file(self.file, message, None));
        }
        diagnostics
    }

    fn seal(&self, at: Span, message: &str, help: &str) {
        self.problem(at, message.to_owned(), Some(help.to_owned()));
        self.found.borrow_mut().sealed = true;
    }

    fn not_toml<T>(&self, error: &toml::de::Error) -> Option<T> {
        let at = self.span(error.span().unwrap_or_default());
        self.problem(at, format!("TOML syntax: {}", error.message()), None);
        None
    }

    /// Line and column of `at`, counted from 1, and the line as it is shown.
    pub(crate) fn locate(&self, at: Span) -> (usize, usize, Excerpt) {
        let line = self.line(at);
        let line_start = self.line_starts().get(line - 1).copied().unwrap_or(0);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let chars_until = |end: usize| {
            let end = end.saturating_sub(line_start);
            text.char_indices().take_while(|&(place, _)| place < end).count()
        };
        let before = chars_until(at.start);
        let width = chars_until(at.end).saturating_sub(before);
        (line, before.saturating_add(1), Excerpt::of(text, before, width))
    }

    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let after_breaks = self.text.match_indices('\n').map(|(place, _)| place + 1);
            std::iter::once(0).chain(after_breaks).collect()
        })
    }
}

/// Reads one file that stands on its own.
pub(crate) fn read_alone<T>(
    file: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&Source<'_>) -> Option<T>,
) -> Result<T, Diagnostics> {
    if bytes.len() > BundleFiles::MAX_BYTES {
        let message = format!("the file holds more than {} bytes", BundleFiles::MAX_BYTES);
        return Err(Diagnostics(vec![whole_file(file, message, None)]));
    }
    let source = Source::new(file, bytes);
    let value = read(&source);
    let problems = source.into_diagnostics();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(Diagnostics(problems)),
    }
}

/// A problem of a file as a whole.
pub(crate) fn whole_file(file: &'static str, message: String, help: Option<String>) -> Diagnostic {
    Diagnostic { file, line: 1, column: 1, message, help, excerpt: None }
}

/// Where to cut the next piece off `text`: before the first fitting line past [`PIECE`] bytes.
fn cut(text: &str, headers: &[&str]) -> usize {
    let breaks = text.match_indices('\n').map(|(place, _)| place.saturating_add(1));
    breaks
        .skip_while(|place| *place < PIECE)
        .find(|place| {
            let line = text.get(*place..).unwrap_or_default();
            headers.iter().any(|header| line.starts_with(header))
        })
        .unwrap_or(text.len())
}

const PIECE: usize = 64 << 10;

/// The armour of PEM and OpenSSH private keys, and how the latter begin without it.
const PRIVATE_KEY_MARKS: [&str; 2] = ["PRIVATE KEY-----", "b3BlbnNzaC1rZXktdjE"];
