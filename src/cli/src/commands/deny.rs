//! `jit-ssh deny`: says no to a request.

use clap::Args;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Decision, Verdict};

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::approve::{hand_in, review, too_late};
use crate::commands::confirm::confirm;
use crate::commands::show::fetch;
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
    let view = fetch(&mut ca, &args.id).await?;
    let (id, by) = (view.id(), &enrolment.id);
    if view.asked().break_glass.is_some() {
        let review = review(Verdict::Deny, Some(&because));
        let question = format!("Review {id} as {by}: it was not right?");
        confirm(context, &view, &review, &question).await?;
    } else if let Some(failure) = too_late(&view) {
        return Err(failure);
    } else {
        let action = [("you deny", harmless(&because))];
        confirm(context, &view, &action, &format!("Deny {id} as {by}?")).await?;
    }
    let (by, digest) = (enrolment.id.clone(), view.digest());
    let decision = Decision::deny(enrolment.ca(), by, digest, because, clock::now());
    hand_in(context, &ca, &view, &decision, "deny").await
}
