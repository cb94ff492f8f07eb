//! What the signer knows of requests that can still lead somewhere. Rebuilt from the log at start.

use std::collections::{BTreeSet, HashMap};

use jit_ssh_core::bundle::{Allow, Approval, Bundle};
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::{Digest, ShortId};
use jit_ssh_core::policy::{self, Asked};
use jit_ssh_core::statement::{MAX_SKEW, Request, Verified};
use jit_ssh_core::time::UnixTime;

/// Longest time, in seconds, in which anything can come of a request: 7 days to decide, one to use
/// and one of access are the limits of the policy's fields, and some slack for clocks.
pub(crate) const LONGEST_LIFE: u32 = 9 * 86_400 + 3_600;

/// A request and when it was recorded.
pub(crate) struct Known {
    pub(crate) chain: Chain,
    pub(crate) recorded_at: UnixTime,
}

/// All live requests.
#[derive(Default)]
pub(crate) struct Memory {
    known: HashMap<Digest, Known>,
    ids: HashMap<ShortId, Digest>,
    /// When each can be forgotten.
    ends: BTreeSet<(UnixTime, Digest)>,
}

/// When a request can lead nowhere any more under a rule, whatever is said about it: decided as late
/// as it may be, used as late as it may be, for as long as it asks. Never so early that its replay
/// would be fresh. Another bundle may have another rule: then the memory is rebuilt.
pub(crate) fn over_at(request: &Request, rule: &Allow) -> UnixTime {
    let access = match &rule.approval {
        // Approved when it was made.
        Approval::Auto(_) => request.at,
        Approval::Steps(_) => request.at.plus(rule.decide_within).plus(rule.use_within),
    };
    access.plus(request.r#for).plus_secs(2 * MAX_SKEW)
}

/// The same for a request in the log, under the bundle of now. If no rule covers it, a later bundle
/// might: then the longest that any rule may allow.
pub(crate) fn over_at_under(signed: &Verified<Request>, bundle: &Bundle) -> UnixTime {
    let request = signed.body();
    let rule = bundle.people.get(&request.by).and_then(|requester| {
        let presence = signed.presence();
        policy::decide(Asked { request, requester, presence, extension: None }, bundle).ok()
    });
    match rule {
        Some(rule) => over_at(request, rule),
        None => request.at.plus_secs(LONGEST_LIFE),
    }
}

impl Memory {
    /// A request by its digest.
    pub(crate) fn get(&self, digest: &Digest) -> Option<&Known> {
        self.known.get(digest)
    }

    /// A request's chain, to add to.
    pub(crate) fn chain_mut(&mut self, digest: &Digest) -> Option<&mut Chain> {
        self.known.get_mut(digest).map(|known| &mut known.chain)
    }

    /// The request that has this id.
    pub(crate) fn by_id(&self, id: &ShortId) -> Option<Digest> {
        self.ids.get(id).copied()
    }

    /// Remembers a request until `over_at`.
    pub(crate) fn insert(&mut self, chain: Chain, recorded_at: UnixTime, over_at: UnixTime) {
        let digest = chain.digest();
        self.ids.insert(digest.short_id(), digest);
        self.ends.insert((over_at, digest));
        self.known.insert(digest, Known { chain, recorded_at });
    }

    /// Forgets what is over.
    pub(crate) fn forget(&mut self, now: UnixTime) {
        while let Some((over_at, digest)) = self.ends.first().copied() {
            if over_at >= now {
                return;
            }
            self.ends.pop_first();
            self.known.remove(&digest);
            self.ids.remove(&digest.short_id());
        }
    }
}
