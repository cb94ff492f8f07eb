//! `jit-ssh watch`: follows a request until it is decided, and takes what comes of an own one.

use clap::Args;
use jit_ssh_api::v1::Status;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::release::drop_access;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::follow::{Changes, Followed, Until, follow};
use crate::grants;
use crate::obtain;
use crate::view::RequestRef;

/// Follow a request until it is decided; load the certificate if it is yours.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh watch 7kq2m9xw4p\n\n\
    Takes up a login that was left waiting by Ctrl-C or --no-wait, until it opens.")]
pub(crate) struct WatchArgs {
    /// The request's id, or the first 4 or more characters of it.
    id: RequestRef,
}

pub(super) async fn cmd_watch(context: &Context, args: WatchArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    // Who asked waits for the access; everybody else for the decision.
    let own = grants::find(home, &enrolment.ca(), &args.id, clock::now())?;
    let until = if own.is_some() { Until::Open } else { Until::Decided };
    let view = match follow(ui, &mut ca, &args.id, until, Changes::Told).await? {
        Followed::Decided(view) => view,
        Followed::Interrupted => return Ok(Outcome::Pending),
    };
    if let Some(failure) = view.failure() {
        grants::forget(home, &view.digest())?;
        if matches!(view.status(), Status::Released | Status::Revoked) {
            // Hosts refuse it, and after a few such refusals the address: out of the agent with it.
            drop_access(context, &enrolment, &view).await?;
        }
        return Err(failure);
    }
    ui.say(&view.standing(clock::now()));
    if let Some(grant) = own.filter(|grant| grant.digest() == view.digest()) {
        let certificate = obtain::certify(&ca, grant.digest()).await?;
        obtain::take(ui, home, &ca, &grant, &certificate).await?;
    }
    Ok(Outcome::Done)
}
