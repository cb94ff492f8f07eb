//! How rules name commands: `systemctl status web`, `deploy web *`.
//!
//! The command of a request is read by the shell of the account on the host. So a star stands for a little only: part of one
//! word, of characters that no shell reads anything into. What an admin wrote around it stays as it is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::reader::quote;
use crate::plain;
use crate::statement::MAX_COMMAND;

/// One command, or all that differ where a star is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandPattern(Box<str>);

/// Why a text does not name commands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandPatternError {
    /// Nothing, or more than a request can say, or characters that none can have.
    #[error("{} is not a command: it is one line of 1 to {MAX_COMMAND} bytes, without spaces at its ends", quote(.0))]
    Form(String),
    /// The program itself is left open.
    #[error("{} leaves open which program runs: the first word can have no star", quote(.0))]
    Program(String),
    /// Stars beside each other, or more than [`CommandPattern::MAX_STARS`].
    #[error("{} has two stars beside each other, or more than {}", quote(.0), CommandPattern::MAX_STARS)]
    Stars(String),
}

impl CommandPattern {
    /// Most stars of one pattern.
    pub const MAX_STARS: usize = 8;

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `command` is meant, from its first to its last byte.
    pub fn covers(&self, command: &str) -> bool {
        if command.len() > MAX_COMMAND {
            return false;
        }
        let command = command.as_bytes();
        let mut literals = self.0.split('*').map(str::as_bytes);
        let first = literals.next().unwrap_or_default();
        // Up to where in the command everything so far can fit.
        let mut ends: BTreeSet<usize> = BTreeSet::new();
        if command.starts_with(first) {
            ends.insert(first.len());
        }
        for literal in literals {
            let after_star: BTreeSet<usize> =
                ends.iter().flat_map(|from| star(command, *from)).collect();
            let follows =
                |from: &usize| command.get(*from..).is_some_and(|rest| rest.starts_with(literal));
            ends = after_star
                .into_iter()
                .filter(follows)
                .map(|from| from.saturating_add(literal.len()))
                .collect();
        }
        ends.contains(&command.len())
    }
}

/// Where a star that begins at `from` can end.
fn star(command: &[u8], from: usize) -> impl Iterator<Item = usize> {
    let rest = command.get(from..).unwrap_or_default();
    // Neither an option nor a folder above, whatever stands before it.
    let begins = rest.first().is_some_and(|byte| !matches!(byte, b'-' | b'.'));
    let harmless = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._:@+=,-".contains(byte);
    let longest = if begins { rest.iter().take_while(harmless).count() } else { 0 };
    (1..=longest).map(move |len| from.saturating_add(len))
}

impl FromStr for CommandPattern {
    type Err = CommandPatternError;

    fn from_str(text: &str) -> Result<Self, CommandPatternError> {
        let fits = !text.is_empty() && text.len() <= MAX_COMMAND && text.trim() == text;
        if !fits || text.chars().any(plain::moves) {
            return Err(CommandPatternError::Form(text.to_owned()));
        }
        if text.split(' ').next().is_some_and(|program| program.contains('*')) {
            return Err(CommandPatternError::Program(text.to_owned()));
        }
        if text.contains("**") || text.matches('*').count() > Self::MAX_STARS {
            return Err(CommandPatternError::Stars(text.to_owned()));
        }
        Ok(CommandPattern(text.into()))
    }
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CommandPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> CommandPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_command_fits_from_its_first_to_its_last_byte() {
        for (text, fits, others) in [
            (
                "uptime",
                &["uptime"][..],
                &["uptime ", " uptime", "uptime -p", "uptim", "", "UPTIME"][..],
            ),
            (
                "deploy web *",
                &["deploy web v1.2.3", "deploy web a", "deploy web 2026-11-24_x@y+z:1,b=c"],
                &["deploy web ", "deploy web", "deploy web a b", "deploy web a;id", "deploy db v1"],
            ),
            (
                "run *-* --go",
                &["run a-b --go", "run a-b-c --go"],
                &["run a- --go", "run ab --go", "run a-b"],
            ),
            ("sh -c 'a; b' *", &["sh -c 'a; b' x"], &["sh -c 'a' x"]),
            (
                "cat /srv/*/log",
                &["cat /srv/web/log"],
                &["cat /srv/../log", "cat /srv/a/b/log", "cat /srv//log"],
            ),
        ] {
            for fit in fits {
                assert!(pattern(text).covers(fit), "{text}: {fit}");
            }
            for other in others {
                assert!(!pattern(text).covers(other), "{text}: {other}");
            }
        }
    }

    #[test]
    fn a_star_is_nothing_that_a_shell_or_a_program_reads_anything_into() {
        let deploy = pattern("deploy *");
        assert!(deploy.covers("deploy v1"));
        for bad in [
            "--force", "-x", "..", ".x", "a b", "a\tb", "a;b", "a|b", "a&b", "a>b", "a<b", "$a",
            "`a`", "(a)", "{a,b}", "a*", "a?", "[a]", "~", "!a", "#a", "'a'", "\"a\"", "a\\b",
            "a/b", "%a", "^a", "ä", "a\0",
        ] {
            assert!(!deploy.covers(&format!("deploy {bad}")), "{bad:?}");
        }
    }

    #[test]
    fn what_would_leave_too_much_open_is_no_pattern() {
        for bad in ["", " ", "*", "* x", "dep* x", "a **", "a\nb", "a\u{1b}b", " a", "a "] {
            assert!(bad.parse::<CommandPattern>().is_err(), "{bad:?}");
        }
        let many = |count: usize| format!("a{}", " *".repeat(count)).parse::<CommandPattern>();
        assert!(many(CommandPattern::MAX_STARS).is_ok());
        assert!(many(CommandPattern::MAX_STARS + 1).is_err());
        assert!("a".repeat(MAX_COMMAND).parse::<CommandPattern>().is_ok());
        assert!("a".repeat(MAX_COMMAND + 1).parse::<CommandPattern>().is_err());
    }

    proptest! {
        /// What fits is the pattern with harmless words in place of its stars, and nothing else.
        #[test]
        fn what_fits_is_the_pattern_with_words_for_stars(
            words in proptest::collection::vec("[a-z]{0,3}", 1..4),
            stars in proptest::collection::vec("[A-Za-z0-9_][A-Za-z0-9._:@+=,-]{0,5}", 3),
            tail in "[ -~]{0,4}",
        ) {
            let text = format!("x {}", words.join("*"));
            prop_assume!(!text.contains("**") && !text.ends_with(' '));
            let pattern: CommandPattern = text.parse().unwrap();
            let mut command = String::new();
            let mut fill = stars.iter();
            for char in text.chars() {
                match char {
                    '*' => command.push_str(fill.next().unwrap()),
                    char => command.push(char),
                }
            }
            prop_assert!(pattern.covers(&command));
            if !tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@+=,-".contains(&byte)) {
                let longer = command + &tail;
                prop_assert!(!pattern.covers(&longer));
            }
        }
    }
}
