//! `jit-ssh deny`: says no to a request.

use clap::Args;
use jit_ssh_core::statement::Decision;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::approve::{decide, fetch_to_decide, too_late};
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::view::RequestRef;

/// Deny a request, and say why.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  jit-ssh deny 7kq2m9xw4p --because \"not during the release\"\n\n\
    On a break-glass request this is its review, and says that it was not right."
)]
pub(crate) struct DenyArgs {
    /// The request's id, or the first 4 or more characters of it.
    pub(super) id: RequestRef,
    /// Say why: the requester reads it.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

pub(super) async fn cmd_deny(context: &Context, args: DenyArgs) -> Result<Outcome, Failure> {
    context.ui.can_confirm()?;
    let because = match args.because {
        Some(because) => because,
        None => context.ui.ask("Why?", "a denial needs a reason: --because TEXT").await?,
    };
    let enrolment = Enrolment::load(&context.home)?;
    let mut ca = Ca::connect(&context.home, &enrolment).await?;
    let (view, earlier) = fetch_to_decide(&mut ca, &args.id).await?;
    let (id, by) = (view.id(), enrolment.id.clone());
    let question = if view.asked().break_glass.is_some() {
        format!("Review {id} as {by}: it was not right?")
    } else if let Some(failure) = too_late(&view) {
        return Err(failure);
    } else {
        format!("Deny {id} as {by}?")
    };
    let decision = Decision::deny(enrolment.ca(), by, view.digest(), because, clock::now());
    decide(context, &ca, &view, earlier.as_ref(), decision, &question, "deny").await
}
