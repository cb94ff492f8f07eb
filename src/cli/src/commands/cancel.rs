//! `jit-ssh cancel`: takes back a request of one's own.

use clap::Args;
use jit_ssh_core::statement::Cause;

use crate::cli::Context;
use crate::commands::end::end;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::view::RequestRef;
use crate::wish;

/// Take back a request of yours before it is used.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  jit-ssh cancel 7kq2m9xw4p")]
pub(crate) struct CancelArgs {
    /// The request's id, or the first 4 or more characters of it.
    pub(super) id: RequestRef,
    /// Say why.
    #[arg(long, value_name = "TEXT", value_parser = wish::reason)]
    because: Option<String>,
}

pub(super) async fn cmd_cancel(context: &Context, args: CancelArgs) -> Result<Outcome, Failure> {
    context.ui.can_confirm()?;
    let enrolment = Enrolment::load(&context.home)?;
    let view = end(context, &enrolment, &args.id, Cause::Cancel, args.because).await?;
    grants::forget_access(&context.home, &view.digest())?;
    Ok(Outcome::Done)
}
