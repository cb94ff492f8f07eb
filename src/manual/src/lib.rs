//! Man pages and shell completion, made from the command lines as clap knows them, so that they can
//! not say anything else than the programs do.
//!
//! - [`Pages`]: `man DIR` writes a page for each command (`page.rs`);
//! - [`Completions`]: `completions SHELL` prints what a shell has to load (`script.rs`);
//! - [`complete`]: what could stand at the cursor (`candidates.rs`): the shells ask the program
//!   itself, so that names of hosts and requests can be as they are now.

mod candidates;
mod page;
mod script;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};

pub use candidates::{Asked, Candidate, complete};
pub use page::pages;
pub use script::Shell;

/// The first word by which a shell asks a program what could stand at the cursor.
pub const COMPLETE: &str = "complete";

/// The arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// Which shell: bash, zsh or fish.
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

impl Completions {
    /// Prints the script for a program.
    ///
    /// # Errors
    /// If stdout can not be written to.
    pub fn print(&self, program: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.shell.script(program).as_bytes())?;
        out.flush()
    }
}

/// The arguments of `man`, which packagers call.
#[derive(Debug, Clone, Args)]
pub struct Pages {
    /// Where the pages are put; made if it is not there.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

impl Pages {
    /// Writes the pages of a program for this section of the manual; gives how many there are.
    ///
    /// # Errors
    /// If one can not be written; its path is in the message.
    pub fn write(&self, program: &Command, section: u8) -> io::Result<usize> {
        let told = |path: &std::path::Path, e: io::Error| {
            io::Error::new(e.kind(), format!("{}: {e}", path.display()))
        };
        std::fs::create_dir_all(&self.folder).map_err(|e| told(&self.folder, e))?;
        let pages = pages(program, section);
        for (name, text) in &pages {
            let path = self.folder.join(name);
            std::fs::write(&path, text).map_err(|e| told(&path, e))?;
        }
        Ok(pages.len())
    }
}

/// Answers a shell that asks what could stand at the cursor: `args` are the program's own, `live`
/// gives names that only the program knows. `None` if it was not asked. Never fails, never talks.
pub fn answer(
    program: impl FnOnce() -> Command,
    args: &[std::ffi::OsString],
    live: impl FnOnce(&Asked) -> Vec<Candidate>,
) -> Option<()> {
    let mut words = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    if words.next()? != COMPLETE {
        return None;
    }
    let words: Vec<String> = words.skip_while(|word| word == "--").collect();
    let mut program = program();
    // Gives every command the options of those above it.
    program.build();
    let mut out = io::stdout().lock();
    // Whoever asked is gone if this fails.
    let _ = out.write_all(complete(&program, &words, live).as_bytes()).and_then(|()| out.flush());
    Some(())
}
