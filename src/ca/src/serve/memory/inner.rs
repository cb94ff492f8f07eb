//! The requests that are here, and how they hang together: each that prolongs another carries what
//! is known of that one, so that where it stands can be computed from it alone.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jit_ssh_core::digest::Digest;
use tokio::time::Instant;

use super::ids::TakenIds;
use super::known::{Known, prolonging};

/// How many requests that wait for nobody stay: the store has the others. This is what bounds memory
/// while thousands are certified in a second.
pub(super) const MAX_CERTIFIED: usize = 4096;

/// See the module.
pub(super) struct Inner {
    pub(super) known: HashMap<Digest, Slot>,
    /// Those that may wait for somebody.
    pub(super) waiting: HashSet<Digest>,
    /// The others, in the order in which they came to be so or were read.
    certified: VecDeque<Digest>,
    /// Those that prolong another, by that one, which need not be here.
    extensions: HashMap<Digest, BTreeSet<Digest>>,
    pub(super) taken: TakenIds,
    /// New requests on their way to the signer, by id, each with how many calls carry it.
    pub(super) arriving: HashMap<u64, (Digest, u32)>,
}

pub(super) struct Slot {
    pub(super) known: Arc<Known>,
    pub(super) touched: Instant,
}

impl Inner {
    /// Nothing is here, and these ids are taken.
    pub(super) fn new(taken: TakenIds) -> Inner {
        Inner {
            known: HashMap::new(),
            waiting: HashSet::new(),
            certified: VecDeque::new(),
            extensions: HashMap::new(),
            taken,
            arriving: HashMap::new(),
        }
    }

    /// Takes in a request that is not here.
    pub(super) fn insert(&mut self, mut known: Known) -> Arc<Known> {
        let (digest, request) = (known.chain.digest(), known.chain.request().clone());
        if let Some(of) = request.body().extends {
            self.extensions.entry(of).or_default().insert(digest);
            if let Some(slot) = self.known.get_mut(&of) {
                // The one here is as new as can be.
                known.chain = prolonging(known.chain, slot.known.chain.clone());
                let made = (request.body().at, digest);
                Arc::make_mut(&mut slot.known).extensions.insert(made);
            }
        }
        for extension in self.extensions.get(&digest).into_iter().flatten() {
            if let Some(slot) = self.known.get(extension) {
                known.extensions.insert((slot.known.chain.request().body().at, *extension));
            }
        }
        if known.may_wait() {
            self.waiting.insert(digest);
        } else {
            self.note_certified(digest);
        }
        let known = Arc::new(known);
        self.known.insert(digest, Slot { known: known.clone(), touched: Instant::now() });
        self.hand_down(digest);
        known
    }

    /// Changes what is known of a request that is here.
    pub(super) fn change(
        &mut self,
        digest: Digest,
        change: impl FnOnce(&mut Known),
    ) -> Option<Arc<Known>> {
        let slot = self.known.get_mut(&digest)?;
        slot.touched = Instant::now();
        let known = Arc::make_mut(&mut slot.known);
        change(known);
        let waits = known.may_wait();
        let known = slot.known.clone();
        if !waits && self.waiting.remove(&digest) {
            self.note_certified(digest);
        }
        self.hand_down(digest);
        Some(known)
    }

    /// Gives those that prolong a request what is known of it now.
    fn hand_down(&mut self, digest: Digest) {
        for extension in self.extensions.get(&digest).cloned().unwrap_or_default() {
            let Some(of) = self.known.get(&digest).map(|slot| slot.known.chain.clone()) else {
                return;
            };
            if let Some(slot) = self.known.get_mut(&extension) {
                let known = Arc::make_mut(&mut slot.known);
                known.chain = prolonging(known.chain.clone(), of);
                self.hand_down(extension);
            }
        }
    }

    /// Those here that prolong a request, those that prolong them, and so on.
    pub(super) fn descendants(&self, digest: Digest) -> Vec<Digest> {
        let mut found: Vec<Digest> = Vec::new();
        let mut next = vec![digest];
        while let Some(of) = next.pop() {
            let extensions = self.extensions.get(&of).into_iter().flatten();
            for extension in extensions {
                found.push(*extension);
                next.push(*extension);
            }
        }
        found
    }

    /// Notes that a request waits for nobody; the one that did so longest ago may have to leave.
    pub(super) fn note_certified(&mut self, digest: Digest) {
        self.certified.push_back(digest);
        if self.certified.len() > MAX_CERTIFIED
            && let Some(oldest) = self.certified.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// Lets a request go.
    pub(super) fn forget(&mut self, digest: Digest) {
        self.waiting.remove(&digest);
        let Some(slot) = self.known.remove(&digest) else { return };
        if let Some(of) = slot.known.chain.request().body().extends
            && let Some(extensions) = self.extensions.get_mut(&of)
        {
            extensions.remove(&digest);
            if extensions.is_empty() {
                self.extensions.remove(&of);
            }
        }
    }
}
