//! Statuses in words.

use super::Status;
use crate::chain::Chain;
use crate::refusal::{Reason, Refusal};

/// Why a statement about the request of `chain` comes too late in this status, and what is not done
/// for it: "there is nothing to revoke", say.
pub(super) fn settled(chain: &Chain, status: &Status, undone: &str) -> Refusal {
    // Its hints are for who wants access.
    let Refusal { reason, message, .. } = standing(chain, status);
    Refusal::new(reason, format!("{}; {undone}.", message.trim_end_matches('.')))
}

/// Why nothing follows from the request of `chain` in this status.
pub fn standing(chain: &Chain, status: &Status) -> Refusal {
    let id = chain.request().id();
    match status {
        Status::Pending => {
            Refusal::new(Reason::NotApproved, format!("request {id} is not approved yet."))
        }
        Status::Approved | Status::Active => {
            Refusal::new(Reason::Settled, format!("request {id} is approved."))
        }
        Status::Ended => {
            Refusal::new(Reason::Ended, format!("the access of request {id} is over."))
                .hint("ask anew with: jit-ssh login")
        }
        Status::Released => Refusal::new(
            Reason::Released,
            format!("the access of request {id} was given back by who asked for it."),
        )
        .hint("ask anew with: jit-ssh login"),
        Status::Revoked { by, reason } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let message = format!("the access of request {id} was taken away by {by}{why}");
            Refusal::new(Reason::Revoked, message)
        }
        Status::Denied { by, reason } => {
            Refusal::new(Reason::Denied, format!("request {id} was denied by {by}: {reason}"))
        }
        Status::Cancelled => {
            Refusal::new(Reason::Cancelled, format!("request {id} was cancelled by who made it."))
        }
        Status::LapsedUndecided => {
            Refusal::new(Reason::Lapsed, format!("request {id} was not decided in time."))
                .hint("ask anew with: jit-ssh login")
        }
        Status::LapsedUnused => {
            Refusal::new(Reason::Lapsed, format!("request {id} was approved but not used in time."))
                .hint("ask anew with: jit-ssh login")
        }
        Status::Refused(refusal) => refusal.clone(),
    }
}
