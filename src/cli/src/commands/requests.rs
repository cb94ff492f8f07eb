//! `jit-ssh requests`: lists requests.

use clap::Args;
use jit_ssh_api::v1;
use jit_ssh_core::plain::harmless;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::text::{either, relative, short, table};
use crate::view::{View, status_name};

/// List requests, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh requests --to-decide")]
pub(crate) struct RequestsArgs {
    /// Those you made or are the subject of (the default).
    #[arg(long, group = "scope")]
    mine: bool,
    /// Those that wait for a decision you can make.
    #[arg(long, group = "scope")]
    to_decide: bool,
    /// All you may see.
    #[arg(long, group = "scope")]
    all: bool,
    /// Most to show.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(super) async fn cmd_requests(
    context: &Context,
    args: RequestsArgs,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    let scope = match (args.to_decide, args.all) {
        (true, _) => v1::Scope::ToDecide,
        (_, true) => v1::Scope::All,
        (false, false) => v1::Scope::Mine,
    };
    let (views, more) = list(context, &mut ca, scope, args.limit, false).await?;
    for view in &views {
        ui.object(&view.row())?;
    }
    if views.is_empty() {
        ui.say("There are none.");
        return Ok(Outcome::Done);
    }
    ui.data(&as_table(&views))?;
    if more {
        ui.say(&format!("There are more than {}; see further back with --limit.", args.limit));
    }
    Ok(Outcome::Done)
}

/// Requests of one scope, verified; what does not verify is left out and said.
pub(super) async fn list(
    context: &Context,
    ca: &mut Ca<'_>,
    scope: v1::Scope,
    limit: u32,
    open_only: bool,
) -> Result<(Vec<View>, bool), Failure> {
    let message =
        v1::ListRequest { scope: scope.into(), limit, after: String::new(), open_only, since: 0 };
    let answer = ca.read(async |client| client.list(message.clone()).await).await?;
    let mut views = Vec::new();
    for said in answer.accesses {
        match View::open(said, &ca.enrolment.ca()) {
            Ok(view) => views.push(view),
            Err(failure) => context.ui.say(&format!("warning: {}", harmless(&failure.message))),
        }
    }
    Ok((views, answer.more))
}

/// Requests as a table.
pub(super) fn as_table(views: &[View]) -> String {
    let now = clock::now();
    let rows: Vec<_> = views
        .iter()
        .map(|view| {
            let asked = view.asked();
            let who = if asked.by == asked.subject {
                asked.by.to_string()
            } else {
                format!("{} for {}", asked.by, asked.subject)
            };
            [
                view.id().to_string(),
                status_name(view.status()).to_owned(),
                who,
                short(&view.principals().join(" "), 48),
                asked.r#for.to_string(),
                relative(asked.at, now),
                next_step(view),
                short(&asked.reason, 48),
            ]
        })
        .collect();
    table(["ID", "STATUS", "WHO", "WHERE", "FOR", "ASKED", "NEXT", "WHY"], &rows)
}

/// What happens next, and until when.
fn next_step(view: &View) -> String {
    let now = clock::now();
    let by = |time| relative(jit_ssh_core::time::UnixTime(time), now);
    match view.status() {
        v1::Status::Pending => {
            format!(
                "{} decides, lapses {}",
                short(&either(&view.said.approvers), 24),
                by(view.said.decide_by)
            )
        }
        v1::Status::Approved => format!("to be used, lapses {}", by(view.said.use_by)),
        v1::Status::Active => format!("ends {}", by(view.said.access_until)),
        _ => "-".to_owned(),
    }
}
