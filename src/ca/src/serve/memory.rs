//! What the front holds in memory: the requests that may still change, which ids are taken, and
//! who wants to hear of changes.
//!
//! Requests are read through: what is not here is in the store. Those without a certificate stay,
//! for they can be decided; others leave some time after they were last asked for. The statements
//! are the signer's word where they came from it in this run, and verified where they were read from the
//! store (`reader`); where a request stands is computed anew whenever
//! somebody asks (`core::lifecycle`).

mod reader;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::lifecycle::{Status, evaluate};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::store::{IdRange, Store, StoredChain, id_number};
use reader::Reader;

/// How long a request that can not be decided any more stays after it was last asked for.
const LINGER: Duration = Duration::from_secs(120);
/// How many requests with a certificate stay: the store has the others. This is what bounds memory
/// while thousands are certified in a second.
const MAX_CERTIFIED: usize = 4096;
/// How many changes a watcher may be behind before it has to look at everything again.
const CHANGES: usize = 1024;
/// Bits of the table of taken ids, as a power of two: 8 MiB, of which only touched pages exist. At
/// a million requests one new id in 67 is looked up in the store for nothing.
const TAKEN_BITS: u32 = 26;

/// One request with all that is known of it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The statements.
    pub(super) chain: Chain,
    /// Every certificate, oldest first.
    pub(super) issued: Vec<Issued>,
}

impl Known {
    /// A request alone.
    pub(super) fn new(chain: Chain) -> Known {
        Known { chain, issued: Vec::new() }
    }

    /// Whether this may hold what `other` does not.
    fn adds_to(&self, other: &Known) -> bool {
        !self.chain.decisions().is_empty()
            || !self.chain.ends().is_empty()
            || self.issued.iter().any(|issued| !other.issued.contains(issued))
    }

    /// Adds all that `other` knows of the same request.
    fn merge(&mut self, other: &Known) {
        for decision in other.chain.decisions() {
            note(self.chain.add_decision(decision.clone()));
        }
        for end in other.chain.ends() {
            note(self.chain.add_end(end.clone()));
        }
        other.issued.iter().for_each(|issued| self.add_issued(*issued));
    }

    /// Notes a certificate; one that is known already changes nothing.
    pub(super) fn add_issued(&mut self, issued: Issued) {
        let place = self
            .issued
            .partition_point(|known| (known.at, known.serial) < (issued.at, issued.serial));
        if self.issued.get(place).is_none_or(|known| known.serial != issued.serial) {
            self.issued.insert(place, issued);
            self.chain.add_issued(issued);
        }
    }
}

fn note<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%error, "a statement stands in a wrong place");
    }
}

/// What watchers hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// More is known of this request.
    Request(Digest),
    /// Another bundle is in force, so anything may stand elsewhere.
    Bundle,
}

/// See the module.
pub(super) struct Memory {
    inner: Mutex<Inner>,
    reader: Reader,
    changes: broadcast::Sender<Change>,
}

struct Inner {
    known: HashMap<Digest, Slot>,
    /// Requests of which no certificate is known: those that may be waiting for a decision.
    undecided: HashSet<Digest>,
    /// Those with a certificate, in the order in which they got one or were read.
    certified: VecDeque<Digest>,
    taken: TakenIds,
    /// New requests on their way to the signer, by id, each with how many calls carry it.
    arriving: HashMap<u64, (Digest, u32)>,
}

struct Slot {
    known: Arc<Known>,
    touched: Instant,
}

impl Memory {
    /// Nothing known of the CA `ca`; `ids` are those of every request there ever was.
    pub(super) fn new(ca: RootFingerprint, ids: impl IntoIterator<Item = u64>) -> Memory {
        let mut taken = TakenIds::new();
        for id in ids {
            taken.take(id);
        }
        let inner = Inner {
            known: HashMap::new(),
            undecided: HashSet::new(),
            certified: VecDeque::new(),
            taken,
            arriving: HashMap::new(),
        };
        Memory {
            inner: Mutex::new(inner),
            reader: Reader::new(ca),
            changes: broadcast::channel(CHANGES).0,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Tells watchers.
    pub(super) fn announce(&self, change: Change) {
        // Nobody watches: nobody is told.
        let _ = self.changes.send(change);
    }

    /// Reads what the store holds; see [`Reader`].
    pub(super) fn read(&self, stored: StoredChain) -> Option<Known> {
        self.reader.read(stored)
    }

    /// Adds what is known of a request to what is here; returns the whole.
    pub(super) fn add(&self, known: Known) -> Arc<Known> {
        let digest = known.chain.digest();
        let mut inner = self.inner();
        inner.taken.take(id_number(digest));
        match inner.known.get(&digest) {
            None => inner.insert(digest, Arc::new(known)),
            // Submitted again, read twice at a time, or found in the log: nothing new, mostly.
            Some(slot) if !known.adds_to(&slot.known) => slot.known.clone(),
            Some(slot) => {
                let here = slot.known.clone();
                inner.change(digest, |here| here.merge(&known)).unwrap_or(here)
            }
        }
    }

    /// Changes what is known of a request that is here; returns the whole.
    pub(super) fn change(
        &self,
        digest: Digest,
        change: impl FnOnce(&mut Known),
    ) -> Option<Arc<Known>> {
        self.inner().change(digest, change)
    }

    /// A request that is here.
    pub(super) fn peek(&self, digest: Digest) -> Option<Arc<Known>> {
        let mut inner = self.inner();
        let slot = inner.known.get_mut(&digest)?;
        slot.touched = Instant::now();
        Some(slot.known.clone())
    }

    /// A request, from here or from the store.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`].
    pub(super) async fn get(
        &self,
        store: &dyn Store,
        digest: Digest,
    ) -> Result<Option<Arc<Known>>, Refusal> {
        if let Some(known) = self.peek(digest) {
            return Ok(Some(known));
        }
        let stored = store.chain(digest).await?;
        let known = stored
            .and_then(|stored| self.read(stored))
            .filter(|known| known.chain.digest() == digest);
        Ok(known.map(|known| self.add(known)))
    }

    /// Everything that may be waiting for a decision.
    pub(super) fn undecided(&self) -> Vec<Arc<Known>> {
        let inner = self.inner();
        let slots = inner.undecided.iter().filter_map(|digest| inner.known.get(digest));
        slots.map(|slot| slot.known.clone()).collect()
    }

    /// Forgets what can not be decided any more and was not asked for lately.
    pub(super) fn sweep(&self, bundle: &Bundle, now: UnixTime) {
        let idle: Vec<Arc<Known>> = {
            let inner = self.inner();
            let idle = inner.known.values().filter(|slot| slot.touched.elapsed() > LINGER);
            idle.map(|slot| slot.known.clone()).collect()
        };
        // Evaluated without the lock: this can be many.
        for known in idle {
            let open = known.issued.is_empty()
                && matches!(
                    evaluate(&known.chain, bundle, now).status,
                    Status::Pending | Status::Approved
                );
            if !open {
                self.inner().forget(known.chain.digest());
            }
        }
    }

    /// Reserves the id of a new request on its way to the signer.
    ///
    /// # Errors
    /// [`Reason::IdTaken`] if another request has it, [`Reason::StoreUnavailable`].
    pub(super) async fn claim(
        &self,
        store: &dyn Store,
        digest: Digest,
    ) -> Result<Claim<'_>, Refusal> {
        let id = id_number(digest);
        let certain = {
            let mut inner = self.inner();
            if inner.known.contains_key(&digest) {
                // It stands already: submitting it again changes nothing.
                return Ok(Claim { memory: self, id: None, stands: false });
            }
            let arriving = inner.arriving.entry(id).or_insert((digest, 0));
            if arriving.0 != digest {
                return Err(id_taken(digest));
            }
            arriving.1 = arriving.1.saturating_add(1);
            inner.taken.take(id)
        };
        let mut claim = Claim { memory: self, id: Some(id), stands: false };
        if !certain {
            let standing = store.requests_with(IdRange::only(digest)).await?;
            if standing.iter().any(|standing| *standing != digest) {
                return Err(id_taken(digest));
            }
            claim.stands = standing.contains(&digest);
        }
        Ok(claim)
    }
}

impl Inner {
    fn insert(&mut self, digest: Digest, known: Arc<Known>) -> Arc<Known> {
        if known.issued.is_empty() {
            self.undecided.insert(digest);
        } else {
            self.note_certified(digest);
        }
        self.known.insert(digest, Slot { known: known.clone(), touched: Instant::now() });
        known
    }

    fn change(&mut self, digest: Digest, change: impl FnOnce(&mut Known)) -> Option<Arc<Known>> {
        let slot = self.known.get_mut(&digest)?;
        slot.touched = Instant::now();
        let known = Arc::make_mut(&mut slot.known);
        change(known);
        let certified = !known.issued.is_empty();
        let known = slot.known.clone();
        if certified && self.undecided.remove(&digest) {
            self.note_certified(digest);
        }
        Some(known)
    }

    fn note_certified(&mut self, digest: Digest) {
        self.certified.push_back(digest);
        if self.certified.len() > MAX_CERTIFIED
            && let Some(oldest) = self.certified.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, digest: Digest) {
        self.known.remove(&digest);
        self.undecided.remove(&digest);
    }
}

/// The id of a new request, reserved until this is dropped.
pub(super) struct Claim<'m> {
    memory: &'m Memory,
    id: Option<u64>,
    stands: bool,
}

impl Claim<'_> {
    /// Whether the store has this very request already, and this memory does not.
    pub(super) fn stands_in_store(&self) -> bool {
        self.stands
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut inner = self.memory.inner();
        if let Some((_, carriers)) = inner.arriving.get_mut(&id) {
            *carriers = carriers.saturating_sub(1);
            if *carriers == 0 {
                inner.arriving.remove(&id);
            }
        }
    }
}

/// Which ids may be taken: a bit for each beginning of 26 bits. A clear bit is certain, a set one
/// has to be looked up.
struct TakenIds(Vec<u64>);

impl TakenIds {
    fn new() -> TakenIds {
        TakenIds(vec![0; 1 << (TAKEN_BITS - u64::BITS.ilog2())])
    }

    /// Notes an id; tells whether it is certain that it was free.
    fn take(&mut self, id: u64) -> bool {
        let beginning = id >> (50 - TAKEN_BITS);
        let place = usize::try_from(beginning / u64::from(u64::BITS)).unwrap_or(usize::MAX);
        let bit = 1u64 << (beginning % u64::from(u64::BITS));
        match self.0.get_mut(place) {
            Some(word) => {
                let free = *word & bit == 0;
                *word |= bit;
                free
            }
            None => false,
        }
    }
}

fn id_taken(digest: Digest) -> Refusal {
    let id = digest.short_id();
    Refusal::new(Reason::IdTaken, format!("another request has the id {id} already."))
        .hint("sign it again: another nonce gives another id")
}

#[cfg(test)]
mod tests;
