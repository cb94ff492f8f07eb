//! `jit-ssh release`: gives live access back, and takes its certificates out of the ssh-agent.

use clap::Args;
use jit_ssh_api::agent::{Agent, AgentError};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::statement::Cause;
use jit_ssh_core::time::UnixTime;

use crate::cli::Context;
use crate::clock;
use crate::commands::end::end;
use crate::commands::status::owner;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::held;
use crate::text::relative;
use crate::view::{RequestRef, View};
use crate::wish;

/// Give live access of yours back before its time is over.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  jit-ssh release 7kq2m9xw4p\n\n\
    What prolongs it ends with it, and so do open sessions on hosts with a guard.")]
pub(crate) struct ReleaseArgs {
    /// The request's id, or the first 4 or more characters of it.
    pub(super) id: RequestRef,
    /// Say why.
    #[arg(long, value_name = "TEXT", value_parser = wish::reason)]
    because: Option<String>,
}

pub(super) async fn cmd_release(context: &Context, args: ReleaseArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    ui.can_confirm()?;
    let enrolment = Enrolment::load(home)?;
    let view = end(context, &enrolment, &args.id, Cause::Release, args.because).await?;
    drop_access(context, &enrolment, &view).await?;
    if let Some(before) = view.asked().extends {
        tell_of_prolonged(context, &view, &before, clock::now());
    }
    Ok(Outcome::Done)
}

/// Removes what is here of an access that is over, and of what prolongs it: files, and certificates
/// in the ssh-agent.
pub(super) async fn drop_access(
    context: &Context,
    enrolment: &Enrolment,
    view: &View,
) -> Result<(), Failure> {
    drop_requests(context, enrolment, &with_extensions(context, enrolment, view)?).await
}

/// Removes what is here of these requests: files, and certificates in the ssh-agent.
pub(super) async fn drop_requests(
    context: &Context,
    enrolment: &Enrolment,
    over: &[Digest],
) -> Result<(), Failure> {
    // The files first: they are ours to remove, whatever the agent does.
    for digest in over {
        grants::forget_access(&context.home, digest)?;
    }
    match Agent::open() {
        Ok(mut agent) => {
            let owner = owner(context, &mut agent, enrolment).await?;
            let ids: Vec<_> = over.iter().map(Digest::short_id).collect();
            held::remove(&mut agent, &owner, &ids)?;
            Ok(())
        }
        // Then nothing is in it.
        Err(AgentError::Absent) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The request and all that prolong it, by what the CA says and by what was taken here: they fall
/// with it.
fn with_extensions(
    context: &Context,
    enrolment: &Enrolment,
    view: &View,
) -> Result<Vec<Digest>, Failure> {
    let said = view.said.extensions.iter().filter_map(|digest| digest.parse().ok());
    let mut over: Vec<Digest> = std::iter::once(view.digest()).chain(said).collect();
    // In the order of their ends, so that each comes after what it prolongs.
    for live in grants::live(&context.home, &enrolment.ca(), clock::now())? {
        let digest = live.request.digest();
        if live.request.body().extends.is_some_and(|of| over.contains(&of))
            && !over.contains(&digest)
        {
            over.push(digest);
        }
    }
    Ok(over)
}

/// Says that what was prolonged is not given back by this.
fn tell_of_prolonged(context: &Context, view: &View, before: &Digest, now: UnixTime) {
    let until = UnixTime(view.said.prolongs_until);
    if until > now {
        let id = before.short_id();
        context.ui.say(&format!(
            "The access that it prolonged, {id}, ends {}; give it back too with: jit-ssh release {id}",
            relative(until, now)
        ));
    }
}
