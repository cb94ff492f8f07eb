//! `jit-ssh approve`: says yes to a request, in full or to less of it.

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
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::text::{all_of, utc};
use crate::view::{RequestRef, View, status_name};

/// Approve a request, in full or to less of it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jit-ssh approve 7kq2m9xw4p --for 5m")]
pub(crate) struct ApproveArgs {
    /// The request's id, or the first 4 or more characters of it.
    id: RequestRef,
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
}

pub(super) async fn cmd_approve(context: &Context, args: ApproveArgs) -> Result<Outcome, Failure> {
    context.ui.can_confirm()?;
    let enrolment = Enrolment::load(&context.home)?;
    let mut ca = Ca::connect(&context.home, &enrolment).await?;
    let view = fetch(&mut ca, &args.id).await?;
    let asked = view.asked();
    let span = narrower_span(asked, args.span)?;
    let hosts = narrower(&asked.hosts, args.hosts)?;
    let logins = narrower(&asked.logins, args.logins)?;
    let action = [
        (
            "you allow",
            format!(
                "{span} as {} on {}",
                all_of(&logins.iter().map(Login::as_str).collect::<Vec<_>>()),
                all_of(&hosts.iter().map(HostName::as_str).collect::<Vec<_>>())
            ),
        ),
        ("because", args.because.as_deref().map_or_else(|| "-".to_owned(), harmless)),
    ];
    confirm(context, &view, &action, &format!("Approve {} as {}?", view.id(), enrolment.id))
        .await?;
    let decision = Decision::approve(
        enrolment.ca(),
        enrolment.id.clone(),
        view.digest(),
        span,
        hosts,
        logins,
        args.because,
        clock::now(),
    );
    hand_in(context, &ca, &view, &decision, "approve").await
}

/// Signs a decision, hands it in and tells what follows.
pub(super) async fn hand_in(
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
    ui.say(&match answer.status() {
        v1::Status::Pending => format!("Request {id} has {given} of {needed} approvals now."),
        v1::Status::Approved | v1::Status::Active => {
            format!(
                "Request {id} is approved; the access ends at {}.",
                utc(UnixTime(answer.access_until))
            )
        }
        other => format!("Request {id} is {}.", status_name(other)),
    });
    ui.object(&Decided {
        id: id.to_string(),
        digest: view.digest(),
        verdict,
        by: by.as_str(),
        status: status_name(answer.status()),
        approvals_given: given,
        approvals_needed: needed,
        access_until: (answer.access_until > 0).then_some(answer.access_until),
    })?;
    Ok(Outcome::Done)
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
