//! By which bundle a request that is over is told. Nothing here decides about access: for showing only.
//!
//! Where a request stands follows from the bundle in force, as long as anything can come of it. What is
//! over is history: the rule that gave it, who approved it and how it ended are told by the bundle that
//! was in force then, whatever the policy says by now.

use std::borrow::Borrow;

use super::{Status, evaluate};
use crate::bundle::Bundle;
use crate::chain::Chain;
use crate::enrolment::{Enrolled, View};
use crate::statement::Verified;
use crate::time::UnixTime;

/// Most bundles in a row that are asked how they left a request: one that nobody certified is over
/// within weeks.
const MAX_ASKED: usize = 32;

/// Whether something can still come of a request in this status.
pub fn is_live(status: &Status) -> bool {
    matches!(status, Status::Pending | Status::Approved | Status::Active)
}

/// The place of the bundle by which a request is told that is over under the newest: of those that came
/// into force at the moments `since`, oldest first, the one under which its last certificate was issued,
/// or, where there was none, the first under which it was over. `open` reads the bundle of a place;
/// `enrolled` are the hosts that joined, as far as they are still known.
///
/// `None` if none of them tells it, or one can not be read: then the newest has the word.
pub fn told_by<B: Borrow<Bundle>>(
    chain: &Chain,
    since: &[UnixTime],
    enrolled: &Enrolled,
    now: UnixTime,
    mut open: impl FnMut(usize) -> Option<B>,
) -> Option<usize> {
    if let Some(last) = chain.last_issued() {
        let place = in_force_at(since, last.at)?;
        // One that came into force within the same second may have been the one.
        let last_place = place.saturating_add(1).min(since.len().saturating_sub(1));
        return (place..=last_place).find(|place| {
            open(*place).is_some_and(|bundle| {
                let evaluation = evaluate(chain, View::new(bundle.borrow(), enrolled), now);
                let until = evaluation.grant.map(|grant| grant.access_until());
                is_over(&evaluation.status) && until == Some(last.access_until)
            })
        });
    }
    let first = in_force_at(since, last_said(chain))?;
    let mut refused = None;
    for place in (first..since.len()).take(MAX_ASKED) {
        let next = place.checked_add(1).and_then(|next| since.get(next));
        let until = next.map_or(now, |next| now.min(*next));
        match evaluate(chain, View::new(open(place)?.borrow(), enrolled), until).status {
            Status::Pending | Status::Approved | Status::Active => {}
            // A later one might have allowed it again.
            Status::Refused(_) => refused = refused.or(Some(place)),
            Status::Ended
            | Status::Released
            | Status::Revoked { .. }
            | Status::Denied { .. }
            | Status::Cancelled
            | Status::LapsedUndecided
            | Status::LapsedUnused => return Some(place),
        }
    }
    refused
}

/// The place of the bundle that was in force when the second `moment` began; before the first, the
/// first.
pub fn in_force_at(since: &[UnixTime], moment: UnixTime) -> Option<usize> {
    let after = since.partition_point(|since| *since < moment);
    if since.is_empty() { None } else { Some(after.saturating_sub(1)) }
}

fn is_over(status: &Status) -> bool {
    !is_live(status) && !matches!(status, Status::Refused(_))
}

/// When the last statement about a request was made.
fn last_said(chain: &Chain) -> UnixTime {
    let decisions = chain.decisions().iter().map(Verified::body).map(|decision| decision.at);
    let ends = chain.ends().iter().map(Verified::body).map(|end| end.at);
    decisions.chain(ends).fold(chain.request().body().at, UnixTime::max)
}
