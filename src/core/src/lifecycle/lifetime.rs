//! How long anything can come of a request: for whoever keeps only what is alive.

use crate::bundle::{Allow, Approval};
use crate::chain::Chain;
use crate::enrolment::View;
use crate::policy::{self, Asked};
use crate::statement::{MAX_SKEW, Request, Verified};
use crate::time::UnixTime;

/// Longest time, in seconds, in which anything can come of a request, or of what prolongs it: it may
/// begin 14 days after it was made (and is decided within 7) and last a day; then ten extensions of
/// a day each may follow; and some slack for clocks.
pub const LONGEST_LIFE: u32 = (14 + 1 + 10) * 86_400 + 3_600;

/// How long after its end an access may be spoken of: statements may be so old when they arrive, and
/// so far ahead.
const SLACK: u32 = 2 * MAX_SKEW;

/// The latest end of the access that a request can lead to under its rule: approved as late as it may
/// be, for as long as it asks.
fn latest_end(chain: &Chain, rule: &Allow) -> UnixTime {
    let request = chain.request().body();
    if let Some(of) = chain.prolonged().and_then(Chain::last_issued) {
        return of.access_until.plus(request.r#for);
    }
    if request.extends.is_some() {
        // What it prolongs is not known yet, and was in use when this was made: the whole row is
        // over when the longest access and all its extensions could be.
        return with_extensions(request.at.plus(rule.max_for), rule);
    }
    let approved_by = match &rule.approval {
        // Approved when it was made.
        Approval::Auto(_) => request.at,
        Approval::Steps(_) if request.break_glass.is_some() => request.at,
        Approval::Steps(_) => request.at.plus(rule.decide_within),
    };
    approved_by.max(request.begins()).plus(request.r#for)
}

/// The latest end of what can follow an access that ends at `until`.
fn with_extensions(until: UnixTime, rule: &Allow) -> UnixTime {
    rule.extend.map_or(until, |extend| {
        until.plus_secs(extend.max.get().saturating_mul(u32::from(extend.times.get())))
    })
}

/// Whether a request that arrives now comes too late for anything to come of it.
pub fn is_too_late(chain: &Chain, rule: &Allow, now: UnixTime) -> bool {
    latest_end(chain, rule).plus_secs(SLACK) < now
}

/// When a request can lead nowhere any more under its rule, nor any that prolongs it, whatever is
/// said about it. Never so early that its replay would be fresh. Another bundle may have another
/// rule: then the memory is rebuilt.
pub fn over_at(chain: &Chain, rule: &Allow) -> UnixTime {
    with_extensions(latest_end(chain, rule), rule).plus_secs(SLACK)
}

/// The same for a request in the log, under the bundle of now, with the hosts that are there. If no
/// rule covers it, a later bundle might: then the longest that any rule may allow. What it prolongs may
/// not be known yet.
pub fn over_at_under<'b>(chain: &Chain, view: impl Into<View<'b>>, now: UnixTime) -> UnixTime {
    let view = view.into();
    let signed: &Verified<Request> = chain.request();
    let request = signed.body();
    let rule = view.bundle.people.get(&request.by).and_then(|requester| {
        // The first extension stands for all: one access goes by one rule.
        let extension = request.extends.map(|_| 1);
        let asked = Asked { request, requester, presence: signed.presence(), extension };
        policy::decide(asked, view, now).ok()
    });
    let over_at = match rule {
        Some(rule) => over_at(chain, rule),
        None => request.at.plus_secs(LONGEST_LIFE),
    };
    // Whatever the rules say now: a certificate that is valid can still be revoked.
    let issued = chain.last_issued().map(|issued| issued.access_until.plus_secs(SLACK));
    issued.map_or(over_at, |issued| issued.max(over_at))
}
