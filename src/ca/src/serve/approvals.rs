//! How long approvals take: noted when a request has the last approval it needs, and told to who is
//! about to ask.

use jit_ssh_core::lifecycle::{Basis, Evaluation};

use super::memory::Known;
use super::store::{ApprovalRecord, Record};

/// What to note of a request that persons have approved.
pub(super) fn record(known: &Known, evaluation: &Evaluation<'_>) -> Option<Record> {
    let (Some(Basis::Approvals), Some(rule), Some(grant)) =
        (evaluation.basis, evaluation.rule, &evaluation.grant)
    else {
        return None;
    };
    let request = known.chain.request();
    let wait = grant.approved_at.since(request.body().at);
    Some(Record::Approval(ApprovalRecord {
        request: request.digest(),
        rule: rule.name.clone(),
        at: grant.approved_at,
        wait: u32::try_from(wait).unwrap_or(u32::MAX),
    }))
}

/// The middle one; of an even number the mean of the two in the middle. 0 if there is none.
pub(super) fn median(mut waits: Vec<u32>) -> u32 {
    waits.sort_unstable();
    let (upper, lower) = (waits.len() / 2, waits.len().saturating_sub(1) / 2);
    match (waits.get(lower), waits.get(upper)) {
        (Some(lower), Some(upper)) => lower.midpoint(*upper),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::lifecycle::evaluate;

    use super::*;
    use crate::serve::testworld::{BOB, NOW, approval, bundle, known};

    #[test]
    fn the_median_is_in_the_middle_and_nothing_of_nothing() {
        for (waits, expected) in [
            (vec![], 0),
            (vec![7], 7),
            (vec![9, 1], 5),
            (vec![9, 1, 2], 2),
            (vec![4, 9, 1, 2], 3),
            (vec![u32::MAX, u32::MAX], u32::MAX),
        ] {
            assert_eq!(median(waits.clone()), expected, "{waits:?}");
        }
    }

    #[test]
    fn an_approved_request_is_noted_with_rule_and_wait_and_a_pending_one_is_not() {
        let (bundle, mut request) = (bundle(), known(1));
        assert!(record(&request, &evaluate(&request.chain, &bundle, NOW)).is_none());
        let digest = request.chain.digest();
        request.chain.add_decision(approval(digest, "bob", BOB)).unwrap();
        let evaluation = evaluate(&request.chain, &bundle, NOW.plus_secs(60));
        let Some(Record::Approval(noted)) = record(&request, &evaluation) else { panic!() };
        assert_eq!((noted.request, noted.rule.as_str(), noted.wait), (digest, "prod", 60));
    }
}
