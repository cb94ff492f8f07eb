//! What a person may set in `config.toml`, in their configuration folder. It is read strictly: what is
//! not understood is refused, with its place.

use jit_ssh_core::plain::harmless;
use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::home::{self, CaName, Home};

const FILE: &str = "config.toml";

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The program that is run with each notice, and its arguments.
    #[serde(default)]
    pub(crate) notify: Option<Words>,
}

/// A program and its arguments: as a list, or as one text that is split at its spaces, by no shell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Spelled")]
pub(crate) struct Words(pub(crate) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a program with its arguments, as one text or as a list of texts")]
enum Spelled {
    Text(String),
    List(Vec<String>),
}

impl TryFrom<Spelled> for Words {
    type Error = &'static str;

    fn try_from(spelled: Spelled) -> Result<Words, &'static str> {
        let words = match spelled {
            Spelled::List(words) => words,
            // A shell would do more with these than splitting: who writes them means that.
            Spelled::Text(text)
                if text.contains(['"', '\'', '`', '$', '\\', '|', '>', '<', ';', '&']) =>
            {
                return Err("no shell reads this: write a list of texts, one for each argument");
            }
            Spelled::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
        };
        if words.first().is_none_or(|program| program.is_empty()) {
            return Err("no program is named");
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("an argument can not hold a NUL");
        }
        Ok(Words(words))
    }
}

impl Config {
    /// The person's configuration, one for all CAs; all as usual where there is no file.
    pub(crate) fn load(home: &Home) -> Result<Config, Failure> {
        let path = home.of_ca(&CaName::usual()).config(FILE);
        let Some(bytes) = home::read(&path)? else { return Ok(Config::default()) };
        let refused = |at: String, problem: &str| {
            let message = format!("{}{at}: {}.", path.display(), harmless(problem));
            Failure::new(Outcome::Error, "CONFIG", message)
                .hint("it may say: notify = \"notify-send jit-ssh ...\"; the word ... stands for the text")
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| refused(String::new(), "not UTF-8"))?;
        toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| place(text, span.start)).unwrap_or_default();
            refused(at, error.message().trim_end_matches('.'))
        })
    }
}

/// Line and column of a byte, counted from 1: `:2:5`.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    format!(":{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::under(dir.path());
        home::write(&home.config(FILE), text.as_bytes()).unwrap();
        Config::load(&home)
    }

    #[test]
    fn a_notice_program_is_a_text_split_at_spaces_or_a_list() {
        let words = |text: &str| load(text).unwrap().notify.map(|words| words.0);
        let both = Some(vec!["notify-send".to_owned(), "jit-ssh".to_owned(), "...".to_owned()]);
        assert_eq!(words("notify = \"notify-send  jit-ssh ...\"\n"), both);
        assert_eq!(words("notify = [\"notify-send\", \"jit-ssh\", \"...\"]\n"), both);
        let spaced = Some(vec!["say".to_owned(), "a b; c".to_owned()]);
        assert_eq!(words("notify = [\"say\", \"a b; c\"]"), spaced, "a list is taken as it is");
        assert_eq!(words("# nothing\n"), None);
        let none = tempfile::tempdir().unwrap();
        assert_eq!(Config::load(&Home::under(none.path())).unwrap(), Config::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (text, at, words) in [
            ("\nnotfiy = \"x\"\n", ":2:1", "unknown field `notfiy`"),
            ("notify = 3\n", ":1:10", "as one text or as a list"),
            ("notify = [1]\n", ":1:10", "as one text or as a list"),
            ("notify = \"\"\n", ":1:10", "no program is named"),
            ("notify = []\n", ":1:10", "no program is named"),
            ("notify = \"say 'a b'\"\n", ":1:10", "no shell reads this"),
            ("notify = \"say $(id)\"\n", ":1:10", "no shell reads this"),
            ("notify = \"a\"\nnotify = \"b\"\n", ":2:1", "duplicate key"),
            ("notify = \n", ":1:", ""),
        ] {
            let failure = load(text).unwrap_err();
            assert_eq!(failure.name, "CONFIG");
            assert!(failure.message.contains(&format!("config.toml{at}")), "{}", failure.message);
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }
}
