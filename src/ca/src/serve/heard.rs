//! Whose programs were told of a request that waits for them, so that who asked knows whether anybody
//! heard of it. Of this front and this run alone: after a restart the watches come back, and are told
//! anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::time::UnixTime;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<Digest, Told>>);

/// Who was told of one request.
#[derive(Debug)]
struct Told {
    who: BTreeSet<ActorId>,
    /// Until when it can be decided: from then on nobody asks.
    until: UnixTime,
}

impl Heard {
    fn told(&self) -> MutexGuard<'_, HashMap<Digest, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `who` was told of a request that waits until `until`; whether that is news.
    pub(super) fn note(
        &self,
        request: Digest,
        who: ActorId,
        until: UnixTime,
        now: UnixTime,
    ) -> bool {
        let mut told = self.told();
        told.retain(|_, told| told.until > now);
        let entry = told.entry(request).or_insert(Told { who: BTreeSet::new(), until });
        entry.who.insert(who)
    }

    /// Which of `approvers` were told of a request, in their order.
    pub(super) fn of(&self, request: Digest, approvers: &[String]) -> Vec<String> {
        let told = self.told();
        let Some(told) = told.get(&request) else { return Vec::new() };
        let knows = |id: &&String| told.who.iter().any(|who| who.as_str() == id.as_str());
        approvers.iter().filter(knows).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_is_known_until_the_request_can_not_be_decided_any_more() {
        let heard = Heard::default();
        let (request, other) = (Digest::of(b"request"), Digest::of(b"other"));
        let (now, until) = (UnixTime(1_790_000_000), UnixTime(1_790_000_900));
        let actor = |id: &str| -> ActorId { id.parse().unwrap() };
        let approvers = ["carol".to_owned(), "bob".to_owned()];
        assert!(heard.of(request, &approvers).is_empty());
        assert!(heard.note(request, actor("bob"), until, now));
        assert!(!heard.note(request, actor("bob"), until, now), "no news");
        assert!(heard.note(request, actor("dave"), until, now));
        assert_eq!(heard.of(request, &approvers), ["bob"], "dave can not decide it any more");
        assert!(heard.of(other, &approvers).is_empty());
        // Past its deadline it is forgotten with the next that is told.
        assert!(heard.note(other, actor("bob"), until.plus_secs(900), until));
        assert!(heard.of(request, &approvers).is_empty());
    }
}
