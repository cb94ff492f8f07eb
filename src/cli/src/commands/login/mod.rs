//! `jit-ssh login`: asks for access, waits for the decision, and loads the certificate.
//!
//! - here: what is said, and whether something that stands answers it;
//! - `at_hand.rs`: what the agent holds already; `ask.rs`: a new request, from asking to taking;
//! - `extend.rs`, `break_glass.rs`: the two that are not asked in the usual way;
//! - `dry_run.rs`: what would follow.

mod ask;
mod at_hand;
mod break_glass;
mod dry_run;
mod extend;

use std::path::PathBuf;

use clap::Args;
use jit_ssh_api::{ApiError, Reason};
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{self, MAX_AHEAD};
use jit_ssh_core::time::{Seconds, UnixTime};

use crate::account::find_login;
use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants::{self, Grant, KeyFile, Live, Subject};
use crate::moment::Moment;
use crate::obtain;
use crate::text::utc;
use crate::view::RequestRef;
use crate::wish::{self, Manner, Wish};
use ask::{ask, is_early, request, wait};
use at_hand::{AtHand, at_hand, held, live_for};

/// Ask for access to hosts, wait for the decision, and load the certificate.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  jit-ssh login prod-host --as deploy --for 10m --because \"INC-42 disk full\"\n\n\
    LIST is of pty, port-forwarding, agent-forwarding, x11-forwarding and user-rc.\n\
    Ctrl-C leaves the request standing; `jit-ssh watch ID` or the same login takes it up.\n\
    What you say is never ignored: another reason, time or permit makes another request,\n\
    unless what is at hand is enough."
)]
pub(crate) struct LoginArgs {
    /// The hosts.
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<HostName>,
    /// The account on them; needless where there is only one.
    #[arg(long = "as", value_name = "LOGIN")]
    login: Option<Login>,
    /// How long you need it, from approval on [default: 15m].
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Seconds>,
    /// Why you need it: approvers and auditors read it.
    #[arg(long, value_name = "TEXT", value_parser = wish::reason)]
    because: Option<String>,
    /// Begin later: 22:00, 2026-11-25T22:00 or ...T22:00+01:00.
    #[arg(long, value_name = "MOMENT", group = "manner")]
    at: Option<Moment>,
    /// Prolong the live access, even if enough is left.
    #[arg(long, group = "manner")]
    extend: bool,
    /// Ask anew, whatever stands or is at hand.
    #[arg(long, conflicts_with = "extend")]
    new: bool,
    /// Go ahead without approvals, for this second reason.
    #[arg(long, value_name = "TEXT", group = "manner", value_parser = wish::reason)]
    break_glass: Option<String>,
    /// Confirm break-glass for this host instead of typing its name.
    #[arg(long, value_name = "HOST", requires = "break_glass")]
    break_glass_confirm: Vec<HostName>,
    /// Say what would follow, and ask for nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ask, print the id and do not wait: exit code 3 if it is pending.
    #[arg(long)]
    no_wait: bool,
    /// Certify this key instead of a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What sessions may do [default: pty,port-forwarding].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = wish::permit)]
    permit: Option<Vec<Permit>>,
}

impl LoginArgs {
    /// In which way access is wanted, as far as that is said.
    fn manner(&self, now: UnixTime) -> Result<Manner, Failure> {
        if let Some(second) = &self.break_glass {
            return Ok(Manner::BreakGlass(second.clone()));
        }
        let Some(moment) = self.at else { return Ok(Manner::Usual) };
        let at = moment.resolve(now)?;
        if at <= now {
            return Err(Failure::usage(format!("--at: {} is past already.", utc(at)))
                .hint("leave --at away to begin at once"));
        }
        let last = now.plus_secs(MAX_AHEAD);
        if at > last {
            let days = MAX_AHEAD / 86_400;
            return Err(Failure::usage(format!(
                "--at: {} is more than {days} days ahead; the last moment is {}.",
                utc(at),
                utc(last)
            )));
        }
        Ok(Manner::At(at))
    }
}

pub(super) async fn cmd_login(context: &Context, args: LoginArgs) -> Result<Outcome, Failure> {
    let home = &context.home;
    let manner = args.manner(clock::now())?;
    if args.break_glass.is_some() && !args.dry_run {
        break_glass::can_confirm(&context.ui, &args.hosts, &args.break_glass_confirm)?;
    }
    let enrolment = Enrolment::load(home)?;
    let subject = match args.key.as_deref() {
        Some(path) => Subject::File(KeyFile::read(path)?),
        None => Subject::fresh()?,
    };
    let held = if args.dry_run { Vec::new() } else { held(context, &enrolment, &subject)? };
    let mut ca = None;
    let login = match args.login.clone() {
        Some(login) => login,
        None => {
            let ca = connect(context, &enrolment, &mut ca).await?;
            find_login(context, ca, &args.hosts).await?
        }
    };
    let mut wish = Wish {
        hosts: args.hosts,
        login,
        span: args.span,
        because: args.because,
        permit: args.permit,
        manner,
    };
    // What makes no request is an error too where none is needed.
    let unsaid = "not said yet".to_owned();
    statement::encode(&request(&enrolment, &wish, &subject, unsaid)?)?;
    let now = clock::now();
    let now_wanted = matches!(wish.manner, Manner::Usual | Manner::BreakGlass(_));
    let told = match &subject {
        Subject::Fresh(_) if now_wanted && !(args.new || args.extend || args.dry_run) => {
            at_hand(context, &enrolment, &held, &wish, now)?
        }
        Subject::Fresh(_) | Subject::File(_) => AtHand::Nothing,
    };
    if matches!(told, AtHand::Enough) {
        return Ok(Outcome::Done);
    }
    let live = match wish.manner {
        Manner::Usual if !args.new => live_for(context, &enrolment, &wish.principals(), now)?,
        _ => None,
    };
    let ca = connect(context, &enrolment, &mut ca).await?;
    if let Some(live) = to_prolong(&wish, live, &told, args.extend, now)? {
        match extend::prolonging(context, ca, wish.clone(), &live, &subject).await {
            Ok(longer) => wish = longer,
            // Nobody said --extend: where the rule lets nobody prolong it, access is asked anew.
            Err(refused) if !args.extend && refused.outcome == Outcome::Refused => {}
            Err(failure) => return Err(failure),
        }
    }
    if args.dry_run {
        return dry_run::dry_run(context, ca, &wish, &subject).await;
    }
    if !args.new {
        let earlier = earlier_grants(context, &enrolment, &wish, &subject)?;
        let (same, others): (Vec<Grant>, Vec<Grant>) = earlier
            .into_iter()
            .partition(|grant| wish.differs_from(grant.request.body(), now).is_none());
        if !same.is_empty() {
            if let Some(outcome) = take_up(context, ca, args.no_wait, same).await? {
                return Ok(outcome);
            }
        } else if let Some(grant) = others.last() {
            tell_of_other(context, &wish, grant, &told, now);
        }
    }
    ask(context, ca, args.no_wait, &args.break_glass_confirm, &wish, subject).await
}

/// The live access that is to be prolonged: where that is said, or where more time is wanted than it
/// has left.
fn to_prolong(
    wish: &Wish,
    live: Option<Live>,
    told: &AtHand,
    extend: bool,
    now: UnixTime,
) -> Result<Option<Live>, Failure> {
    if extend {
        return live.map(Some).ok_or_else(extend::nothing_live);
    }
    let too_short = |live: &Live| match told {
        AtHand::TooShort(_) => true,
        // With too little permitted, more time is not all that is wanted.
        AtHand::TooLittle(_) | AtHand::Enough => false,
        AtHand::Nothing => {
            let asked = live.request.body();
            wish.longer_than(live.access_until, Some(asked), now).is_some()
        }
    };
    Ok(live.filter(too_short))
}

/// Says that an earlier request for the same accounts stands and is another, unless it was told of.
fn tell_of_other(context: &Context, wish: &Wish, grant: &Grant, told: &AtHand, now: UnixTime) {
    let id = grant.request.id();
    if let Some(difference) = wish.differs_from(grant.request.body(), now)
        && told.id().is_none_or(|told| told != id.as_str())
        && wish.prolongs().is_none_or(|of| of.request != grant.digest())
    {
        context.ui.say(&format!("The earlier request {id} is left as it is: {difference}."));
    }
}

/// Connects, if that was not done yet: a login that is at hand needs no CA.
async fn connect<'a, 'b>(
    context: &'a Context,
    enrolment: &'a Enrolment,
    ca: &'b mut Option<Ca<'a>>,
) -> Result<&'b mut Ca<'a>, Failure> {
    if ca.is_none() {
        *ca = Some(Ca::connect(&context.home, enrolment).await?);
    }
    Ok(ca.as_mut().expect("connected just now"))
}

/// What is kept of earlier logins for the same accounts, with the same kind of key; oldest first.
fn earlier_grants(
    context: &Context,
    enrolment: &Enrolment,
    wish: &Wish,
    subject: &Subject,
) -> Result<Vec<Grant>, Failure> {
    let wanted = wish.principals();
    let mut grants = grants::list(&context.home, &enrolment.ca(), clock::now())?;
    grants.retain(|grant| {
        let body = grant.request.body();
        let same_key = match (&grant.subject, subject) {
            (Subject::Fresh(_), Subject::Fresh(_)) => true,
            (Subject::File(_), Subject::File(_)) => {
                subject.public().is_ok_and(|key| key == body.key)
            }
            _ => false,
        };
        same_key && body.by == enrolment.id && grant.is_for(&wanted)
    });
    Ok(grants)
}

/// What an earlier request is still good for.
enum Earlier {
    /// A certificate, which was taken.
    Taken,
    /// To be waited for.
    Waits,
    /// Nothing.
    Over,
}

/// Takes up earlier requests for the same: renews by the newest that still grants it, or goes on
/// waiting for the newest that waits. `None` if nothing can come of them.
async fn take_up(
    context: &Context,
    ca: &mut Ca<'_>,
    no_wait: bool,
    same: Vec<Grant>,
) -> Result<Option<Outcome>, Failure> {
    let mut waits = None;
    for grant in same.into_iter().rev() {
        match renew(context, ca, &grant).await? {
            Earlier::Taken => return Ok(Some(Outcome::Done)),
            Earlier::Waits => waits = waits.or(Some(grant)),
            Earlier::Over => {}
        }
    }
    let Some(grant) = waits else { return Ok(None) };
    let id = grant.request.id();
    context.ui.say(&format!("The request {id} for this waits already; taking it up."));
    let view = fetch(ca, &RequestRef::Digest(grant.digest())).await?;
    context.ui.object(&view.row())?;
    wait(context, ca, no_wait, &grant).await.map(Some)
}

/// Renews the certificate of an earlier request, if it is still good for that.
async fn renew(context: &Context, ca: &Ca<'_>, grant: &Grant) -> Result<Earlier, Failure> {
    let Context { ui, home } = context;
    let id = grant.request.id();
    if grant.request.body().begins() > clock::now() {
        return Ok(Earlier::Waits);
    }
    match obtain::certify(ca, grant.digest()).await {
        Ok(certificate) => {
            ui.say(&format!("Request {id} still grants this."));
            obtain::take(ui, home, ca, grant, &certificate).await?;
            Ok(Earlier::Taken)
        }
        Err(error) if is_early(&error) => Ok(Earlier::Waits),
        Err(ApiError::Refused(detail)) => match detail.refusal.reason {
            Reason::NotApproved => Ok(Earlier::Waits),
            Reason::Denied
            | Reason::Cancelled
            | Reason::Lapsed
            | Reason::Ended
            | Reason::Released
            | Reason::Revoked
            | Reason::PolicyRefused
            | Reason::NotAllowed
            | Reason::UnknownRequest
            | Reason::UnknownSigner => {
                let why = harmless(&detail.refusal.message);
                ui.say(&format!("The earlier request {id} is over: {why}"));
                grants::forget_access(home, &grant.digest())?;
                Ok(Earlier::Over)
            }
            _ => Err(detail.refusal.into()),
        },
        Err(error) => Err(error.into()),
    }
}
