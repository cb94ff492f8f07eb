//! `jit-ssh status`: what this machine holds, and what waits.

mod accesses;
mod live;

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
use crate::grants::{self, Live};
use crate::held::{self, Held, Owner};
use crate::home::Home;
use crate::text::{relative, table, utc};
use crate::trust;
use crate::ui::{Tone, Ui};
use crate::view::{RequestRef, RequestRow, View, status_name};
use accesses::{Access, Review, accesses};
use jit_ssh_api::agent::{Agent, AgentError};
use live::watch;

/// Show what you hold, until when, and what waits.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  jit-ssh status\n  jit-ssh status --watch\n\n\
    Works without the CA too: then it shows what the ssh-agent holds.")]
pub(crate) struct StatusArgs {
    /// Keep it up to date until Ctrl-C.
    #[arg(long)]
    pub(super) watch: bool,
}

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
    /// Whether the ssh-agent keeps it from other hosts.
    bound: bool,
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

/// All there is to be shown.
#[derive(Debug)]
struct Snapshot {
    held: Vec<Held>,
    live: Vec<Live>,
    /// Own requests that stand, and those of what is held.
    own: Vec<View>,
    to_decide: Vec<View>,
    /// Why the agent could not be asked.
    agent: Option<AgentError>,
    /// Why the CA could not be asked.
    offline: Option<String>,
}

pub(super) async fn cmd_status(context: &Context, args: StatusArgs) -> Result<Outcome, Failure> {
    let enrolment = Enrolment::load(&context.home)?;
    if args.watch {
        return watch(context, &enrolment).await;
    }
    let snapshot = gather(context, &enrolment).await?;
    let ui = &context.ui;
    for line in warnings(&snapshot) {
        ui.say(&line);
    }
    for row in rows(&context.home, &snapshot)? {
        ui.object(&row)?;
    }
    if snapshot.held.is_empty() {
        ui.say("No access is loaded.");
    }
    let text = text(ui, &snapshot, clock::now());
    if text.is_empty() { Ok(Outcome::Done) } else { ui.data(&text).map(|()| Outcome::Done) }
}

/// Looks at the agent, and asks the CA; that it can not be reached is no failure, since what is held
/// works without it (I11).
async fn gather(context: &Context, enrolment: &Enrolment) -> Result<Snapshot, Failure> {
    let owner = match Agent::open() {
        Ok(mut agent) => owner(context, &mut agent, enrolment).await?,
        Err(_) => trust::owner(&context.home, enrolment)?,
    };
    // A dead agent holds nothing; what lies in files is there all the same.
    let (held, agent) = held::everywhere(&context.home, &owner, clock::now())?;
    let live = grants::live(&context.home, &enrolment.ca(), clock::now())?;
    match standing(context, enrolment, &held).await {
        Ok((own, to_decide)) => Ok(Snapshot { held, agent, live, own, to_decide, offline: None }),
        Err(failure) if failure.outcome == Outcome::Unreachable => {
            let offline = Some(harmless(&failure.message));
            Ok(Snapshot { held, agent, live, own: Vec::new(), to_decide: Vec::new(), offline })
        }
        Err(failure) => Err(failure),
    }
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let mut lines: Vec<String> =
        snapshot.agent.iter().map(|problem| format!("warning: {problem}.")).collect();
    let Some(problem) = &snapshot.offline else { return lines };
    lines.push(format!("warning: what waits is not known: {problem}"));
    if !snapshot.held.is_empty() {
        lines.push("warning: the access below is shown as it is known here; it may have been taken away since.".to_owned());
    }
    lines
}

/// The objects of `--json`.
fn rows(home: &Home, snapshot: &Snapshot) -> Result<Vec<serde_json::Value>, Failure> {
    let Snapshot { held, live, own, to_decide, .. } = snapshot;
    let value = |row: Result<serde_json::Value, serde_json::Error>| {
        row.map_err(|e| Failure::new(Outcome::Error, "OUTPUT", e.to_string()))
    };
    let (accesses, beside) = accesses(held, own, live);
    let mut rows = Vec::new();
    for access in &accesses {
        rows.push(value(serde_json::to_value(certificate_row(home, access)))?);
    }
    let own = beside.into_iter().map(|view| ("request", view));
    for (kind, view) in own.chain(to_decide.iter().map(|view| (to_do(view), view))) {
        rows.push(value(serde_json::to_value(WaitingRow { kind, request: view.row() }))?);
    }
    Ok(rows)
}

/// What there is to do about a request of somebody else.
fn to_do(view: &View) -> &'static str {
    if view.to_review() { "to-review" } else { "to-decide" }
}

/// The tables, one below the other; harmless.
fn text(ui: &Ui, snapshot: &Snapshot, now: UnixTime) -> String {
    let Snapshot { held, live, own, to_decide, .. } = snapshot;
    let (accesses, beside) = accesses(held, own, live);
    let mut parts = Vec::new();
    if !accesses.is_empty() {
        parts.push(format!("You hold:\n{}", certificate_table(ui, &accesses, now)));
    }
    if !beside.is_empty() {
        parts.push(format!("You asked for:\n{}", requests::as_table(ui, &beside)));
    }
    if !to_decide.is_empty() {
        let table = requests::as_table(ui, &to_decide.iter().collect::<Vec<_>>());
        parts.push(format!("Waits for you (jit-ssh requests --to-decide):\n{table}"));
    }
    parts.join("\n")
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

/// What the person asked for that stands, and whatever became of what is held; and what waits for
/// them.
async fn standing(
    context: &Context,
    enrolment: &Enrolment,
    held: &[Held],
) -> Result<(Vec<View>, Vec<View>), Failure> {
    let mut ca = Ca::connect(&context.home, enrolment).await?;
    let wanted = |scope: v1::Scope| v1::ListRequest {
        scope: scope.into(),
        limit: 100,
        open_only: scope == v1::Scope::Mine,
        ..v1::ListRequest::default()
    };
    let (mut own, _) = requests::list(context, &mut ca, wanted(v1::Scope::Mine)).await?;
    for held in held {
        if own.iter().any(|view| view.id().as_str() == held.id) {
            continue;
        }
        let named: RequestRef = held.id.parse().map_err(Failure::untrue)?;
        match fetch(&mut ca, &named).await {
            Ok(view) => own.push(view),
            Err(failure) if failure.name == Reason::UnknownRequest.as_str() => {
                context.ui.say(&format!(
                    "warning: the CA does not know request {}, whose access is shown as it is known here.",
                    harmless(&held.id)
                ));
            }
            Err(failure) => return Err(failure),
        }
    }
    let (to_decide, _) = requests::list(context, &mut ca, wanted(v1::Scope::ToDecide)).await?;
    Ok((own, to_decide))
}

fn certificate_table(ui: &Ui, accesses: &[Access<'_>], now: UnixTime) -> String {
    let rows: Vec<_> = accesses
        .iter()
        .map(|access| {
            let held = access.held;
            let principals: Vec<String> = held.opens.texts();
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
                format!("{}{mark}", access_ends(ui, access, now)),
                held.serial.to_string(),
            ]
        })
        .collect();
    table(["ID", "WHERE", "CERTIFICATE UNTIL", "ACCESS ENDS", "SERIAL"], &rows)
}

/// When an access ends, or how it stands where it is over already.
fn access_ends(ui: &Ui, access: &Access<'_>, now: UnixTime) -> String {
    match access.said {
        Some(status) if access.is_over() => requests::toned(ui, status),
        Some(_) | None => ui.tint(&relative(access.until, now), Tone::Good),
    }
}

fn certificate_row<'a>(home: &Home, access: &Access<'a>) -> CertificateRow<'a> {
    let held = access.held;
    let principals: Vec<String> = held.opens.texts();
    CertificateRow {
        kind: "certificate",
        id: &held.id,
        status: access.said.map_or("active", status_name),
        known: if access.said.is_some() { "ca" } else { "here" },
        serial: held.serial,
        serial_text: held.serial.to_string(),
        key_id: &held.key_id,
        command: held.commands(home).into_iter().next().unwrap_or_default(),
        principals,
        valid_after: held.valid_after,
        valid_before: held.valid_before,
        access_until: access.until,
        loaded: held.loaded.as_str(),
        bound: held.loaded.is_bound(),
        basis: access.break_glass.map(|_| "break-glass"),
        reviewed: match access.break_glass {
            Some(Review::Done) => Some(true),
            Some(Review::Open) => Some(false),
            Some(Review::Unknown) | None => None,
        },
    }
}
