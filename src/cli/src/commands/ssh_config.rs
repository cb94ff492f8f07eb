//! `jit-ssh ssh-config`: has plain ssh know the CA's hosts, and ask for access by itself.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::known_hosts;
use crate::ssh_config::include::{self, Installed};
use crate::ssh_config::{self, path};
use crate::trust::Trust;

/// Print, install or remove what makes plain ssh ask for access by itself.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  jit-ssh ssh-config\n  jit-ssh ssh-config --install\n\n\
    --install writes a file of its own, and puts one Include line at the top of ~/.ssh/config.\n\
    --remove takes both away again. Nothing else in ~/.ssh/config is touched.")]
pub(crate) struct SshConfigArgs {
    /// Write the file and include it in ~/.ssh/config.
    #[arg(long, conflicts_with = "remove")]
    install: bool,
    /// Undo what --install did.
    #[arg(long)]
    remove: bool,
    /// ssh's configuration file, instead of ~/.ssh/config.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What `--json` prints without a switch.
#[derive(Serialize)]
struct Printed<'a> {
    ssh_config: &'a str,
}

/// What `--json` prints of a change.
#[derive(Serialize)]
struct Changed {
    config: PathBuf,
    include: PathBuf,
    installed: bool,
    changed: bool,
}

pub(super) async fn cmd_ssh_config(
    context: &Context,
    args: SshConfigArgs,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let config = match &args.config {
        Some(config) => std::path::absolute(config).map_err(|e| Failure::file(config, e))?,
        None => match Installed::load(home)?.filter(|_| args.remove) {
            Some(installed) => installed.config,
            None => include::usual_config()?,
        },
    };
    let include = path(home);
    let line = include::line(&include)?;
    let tell = |installed: bool, changed: bool| {
        ui.object(&Changed { config: config.clone(), include: include.clone(), installed, changed })
    };
    let shown = config.display();
    if args.remove {
        if include::is_installed(&config, &line)? {
            ui.say(&format!("This line is to go from {shown}:\n  {line}"));
            ui.confirm("Remove it?").await?;
        }
        let changed = include::remove(home, &config, &line)?;
        ssh_config::remove(home)?;
        ui.say(&match changed {
            true => format!("Removed from {shown}: ssh asks for access no more."),
            false => format!("{shown} did not have the line; there was nothing to undo in it."),
        });
        tell(false, changed)?;
        return Ok(Outcome::Done);
    }
    let enrolment = Enrolment::load(home)?;
    if args.install && !include::is_installed(&config, &line)? {
        ui.say(&format!("This line is to be put at the top of {shown}:\n  {line}"));
        ui.confirm("Add it?").await?;
    }
    let ca = Ca::connect(home, &enrolment).await?;
    let mut trust = Trust::load(home, &enrolment.root, ca.client()).await?;
    // Asked for by itself, it is of the bundle of now.
    trust.refresh(ca.client()).await?;
    if !args.install {
        let text = ssh_config::text(home, &mut trust, ca.client()).await?;
        ui.object(&Printed { ssh_config: &text })?;
        ui.data(&text)?;
        return Ok(Outcome::Done);
    }
    // First: the hosts that joined are known by it.
    known_hosts::keep(ui, home, &mut trust, ca.client(), &[]).await?;
    ssh_config::write(home, &mut trust, ca.client()).await?;
    let changed = include::install(home, &config, &line)?;
    ui.say(&match changed {
        true => format!("Done: ssh knows this CA's hosts by {}.", include.display()),
        false => format!("{shown} has the line already; {} is up to date.", include.display()),
    });
    ui.say("hint: `ssh HOST` asks for access where it is missing; to undo: jit-ssh ssh-config --remove");
    tell(true, changed)?;
    Ok(Outcome::Done)
}
