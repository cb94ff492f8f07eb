//! Prolonging live access by a linked request, which is decided like any other.

use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::Seconds;

use super::ask::request;
use crate::ca::Ca;
use crate::cli::Context;
use crate::failure::{Failure, Outcome};
use crate::grants::{Live, Subject};
use crate::submission::explain;
use crate::text::utc;
use crate::wish::{Manner, Prolonged, Wish};

/// Shortest time there is: asked of only to hear what the rule allows.
const SHORTEST: Seconds = Seconds::new(1).expect("1 s is not zero");

/// There is nothing here to prolong.
pub(super) fn nothing_live() -> Failure {
    let message = "no live access to this was taken on this machine, so there is none to prolong.";
    Failure::new(Outcome::Error, "NOTHING_LIVE", message)
        .hint("ask for access with: jit-ssh login, without --extend")
}

/// Says that access is asked anew, since the live one can not be prolonged.
pub(super) fn tell_of_new(context: &Context, live: &Live, refused: &Failure) {
    context.ui.say(&format!(
        "The access of request {} lasts until {} and can not be prolonged, so access is asked anew: {}",
        live.request.id(),
        utc(live.access_until),
        harmless(&refused.message)
    ));
}

/// The wish, as one to prolong `live`: for no longer than its rule allows at once.
///
/// # Errors
/// What the CA says, where the rule lets nobody prolong this access, or not once more.
pub(super) async fn prolonging(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: Wish,
    live: &Live,
    subject: &Subject,
) -> Result<Wish, Failure> {
    let asked = live.request.body();
    let of = Prolonged {
        request: live.request.digest(),
        access_until: live.access_until,
        reason: asked.reason.clone(),
        permit: asked.permit.clone(),
        longest: None,
    };
    let wish = Wish { manner: Manner::Extends(Box::new(of.clone())), ..wish };
    let mut meant = request(ca.enrolment, &wish, subject, of.reason.clone())?;
    let answer = match explain(ca, &meant).await {
        Err(refused) if refused.outcome == Outcome::Refused => {
            // Perhaps it is only too long: then the rule tells how long would fit.
            meant.r#for = SHORTEST;
            explain(ca, &meant).await.map_err(|_| refused)
        }
        answer => answer,
    }?;
    let (id, rule) = (live.request.id(), harmless(&answer.rule));
    let Some(longest) = Seconds::new(answer.extend_max) else {
        let message = format!(
            "the access of request {id} can not be prolonged: the rule {rule} has no extensions."
        );
        return Err(Failure::new(Outcome::Refused, "POLICY_REFUSED", message)
            .hint("ask anew with: jit-ssh login --new"));
    };
    let by = how_long(&wish, longest, &rule);
    let wish = Wish {
        manner: Manner::Extends(Box::new(Prolonged { longest: Some(longest), ..of })),
        ..wish
    };
    context.ui.say(&format!(
        "This is to prolong the access of request {id}, which lasts until {}, {by}.",
        utc(live.access_until)
    ));
    Ok(wish)
}

/// By how much a wish prolongs, where the rule allows so much at once; says so where less is asked
/// for than somebody said.
fn how_long(wish: &Wish, longest: Seconds, rule: &str) -> String {
    let wanted = wish.span();
    match wish.span {
        _ if wanted <= longest => format!("by {wanted}"),
        Some(said) => {
            format!("not by {said}, but by the {longest} that the rule {rule} allows at once")
        }
        None => format!("by the {longest} that the rule {rule} allows at once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_that_was_said_is_told_to_be_cut() {
        let minutes = |minutes: u32| Seconds::new(minutes * 60);
        let told = |said: Option<Seconds>, longest: u32| {
            let wish = Wish {
                hosts: vec!["prod-host".parse().unwrap()],
                login: "deploy".parse().unwrap(),
                span: said,
                because: None,
                permit: None,
                only: None,
                manner: Manner::Usual,
            };
            how_long(&wish, minutes(longest).unwrap(), "prod")
        };
        assert_eq!(told(minutes(10), 10), "by 10m");
        let cut = "not by 11m, but by the 10m that the rule prod allows at once";
        assert_eq!(told(minutes(11), 10), cut);
        assert_eq!(told(None, 15), "by 15m", "the usual time");
        assert_eq!(told(None, 10), "by the 10m that the rule prod allows at once");
    }
}
