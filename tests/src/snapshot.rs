//! What programs say, held against a file: one for each command, with the command line, what came on
//! stdout and stderr, and the exit code. With `JIT_SSH_SNAPSHOTS=write` the files are written anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::program::Said;

/// Snapshots, by the command they are about.
#[derive(Default)]
pub struct Snapshots {
    files: BTreeMap<String, String>,
    /// Texts that differ from run to run, and what stands for them.
    names: Vec<(String, String)>,
}

impl Snapshots {
    /// Has `name` stand for `text` from now on.
    pub fn name(&mut self, text: &str, name: &str) {
        self.names.push((text.to_owned(), name.to_owned()));
    }

    /// Adds what a program said to the file of `command`; `when` says in which situation.
    pub fn add(&mut self, command: &str, when: &str, said: &Said) {
        let mut text = String::new();
        let _ = writeln!(text, "# {when}\n$ {}", self.plain(&said.command));
        for (name, out) in [("stdout", &said.out), ("stderr", &said.err)] {
            for line in self.plain(out).lines() {
                let _ = writeln!(text, "{name}| {line}");
            }
        }
        let _ = writeln!(text, "exit {}\n", said.code);
        self.files.entry(command.to_owned()).or_default().push_str(&text);
    }

    /// Holds all of it against the files.
    ///
    /// # Panics
    /// If a file says something else, or is missing.
    pub fn check(&self) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots");
        let write = std::env::var_os("JIT_SSH_SNAPSHOTS").is_some_and(|how| how == "write");
        let mut wrong = String::new();
        for (command, text) in &self.files {
            let path = folder.join(format!("{command}.txt"));
            if write {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, text).unwrap();
                continue;
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if expected != *text {
                let differs = expected.lines().zip(text.lines()).find(|(old, new)| old != new);
                let _ = writeln!(wrong, "{}: {differs:#?}", path.display());
            }
        }
        assert!(
            wrong.is_empty(),
            "what is said has changed; look at it, then run with JIT_SSH_SNAPSHOTS=write:\n{wrong}"
        );
    }

    /// The text without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let named =
            self.names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        plain(&named)
    }
}

/// A text with moments, spans, fingerprints, digests and serials replaced.
pub fn plain(text: &str) -> String {
    text.split_inclusive('\n').map(settled).collect()
}

/// A line with moments, spans, fingerprints, digests and serials replaced.
fn settled(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
        if word == 0 {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        out.push_str(&word_of(&rest[..word]));
        rest = &rest[word..];
    }
    // Columns differ in width from run to run where their words do.
    let lead: String = out.chars().take_while(|c| *c == ' ').collect();
    let words: Vec<&str> = out.split([' ', '\n']).filter(|word| !word.is_empty()).collect();
    let mut plain: Vec<String> = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1).map_or("", |next| next.trim_matches(PUNCTUATION));
        let before = place.checked_sub(1).map_or("", |at| words[at].trim_matches(PUNCTUATION));
        let core = word.trim_matches(PUNCTUATION);
        if core == "ago" && plain.last().is_some_and(|last| last.contains("NOW")) {
            // Said with the span before it.
            continue;
        }
        let stands = match core {
            "now" if word.len() <= 4 && !word.ends_with('.') => "NOW",
            _ if !(is_time(core) || core == "SPAN") => core,
            _ if next == "ago" => "NOW",
            _ if matches!(before, "in" | "within") || matches!(next, "more" | "at") => "SPAN",
            _ => core,
        };
        plain.push(word.replacen(core, stands, usize::from(stands != core)));
    }
    let end = if out.ends_with('\n') { "\n" } else { "" };
    format!("{lead}{}{end}", plain.join(" "))
}

const PUNCTUATION: [char; 6] = ['(', ')', ',', ';', ':', '.'];

/// Whether this is a time as people type it: `10m`.
fn is_time(word: &str) -> bool {
    let digits = word.trim_end_matches(['d', 'h', 'm', 's']);
    digits.len() + 1 == word.len() && digits.chars().all(|c| c.is_ascii_digit())
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, ':' | '-' | '+' | '/' | '_' | '=')
}

fn word_of(word: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (core, tail) = match word.strip_suffix(':') {
        Some(core) => (core, ":"),
        None => (word, ""),
    };
    let is_date = core.len() == 10
        && core.split('-').map(str::len).eq([4, 2, 2])
        && core.split('-').all(digits);
    let is_clock = core.len() == 8
        && core.split(':').map(str::len).eq([2, 2, 2])
        && core.split(':').all(digits);
    let stands = if core.starts_with("SHA256:") {
        "SHA256:..."
    } else if core.len() == 64 && core.chars().all(|c| c.is_ascii_hexdigit()) {
        "DIGEST"
    } else if is_date {
        "DATE"
    } else if is_clock {
        "CLOCK"
    } else if digits(core) && core.len() >= 9 {
        "NUMBER"
    } else if core.len() > 60 && core.starts_with("AAAA") {
        "BASE64"
    } else if is_span(core) {
        "SPAN"
    } else {
        return word.to_owned();
    };
    format!("{stands}{tail}")
}

/// Whether this is a span of two units, as the clock makes them; what people type has one.
fn is_span(word: &str) -> bool {
    let units = word.chars().filter(char::is_ascii_alphabetic).count();
    let fits = |c: char| c.is_ascii_digit() || matches!(c, 'd' | 'h' | 'm' | 's');
    let seconds = word.ends_with('s') && units == 1 && word.len() > 1;
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(fits)
        && (units == 2 || seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_replaced_and_nothing_else() {
        let line = "x until 2026-09-21 14:23:20 UTC (in 1m59s); serial 72057594037927941, key SHA256:ab+/c: 15m 14s ago";
        let plain = "x until DATE CLOCK UTC (in SPAN); serial NUMBER, key SHA256:...: 15m NOW";
        assert_eq!(settled(line), plain);
        assert_eq!(settled("x now in 1h, asked 3s ago\n"), "x NOW in SPAN, asked NOW\n");
        assert_eq!(settled("in 59m59s, has 2 now."), "in SPAN, has 2 now.");
        assert_eq!(settled("accepted for 1m at hosts"), "accepted for SPAN at hosts");
        assert_eq!(settled("  1 of 2   approvals"), "  1 of 2 approvals");
        assert_eq!(settled("INC-42 7443 2m 30m"), "INC-42 7443 2m 30m");
    }
}
