//! `jit-ssh watch`: follows a request until it is decided, and takes what comes of an own one.

use clap::Args;
use jit_ssh_api::v1::Status;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::attend::attend;
use crate::commands::release::drop_access;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::follow::{Changes, Follow, Followed, Until, follow};
use crate::grants;
use crate::home::Home;
use crate::notify::Notifier;
use crate::obtain;
use crate::view::{RequestRef, View, status_name};

/// Follow a request until it is decided; load the certificate if it is yours.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  jit-ssh watch 7kq2m9xw4p\n  jit-ssh watch --to-decide\n\n\
    Takes up a login that was left waiting by Ctrl-C or --no-wait, until it opens.\n\
    Where an own request is approved and its key is not on this machine, that is an error.\n\n\
    A program can tell you of each: notify = \"notify-send jit-ssh ...\" in config.toml.")]
pub(crate) struct WatchArgs {
    /// The request's id, or the first 4 or more characters of it.
    #[arg(required_unless_present = "to_decide")]
    pub(super) id: Option<RequestRef>,
    /// Tell of all that waits for you and of all decisions on your own, until Ctrl-C.
    #[arg(long, conflicts_with = "id")]
    to_decide: bool,
}

pub(super) async fn cmd_watch(context: &Context, args: WatchArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let notifier = Notifier::load(ui, home)?;
    let Some(named) = &args.id else {
        return attend(context, &enrolment, &notifier).await;
    };
    let mut ca = Ca::connect(home, &enrolment).await?;
    // Who asked waits for the access; everybody else for the decision.
    let own = grants::find(home, &enrolment.ca(), named, clock::now())?;
    let until = if own.is_some() { Until::Open } else { Until::Decided };
    if own.is_none() {
        let view = fetch(&mut ca, named).await?;
        if view.status() == Status::Pending && is_out_of_reach(home, &enrolment, &view)? {
            let id = view.id();
            ui.say(&format!(
                "The key of request {id} is not on this machine: an approval gives no access here."
            ));
            ui.say(&format!("hint: {}", elsewhere(&view)));
        }
    }
    let (changes, notifier) = (Changes::Told, &notifier);
    let how = Follow { named, until, changes, stands: own.is_some(), notifier };
    let view = match follow(ui, &mut ca, how).await? {
        Followed::Decided(view) => view,
        Followed::Interrupted => {
            ui.say("The request stands; nothing was changed.");
            ui.say(&format!("hint: come back with: jit-ssh watch {named}"));
            return Ok(Outcome::Pending);
        }
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
    } else if is_out_of_reach(home, &enrolment, &view)? {
        let message = format!(
            "request {} is {}, and its key is not on this machine, so its certificate can not be taken here.",
            view.id(),
            status_name(view.status())
        );
        return Err(Failure::new(Outcome::Error, "KEY_NOT_HERE", message).hint(elsewhere(&view)));
    }
    Ok(Outcome::Done)
}

/// Whether the person of this machine made the request, and neither its key nor its certificate is
/// here: it was made on another machine, or `logout` has removed them.
fn is_out_of_reach(home: &Home, enrolment: &Enrolment, view: &View) -> Result<bool, Failure> {
    let (ca, now) = (enrolment.ca(), clock::now());
    let kept = grants::list(home, &ca, now)?.iter().any(|grant| grant.digest() == view.digest());
    let live = grants::live(home, &ca, now)?;
    let taken = live.iter().any(|live| live.request.digest() == view.digest());
    Ok(view.asked().by == enrolment.id && !kept && !taken)
}

/// What is left to do about a request whose key is not here.
fn elsewhere(view: &View) -> String {
    let id = view.id();
    let end = if view.status() == Status::Active { "release" } else { "cancel" };
    format!(
        "take it on the machine where it was made with: jit-ssh watch {id}; or end it with jit-ssh {end} {id}, and ask anew with: jit-ssh login"
    )
}
