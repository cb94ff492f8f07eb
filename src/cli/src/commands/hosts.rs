//! `jit-ssh hosts`: what ssh is to know of the hosts.

use clap::Args;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::known_hosts;
use crate::trust::Trust;

/// Print the lines by which ssh trusts the host certificates of this CA.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  jit-ssh hosts --known-hosts > jit-ssh-known-hosts\n\n\
    `jit-ssh login` keeps the same lines in a file of yours, and says where.")]
pub(crate) struct HostsArgs {
    /// As a known_hosts file: the hosts whose keys are in the bundle, and no others.
    #[arg(long, required = true)]
    known_hosts: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    known_hosts: &'a str,
}

pub(super) async fn cmd_hosts(context: &Context, _args: HostsArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let ca = Ca::connect(home, &enrolment).await?;
    let mut trust = Trust::load(home, &enrolment.root, ca.client()).await?;
    // Asked for by itself, it is of the bundle of now.
    trust.refresh(ca.client()).await?;
    let text = known_hosts::lines(&mut trust, ca.client()).await?;
    ui.object(&Printed { known_hosts: &text })?;
    ui.data(&text)?;
    Ok(Outcome::Done)
}
