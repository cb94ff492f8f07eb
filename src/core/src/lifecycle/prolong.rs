//! Extensions: requests that prolong live access. One is decided like any other request, counts from
//! the end of what it prolongs, and falls with it.

use super::{Status, ended_by_someone, evaluate, standing};
use crate::bundle::Allow;
use crate::chain::Chain;
use crate::digest::ShortId;
use crate::enrolment::View;
use crate::names::RuleName;
use crate::refusal::{Reason, Refusal};
use crate::statement::Request;
use crate::time::UnixTime;

/// What a request prolongs.
#[derive(Debug, Clone)]
pub struct Prolonged {
    /// Which extension of the first request this is, from 1.
    pub place: u8,
    /// When the access it prolongs ends.
    pub access_until: UnixTime,
    /// Set if that access was given back or taken away: then this one is, too.
    pub cut_short: Option<Status>,
    rule: RuleName,
}

impl Prolonged {
    /// Checks that the request with this id goes by the rule of what it prolongs.
    ///
    /// # Errors
    /// [`Reason::PolicyRefused`].
    pub fn check_rule(&self, id: ShortId, rule: &Allow) -> Result<(), Refusal> {
        if self.rule == rule.name {
            return Ok(());
        }
        Err(refused(
            id,
            format!("it goes by the rule {}, and what it prolongs by {}", rule.name, self.rule),
        ))
    }
}

/// What the request of `chain` prolongs; `None` if it prolongs nothing.
///
/// # Errors
/// [`Refusal`] if it may not.
pub(super) fn find(
    chain: &Chain,
    view: View<'_>,
    now: UnixTime,
) -> Result<Option<Prolonged>, Refusal> {
    let request = chain.request().body();
    let Some(digest) = request.extends else {
        return Ok(None);
    };
    let Some(of) = chain.prolonged() else {
        return Err(Refusal::new(
            Reason::UnknownRequest,
            format!("there is no live request {}, which this one prolongs.", digest.short_id()),
        ));
    };
    prolongs(request, chain.request().id(), of, view, now).map(Some)
}

/// Whether a request, which has this id, may prolong the one of `of`, and what that means for it.
///
/// # Errors
/// [`Refusal`] if it may not.
pub fn prolongs<'b>(
    request: &Request,
    id: ShortId,
    of: &Chain,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<Prolonged, Refusal> {
    let theirs = of.request().body();
    if theirs.by != request.by || theirs.subject != request.subject {
        return Err(refused(id, "only who asked for an access can prolong it".to_owned()));
    }
    let evaluation = evaluate(of, view, now);
    let cut_short = match evaluation.status {
        Status::Active => None,
        // Its last moments do not matter here: an end was admitted while there was something to end.
        Status::Ended => ended_by_someone(of, None, now),
        status @ (Status::Released | Status::Revoked { .. }) => Some(status),
        Status::Approved | Status::Pending => {
            return Err(refused(id, "what it prolongs is not in use".to_owned()));
        }
        status => return Err(standing(of, &status)),
    };
    let (Some(grant), Some(rule)) = (evaluation.grant, evaluation.rule) else {
        return Err(refused(id, "what it prolongs is not granted any more".to_owned()));
    };
    if request.at >= grant.access_until() {
        return Err(refused(id, "what it prolongs was over when it was made".to_owned())
            .hint("ask anew with: jit-ssh login"));
    }
    let more = request.hosts.iter().any(|host| !grant.hosts.contains(host))
        || request.logins.iter().any(|login| !grant.logins.contains(login));
    if more {
        return Err(refused(
            id,
            "it names a host or login that what it prolongs does not".to_owned(),
        )
        .hint("an extension is for the same hosts and logins, or fewer"));
    }
    if theirs.command.is_some() && request.command != theirs.command {
        return Err(refused(id, "what it prolongs is held to another command".to_owned())
            .hint("an extension is for the same command"));
    }
    let before = theirs.extends.and(of.prolonged()).map_or(0, depth);
    Ok(Prolonged {
        place: before.saturating_add(1),
        access_until: grant.access_until(),
        cut_short,
        rule: rule.name.clone(),
    })
}

/// How many extensions lie between a request's first one and what follows it, at least 1.
fn depth(chain: &Chain) -> u8 {
    let mut depth = 1u8;
    let mut chain = chain;
    while let Some(of) = chain.prolonged() {
        depth = depth.saturating_add(1);
        chain = of;
    }
    depth
}

fn refused(id: ShortId, why: String) -> Refusal {
    Refusal::new(Reason::PolicyRefused, format!("request {id} can not prolong another: {why}."))
}
