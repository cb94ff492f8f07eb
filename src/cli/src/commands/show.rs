//! `jit-ssh show`: one request with all that is known of it, also after its end.

use clap::Args;
use jit_ssh_api::v1::Status;
use jit_ssh_core::plain::harmless;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::view::{Event, RequestRef, RequestRow, UseRow, View, timeline};

/// Most extensions that are looked up: more than any rule allows.
const MAX_EXTENSIONS: usize = 32;

/// Show one request: what was signed, and what happened when, by whom and why.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  jit-ssh show 7kq2m9xw4p")]
pub(crate) struct ShowArgs {
    /// The request's id, or the first 4 or more characters of it.
    pub(super) id: RequestRef,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    request: RequestRow<'a>,
    timeline: Vec<Event>,
    /// Who logged in with it, as the hosts told.
    uses: Vec<UseRow<'a>>,
}

pub(super) async fn cmd_show(context: &Context, args: ShowArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    let view = fetch(&mut ca, &args.id).await?;
    let extensions = extensions(context, &mut ca, &view).await;
    let prolonged = prolonged(context, &mut ca, &view).await;
    let now = clock::now();
    let timeline = timeline(&view, &extensions, &prolonged, now);
    ui.data(&view.details(&timeline, now))?;
    let uses = view.said.uses.iter().map(UseRow::of).collect();
    ui.object(&Shown { request: view.row(), timeline, uses })?;
    Ok(Outcome::Done)
}

/// One request, verified to be the one that was named.
pub(super) async fn fetch(ca: &mut Ca<'_>, named: &RequestRef) -> Result<View, Failure> {
    let view = View::open(ca.get(&named.to_string()).await?, &ca.enrolment.ca())?;
    named.check(&view)?;
    Ok(view)
}

/// The requests that a request which was given back or taken away prolongs, the nearest first: it may
/// have fallen with one of them. What can not be had is said, and ends the row.
async fn prolonged(context: &Context, ca: &mut Ca<'_>, view: &View) -> Vec<View> {
    let mut found = Vec::new();
    let over = matches!(view.status(), Status::Released | Status::Revoked);
    let mut next = view.asked().extends.filter(|_| over);
    while let Some(of) = next.filter(|_| found.len() < MAX_EXTENSIONS) {
        match fetch(ca, &RequestRef::Digest(of)).await {
            Ok(before) => {
                next = before.asked().extends;
                found.push(before);
            }
            Err(failure) => {
                let problem = harmless(&failure.message);
                context.ui.say(&format!("warning: what it prolongs is not shown: {problem}"));
                break;
            }
        }
    }
    found
}

/// The requests that prolong this one; what does not verify, or prolongs another, is left out and
/// said.
async fn extensions(context: &Context, ca: &mut Ca<'_>, view: &View) -> Vec<View> {
    let mut found = Vec::new();
    for digest in view.said.extensions.iter().take(MAX_EXTENSIONS) {
        let fetched = match digest.parse::<RequestRef>() {
            Ok(named) => fetch(ca, &named).await,
            Err(problem) => Err(Failure::untrue(problem)),
        };
        match fetched {
            Ok(extension) if extension.asked().extends == Some(view.digest()) => {
                found.push(extension);
            }
            Ok(extension) => {
                let (id, of) = (extension.id(), view.id());
                context.ui.say(&format!("warning: {id} is said to prolong {of} and does not."));
            }
            Err(failure) => {
                let problem = harmless(&failure.message);
                context.ui.say(&format!("warning: an extension is not shown: {problem}"));
            }
        }
    }
    found
}
