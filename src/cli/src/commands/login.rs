//! `jit-ssh login`: asks for access, waits for the decision, and loads the certificate.

use std::path::PathBuf;

use clap::Args;
use jit_ssh_api::v1::Status;
use jit_ssh_api::{ApiError, Reason};
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::cidr::Cidr;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{HostName, Login, Principal};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Request;
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
use crate::held;
use crate::obtain::{self, Access};
use crate::submission::{Submission, submit};
use crate::text::{either, relative};
use crate::trust;
use crate::view::{RequestRef, status_name};
use jit_ssh_api::agent::Agent;

/// How long a key of a pending request is kept beyond its deadline, in seconds: the time in which
/// an approved request may still be taken up. One day.
const KEEP: u32 = 24 * 3600;

/// Ask for access to hosts, wait for the decision, and load the certificate.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  jit-ssh login prod-host --as deploy --for 10m --because \"INC-42 disk full\"\n\n\
    LIST is of pty, port-forwarding, agent-forwarding, x11-forwarding and user-rc.\n\
    Ctrl-C leaves the request standing; `jit-ssh watch ID` or the same login takes it up."
)]
pub(crate) struct LoginArgs {
    /// The hosts.
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<HostName>,
    /// The account on them; needless where there is only one.
    #[arg(long = "as", value_name = "LOGIN")]
    login: Option<Login>,
    /// How long you need it, from approval on.
    #[arg(long = "for", value_name = "TIME", default_value = "15m")]
    span: Seconds,
    /// Why you need it: approvers and auditors read it.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Ask, print the id and do not wait: exit code 3 if it is pending.
    #[arg(long)]
    no_wait: bool,
    /// Certify this key instead of a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What sessions may do.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "pty,port-forwarding",
          value_parser = permit)]
    permit: Vec<Permit>,
}

fn permit(text: &str) -> Result<Permit, String> {
    Permit::ALL.into_iter().find(|permit| permit.as_str() == text).ok_or_else(|| {
        let names: Vec<_> = Permit::ALL.iter().map(|permit| permit.as_str()).collect();
        format!("there is no {text:?}; use {}", either(&names))
    })
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
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let file = args.key.as_deref().map(KeyFile::read).transpose()?;
    // Better to hear of a missing agent now than after somebody approved.
    let held = match &file {
        Some(file) if !file.keypair().is_some_and(held::fits_agent) => Vec::new(),
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
    let wanted: Vec<Principal> =
        args.hosts.iter().map(|host| Principal::new(login.clone(), host.clone())).collect();
    let now = clock::now();
    if file.is_none()
        && let Some(held) = held.iter().find(|held| held.is_at_hand(&wanted, now))
    {
        ui.say("This access is at hand already.");
        Access::at_hand(held).tell(ui, now)?;
        return Ok(Outcome::Done);
    }
    let subject = match file {
        Some(file) => Subject::File(file),
        None => Subject::fresh()?,
    };
    let earlier = earlier_grant(context, &enrolment, &wanted, &subject)?;
    let ca = connect(context, &enrolment, &mut ca).await?;
    if let Some(grant) = earlier
        && let Some(outcome) = take_up(context, ca, &args, &grant).await?
    {
        return Ok(outcome);
    }
    ask(context, ca, &args, login, subject).await
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

/// What is kept of an earlier login for the same, with the same kind of key.
fn earlier_grant(
    context: &Context,
    enrolment: &Enrolment,
    wanted: &[Principal],
    subject: &Subject,
) -> Result<Option<Grant>, Failure> {
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
        same_key && body.by == enrolment.id && grant.is_for(wanted)
    });
    Ok(grants.pop())
}

/// Takes up an earlier request: renews, or goes on waiting. `None` if nothing can come of it.
async fn take_up(
    context: &Context,
    ca: &mut Ca<'_>,
    args: &LoginArgs,
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
    wait(context, ca, args, grant).await.map(Some)
}

/// Makes a new request.
async fn ask(
    context: &Context,
    ca: &mut Ca<'_>,
    args: &LoginArgs,
    login: Login,
    subject: Subject,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let Enrolment { id, .. } = ca.enrolment;
    let reason = match &args.because {
        Some(because) => because.clone(),
        None => ui.ask("Why do you need it?", "say why you need it: --because TEXT").await?,
    };
    let mut request = Request::new(
        ca.enrolment.ca(),
        id.clone(),
        subject.public()?,
        args.hosts.clone(),
        vec![login],
        args.span,
        reason,
        clock::now(),
        ca::nonce(),
    );
    request.permit = args.permit.clone();
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
        return wait(context, ca, args, &grant).await;
    }
    let certificate = obtain::certify(ca, grant.digest()).await?;
    obtain::take(ui, home, ca, &grant, &certificate).await?;
    Ok(Outcome::Done)
}

/// Waits for the decision, and takes what comes of it.
async fn wait(
    context: &Context,
    ca: &mut Ca<'_>,
    args: &LoginArgs,
    grant: &Grant,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let id = grant.request.id();
    if args.no_wait {
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
