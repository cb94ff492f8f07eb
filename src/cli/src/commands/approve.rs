//! `jit-ssh approve`: says yes to a request, in full or to less of it; of break-glass, that it was
//! right.

use clap::Args;
use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Decision, Request};
use jit_ssh_core::time::{Seconds, UnixTime};
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::confirm::confirm;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::text::{all_of, utc};
use crate::view::{RequestRef, View, status_name};

/// Approve a request, in full or to less of it.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  jit-ssh approve 7kq2m9xw4p --for 5m\n\n\
    On a break-glass request this is its review, and says that it was right.")]
pub(crate) struct ApproveArgs {
    /// The request's id, or the first 4 or more characters of it.
    pub(super) id: RequestRef,
    /// Allow less time than asked, such as 10m.
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Seconds>,
    /// Allow only this host of those asked; may be repeated.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<HostName>,
    /// Allow only this account of those asked; may be repeated.
    #[arg(long = "login", value_name = "LOGIN")]
    logins: Vec<Login>,
    /// Say why.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

/// A decision that was taken, in `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Decided<'a> {
    id: String,
    digest: Digest,
    verdict: &'static str,
    by: &'a str,
    status: &'static str,
    approvals_given: u32,
    approvals_needed: u32,
    access_until: Option<u64>,
    detail: &'a str,
    review: bool,
}

pub(super) async fn cmd_approve(context: &Context, args: ApproveArgs) -> Result<Outcome, Failure> {
    context.ui.can_confirm()?;
    let enrolment = Enrolment::load(&context.home)?;
    let mut ca = Ca::connect(&context.home, &enrolment).await?;
    let (view, earlier) = fetch_to_decide(&mut ca, &args.id).await?;
    let asked = view.asked();
    let review = asked.break_glass.is_some();
    if review {
        let narrows = args.span.is_some() || !args.hosts.is_empty() || !args.logins.is_empty();
        if narrows {
            let message = "this is the review of a break-glass request, which allows nothing: leave --for, --host and --login away.";
            return Err(Failure::usage(message));
        }
    } else if let Some(failure) = too_late(&view) {
        return Err(failure);
    }
    let decision = Decision::approve(
        enrolment.ca(),
        enrolment.id.clone(),
        view.digest(),
        narrower_span(asked, args.span)?,
        narrower(&asked.hosts, args.hosts)?,
        narrower(&asked.logins, args.logins)?,
        args.because,
        clock::now(),
    );
    let question = match review {
        true => format!("Review {} as {}: it was right?", view.id(), enrolment.id),
        false => format!("Approve {} as {}?", view.id(), enrolment.id),
    };
    decide(context, &ca, &view, earlier.as_ref(), decision, &question, "approve").await
}

/// Shows what is decided on and what will be signed, asks, signs it and hands it in.
pub(super) async fn decide(
    context: &Context,
    ca: &Ca<'_>,
    view: &View,
    earlier: Option<&View>,
    mut decision: Decision,
    question: &str,
    verdict: &'static str,
) -> Result<Outcome, Failure> {
    let mut lines = view.ballot(earlier, clock::now());
    lines.extend(view.signing(&decision));
    confirm(context, &lines, question).await?;
    // Reading takes a while, and a statement is made when it is sent.
    decision.at = clock::now();
    hand_in(context, ca, view, &decision, verdict).await
}

/// A request to be decided, with what its subject was granted there before. What of that does not
/// verify is as good as not there.
pub(super) async fn fetch_to_decide(
    ca: &mut Ca<'_>,
    named: &RequestRef,
) -> Result<(View, Option<View>), Failure> {
    let (said, earlier) = ca.get_with_earlier(&named.to_string()).await?;
    let view = View::open(said, &ca.enrolment.ca())?;
    named.check(&view)?;
    let earlier = earlier.and_then(|said| View::open(said, &ca.enrolment.ca()).ok());
    Ok((view, earlier))
}

/// Why a decision comes too late, told before anybody is asked to confirm it; the CA would say the
/// same. A review never does.
pub(super) fn too_late(view: &View) -> Option<Failure> {
    view.settled("this decision changes nothing")
}

/// Signs a decision, hands it in and tells what follows.
async fn hand_in(
    context: &Context,
    ca: &Ca<'_>,
    view: &View,
    decision: &Decision,
    verdict: &'static str,
) -> Result<Outcome, Failure> {
    let ui = &context.ui;
    let Enrolment { id: by, identity, .. } = ca.enrolment;
    let decision = Some(identity.sign(decision)?.to_message());
    let answer = ca.client().decide(v1::DecideRequest { decision }).await?;
    let id = view.id();
    let (given, needed) = (answer.approvals_given, answer.approvals_needed);
    let review = view.asked().break_glass.is_some();
    ui.say(&told(view, &answer));
    if review && verdict == "deny" && answer.status() == v1::Status::Active {
        ui.say(&format!("hint: to take the access away: jit-ssh revoke {id}"));
    }
    ui.object(&Decided {
        id: id.to_string(),
        digest: view.digest(),
        verdict,
        by: by.as_str(),
        status: status_name(answer.status()),
        approvals_given: given,
        approvals_needed: needed,
        access_until: (answer.access_until > 0).then_some(answer.access_until),
        detail: &answer.detail,
        review,
    })?;
    Ok(Outcome::Done)
}

/// Where the request stands after a decision, for people.
fn told(view: &View, answer: &v1::DecideResponse) -> String {
    let id = view.id();
    let (given, needed) = (answer.approvals_given, answer.approvals_needed);
    let until = utc(UnixTime(answer.access_until));
    if view.asked().break_glass.is_some() {
        let status = status_name(answer.status());
        return format!("The review of request {id} is recorded; the request is {status}.");
    }
    match answer.status() {
        v1::Status::Pending => format!("Request {id} has {given} of {needed} approvals now."),
        v1::Status::Approved | v1::Status::Active => {
            format!("Request {id} is approved; the access ends at {until}.")
        }
        // Of several approvals that leave nothing together, say, each approver hears why.
        other => {
            let detail = harmless(&answer.detail);
            // Most of these sentences name the request themselves.
            if let Some(rest) = detail.strip_prefix("request ") {
                return format!("Request {rest}");
            }
            let line = format!("Request {id} is {}: {detail}", status_name(other));
            line.trim_end_matches([' ', ':']).to_owned()
        }
    }
}

fn narrower_span(asked: &Request, wanted: Option<Seconds>) -> Result<Seconds, Failure> {
    match wanted {
        Some(span) if span > asked.r#for => Err(Failure::usage(format!(
            "{span} is longer than the {} that were asked for; an approval can only shorten it.",
            asked.r#for
        ))),
        Some(span) => Ok(span),
        None => Ok(asked.r#for),
    }
}

/// Those of the hosts or logins asked for that are allowed: all, or the ones named.
fn narrower<T: Clone + PartialEq + ToString>(
    asked: &[T],
    wanted: Vec<T>,
) -> Result<Vec<T>, Failure> {
    if let Some(other) = wanted.iter().find(|one| !asked.contains(one)) {
        let all = all_of(&asked.iter().map(ToString::to_string).collect::<Vec<_>>());
        let other = other.to_string();
        return Err(Failure::usage(format!(
            "{other} was not asked for; the request is for {all}."
        )));
    }
    Ok(if wanted.is_empty() { asked.to_vec() } else { wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::{ca, grant_with};
    use crate::view::tests::said_of;

    #[test]
    fn an_approver_hears_where_the_request_stands_and_why() {
        let told = |grant: &crate::grants::Grant, status: v1::Status| {
            let view = View::open(said_of(grant), &ca()).unwrap();
            let answer = v1::DecideResponse {
                status: status.into(),
                access_until: 1_790_000_600,
                approvals_needed: 2,
                approvals_given: 1,
                detail: "the approvals have no host in common.\u{1b}".to_owned(),
            };
            told(&view, &answer).replace(view.id().as_str(), "ID")
        };
        let usual = grant_with("INC-42", |_| ());
        let pending = told(&usual, v1::Status::Pending);
        assert_eq!(pending, "Request ID has 1 of 2 approvals now.");
        let approved = told(&usual, v1::Status::Approved);
        assert!(approved.starts_with("Request ID is approved; the access ends at 2026-09-21"));
        let refused = told(&usual, v1::Status::Refused);
        let why = "the approvals have no host in common.\\u{1b}";
        assert_eq!(refused, format!("Request ID is refused: {why}"));
        let broken = grant_with("INC-42", |request| request.break_glass = Some("fire".into()));
        let review = told(&broken, v1::Status::Active);
        assert_eq!(review, "The review of request ID is recorded; the request is active.");
    }

    #[test]
    fn an_approval_names_some_of_what_was_asked_and_nothing_else() {
        let names = |text: &str| -> Vec<Login> {
            text.split_whitespace().map(|name| name.parse().unwrap()).collect()
        };
        let asked = names("deploy root");
        assert_eq!(narrower(&asked, names("")).unwrap(), asked);
        assert_eq!(narrower(&asked, names("deploy")).unwrap(), names("deploy"));
        let refused = narrower(&asked, names("deploy admin")).unwrap_err();
        assert_eq!(refused.message, "admin was not asked for; the request is for deploy and root.");
    }
}
