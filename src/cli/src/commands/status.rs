//! `jit-ssh status`: what this machine holds, and what waits.

use clap::Args;
use jit_ssh_api::v1;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::requests;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::held::{self, Held, Owner};
use crate::text::{relative, table, utc};
use crate::trust;
use crate::view::{RequestRow, View};
use jit_ssh_api::agent::{Agent, AgentError};

/// Show what you hold, until when, and what waits.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh status --json\n\n\
    Works without the CA too: then it shows what the ssh-agent holds.")]
pub(crate) struct StatusArgs {}

/// A certificate in `--json`.
#[derive(Debug, Serialize)]
struct CertificateRow<'a> {
    kind: &'static str,
    id: &'a str,
    status: &'static str,
    serial: u64,
    serial_text: String,
    key_id: &'a str,
    principals: Vec<String>,
    valid_after: UnixTime,
    valid_before: UnixTime,
    access_until: UnixTime,
    command: String,
    loaded: &'static str,
}

/// A request in `--json`.
#[derive(Debug, Serialize)]
struct WaitingRow<'a> {
    kind: &'static str,
    #[serde(flatten)]
    request: RequestRow<'a>,
}

pub(super) async fn cmd_status(context: &Context, _: StatusArgs) -> Result<Outcome, Failure> {
    let ui = &context.ui;
    let enrolment = Enrolment::load(&context.home)?;
    let held = match Agent::open() {
        Ok(mut agent) => {
            let owner = owner(context, &mut agent, &enrolment).await?;
            held::list(&mut agent, &owner)?
        }
        Err(AgentError::Absent) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let now = clock::now();
    for held in held.iter().filter(|_| ui.json) {
        ui.object(&certificate_row(held))?;
    }
    if held.is_empty() {
        ui.say("No access is loaded.");
    } else {
        ui.data(&certificate_table(&held, now))?;
    }
    // What is held works without the CA (I11), so this command does too.
    match waiting(context, &enrolment).await {
        Ok(mut views) => {
            views.retain(|view| held.iter().all(|held| held.id != view.id().as_str()));
            tell_waiting(context, &views)?;
        }
        Err(failure) if failure.outcome == Outcome::Unreachable => {
            ui.say(&format!("warning: what waits is not known: {}", harmless(&failure.message)));
        }
        Err(failure) => return Err(failure),
    }
    Ok(Outcome::Done)
}

/// Whose certificates in the agent are ours; says so where that can not be told.
pub(super) async fn owner(
    context: &Context,
    agent: &mut Agent,
    enrolment: &Enrolment,
) -> Result<Owner, Failure> {
    if !agent.list()?.iter().any(held::is_marked) {
        return trust::owner(&context.home, enrolment);
    }
    let owner = trust::owner_asking(&context.home, enrolment).await?;
    if owner.signers.is_none() {
        context.ui.say(
            "warning: the ssh-agent holds certificates of jit-ssh, but without the CA nobody can tell whether they are yours; they are left alone.",
        );
    }
    Ok(owner)
}

async fn waiting(context: &Context, enrolment: &Enrolment) -> Result<Vec<View>, Failure> {
    let mut ca = Ca::connect(&context.home, enrolment).await?;
    let (views, _) = requests::list(context, &mut ca, v1::Scope::Mine, 100, true).await?;
    Ok(views)
}

fn tell_waiting(context: &Context, views: &[View]) -> Result<(), Failure> {
    let ui = &context.ui;
    for view in views {
        ui.object(&WaitingRow { kind: "request", request: view.row() })?;
    }
    if !views.is_empty() {
        ui.data(&format!("\n{}", requests::as_table(views)))?;
    }
    Ok(())
}

fn certificate_table(held: &[Held], now: UnixTime) -> String {
    let rows: Vec<_> = held
        .iter()
        .map(|held| {
            let principals: Vec<String> = held.principals.iter().map(ToString::to_string).collect();
            let (end, access) = (held.valid_before, held.access_until);
            [
                harmless(&held.id),
                principals.join(" "),
                format!("{} ({})", utc(end), relative(end, now)),
                relative(access, now),
                held.serial.to_string(),
            ]
        })
        .collect();
    table(["ID", "WHERE", "CERTIFICATE UNTIL", "ACCESS ENDS", "SERIAL"], &rows)
}

fn certificate_row(held: &Held) -> CertificateRow<'_> {
    let principals: Vec<String> = held.principals.iter().map(ToString::to_string).collect();
    CertificateRow {
        kind: "certificate",
        id: &held.id,
        status: "active",
        serial: held.serial,
        serial_text: held.serial.to_string(),
        key_id: &held.key_id,
        command: principals.first().map(|first| format!("ssh {first}")).unwrap_or_default(),
        principals,
        valid_after: held.valid_after,
        valid_before: held.valid_before,
        access_until: held.access_until,
        loaded: "agent",
    }
}
