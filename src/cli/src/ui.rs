//! The terminal: data to stdout, talk to stderr, and questions where somebody can answer.

use std::io::{self, BufRead, IsTerminal, Write};

use jit_ssh_core::plain::harmless;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::home::CaName;

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
        self.stdout(&line)
    }

    /// Prints data for people, unless `--json` is given. `text` must be harmless.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        if self.json || self.no_data { Ok(()) } else { self.stdout(text.trim_end_matches('\n')) }
    }

    fn stdout(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        written.map_err(|e| {
            Failure::new(
                Outcome::Error,
                "OUTPUT",
                format!("nothing can be written to stdout: {e}."),
            )
        })
    }

    /// Says something on stderr. `text` must be harmless.
    pub(crate) fn say(&self, text: &str) {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
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
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether one line may be rewritten in place.
    pub(crate) fn is_live(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
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

/// One line that is rewritten in place; where that can not be, a new line at each change.
#[derive(Debug)]
pub(crate) struct LiveLine {
    live: bool,
    shown: bool,
}

impl LiveLine {
    /// A line on stderr.
    pub(crate) fn new(ui: &Ui) -> LiveLine {
        LiveLine { live: ui.is_live(), shown: false }
    }

    /// Whether the line is rewritten as time passes.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Shows `text`, which must be harmless.
    pub(crate) fn show(&mut self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = if self.live {
            // Cut to the terminal's width: a line that wraps could not be rewritten.
            let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
            let room = usize::from(if width == 0 { 80 } else { width }).saturating_sub(1);
            let text: String = text.chars().take(room).collect();
            write!(err, "\r\x1b[2K{text}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{text}")
        };
        self.shown = true;
    }

    /// Takes the line away, for something else to be said.
    pub(crate) fn clear(&mut self) {
        if self.live && self.shown {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\x1b[2K").and_then(|()| err.flush());
        }
        self.shown = false;
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}
