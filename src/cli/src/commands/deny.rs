//! `jit-ssh deny`: says no to a request.

use clap::Args;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Decision;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::approve::hand_in;
use crate::commands::confirm::confirm;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::view::RequestRef;

/// Deny a request, and say why.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh deny 7kq2m9xw4p --because \"not during the release\"")]
pub(crate) struct DenyArgs {
    /// The request's id, or the first 4 or more characters of it.
    id: RequestRef,
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
    let action = [("you deny", harmless(&because))];
    confirm(context, &view, &action, &format!("Deny {} as {}?", view.id(), enrolment.id)).await?;
    let (by, digest) = (enrolment.id.clone(), view.digest());
    let decision = Decision::deny(enrolment.ca(), by, digest, because, clock::now());
    hand_in(context, &ca, &view, &decision, "deny").await
}
