//! `jit-ssh show`: one request with all that is known of it.

use clap::Args;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::view::{RequestRef, View};

/// Show one request: what was signed, who decided, what was issued.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh show 7kq2m9xw4p")]
pub(crate) struct ShowArgs {
    /// The request's id, or the first 4 or more characters of it.
    id: RequestRef,
}

pub(super) async fn cmd_show(context: &Context, args: ShowArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    let view = fetch(&mut ca, &args.id).await?;
    ui.data(&view.details(clock::now()))?;
    ui.object(&view.row())?;
    Ok(Outcome::Done)
}

/// One request, verified to be the one that was named.
pub(super) async fn fetch(ca: &mut Ca<'_>, named: &RequestRef) -> Result<View, Failure> {
    let view = View::open(ca.get(&named.to_string()).await?, &ca.enrolment.ca())?;
    named.check(&view)?;
    Ok(view)
}
