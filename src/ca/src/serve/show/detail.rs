//! One sentence on where a request stands: what is missing, until when, who ended it, why. Moments
//! are named, not counted from now: the sentence changes only when the request does.

use jit_ssh_core::chain::Chain;
use jit_ssh_core::lifecycle::{Basis, Evaluation, Status, standing};
use jit_ssh_core::statement::{Cause, End, Verified};
use jit_ssh_core::time::UnixTime;

use crate::serve::memory::Known;
use crate::terminal::utc;

/// Most persons that the sentence names.
const MAX_NAMED: usize = 5;

/// The sentence. `approvers` are those who could act now.
pub(in crate::serve) fn detail(
    known: &Known,
    evaluation: &Evaluation<'_>,
    approvers: &[String],
    now: UnixTime,
) -> String {
    let what = stands(known, evaluation, now);
    let Some(review) = review(known, approvers) else {
        return sentence(what);
    };
    sentence(format!("{}; {review}", what.trim_end_matches('.')))
}

fn stands(known: &Known, evaluation: &Evaluation<'_>, now: UnixTime) -> String {
    let chain = &known.chain;
    let request = name(chain);
    let grant = evaluation.grant.as_ref();
    match &evaluation.status {
        Status::Pending => format!(
            "{request} waits: {}; it lapses if undecided by {}",
            evaluation.missing(),
            utc(evaluation.decide_by)
        ),
        Status::Approved => {
            let went = match evaluation.basis {
                Some(Basis::BreakGlass) => "went ahead without approvals",
                Some(Basis::Approvals | Basis::Auto) | None => "is approved",
            };
            match grant {
                Some(grant) if now < grant.opens_at => {
                    format!("{request} {went}, and its access opens at {}", utc(grant.opens_at))
                }
                Some(_) | None => {
                    let by = evaluation.use_by.map(utc).unwrap_or_default();
                    format!("{request} {went}, and lapses if no certificate is fetched by {by}")
                }
            }
        }
        Status::Active => {
            let until = grant.map(|grant| utc(grant.access_until())).unwrap_or_default();
            match evaluation.basis {
                Some(Basis::BreakGlass) => {
                    format!("{request} went ahead without approvals and is in use until {until}")
                }
                Some(Basis::Approvals | Basis::Auto) | None => {
                    format!("{request} is approved and in use until {until}")
                }
            }
        }
        Status::Ended => match grant {
            Some(grant) => {
                format!("the access of {request} ended at {}", utc(grant.access_until()))
            }
            None => format!("the access of {request} is over"),
        },
        Status::Released | Status::Revoked { .. } => ended_by_someone(chain),
        Status::Cancelled => match own_end(chain) {
            Some(end) => format!("{request} was taken back by {}{}", end.by, why(end)),
            None => format!("{request} was taken back by who made it"),
        },
        Status::LapsedUndecided => {
            format!("{request} lapsed: it was not decided by {}", utc(evaluation.decide_by))
        }
        Status::LapsedUnused => {
            let by = evaluation.use_by.map(utc).unwrap_or_default();
            format!("{request} lapsed: it was approved and no certificate was fetched by {by}")
        }
        over @ (Status::Denied { .. } | Status::Refused(_)) => standing(chain, over).message,
    }
}

/// Who gave the access back or took it away; or that it fell with what it prolongs.
fn ended_by_someone(chain: &Chain) -> String {
    let request = name(chain);
    if let Some(end) =
        chain.ends().iter().map(Verified::body).find(|end| end.cause == Cause::Revoke)
    {
        return format!("the access of {request} was taken away by {}{}", end.by, why(end));
    }
    if let Some(end) = own_end(chain) {
        return format!("the access of {request} was given back by {}{}", end.by, why(end));
    }
    match chain.prolonged() {
        Some(of) => format!("{request} fell with it: {}", ended_by_someone(of)),
        None => format!("the access of {request} was ended by somebody"),
    }
}

fn own_end(chain: &Chain) -> Option<&End> {
    chain.ends().first().map(Verified::body)
}

fn why(end: &End) -> String {
    end.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn name(chain: &Chain) -> String {
    let id = chain.request().id();
    match chain.request().body().extends {
        Some(of) => format!("request {id}, which prolongs {},", of.short_id()),
        None => format!("request {id}"),
    }
}

/// Whether somebody has reviewed what went ahead without approvals.
fn review(known: &Known, approvers: &[String]) -> Option<String> {
    let request = known.chain.request().body();
    request.break_glass.as_ref()?;
    if known.unreviewed() {
        return Some(match either(approvers) {
            Some(who) => format!("it waits for review by {who}"),
            None => "it waits for review, and nobody can give it".to_owned(),
        });
    }
    let mut decisions = known.chain.decisions().iter().map(Verified::body);
    let other = decisions.find(|d| d.by != request.by && d.by != request.subject)?;
    Some(format!("{} has reviewed it", other.by))
}

/// `a, b or c`; where there are many, the first of them and how many more.
fn either(names: &[String]) -> Option<String> {
    let (shown, more) = names.split_at_checked(MAX_NAMED).unwrap_or((names, &[]));
    match (shown.split_last(), more.len()) {
        (None, _) => None,
        (Some((only, [])), 0) => Some(only.clone()),
        (Some((last, first)), 0) => Some(format!("{} or {last}", first.join(", "))),
        (Some(_), more) => Some(format!("{} or {more} more", shown.join(", "))),
    }
}

fn sentence(mut text: String) -> String {
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests;
