//! What the signer knows of requests that can still lead somewhere. Rebuilt from the log at start.
//!
//! A request is remembered for as long as anything can come of it or of what prolongs it, and a
//! break-glass request until somebody has reviewed it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::{Digest, ShortId};
use jit_ssh_core::lifecycle::is_reviewed;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::statement::{Decision, End, Verified};
use jit_ssh_core::time::UnixTime;

/// A request and when it was recorded.
pub(crate) struct Known {
    /// Without what it prolongs: see [`Memory::chain`].
    pub(crate) chain: Chain,
    pub(crate) recorded_at: UnixTime,
    over_at: UnixTime,
}

/// All live requests.
#[derive(Default)]
pub(crate) struct Memory {
    known: HashMap<Digest, Known>,
    ids: HashMap<ShortId, Digest>,
    /// When each can be forgotten.
    ends: BTreeSet<(UnixTime, Digest)>,
    /// What prolongs each.
    extensions: HashMap<Digest, Vec<Digest>>,
    /// The break-glass requests that nobody has reviewed, by their log index.
    unreviewed: BTreeMap<u64, Digest>,
}

impl Memory {
    /// A request by its digest.
    pub(crate) fn get(&self, digest: &Digest) -> Option<&Known> {
        self.known.get(digest)
    }

    /// All that is known of a request, with all it prolongs: what is to be judged.
    pub(crate) fn chain(&self, digest: &Digest) -> Option<Cow<'_, Chain>> {
        self.known.get(digest).map(|known| self.complete(&known.chain))
    }

    /// The same for a request that need not be known itself.
    pub(crate) fn complete<'c>(&'c self, chain: &'c Chain) -> Cow<'c, Chain> {
        chain.with_prolonged(|digest| self.known.get(digest).map(|known| &known.chain))
    }

    /// The request that has this id.
    pub(crate) fn by_id(&self, id: &ShortId) -> Option<Digest> {
        self.ids.get(id).copied()
    }

    /// A break-glass request of `subject` that nobody has reviewed.
    pub(crate) fn unreviewed_of(&self, subject: &ActorId) -> Option<&Chain> {
        let chains = self.unreviewed.values().filter_map(|digest| self.known.get(digest));
        chains.map(|known| &known.chain).find(|chain| chain.request().body().subject == *subject)
    }

    /// The log indexes of all break-glass requests that nobody has reviewed.
    pub(crate) fn unreviewed(&self) -> Vec<u64> {
        self.unreviewed.keys().copied().collect()
    }

    /// Remembers a request, whose log index is `index`, until `over_at`; and what it prolongs no
    /// shorter.
    pub(crate) fn insert(
        &mut self,
        chain: Chain,
        index: u64,
        recorded_at: UnixTime,
        over_at: UnixTime,
    ) {
        let digest = chain.digest();
        let request = chain.request().body();
        let mut of = request.extends;
        if let Some(of) = of {
            self.extensions.entry(of).or_default().push(digest);
        }
        while let Some(known) = of.and_then(|of| self.known.get_mut(&of)) {
            let older = known.chain.digest();
            if known.over_at < over_at && self.ends.remove(&(known.over_at, older)) {
                self.ends.insert((over_at, older));
            }
            known.over_at = known.over_at.max(over_at);
            of = known.chain.request().body().extends;
        }
        if is_unreviewed(&chain) {
            self.unreviewed.insert(index, digest);
        } else {
            self.ends.insert((over_at, digest));
        }
        self.ids.insert(digest.short_id(), digest);
        self.known.insert(digest, Known { chain, recorded_at, over_at });
    }

    /// Adds a decision; whether it reviews a break-glass request that nobody had reviewed.
    pub(crate) fn decide(&mut self, decision: Verified<Decision>) -> bool {
        let digest = decision.body().request;
        let Some(known) = self.known.get_mut(&digest) else { return false };
        let was_unreviewed = is_unreviewed(&known.chain);
        known.chain.add_decision(decision).expect("the chain was found by this digest");
        let reviews = was_unreviewed && !is_unreviewed(&known.chain);
        if reviews {
            self.unreviewed.retain(|_, request| *request != digest);
            self.ends.insert((known.over_at, digest));
        }
        reviews
    }

    /// Adds an end. Gives the certificates that are not to be used any more: of the request, and of
    /// all that prolongs it.
    pub(crate) fn end(&mut self, end: Verified<End>, now: UnixTime) -> Vec<Issued> {
        let digest = end.body().request;
        if let Some(known) = self.known.get_mut(&digest) {
            known.chain.add_end(end).expect("the chain was found by this digest");
        }
        self.fallen(digest, now)
    }

    /// Notes that a certificate was issued.
    pub(crate) fn issue(&mut self, request: &Digest, issued: Issued) {
        if let Some(known) = self.known.get_mut(request) {
            known.chain.add_issued(issued);
        }
    }

    /// Every certificate that is not to be used any more: of all requests that were ended.
    pub(crate) fn all_fallen(&self, now: UnixTime) -> Vec<Issued> {
        let ended = self.known.iter().filter(|(_, known)| !known.chain.ends().is_empty());
        ended.flat_map(|(digest, _)| self.fallen(*digest, now)).collect()
    }

    fn fallen(&self, digest: Digest, now: UnixTime) -> Vec<Issued> {
        let mut issued = Vec::new();
        let mut row = vec![digest];
        while let Some(digest) = row.pop() {
            issued.extend(self.known.get(&digest).iter().flat_map(|known| known.chain.open(now)));
            row.extend(self.extensions.get(&digest).into_iter().flatten());
        }
        issued
    }

    /// Forgets what is over.
    pub(crate) fn forget(&mut self, now: UnixTime) {
        while let Some((over_at, digest)) = self.ends.first().copied() {
            if over_at >= now {
                return;
            }
            self.ends.pop_first();
            self.ids.remove(&digest.short_id());
            self.extensions.remove(&digest);
            let of = self.known.remove(&digest).and_then(|k| k.chain.request().body().extends);
            let Some((of, row)) = of.and_then(|of| Some((of, self.extensions.get_mut(&of)?)))
            else {
                continue;
            };
            row.retain(|extension| *extension != digest);
            if row.is_empty() {
                self.extensions.remove(&of);
            }
        }
    }
}

/// Whether it is a break-glass request that nobody has reviewed.
pub(crate) fn is_unreviewed(chain: &Chain) -> bool {
    chain.request().body().break_glass.is_some() && !is_reviewed(chain)
}
