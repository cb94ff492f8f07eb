//! `jit-ssh cancel`: takes back a request of one's own.

use clap::Args;
use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Cause, End};
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::confirm::confirm;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::view::{RequestRef, status_name};

/// Take back a request of yours before it is used.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh cancel 7kq2m9xw4p")]
pub(crate) struct CancelArgs {
    /// The request's id, or the first 4 or more characters of it.
    id: RequestRef,
    /// Say why.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Cancelled {
    id: String,
    digest: Digest,
    status: &'static str,
}

pub(super) async fn cmd_cancel(context: &Context, args: CancelArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    context.ui.can_confirm()?;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    let view = fetch(&mut ca, &args.id).await?;
    let because = args.because.as_deref().map_or_else(|| "-".to_owned(), harmless);
    confirm(context, &view, &[("you cancel", because)], &format!("Cancel {}?", view.id())).await?;
    let (by, digest) = (enrolment.id.clone(), view.digest());
    let end = End::new(enrolment.ca(), by, digest, Cause::Cancel, args.because, clock::now());
    let end = Some(enrolment.identity.sign(&end)?.to_message());
    let answer = ca.client().end(v1::EndRequest { end }).await?;
    grants::forget(home, &digest)?;
    ui.say(&format!("Request {} is {}.", view.id(), status_name(answer.status())));
    ui.object(&Cancelled {
        id: view.id().to_string(),
        digest,
        status: status_name(answer.status()),
    })?;
    Ok(Outcome::Done)
}
