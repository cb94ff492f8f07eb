//! The command line: from arguments to an exit code.

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser};

use crate::cas::{self, Chosen};
use crate::commands::{self, Command};
use crate::failure::{Failure, Outcome};
use crate::home::{CaName, Home};
use crate::live;
use crate::ui::Ui;

/// Access over SSH for minutes, approved by people, by certificates that end.
#[derive(Debug, Parser)]
#[command(
    name = "jit-ssh",
    version,
    disable_help_subcommand = true,
    after_help = "Example:\n  jit-ssh login prod-host --for 10m --because \"INC-42 disk full\"\n\n\
        Exit codes: 0 done, 1 error, 2 usage, 3 pending, 4 denied, 5 lapsed or ended,\n\
        6 refused by policy, 7 CA unreachable, 8 ssh-agent"
)]
struct Cli {
    /// Print one JSON object per line on stdout.
    #[arg(long, global = true, display_order = 100)]
    json: bool,
    /// Answer every confirmation with yes.
    #[arg(long, short, global = true, display_order = 100)]
    yes: bool,
    /// The CA, where you have several.
    #[arg(long, global = true, value_name = "NAME", display_order = 100)]
    ca: Option<CaName>,
    #[command(subcommand)]
    command: Command,
}

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The terminal.
    pub(crate) ui: Ui,
    /// The person's files.
    pub(crate) home: Home,
}

/// Runs the command line.
pub(crate) fn run(args: Vec<OsString>) -> Outcome {
    if jit_ssh_manual::answer(Cli::command, &args, live::names).is_some() {
        return Outcome::Done;
    }
    // Where the arguments can not be understood, this one still must.
    let json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help or the version, as asked for.
            return if error.print().is_ok() { Outcome::Done } else { Outcome::Error };
        }
        Err(error) => {
            let ui = Ui { json, ..Ui::default() };
            ui.say(&error.to_string());
            let text = error.to_string();
            let sentence: Vec<&str> =
                text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let sentence = sentence.join(" ");
            // stderr has it already; a program gets it too.
            let _ = ui.object(&Failure::usage(sentence.trim_start_matches("error: ")).json());
            return Outcome::Usage;
        }
    };
    let ui = Ui { json: cli.json, yes: cli.yes, ..Ui::default() };
    match start(&ui, cli.ca, cli.command) {
        Ok(outcome) => outcome,
        Err(failure) => {
            ui.failed(&failure);
            failure.outcome
        }
    }
}

fn start(ui: &Ui, ca: Option<CaName>, command: Command) -> Result<Outcome, Failure> {
    let unwritten = |e: std::io::Error| Failure::new(Outcome::Error, "OUTPUT", format!("{e}."));
    match &command {
        // Neither is about a person or a CA.
        Command::Completions(args) => {
            args.print("jit-ssh").map_err(unwritten)?;
            return Ok(Outcome::Done);
        }
        Command::Man(args) => {
            args.write(&Cli::command(), 1).map_err(unwritten)?;
            return Ok(Outcome::Done);
        }
        _ => {}
    }
    let home = Home::find()?;
    // Before all that takes time: ssh waits for this at each of its calls.
    if let Some(outcome) = commands::at_once(&home, ca.as_ref(), &command) {
        return Ok(outcome);
    }
    // One thread: a process this short has no use for more, and starts sooner.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Outcome::Error, "RUNTIME", e.to_string()))?;
    runtime.block_on(async {
        let chosen = cas::choose(ui, &home, ca.as_ref(), command.about()).await?;
        Ok(run_for(ui, chosen, command).await)
    })
}

/// Carries out a command for each CA chosen. What fails for one is told, and keeps the others from
/// nothing; the first that did not end well decides the exit code.
async fn run_for(ui: &Ui, chosen: Chosen, command: Command) -> Outcome {
    let Chosen { homes, of_several } = chosen;
    let each = homes.len() > 1;
    let mut ending = Outcome::Done;
    for home in homes {
        let ca = of_several.then(|| home.ca().clone());
        let context = Context { ui: Ui { ca, ..ui.clone() }, home };
        if each {
            context.ui.say(&format!("CA {}:", context.home.ca()));
        }
        let outcome = commands::run(&context, command.clone()).await.unwrap_or_else(|failure| {
            context.ui.failed(&failure);
            failure.outcome
        });
        if ending == Outcome::Done {
            ending = outcome;
        }
    }
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_fits_a_screen_and_has_an_example() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        cli.build();
        for command in std::iter::once(cli.clone()).chain(cli.get_subcommands().cloned()) {
            let help = command.clone().render_help().to_string();
            assert!(help.lines().count() <= 40, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
            assert!(help.contains("Example"), "{help}");
        }
    }
}
