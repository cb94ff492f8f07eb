//! Ending a request: what `cancel`, `release` and `revoke` have in common.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Cause, End};
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::confirm::confirm;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::Failure;
use crate::text::span;
use crate::view::{RequestRef, View, status_name};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Ended {
    id: String,
    digest: Digest,
    status: &'static str,
    live_seconds: u32,
}

/// Shows a request, asks, and signs and hands in its end; gives the request as it stood before.
pub(super) async fn end(
    context: &Context,
    enrolment: &Enrolment,
    named: &RequestRef,
    cause: Cause,
    because: Option<String>,
) -> Result<View, Failure> {
    let Context { ui, home } = context;
    let mut ca = Ca::connect(home, enrolment).await?;
    let view = fetch(&mut ca, named).await?;
    if let Some(failure) = nothing_left(&view, cause) {
        return Err(failure);
    }
    let id = view.id();
    let (verb, question) = words(cause);
    let because_shown = because.as_deref().map_or_else(|| "-".to_owned(), harmless);
    let standing = ("status", view.standing(clock::now()));
    let question = format!("{question} {id} as {}?", enrolment.id);
    let mut lines = view.asked_lines();
    lines.extend([standing, (verb, because_shown)]);
    confirm(context, &lines, &question).await?;
    let (by, digest) = (enrolment.id.clone(), view.digest());
    let end = End::new(enrolment.ca(), by, digest, cause, because, clock::now());
    let end = Some(enrolment.identity.sign(&end)?.to_message());
    let answer = ca.client().end(v1::EndRequest { end }).await?;
    ui.say(&told(&view, &answer));
    ui.object(&Ended {
        id: id.to_string(),
        digest,
        status: status_name(answer.status()),
        live_seconds: answer.live_seconds,
    })?;
    Ok(view)
}

/// Why there is nothing to end, told before anybody is asked to confirm it; the CA would say the same.
fn nothing_left(view: &View, cause: Cause) -> Option<Failure> {
    let verb = match cause {
        Cause::Cancel => "cancel",
        Cause::Release => "give back",
        Cause::Revoke => "revoke",
    };
    view.settled(&format!("there is nothing to {verb}"))
}

/// What the confirmation says of it: the line with the reason, and the question.
fn words(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::Cancel => ("you cancel", "Cancel"),
        Cause::Release => ("you give back", "Give back"),
        Cause::Revoke => ("you take away", "Revoke"),
    }
}

/// How it stands after its end, for people.
fn told(view: &View, answer: &v1::EndResponse) -> String {
    let mut text = format!("Request {} is {}.", view.id(), status_name(answer.status()));
    let live = u64::from(answer.live_seconds);
    if live > 0 {
        text.push_str(&format!(
            " A certificate of it{} may still be accepted for {} at hosts that have not heard of this.",
            if view.said.extensions.is_empty() { "" } else { ", or of what prolongs it," },
            span(live)
        ));
    } else if !view.said.certificates.is_empty() {
        text.push_str(" No certificate of it is valid any more.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::ca;
    use crate::view::tests::said;

    #[test]
    fn an_end_tells_for_how_long_a_certificate_may_still_be_accepted() {
        let told = |certified: bool, status: v1::Status, live_seconds| {
            let issued = v1::IssuedCertificate { serial: 7, at: 1, valid_before: 2 };
            let certificates = if certified { vec![issued] } else { Vec::new() };
            let said = v1::AccessState { certificates, ..said("INC-42") };
            let view = View::open(said, &ca()).unwrap();
            let answer = v1::EndResponse { status: status.into(), live_seconds };
            let text = told(&view, &answer);
            text.replace(view.id().as_str(), "ID")
        };
        assert_eq!(
            told(true, v1::Status::Revoked, 250),
            "Request ID is revoked. A certificate of it may still be accepted for 4m10s at hosts \
             that have not heard of this."
        );
        assert_eq!(
            told(true, v1::Status::Released, 0),
            "Request ID is released. No certificate of it is valid any more."
        );
        assert_eq!(told(false, v1::Status::Cancelled, 0), "Request ID is cancelled.");
    }

    #[test]
    fn programs_hear_of_an_end_by_its_stable_names() {
        let digest = Digest::of(b"x");
        let ended = Ended { id: "7kq2m9xw4p".into(), digest, status: "revoked", live_seconds: 9 };
        let json = serde_json::to_string(&ended).unwrap();
        let expected = format!(
            "{{\"id\":\"7kq2m9xw4p\",\"digest\":\"{digest}\",\"status\":\"revoked\",\"live_seconds\":9}}"
        );
        assert_eq!(json, expected);
    }
}
