//! What could stand at the cursor. Pure, but for the names that the caller gives.

use clap::{Arg, ArgAction, Command};

/// A value that could stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub value: String,
    /// What it is, in a few words; may be empty.
    pub about: String,
}

impl Candidate {
    /// A word with what it is.
    pub fn new(value: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate { value: value.into(), about: about.into() }
    }
}

/// A value that only the program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The command it is for, such as `approve`; empty for the program itself.
    pub command: String,
    /// What the help calls it, such as `HOST`.
    pub name: String,
    /// The option's long name; empty for a positional value.
    pub option: String,
    /// Positional values that stand before it.
    pub before: Vec<String>,
}

/// What stands where words are read: the command so far, and what is expected next.
struct Place<'a> {
    command: &'a Command,
    option: Option<&'a Arg>,
    positional: Vec<String>,
    only_values: bool,
}

impl<'a> Place<'a> {
    /// Options that can stand here.
    fn options(&self) -> impl Iterator<Item = &'a Arg> {
        self.command.get_arguments().filter(|arg| !arg.is_positional())
    }

    fn find(&self, word: &str) -> Option<&'a Arg> {
        self.options().find(|arg| match word.strip_prefix("--") {
            Some(long) => arg.get_long() == Some(long),
            None => arg.get_short().is_some_and(|short| word == format!("-{short}")),
        })
    }

    fn read(&mut self, word: &str) {
        if self.option.is_some() {
            // bash makes a word of `=`.
            if word != "=" {
                self.option = None;
            }
        } else if word == "--" {
            self.only_values = true;
        } else if word.starts_with('-') && !self.only_values {
            if !word.contains('=') {
                self.option = self.find(word).filter(|arg| takes_value(arg));
            }
        } else if let (true, Some(command)) = (
            self.positional.is_empty() && !self.only_values,
            self.command.get_subcommands().find(|known| known.get_name() == word),
        ) {
            self.command = command;
        } else {
            self.positional.push(word.to_owned());
        }
    }

    fn asked(&self, arg: &Arg) -> Asked {
        let names = arg.get_value_names().and_then(|names| names.first());
        let top = self.command.get_name();
        Asked {
            command: top.to_owned(),
            name: names.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            option: arg.get_long().unwrap_or_default().to_owned(),
            before: self.positional.clone(),
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// What could stand in place of the last of `words`, which may be empty: one candidate in each line,
/// after a tab what it is. `:files` alone means the names of files. `program` must be built.
pub fn complete(
    program: &Command,
    words: &[String],
    live: impl FnOnce(&Asked) -> Vec<Candidate>,
) -> String {
    let Some((last, before)) = words.split_last() else { return String::new() };
    let mut place =
        Place { command: program, option: None, positional: Vec::new(), only_values: false };
    for word in before {
        place.read(word);
    }
    let last = if last == "=" { "" } else { last.as_str() };
    if let Some(option) = place.option {
        return values(&place, option, "", last, live);
    }
    if let Some((name, value)) = last.split_once('=')
        && let Some(option) = place.find(name).filter(|arg| takes_value(arg))
    {
        return values(&place, option, &format!("{name}="), value, live);
    }
    if last.starts_with('-') && !place.only_values {
        let options = place.options().filter(|arg| !arg.is_hide_set()).filter_map(|arg| {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some(Candidate::new(format!("--{}", arg.get_long()?), about))
        });
        return lines("", last, options);
    }
    let commands = place.command.get_subcommands().filter(|one| !one.is_hide_set());
    let commands: Vec<Candidate> = commands
        .filter(|_| place.positional.is_empty() && !place.only_values)
        .map(|one| {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            Candidate::new(one.get_name(), about)
        })
        .collect();
    if !commands.is_empty() {
        return lines("", last, commands.into_iter());
    }
    let positionals: Vec<&Arg> = place.command.get_positionals().collect();
    let at = place.positional.len().min(positionals.len().saturating_sub(1));
    match positionals.get(at) {
        Some(arg) if place.positional.len() <= at || repeats(arg) => {
            values(&place, arg, "", last, live)
        }
        _ => String::new(),
    }
}

fn repeats(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

fn values(
    place: &Place<'_>,
    arg: &Arg,
    before: &str,
    begun: &str,
    live: impl FnOnce(&Asked) -> Vec<Candidate>,
) -> String {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let possible = possible.iter().filter(|value| !value.is_hide_set()).map(|value| {
            let about = value.get_help().map(ToString::to_string).unwrap_or_default();
            Candidate::new(value.get_name(), about)
        });
        return lines(before, begun, possible);
    }
    let asked = place.asked(arg);
    if ["FILE", "DIR", "PATH", "FOLDER"].iter().any(|word| asked.name.starts_with(word)) {
        return ":files\n".to_owned();
    }
    let named = live(&asked);
    // What stands already is not named again.
    let named = named.into_iter().filter(|one| !asked.before.contains(&one.value));
    lines(before, begun, named)
}

fn lines(before: &str, begun: &str, candidates: impl Iterator<Item = Candidate>) -> String {
    let plain = |text: &str| text.replace(|char: char| char.is_control(), " ");
    let fitting = candidates.filter(|one| one.value.starts_with(begun));
    let line = |one: Candidate| {
        // A word of its own is all that can be put into a shell's line unseen.
        let safe = |char: char| char.is_ascii_alphanumeric() || "-_.@:/+%".contains(char);
        one.value.chars().all(safe).then(|| {
            let about = plain(one.about.lines().next().unwrap_or_default());
            let tab = if about.is_empty() { "" } else { "\t" };
            format!("{before}{}{tab}{about}\n", one.value)
        })
    };
    fitting.filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let host = Arg::new("host").value_name("HOST").action(ArgAction::Append).num_args(1..);
        let login = Arg::new("as").long("as").value_name("LOGIN").help("The account");
        let key = Arg::new("key").long("key").value_name("FILE");
        let id = Arg::new("id").value_name("ID");
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue).global(true);
        let shell = Arg::new("shell").value_parser(["bash", "zsh"]);
        let hidden = Command::new("secret").hide(true);
        let mut program = Command::new("prog")
            .arg(json)
            .subcommand(Command::new("login").about("Ask").args([host, login, key]))
            .subcommand(Command::new("show").about("Show").arg(id))
            .subcommand(Command::new("completions").arg(shell))
            .subcommand(hidden);
        program.build();
        program
    }

    fn at(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let live = |asked: &Asked| match asked.name.as_str() {
            "HOST" => vec![
                Candidate::new("web", "a\tb\nc"),
                Candidate::new("db", ""),
                Candidate::new("x;rm", ""),
            ],
            "LOGIN" => vec![Candidate::new(format!("root-{}", asked.before.join("-")), "")],
            "ID" => vec![Candidate::new("7kq2m9xw4p", asked.command.as_str())],
            _ => Vec::new(),
        };
        complete(&program(), &words, live).lines().map(str::to_owned).collect()
    }

    #[test]
    fn commands_options_and_live_values_stand_where_they_can() {
        assert_eq!(
            at(""),
            [
                "login\tAsk",
                "show\tShow",
                "completions",
                "help\tPrint this message or the help of the given subcommand(s)"
            ]
        );
        assert_eq!(at("lo"), ["login\tAsk"]);
        assert_eq!(at("login --a"), ["--as\tThe account"]);
        assert_eq!(at("login --j"), ["--json"], "of the program, too");
        assert_eq!(at("login w"), ["web\ta b"]);
        assert_eq!(at("login "), ["web\ta b", "db"], "what a shell would read as more is left out");
        assert_eq!(at("login web "), ["db"]);
        assert_eq!(at("login web --as "), ["root-web"]);
        assert_eq!(at("login web --as=r"), ["--as=root-web"]);
        assert_eq!(at("login web --as = r"), ["root-web"], "as bash splits it");
        assert_eq!(at("login --as root w"), ["web\ta b"]);
        assert_eq!(at("--json login --json w"), ["web\ta b"]);
        assert_eq!(at("login --key "), [":files"]);
        assert_eq!(at("show "), ["7kq2m9xw4p\tshow"]);
        assert_eq!(at("show 7kq2m9xw4p "), Vec::<String>::new(), "there is but one");
        assert_eq!(at("completions "), ["bash", "zsh"]);
        assert_eq!(at("sec"), Vec::<String>::new());
        assert_eq!(at("nonsense --as x"), Vec::<String>::new());
    }
}
