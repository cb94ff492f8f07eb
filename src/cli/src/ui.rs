//! The terminal: data to stdout, talk to stderr, and questions where somebody can answer. The one
//! place that knows whether there is a terminal, and that writes what a terminal takes as orders.

use std::io::{self, BufRead, IsTerminal, Write};

use jit_ssh_core::plain::{disturbs, harmless};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::home::CaName;
use crate::text::{columns, cut};

/// What `--json` prints of an error.
#[derive(Debug, Serialize)]
pub(crate) struct JsonError<'a> {
    /// The stable name.
    pub(crate) error: &'a str,
    /// What happened.
    pub(crate) message: &'a str,
    /// What to do.
    pub(crate) hint: Option<&'a str>,
}

/// How to talk to whoever started the command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ui {
    /// `--json`.
    pub(crate) json: bool,
    /// `--yes`.
    pub(crate) yes: bool,
    /// Which CA everything printed is about, where a person has several.
    pub(crate) ca: Option<CaName>,
    /// Whether stdout is left to another program: nothing is printed there.
    pub(crate) no_data: bool,
    /// Whether nobody is there to be asked, terminal or not.
    pub(crate) unattended: bool,
}

/// An object of `--json` where a person has several CAs: it says which one it is about.
#[derive(Serialize)]
struct OfCa<'a, T> {
    ca: &'a CaName,
    #[serde(flatten)]
    row: &'a T,
}

impl Ui {
    /// Prints one object as one line, if `--json` is given.
    pub(crate) fn object(&self, row: &impl Serialize) -> Result<(), Failure> {
        if !self.json || self.no_data {
            return Ok(());
        }
        let line = match &self.ca {
            Some(ca) => serde_json::to_string(&OfCa { ca, row }),
            None => serde_json::to_string(row),
        };
        let line = line.map_err(|e| Failure::new(Outcome::Error, "OUTPUT", e.to_string()))?;
        self.stdout(&escaped(&line))
    }

    /// Prints data for people, unless `--json` is given. `text` must be harmless.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        if self.json || self.no_data { Ok(()) } else { self.stdout(text.trim_end_matches('\n')) }
    }

    fn stdout(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        written.map_err(|e| unwritten(&e))
    }

    /// Says something on stderr. `text` must be harmless.
    pub(crate) fn say(&self, text: &str) {
        // Nobody is left to tell if stderr is gone.
        let text = text.trim_end_matches('\n');
        let named =
            KINDS.iter().find_map(|(name, tone)| Some((*name, *tone, text.strip_prefix(name)?)));
        let text = match named {
            Some((name, tone, rest)) => {
                format!("{}{rest}\n", tinted(name, tone, colours(&io::stderr())))
            }
            None => format!("{text}\n"),
        };
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// `text`, which must be harmless, in a colour on a stdout that shows colours.
    pub(crate) fn tint(&self, text: &str, tone: Tone) -> String {
        tinted(text, tone, colours(&io::stdout()))
    }

    /// Tells of a failure: on stderr, and with `--json` as an object too.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.say(&format!("error: {}", harmless(&failure.message)));
        if let Some(hint) = &failure.hint {
            self.say(&format!("hint: {}", harmless(hint)));
        }
        // If stdout is gone too, the exit code still tells.
        let _ = self.object(&failure.json());
    }

    /// Whether somebody can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.unattended && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether a table on stdout may be redrawn in place.
    pub(crate) fn redraws(&self) -> bool {
        !self.json && commands_terminal(&io::stdout())
    }

    /// Shows a table in place of the one before: from the top of the screen, in one go, so that
    /// nothing flickers. `text` must be harmless.
    pub(crate) fn redraw(&self, text: &str) -> Result<(), Failure> {
        let (width, height) = size(&io::stdout());
        let mut drawn = String::from("\x1b[H");
        let lines: Vec<&str> = text.lines().collect();
        let room = height.saturating_sub(1);
        for line in lines.iter().take(room) {
            drawn.push_str(&format!("{}\x1b[K\r\n", cut(line, width)));
        }
        if lines.len() > room {
            let more = format!("… {} more lines", lines.len().saturating_sub(room));
            drawn.push_str(&cut(&more, width));
        }
        drawn.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        let written = out.write_all(drawn.as_bytes()).and_then(|()| out.flush());
        written.map_err(|e| unwritten(&e))
    }

    /// Asks for a line of text.
    ///
    /// Fails as a usage error, saying `otherwise`, where nobody can be asked.
    pub(crate) async fn ask(&self, question: &str, otherwise: &str) -> Result<String, Failure> {
        if !self.can_ask() {
            return Err(Failure::usage(format!("{otherwise}.")));
        }
        let answer = line(format!("{question} ")).await?;
        let answer = answer.trim();
        if answer.is_empty() {
            Err(Failure::usage(format!("{otherwise}.")))
        } else {
            Ok(answer.to_owned())
        }
    }

    /// The same where an empty answer means `usual`.
    pub(crate) async fn ask_or(&self, question: &str, usual: &str) -> Result<String, Failure> {
        if !self.can_ask() {
            return Ok(usual.to_owned());
        }
        let answer = line(format!("{question} [{usual}] ")).await?;
        let answer = answer.trim();
        Ok(if answer.is_empty() { usual } else { answer }.to_owned())
    }

    /// Has questions asked on the terminal of this process, though its standard input or error lead
    /// elsewhere, as ssh has it for what its configuration runs. Says whether somebody can be asked there
    /// now: one that runs in the background would be stopped.
    pub(crate) fn to_terminal() -> bool {
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/tty");
        let Ok(terminal) = terminal else { return false };
        if rustix::termios::tcgetpgrp(&terminal).ok() != Some(rustix::process::getpgrp()) {
            return false;
        }
        let input = io::stdin().is_terminal() || rustix::stdio::dup2_stdin(&terminal).is_ok();
        let talk = io::stderr().is_terminal() || rustix::stdio::dup2_stderr(&terminal).is_ok();
        input && talk
    }

    /// Refuses at once where a confirmation could neither be asked for nor was given.
    pub(crate) fn can_confirm(&self) -> Result<(), Failure> {
        if self.yes || self.can_ask() {
            return Ok(());
        }
        Err(Failure::usage("this has to be confirmed, and there is no terminal to ask on.")
            .hint("--yes confirms it"))
    }

    /// Asks for a yes, unless `--yes` gave it.
    pub(crate) async fn confirm(&self, question: &str) -> Result<(), Failure> {
        self.can_confirm()?;
        if self.yes {
            return Ok(());
        }
        match line(format!("{question} [y/N] ")).await?.trim() {
            "y" | "Y" | "yes" | "Yes" => Ok(()),
            _ => Err(Failure::new(
                Outcome::Error,
                "NOT_CONFIRMED",
                "not confirmed; nothing was done.",
            )),
        }
    }
}

/// Reads a line, beside the runtime: the connection to the CA must live on while somebody thinks.
async fn line(prompt: String) -> Result<String, Failure> {
    let read = move || {
        let mut err = io::stderr().lock();
        write!(err, "{prompt}").and_then(|()| err.flush())?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    };
    let unheard = |problem: io::Error| Failure::new(Outcome::Error, "INPUT", problem.to_string());
    match tokio::task::spawn_blocking(read).await {
        Ok(answer) => answer.map_err(unheard),
        Err(error) => Err(unheard(error.into())),
    }
}

fn unwritten(problem: &io::Error) -> Failure {
    let message = format!("nothing can be written to stdout: {problem}.");
    Failure::new(Outcome::Error, "OUTPUT", message)
}

/// What is said of a text by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It stands well.
    Good,
    /// Somebody has to do something.
    Waits,
    /// It went wrong, or is forbidden.
    Bad,
}

/// How talk of some kind begins, and its colour.
const KINDS: [(&str, Tone); 3] =
    [("error:", Tone::Bad), ("warning:", Tone::Waits), ("hint:", Tone::Good)];

fn tinted(text: &str, tone: Tone, colours: bool) -> String {
    let code = match tone {
        Tone::Good => 32,
        Tone::Waits => 33,
        Tone::Bad => 31,
    };
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Whether this is a terminal that obeys more than line ends.
fn commands_terminal(stream: &impl IsTerminal) -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    stream.is_terminal() && !term.is_empty() && term != "dumb"
}

fn colours(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    commands_terminal(stream) && !unwanted
}

/// Columns and lines of a terminal.
fn size(stream: &impl std::os::fd::AsFd) -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(stream);
    let known = |found: u16, usual: usize| if found == 0 { usual } else { usize::from(found) };
    size.map_or((80, 24), |size| (known(size.ws_col, 80), known(size.ws_row, 24)))
}

/// A line of JSON, with what would disturb a terminal as JSON's own escapes: a reader of JSON sees the
/// same. Outside of its strings JSON has no such character.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if disturbs(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(char);
        }
    }
    out
}

/// One line that is rewritten in place; where that can not be, a new line at each change.
///
/// The cursor rests at the line's beginning: when the terminal gets narrower and the line wraps, all of
/// it lies behind the cursor and can be taken away, whether or not the terminal wraps lines anew.
#[derive(Debug)]
pub(crate) struct LiveLine {
    live: bool,
    /// What is there, and how wide the terminal was.
    shown: Option<(String, usize)>,
}

impl LiveLine {
    /// A line on stderr.
    pub(crate) fn new() -> LiveLine {
        LiveLine { live: commands_terminal(&io::stderr()), shown: None }
    }

    /// Whether the line is rewritten as time passes.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Shows the first of `forms` that fits, or as much as fits of the last; all harmless.
    pub(crate) fn show(&mut self, forms: &[String]) {
        let width = size(&io::stderr()).0;
        let room = if self.live { width.saturating_sub(1) } else { usize::MAX };
        let fits = forms.iter().find(|form| columns(form) <= room).or(forms.last());
        let text = fits.map(|form| cut(form, room)).unwrap_or_default();
        let (same, narrower) = match &self.shown {
            Some((before, then)) => (*before == text, *then != width),
            None => (false, false),
        };
        if same && !(self.live && narrower) {
            return;
        }
        // In one go, over what is there: nothing flickers.
        let drawn = match (self.live, narrower) {
            (true, true) => format!("\r\x1b[J{text}\r"),
            (true, false) => format!("\r{text}\x1b[K\r"),
            (false, _) => format!("{text}\n"),
        };
        let _ = io::stderr().lock().write_all(drawn.as_bytes());
        self.shown = Some((text, width));
    }

    /// Takes the line away, for something else to be said.
    pub(crate) fn clear(&mut self) {
        if self.live && self.shown.take().is_some() {
            let _ = io::stderr().lock().write_all(b"\r\x1b[J");
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Hears of changes of the terminal's size.
pub(crate) fn resizes() -> Option<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::window_change()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_hostile_text_reads_the_same_and_disturbs_no_terminal() {
        let hostile = "a\u{1b}[2J\u{9b}m\u{202e}b\u{200b}\u{e0041}\u{3164}磁盘";
        let line = serde_json::to_string(&hostile).unwrap();
        let shown = escaped(&line);
        assert!(!shown.chars().any(disturbs), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile);
        let plain = serde_json::to_string("Störung 磁盘").unwrap();
        assert_eq!(escaped(&plain), plain);
    }
}
