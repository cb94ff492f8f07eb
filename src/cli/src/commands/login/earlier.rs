//! Earlier requests for the same that still stand: taken up instead of asking anew.

use jit_ssh_api::v1::Status;
use jit_ssh_api::{ApiError, Reason};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;

use super::ask::{is_early, wait};
use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::release::{drop_access, drop_requests};
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants::{self, Grant, Live, Subject};
use crate::obtain;
use crate::view::{RequestRef, View};
use crate::wish::Wish;

/// What is kept of earlier logins for the same accounts, with the same kind of key; oldest first.
pub(super) fn earlier_grants(
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    /// A certificate: taken, or to be had for the asking.
    Grants,
    /// To be waited for.
    Waits,
    /// Nothing.
    Over,
}

impl Earlier {
    /// By what the CA says to who asks for a certificate; `None` for what says nothing of it.
    fn by_refusal(reason: Reason) -> Option<Earlier> {
        match reason {
            Reason::NotApproved | Reason::TooEarly => Some(Earlier::Waits),
            over if is_final_refusal(over) => Some(Earlier::Over),
            Reason::PolicyRefused
            | Reason::NotAllowed
            | Reason::UnknownRequest
            | Reason::UnknownSigner => Some(Earlier::Over),
            _ => None,
        }
    }

    /// By where it stands, without asking for a certificate.
    fn by_view(view: &View, now: UnixTime) -> Earlier {
        match view.status() {
            Status::Pending => Earlier::Waits,
            Status::Approved if view.opens_later(now).is_some() => Earlier::Waits,
            Status::Approved | Status::Active => Earlier::Grants,
            Status::Unspecified
            | Status::Denied
            | Status::Cancelled
            | Status::Lapsed
            | Status::Ended
            | Status::Released
            | Status::Revoked
            | Status::Refused => Earlier::Over,
        }
    }
}

/// Which of earlier requests for the same answers, by what `probe` finds of each: the newest that
/// still grants it, or else the newest that waits. `None` if nothing can come of them.
async fn answering(
    same: Vec<Grant>,
    mut probe: impl AsyncFnMut(&Grant) -> Result<Earlier, Failure>,
) -> Result<Option<(Grant, Earlier)>, Failure> {
    let mut waits = None;
    for grant in same.into_iter().rev() {
        match probe(&grant).await? {
            Earlier::Grants => return Ok(Some((grant, Earlier::Grants))),
            Earlier::Waits => waits = waits.or(Some((grant, Earlier::Waits))),
            Earlier::Over => {}
        }
    }
    Ok(waits)
}

/// Takes up earlier requests for the same: renews by one that still grants it, or goes on waiting for
/// one that waits. `None` if nothing can come of them.
pub(super) async fn take_up(
    context: &Context,
    ca: &mut Ca<'_>,
    no_wait: bool,
    same: Vec<Grant>,
) -> Result<Option<Outcome>, Failure> {
    let connected = &*ca;
    let found = answering(same, async |grant| renew(context, connected, grant).await).await?;
    let grant = match found {
        Some((_, Earlier::Grants)) => return Ok(Some(Outcome::Done)),
        Some((grant, Earlier::Waits)) => grant,
        Some((_, Earlier::Over)) | None => return Ok(None),
    };
    let id = grant.request.id();
    context.ui.say(&format!("The request {id} for this waits already; taking it up."));
    let view = fetch(ca, &RequestRef::Digest(grant.digest())).await?;
    context.ui.object(&view.row())?;
    wait(context, ca, no_wait, &grant).await.map(Some)
}

/// Which earlier request would be taken up, and how it stands, without taking anything.
pub(super) async fn would_take_up(
    context: &Context,
    ca: &mut Ca<'_>,
    same: Vec<Grant>,
) -> Result<Option<(View, Earlier)>, Failure> {
    let mut views = Vec::new();
    let found = answering(same, async |grant| {
        let view = match fetch(ca, &RequestRef::Digest(grant.digest())).await {
            // As when its certificate is asked for.
            Err(failure) if failure.name == Reason::UnknownRequest.as_str() => {
                return Ok(Earlier::Over);
            }
            view => view?,
        };
        let stands = Earlier::by_view(&view, clock::now());
        if stands == Earlier::Over {
            context.ui.say(&over(&view));
        }
        views.push(view);
        Ok(stands)
    })
    .await?;
    Ok(found.and_then(|(grant, stands)| {
        let view = views.into_iter().find(|view| view.digest() == grant.digest())?;
        Some((view, stands))
    }))
}

/// Whether the CA says that an access that is live by what was noted here is over, and says so then.
/// Unless `only_look`, what is here of it is dropped: with what prolongs it where that falls too.
pub(super) async fn is_over(
    context: &Context,
    ca: &mut Ca<'_>,
    noted: &Live,
    only_look: bool,
) -> Result<bool, Failure> {
    let view = match fetch(ca, &RequestRef::Digest(noted.request.digest())).await {
        // What the CA has lost may be live all the same, at hosts: it is not dropped.
        Err(failure) if failure.name == Reason::UnknownRequest.as_str() => return Ok(false),
        view => view?,
    };
    if !is_final(view.status()) {
        return Ok(false);
    }
    context.ui.say(&over(&view));
    if !only_look {
        match view.status() {
            Status::Released | Status::Revoked => {
                drop_access(context, ca.enrolment, &view).await?;
            }
            _ => drop_requests(context, ca.enrolment, &[view.digest()]).await?,
        }
    }
    Ok(true)
}

/// Whether a request has come to its end for good, whatever the policy says.
fn is_final(status: Status) -> bool {
    match status {
        Status::Denied
        | Status::Cancelled
        | Status::Lapsed
        | Status::Ended
        | Status::Released
        | Status::Revoked => true,
        // A policy that refuses it today may allow it again.
        Status::Refused
        | Status::Unspecified
        | Status::Pending
        | Status::Approved
        | Status::Active => false,
    }
}

/// The same by the CA's refusal of a certificate.
fn is_final_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Denied
            | Reason::Cancelled
            | Reason::Lapsed
            | Reason::Ended
            | Reason::Released
            | Reason::Revoked
    )
}

fn over(view: &View) -> String {
    let why = harmless(&view.said.detail);
    format!("The earlier request {} is over: {why}", view.id())
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
            Ok(Earlier::Grants)
        }
        Err(error) if is_early(&error) => Ok(Earlier::Waits),
        Err(ApiError::Refused(detail)) => match Earlier::by_refusal(detail.refusal.reason) {
            Some(Earlier::Over) => {
                let why = harmless(&detail.refusal.message);
                ui.say(&format!("The earlier request {id} is over: {why}"));
                if is_final_refusal(detail.refusal.reason) {
                    drop_requests(context, ca.enrolment, &[grant.digest()]).await?;
                } else {
                    grants::forget_access(home, &grant.digest())?;
                }
                Ok(Earlier::Over)
            }
            Some(stands) => Ok(stands),
            None => Err(detail.refusal.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::{ca, grant};
    use crate::view::tests::said_of;
    use jit_ssh_api::v1;

    #[test]
    fn an_earlier_request_is_good_for_the_same_by_its_status_as_by_a_refusal_of_a_certificate() {
        let now = UnixTime(1_790_000_000);
        let grant = grant("INC-42");
        let by_status = |status: Status, opens_at: u64| {
            let said = said_of(&grant);
            let said = v1::AccessState { status: status.into(), opens_at, ..said };
            Earlier::by_view(&View::open(said, &ca()).unwrap(), now)
        };
        assert_eq!(by_status(Status::Active, 0), Earlier::Grants);
        assert_eq!(by_status(Status::Approved, now.0), Earlier::Grants);
        for (status, opens, reason) in [
            (Status::Pending, 0, Reason::NotApproved),
            (Status::Approved, now.0 + 1, Reason::TooEarly),
            (Status::Denied, 0, Reason::Denied),
            (Status::Cancelled, 0, Reason::Cancelled),
            (Status::Lapsed, 0, Reason::Lapsed),
            (Status::Ended, 0, Reason::Ended),
            (Status::Released, 0, Reason::Released),
            (Status::Revoked, 0, Reason::Revoked),
            (Status::Refused, 0, Reason::PolicyRefused),
        ] {
            assert_eq!(Some(by_status(status, opens)), Earlier::by_refusal(reason), "{reason}");
            assert_eq!(is_final(status), is_final_refusal(reason), "{reason}");
        }
        // What heals says nothing of the request.
        assert_eq!(Earlier::by_refusal(Reason::SignerUnavailable), None);
    }

    #[tokio::test]
    async fn the_newest_that_grants_goes_before_any_that_waits() {
        let found = |stands: [Earlier; 3]| async move {
            let same: Vec<Grant> = ["a", "b", "c"].map(grant).into();
            let probe = async |grant: &Grant| {
                let place = ["a", "b", "c"].iter().position(|r| *r == grant.request.body().reason);
                Ok(stands[place.unwrap()])
            };
            let found = answering(same, probe).await.unwrap();
            found.map(|(grant, stands)| (grant.request.body().reason.clone(), stands))
        };
        use Earlier::{Grants, Over, Waits};
        assert_eq!(found([Grants, Waits, Over]).await, Some(("a".into(), Grants)));
        assert_eq!(found([Grants, Grants, Waits]).await, Some(("b".into(), Grants)));
        assert_eq!(found([Waits, Waits, Over]).await, Some(("b".into(), Waits)));
        assert_eq!(found([Over, Over, Over]).await, None);
    }
}
