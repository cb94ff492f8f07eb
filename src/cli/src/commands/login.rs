//! `jit-ssh login`: asks for access, waits for the decision, and loads the certificate.

use std::path::PathBuf;

use clap::Args;
use jit_ssh_api::v1::Status;
use jit_ssh_api::{ApiError, Reason};
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::cidr::Cidr;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{self, Request, Verified};
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::Serialize;

use crate::account::find_login;
use crate::ca::{self, Ca};
use crate::cli::Context;
use crate::clock;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::follow::{Changes, Followed, until_decided};
use crate::grants::{self, Grant, KeyFile, Subject};
use crate::held::{self, Held};
use crate::obtain::{self, Access};
use crate::submission::{Submission, submit};
use crate::text::{either, relative, utc};
use crate::trust;
use crate::view::{RequestRef, status_name};
use crate::wish::{self, Wish};
use jit_ssh_api::agent::Agent;

/// How long a key of a pending request is kept beyond its deadline, in seconds: the time in which
/// an approved request may still be taken up. One day.
const KEEP: u32 = 24 * 3600;

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

/// A request that waits, in `--json`.
#[derive(Debug, Serialize)]
struct Requested<'a> {
    id: String,
    digest: Digest,
    status: &'static str,
    rule: &'a str,
    hosts: &'a [HostName],
    logins: &'a [Login],
    r#for: u32,
    reason: &'a str,
    approvals_needed: u32,
    approvers: &'a [String],
    decide_by: Option<u64>,
}

pub(super) async fn cmd_login(context: &Context, args: LoginArgs) -> Result<Outcome, Failure> {
    let home = &context.home;
    let enrolment = Enrolment::load(home)?;
    let subject = match args.key.as_deref() {
        Some(path) => Subject::File(KeyFile::read(path)?),
        None => Subject::fresh()?,
    };
    // Better to hear of a missing agent now than after somebody approved.
    let held = match &subject {
        Subject::File(file) if !file.keypair().is_some_and(held::fits_agent) => Vec::new(),
        _ => held::list(&mut Agent::open()?, &trust::owner(home, &enrolment)?)?,
    };
    let mut ca = None;
    let login = match args.login.clone() {
        Some(login) => login,
        None => {
            let ca = connect(context, &enrolment, &mut ca).await?;
            find_login(context, ca, &args.hosts).await?
        }
    };
    let wish = Wish {
        hosts: args.hosts,
        login,
        span: args.span,
        because: args.because,
        permit: args.permit,
    };
    // What makes no request is an error too where none is needed.
    let unsaid = "not said yet".to_owned();
    statement::encode(&request(&enrolment, &wish, &subject, unsaid)?)?;
    let now = clock::now();
    let told = match &subject {
        Subject::Fresh(_) => at_hand(context, &enrolment, &held, &wish, now)?,
        Subject::File(_) => AtHand::Nothing,
    };
    let told = match told {
        AtHand::Enough => return Ok(Outcome::Done),
        AtHand::TooLittle(id) => Some(id),
        AtHand::Nothing => None,
    };
    let mut earlier = earlier_grants(context, &enrolment, &wish, &subject)?;
    let ca = connect(context, &enrolment, &mut ca).await?;
    let differs = |grant: &Grant| wish.differs_from(grant.request.body());
    if let Some(grant) = earlier.extract_if(.., |grant| differs(grant).is_none()).last() {
        if let Some(outcome) = take_up(context, ca, args.no_wait, &grant).await? {
            return Ok(outcome);
        }
    } else if let Some(grant) = earlier.last()
        && let Some(difference) = differs(grant)
        && told.is_none_or(|id| id != grant.request.id().as_str())
    {
        let id = grant.request.id();
        context.ui.say(&format!("The earlier request {id} is left as it is: {difference}."));
    }
    ask(context, ca, args.no_wait, &wish, subject).await
}

/// What the agent has of what is wanted.
enum AtHand {
    /// All of it.
    Enough,
    /// The accounts, by the request with this id, but for too short or with too little permitted.
    TooLittle(String),
    /// Nothing.
    Nothing,
}

/// Tells of access that is at hand already, and what is missing where it is not enough.
fn at_hand(
    context: &Context,
    enrolment: &Enrolment,
    held: &[Held],
    wish: &Wish,
    now: UnixTime,
) -> Result<AtHand, Failure> {
    let Context { ui, home } = context;
    let wanted = wish.principals();
    let mut too_little = None;
    for held in held.iter().filter(|held| held.is_at_hand(&wanted, now)) {
        let asked = grants::noted(home, &enrolment.ca(), &held.id, now)?;
        let asked = asked.as_ref().map(Verified::body);
        let because = asked.map(|asked| format!(" ({})", harmless(&asked.reason)));
        let standing = format!(
            "Access is at hand until {} under request {}{}.",
            utc(held.access_until),
            held.id,
            because.unwrap_or_default()
        );
        match wish.exceeds(held, asked, now) {
            None => {
                ui.say(&standing);
                Access::at_hand(held).tell(ui, now)?;
                return Ok(AtHand::Enough);
            }
            Some(more) => too_little = Some((held, format!("{standing} More is wanted: {more}."))),
        }
    }
    Ok(match too_little {
        Some((held, words)) => {
            ui.say(&words);
            AtHand::TooLittle(held.id.clone())
        }
        None => AtHand::Nothing,
    })
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

/// The request that a wish makes.
fn request(
    enrolment: &Enrolment,
    wish: &Wish,
    subject: &Subject,
    reason: String,
) -> Result<Request, Failure> {
    let mut request = Request::new(
        enrolment.ca(),
        enrolment.id.clone(),
        subject.public()?,
        wish.hosts.clone(),
        vec![wish.login.clone()],
        wish.span(),
        wish.because.clone().unwrap_or(reason),
        clock::now(),
        ca::nonce(),
    );
    request.permit = wish.permit();
    Ok(request)
}

/// Takes up an earlier request: renews, or goes on waiting. `None` if nothing can come of it.
async fn take_up(
    context: &Context,
    ca: &mut Ca<'_>,
    no_wait: bool,
    grant: &Grant,
) -> Result<Option<Outcome>, Failure> {
    let Context { ui, home } = context;
    let id = grant.request.id();
    match obtain::certify(ca, grant.digest()).await {
        Ok(certificate) => {
            ui.say(&format!("Request {id} still grants this."));
            obtain::take(ui, home, ca, grant, &certificate).await?;
            return Ok(Some(Outcome::Done));
        }
        Err(ApiError::Refused(detail)) => match detail.refusal.reason {
            Reason::NotApproved => {}
            Reason::Denied
            | Reason::Cancelled
            | Reason::Lapsed
            | Reason::Ended
            | Reason::PolicyRefused
            | Reason::NotAllowed
            | Reason::UnknownRequest
            | Reason::UnknownSigner => {
                ui.say(&format!(
                    "The earlier request {id} is over: {}",
                    harmless(&detail.refusal.message)
                ));
                grant.forget(home)?;
                return Ok(None);
            }
            _ => return Err(detail.refusal.into()),
        },
        Err(error) => return Err(error.into()),
    }
    ui.say(&format!("The request {id} for this waits already; taking it up."));
    let view = fetch(ca, &RequestRef::Digest(grant.digest())).await?;
    ui.object(&view.row())?;
    wait(context, ca, no_wait, grant).await.map(Some)
}

/// Makes a new request.
async fn ask(
    context: &Context,
    ca: &mut Ca<'_>,
    no_wait: bool,
    wish: &Wish,
    subject: Subject,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let reason = match &wish.because {
        Some(because) => because.clone(),
        None => ui.ask("Why do you need it?", "say why you need it: --because TEXT").await?,
    };
    let mut request = request(ca.enrolment, wish, &subject, reason)?;
    let (request, answer) = match submit(ca, &request).await {
        Err(Submission::SourceNeeded(address, _)) => {
            // The rule binds the certificate to where it is asked from: name that, once.
            request.source = vec![Cidr::single(address)];
            request.at = clock::now();
            submit(ca, &request).await
        }
        submitted => submitted,
    }?;
    let grant = Grant { request, subject };
    let body = grant.request.body();
    if let Some(certificate) = &answer.certificate {
        obtain::take(ui, home, ca, &grant, certificate).await?;
        return Ok(Outcome::Done);
    }
    grant.store(home, UnixTime(answer.decide_by).max(clock::now()).plus_secs(KEEP))?;
    ui.object(&Requested {
        id: grant.request.id().to_string(),
        digest: grant.digest(),
        status: status_name(answer.status()),
        rule: &answer.rule,
        hosts: &body.hosts,
        logins: &body.logins,
        r#for: body.r#for.get(),
        reason: &body.reason,
        approvals_needed: answer.approvals_needed,
        approvers: &answer.approvers,
        decide_by: (answer.decide_by > 0).then_some(answer.decide_by),
    })?;
    ui.say(&format!(
        "Request {} waits for {} (approvals needed: {}); it lapses {}.",
        grant.request.id(),
        either(&answer.approvers),
        answer.approvals_needed,
        relative(UnixTime(answer.decide_by), clock::now())
    ));
    if answer.status() == Status::Pending {
        return wait(context, ca, no_wait, &grant).await;
    }
    let certificate = obtain::certify(ca, grant.digest()).await?;
    obtain::take(ui, home, ca, &grant, &certificate).await?;
    Ok(Outcome::Done)
}

/// Waits for the decision, and takes what comes of it.
async fn wait(
    context: &Context,
    ca: &mut Ca<'_>,
    no_wait: bool,
    grant: &Grant,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let id = grant.request.id();
    if no_wait {
        ui.data(id.as_str())?;
        return Ok(Outcome::Pending);
    }
    let named = RequestRef::Digest(grant.digest());
    let followed = until_decided(ui, ca, &named, Changes::Quiet).await.map_err(|failure| {
        let back = format!("request {id} is left standing; come back with: jit-ssh watch {id}");
        if failure.outcome == Outcome::Unreachable { failure.hint(back) } else { failure }
    });
    match followed? {
        Followed::Interrupted => {
            ui.say(&format!("Request {id} is left standing."));
            ui.say(&format!(
                "hint: come back with: jit-ssh watch {id}; take it back with: jit-ssh cancel {id}"
            ));
            Ok(Outcome::Pending)
        }
        Followed::Decided(view) => match view.failure() {
            Some(failure) => {
                grant.forget(home)?;
                Err(failure)
            }
            None => {
                let certificate = obtain::certify(ca, grant.digest()).await?;
                obtain::take(ui, home, ca, grant, &certificate).await?;
                Ok(Outcome::Done)
            }
        },
    }
}
