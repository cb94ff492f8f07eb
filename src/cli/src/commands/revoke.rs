//! `jit-ssh revoke`: takes access away from who has it, or from who waits for it.

use clap::Args;
use jit_ssh_core::statement::Cause;

use crate::cli::Context;
use crate::commands::end::end;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::view::RequestRef;
use crate::wish;

/// Take access away: for those who could approve it, those who did, and the admins.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  jit-ssh revoke 7kq2m9xw4p --because \"the incident is over\"\n\n\
    An admin revokes as who they are in root.json: enroll with --as ADMIN-ID --identity FILE."
)]
pub(crate) struct RevokeArgs {
    /// The request's id, or the first 4 or more characters of it.
    pub(super) id: RequestRef,
    /// Say why: who had the access reads it.
    #[arg(long, value_name = "TEXT", value_parser = wish::reason)]
    because: Option<String>,
}

pub(super) async fn cmd_revoke(context: &Context, args: RevokeArgs) -> Result<Outcome, Failure> {
    context.ui.can_confirm()?;
    let enrolment = Enrolment::load(&context.home)?;
    end(context, &enrolment, &args.id, Cause::Revoke, args.because).await?;
    Ok(Outcome::Done)
}
