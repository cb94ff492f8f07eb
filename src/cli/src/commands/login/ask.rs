//! A new request: made, waited for, and taken.

use std::time::Duration;

use jit_ssh_api::v1::{self, Status};
use jit_ssh_api::{ApiError, Reason};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::key::SubjectKey;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Request;
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::Serialize;

use super::break_glass;
use super::dry_run::{UNSAID, reason_wanted};
use crate::ca::{self, Ca};
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::follow::{Changes, Follow, Followed, Until, follow, interrupted_within};
use crate::grants::{Grant, Keeping, Subject};
use crate::notify::Notifier;
use crate::obtain::{self, Certificates};
use crate::submission::{explain, explain_open, submit_from_here};
use crate::text::{either, relative, utc};
use crate::ui::Ui;
use crate::view::{RequestRef, status_name};
use crate::wish::{Manner, Wish};

/// How long a key of a pending request is kept beyond its deadline, in seconds: the time in which
/// an approved request may still be taken up. One day.
const KEEP: u32 = 24 * 3600;
/// How often a CA whose clock is behind ours is asked whether the access has begun.
const BEHIND: Duration = Duration::from_secs(2);

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
    not_before: Option<UnixTime>,
    extends: Option<Digest>,
}

/// The request that a wish makes.
pub(super) fn request(
    enrolment: &Enrolment,
    wish: &Wish,
    subject: &Subject,
    reason: String,
) -> Result<Request, Failure> {
    request_for(enrolment, wish, subject.public()?, reason)
}

/// The same for a key of which only the public half is here.
pub(super) fn request_for(
    enrolment: &Enrolment,
    wish: &Wish,
    key: SubjectKey,
    reason: String,
) -> Result<Request, Failure> {
    let mut request = Request::new(
        enrolment.ca(),
        enrolment.id.clone(),
        key,
        wish.hosts.clone(),
        vec![wish.login.clone()],
        wish.span(),
        reason,
        clock::now(),
        ca::nonce(),
    );
    request.permit = wish.permit();
    request.command = wish.only.clone();
    match &wish.manner {
        Manner::Usual => {}
        Manner::At(at) => request.not_before = Some(*at),
        Manner::BreakGlass(second) => request.break_glass = Some(second.clone()),
        Manner::Extends(of) => request.extends = Some(of.request),
    }
    Ok(request)
}

/// Makes a new request. `confirmed` are the hosts that break-glass was confirmed for.
pub(super) async fn ask(
    context: &Context,
    ca: &mut Ca<'_>,
    no_wait: bool,
    confirmed: &[HostName],
    wish: &Wish,
    subject: Subject,
    keeping: Keeping,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let reason = match wish.reason() {
        Some(reason) => reason.to_owned(),
        None => ask_why(context, ca, wish, &subject).await?,
    };
    let mut request = request(ca.enrolment, wish, &subject, reason)?;
    if let Some(second) = request.break_glass.clone() {
        break_glass::confirm(context, ca, &request, &second, confirmed).await?;
        // Typing takes a while, and a statement is made when it is sent.
        request.at = clock::now();
    }
    let (request, answer) = submit_from_here(ca, &mut request).await?;
    let prolongs = wish.prolongs().map(|of| of.access_until);
    let grant = Grant { request, subject, prolongs, keeping };
    if let Some(access) = &answer.certificate {
        let (access, jumps) = (access.clone(), answer.jumps.clone());
        obtain::take(ui, home, ca, &grant, &Certificates { access, jumps }).await?;
        return Ok(Outcome::Done);
    }
    let now = clock::now();
    let begins = grant.request.body().begins();
    let last = UnixTime(answer.decide_by).max(begins).max(prolongs.unwrap_or(now)).max(now);
    grant.store(home, last.plus_secs(KEEP))?;
    ui.object(&requested(&grant, &answer))?;
    ui.say(&asked(&grant, &answer, now));
    if answer.status() == Status::Pending || begins > now {
        return wait(context, ca, no_wait, &grant).await;
    }
    let certificate = obtain::certify(ca, grant.digest()).await?;
    obtain::take(ui, home, ca, &grant, &certificate).await?;
    Ok(Outcome::Done)
}

/// Asks for the reason, and says before what the rule wants of it.
async fn ask_why(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: &Wish,
    subject: &Subject,
) -> Result<String, Failure> {
    let open = request(ca.enrolment, wish, subject, UNSAID.to_owned())?;
    let otherwise = "say why you need it: --because TEXT; --dry-run says what the rule wants of it";
    ask_reason(&context.ui, ca, &open, otherwise).await
}

/// Asks why this is needed, whose reason is not said yet; fails, saying `otherwise`, where nobody can be asked.
pub(in crate::commands) async fn ask_reason(
    ui: &Ui,
    ca: &mut Ca<'_>,
    open: &Request,
    otherwise: &str,
) -> Result<String, Failure> {
    if ui.can_ask() {
        match explain_open(ca, open).await {
            Ok(answer) => ui.say(&format!(
                "The rule {} wants a reason: {}.",
                harmless(&answer.rule),
                reason_wanted(&answer)
            )),
            // No reason would help.
            Err(refused) if refused.outcome == Outcome::Refused => return Err(refused),
            Err(_) => {}
        }
    }
    ui.ask("Why do you need it?", otherwise).await
}

/// Asks why and how long access is needed, as far as neither was said and a person can be asked.
pub(super) async fn ask_all(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: &mut Wish,
    subject: &Subject,
) -> Result<(), Failure> {
    let ui = &context.ui;
    let reason = match wish.reason() {
        Some(reason) => reason.to_owned(),
        None => ask_why(context, ca, wish, subject).await?,
    };
    if wish.span.is_none() && ui.can_ask() {
        let asked = request(ca.enrolment, wish, subject, reason.clone())?;
        wish.span = Some(ask_span(ui, ca, &asked).await?);
    }
    wish.because = Some(reason);
    Ok(())
}

/// Asks for how long this is needed, and offers what it says now.
pub(in crate::commands) async fn ask_span(
    ui: &Ui,
    ca: &mut Ca<'_>,
    asked: &Request,
) -> Result<Seconds, Failure> {
    let longest = match explain(ca, asked).await {
        Ok(answer) => Seconds::new(answer.max_for),
        Err(refused) if refused.outcome == Outcome::Refused => return Err(refused),
        Err(_) => None,
    };
    let usual = longest.map_or(asked.r#for, |longest| longest.min(asked.r#for));
    let most = longest.map(|longest| format!(", at most {longest}")).unwrap_or_default();
    let answer = ui.ask_or(&format!("For how long{most}?"), &usual.to_string()).await?;
    answer.parse().map_err(|e| Failure::usage(format!("{answer:?}: {e}.")))
}

fn requested<'a>(grant: &'a Grant, answer: &'a v1::SubmitResponse) -> Requested<'a> {
    let body = grant.request.body();
    Requested {
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
        not_before: body.not_before,
        extends: body.extends,
    }
}

/// What was asked, and what comes next; harmless.
pub(in crate::commands) fn asked(
    grant: &Grant,
    answer: &v1::SubmitResponse,
    now: UnixTime,
) -> String {
    let (id, body) = (grant.request.id(), grant.request.body());
    let opens = body.not_before.map(|opens| {
        format!(" If it is approved by then, it opens {} ({}).", relative(opens, now), utc(opens))
    });
    match (answer.status(), body.not_before) {
        (Status::Pending, _) => format!(
            "Request {id} waits for {} (approvals needed: {}); it lapses {}.{}",
            either(&answer.approvers),
            answer.approvals_needed,
            relative(UnixTime(answer.decide_by), now),
            opens.unwrap_or_default()
        ),
        (status, Some(opens)) => {
            let (name, opens_in) = (status_name(status), relative(opens, now));
            format!("Request {id} is {name}; it opens {opens_in} ({}).", utc(opens))
        }
        (status, None) => format!("Request {id} is {}.", status_name(status)),
    }
}

/// Waits for the decision and the opening, and takes what comes of it.
pub(super) async fn wait(
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
    let notifier = Notifier::load(ui, home)?;
    let mut told = false;
    loop {
        let (until, changes) = (Until::Open, Changes::Quiet);
        let how = Follow { named: &named, until, changes, stands: true, notifier: &notifier };
        let followed = follow(ui, ca, how).await;
        let followed = followed.map_err(|failure| {
            let back = format!("request {id} is left standing; come back with: jit-ssh watch {id}");
            if failure.outcome == Outcome::Unreachable { failure.hint(back) } else { failure }
        });
        let Followed::Decided(view) = followed? else {
            return Ok(left_standing(context, grant));
        };
        if let Some(failure) = view.failure() {
            grant.forget(home)?;
            return Err(failure);
        }
        if let Some(less) = view.granted_less().filter(|_| !told) {
            ui.say(&format!("Less than what was asked for is {less}."));
            told = true;
        }
        match obtain::certify(ca, grant.digest()).await {
            // The CA's clock is behind ours, as far as clocks may differ.
            Err(error) if is_early(&error) => {
                if interrupted_within(BEHIND).await {
                    return Ok(left_standing(context, grant));
                }
            }
            certificate => {
                obtain::take(ui, home, ca, grant, &certificate?).await?;
                return Ok(Outcome::Done);
            }
        }
    }
}

/// Whether the access has not begun.
pub(super) fn is_early(error: &ApiError) -> bool {
    error.reason() == Some(Reason::TooEarly)
}

fn left_standing(context: &Context, grant: &Grant) -> Outcome {
    let id = grant.request.id();
    context.ui.say(&format!("Request {id} is left standing."));
    context.ui.say(&format!(
        "hint: come back with: jit-ssh watch {id}; take it back with: jit-ssh cancel {id}"
    ));
    Outcome::Pending
}
