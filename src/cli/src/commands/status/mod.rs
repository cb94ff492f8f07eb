//! `jit-ssh status`: what this machine holds, and what waits.

mod accesses;

use clap::Args;
use jit_ssh_api::{Reason, v1};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::requests;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::held::{self, Held, Owner};
use crate::text::{relative, table, utc};
use crate::trust;
use crate::view::{RequestRef, RequestRow, View, status_name};
use accesses::{Access, Review, accesses};
use jit_ssh_api::agent::{Agent, AgentError};

/// Show what you hold, until when, and what waits.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  jit-ssh status --json\n\n\
    Works without the CA too: then it shows what the ssh-agent holds.")]
pub(crate) struct StatusArgs {}

/// A certificate in `--json`.
#[derive(Debug, Serialize)]
struct CertificateRow<'a> {
    kind: &'static str,
    id: &'a str,
    /// As the CA says; where `known` is `here`, as the certificate says.
    status: &'static str,
    known: &'static str,
    serial: u64,
    serial_text: String,
    key_id: &'a str,
    principals: Vec<String>,
    valid_after: UnixTime,
    valid_before: UnixTime,
    access_until: UnixTime,
    command: String,
    loaded: &'static str,
    basis: Option<&'static str>,
    reviewed: Option<bool>,
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
    // What is held works without the CA (I11), so this command does too.
    let views = match standing(context, &enrolment, &held).await {
        Ok(views) => views,
        Err(failure) if failure.outcome == Outcome::Unreachable => {
            let problem = harmless(&failure.message);
            ui.say(&format!("warning: what waits is not known: {problem}"));
            if !held.is_empty() {
                ui.say("warning: the access below is shown as it is known here; it may have been taken away since.");
            }
            Vec::new()
        }
        Err(failure) => return Err(failure),
    };
    let now = clock::now();
    let live = grants::live(&context.home, &enrolment.ca(), now)?;
    let (accesses, views) = accesses(&held, views, &live);
    for access in accesses.iter().filter(|_| ui.json) {
        ui.object(&certificate_row(access))?;
    }
    if accesses.is_empty() {
        ui.say("No access is loaded.");
    } else {
        ui.data(&certificate_table(&accesses, now))?;
    }
    tell_waiting(context, &views)?;
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

/// What waits or stands, and whatever became of what is held.
async fn standing(
    context: &Context,
    enrolment: &Enrolment,
    held: &[Held],
) -> Result<Vec<View>, Failure> {
    let mut ca = Ca::connect(&context.home, enrolment).await?;
    let wanted = v1::ListRequest {
        scope: v1::Scope::Mine.into(),
        limit: 100,
        open_only: true,
        ..v1::ListRequest::default()
    };
    let (mut views, _) = requests::list(context, &mut ca, wanted).await?;
    for held in held {
        if views.iter().any(|view| view.id().as_str() == held.id) {
            continue;
        }
        let named: RequestRef = held.id.parse().map_err(Failure::untrue)?;
        match fetch(&mut ca, &named).await {
            Ok(view) => views.push(view),
            Err(failure) if failure.name == Reason::UnknownRequest.as_str() => {
                context.ui.say(&format!(
                    "warning: the CA does not know request {}, whose access is shown as it is known here.",
                    harmless(&held.id)
                ));
            }
            Err(failure) => return Err(failure),
        }
    }
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

fn certificate_table(accesses: &[Access<'_>], now: UnixTime) -> String {
    let rows: Vec<_> = accesses
        .iter()
        .map(|access| {
            let held = access.held;
            let principals: Vec<String> = held.principals.iter().map(ToString::to_string).collect();
            let end = held.valid_before;
            let mark = match access.break_glass {
                None => "",
                Some(Review::Done) => " (break-glass, reviewed)",
                Some(Review::Open) => " (break-glass, to be reviewed)",
                Some(Review::Unknown) => " (break-glass)",
            };
            [
                harmless(&held.id),
                principals.join(" "),
                format!("{} ({})", utc(end), relative(end, now)),
                format!("{}{mark}", access_ends(access, now)),
                held.serial.to_string(),
            ]
        })
        .collect();
    table(["ID", "WHERE", "CERTIFICATE UNTIL", "ACCESS ENDS", "SERIAL"], &rows)
}

/// When an access ends, or how it stands where it is over already.
fn access_ends(access: &Access<'_>, now: UnixTime) -> String {
    match access.said {
        Some(status) if access.is_over() => status_name(status).to_owned(),
        Some(_) | None => relative(access.until, now),
    }
}

fn certificate_row<'a>(access: &Access<'a>) -> CertificateRow<'a> {
    let held = access.held;
    let principals: Vec<String> = held.principals.iter().map(ToString::to_string).collect();
    CertificateRow {
        kind: "certificate",
        id: &held.id,
        status: access.said.map_or("active", status_name),
        known: if access.said.is_some() { "ca" } else { "here" },
        serial: held.serial,
        serial_text: held.serial.to_string(),
        key_id: &held.key_id,
        command: principals.first().map(|first| format!("ssh {first}")).unwrap_or_default(),
        principals,
        valid_after: held.valid_after,
        valid_before: held.valid_before,
        access_until: access.until,
        loaded: "agent",
        basis: access.break_glass.map(|_| "break-glass"),
        reviewed: match access.break_glass {
            Some(Review::Done) => Some(true),
            Some(Review::Open) => Some(false),
            Some(Review::Unknown) | None => None,
        },
    }
}
