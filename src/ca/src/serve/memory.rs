//! What the front holds in memory: the requests that may still change, which ids are taken, and
//! who wants to hear of changes.
//!
//! Requests are read through: what is not here is in the store. Those that may wait for somebody
//! stay: for a decision before their first certificate, or for a review after break-glass. Others
//! leave some time after they were last asked for. The statements are the signer's word where they
//! came from it in this run, and verified where they were read from the store (`reader`); where a
//! request stands is computed anew whenever somebody asks (`core::lifecycle`).
//!
//! What is handed out is whole: a request that prolongs another carries all that is known of that
//! one (`inner`), and who watches it hears when more is.

mod ids;
mod inner;
mod known;
mod reader;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::enrolment::View;
use jit_ssh_core::lifecycle::{Status, evaluate};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::time::UnixTime;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::store::{Store, StoredChain, id_number};
use super::{MAX_LINEAGE, OPEN_FOR};
pub(super) use ids::Claim;
use ids::TakenIds;
use inner::Inner;
pub(super) use known::Known;
use known::prolonging;
use reader::Reader;

/// How long a request that waits for nobody stays after it was last asked for.
const LINGER: Duration = Duration::from_secs(120);
/// How many changes a watcher may be behind before it has to look at everything again.
const CHANGES: usize = 1024;

/// What watchers hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// More is known of this request, or of one that it prolongs.
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

impl Memory {
    /// Nothing known of the CA `ca`; `ids` are those of every request there ever was.
    pub(super) fn new(ca: RootFingerprint, ids: impl IntoIterator<Item = u64>) -> Memory {
        let mut taken = TakenIds::new();
        for id in ids {
            taken.take(id);
        }
        Memory {
            inner: Mutex::new(Inner::new(taken)),
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

    /// Tells watchers; of a request also those who watch what prolongs it.
    pub(super) fn announce(&self, change: Change) {
        let more = match change {
            Change::Request(request) => self.inner().descendants(request),
            Change::Bundle => Vec::new(),
        };
        for change in std::iter::once(change).chain(more.into_iter().map(Change::Request)) {
            // Nobody watches: nobody is told.
            let _ = self.changes.send(change);
        }
    }

    /// What the store holds (see [`Reader`]) with what it prolongs; `None` if it does not hold.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`](jit_ssh_core::refusal::Reason::StoreUnavailable).
    pub(super) async fn read(
        &self,
        store: &dyn Store,
        stored: StoredChain,
    ) -> Result<Option<Known>, Refusal> {
        let Some(mut known) = self.reader.read(stored) else { return Ok(None) };
        self.complete(store, &mut known).await?;
        Ok(Some(known))
    }

    /// Gives a request what it prolongs, if that is known.
    async fn complete(&self, store: &dyn Store, known: &mut Known) -> Result<(), Refusal> {
        let mut next = known.chain.request().body().extends;
        // From the nearest to the first.
        let mut lineage: Vec<Chain> = Vec::new();
        while let Some(digest) = next.filter(|_| lineage.len() < MAX_LINEAGE) {
            let here = self.peek(digest).map(|known| known.chain.clone());
            let chain = match here {
                Some(chain) => chain,
                None => match store.chain(digest).await?.and_then(|s| self.reader.read(s)) {
                    Some(found) if found.chain.digest() == digest => found.chain,
                    Some(_) | None => break,
                },
            };
            // One that is here has what it prolongs already.
            next = chain.request().body().extends.filter(|_| chain.prolonged().is_none());
            lineage.push(chain);
        }
        let whole = lineage.into_iter().rev().reduce(|of, chain| prolonging(chain, of));
        if let Some(of) = whole {
            known.chain = prolonging(known.chain.clone(), of);
        }
        Ok(())
    }

    /// Adds what is known of a request, and of what it prolongs, to what is here; returns the whole.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`](jit_ssh_core::refusal::Reason::StoreUnavailable).
    pub(super) async fn take_in(
        &self,
        store: &dyn Store,
        mut known: Known,
    ) -> Result<Arc<Known>, Refusal> {
        if known.chain.prolonged().is_none() {
            self.complete(store, &mut known).await?;
        }
        Ok(self.add(known))
    }

    /// Adds what is known of a request to what is here; returns the whole.
    fn add(&self, known: Known) -> Arc<Known> {
        let digest = known.chain.digest();
        let mut inner = self.inner();
        inner.taken.take(id_number(digest));
        match inner.known.get(&digest) {
            None => inner.insert(known),
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
    /// [`Reason::StoreUnavailable`](jit_ssh_core::refusal::Reason::StoreUnavailable).
    pub(super) async fn get(
        &self,
        store: &dyn Store,
        digest: Digest,
    ) -> Result<Option<Arc<Known>>, Refusal> {
        match self.peek(digest) {
            Some(known) => Ok(Some(known)),
            None => self.look_up(store, digest).await,
        }
    }

    /// Those that prolong a request, those that prolong them, and so on, from here or from the store:
    /// all that fall with it.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`](jit_ssh_core::refusal::Reason::StoreUnavailable).
    pub(super) async fn falling_with(
        &self,
        store: &dyn Store,
        known: &Known,
    ) -> Result<Vec<Arc<Known>>, Refusal> {
        let digests = |known: &Known| -> Vec<Digest> {
            known.extensions.iter().map(|(_, digest)| *digest).collect()
        };
        let mut found = Vec::new();
        // Digests can not go round, so this ends.
        let mut next = digests(known);
        while let Some(digest) = next.pop() {
            if let Some(extension) = self.get(store, digest).await? {
                next.extend(digests(&extension));
                found.push(extension);
            }
        }
        Ok(found)
    }

    /// A request with all that the store knows of it, beside what is known here.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`](jit_ssh_core::refusal::Reason::StoreUnavailable).
    pub(super) async fn look_up(
        &self,
        store: &dyn Store,
        digest: Digest,
    ) -> Result<Option<Arc<Known>>, Refusal> {
        let Some(stored) = store.chain(digest).await? else { return Ok(None) };
        let known = self.read(store, stored).await?;
        let known = known.filter(|known| known.chain.digest() == digest);
        Ok(known.map(|known| self.add(known)))
    }

    /// Takes in all of the store that waits for somebody under `bundle`; without one, all that might.
    /// What waits is here from then on, whoever asks for it.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`](jit_ssh_core::refusal::Reason::StoreUnavailable).
    pub(super) async fn take_up(
        &self,
        store: &dyn Store,
        view: Option<View<'_>>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let may_change = store.uncertified(now.minus_secs(OPEN_FOR)).await?;
        for stored in may_change.into_iter().chain(store.unreviewed().await?) {
            let Some(known) = self.read(store, stored).await? else { continue };
            if view.is_none_or(|view| stays(&known, view, now)) {
                self.take_in(store, known).await?;
            }
        }
        Ok(())
    }

    /// Everything that may wait for a decision or a review.
    pub(super) fn waiting(&self) -> Vec<Arc<Known>> {
        let inner = self.inner();
        let slots = inner.waiting.iter().filter_map(|digest| inner.known.get(digest));
        slots.map(|slot| slot.known.clone()).collect()
    }

    /// A break-glass request with this subject that nobody has reviewed; another than `but`.
    pub(super) fn unreviewed_of(&self, subject: &ActorId, but: Digest) -> Option<Arc<Known>> {
        let inner = self.inner();
        let mut slots = inner.waiting.iter().filter_map(|digest| inner.known.get(digest));
        let is_one = |known: &Known| {
            known.unreviewed()
                && known.chain.request().body().subject == *subject
                && known.chain.digest() != but
        };
        slots.find(|slot| is_one(&slot.known)).map(|slot| slot.known.clone())
    }

    /// Forgets what waits for nobody any more and was not asked for lately.
    pub(super) fn sweep(&self, view: View<'_>, now: UnixTime) {
        let idle: Vec<Arc<Known>> = {
            let inner = self.inner();
            let idle = inner.known.values().filter(|slot| slot.touched.elapsed() > LINGER);
            idle.map(|slot| slot.known.clone()).collect()
        };
        // Evaluated without the lock: this can be many.
        for known in idle {
            if !stays(&known, view, now) {
                self.inner().forget(known.chain.digest());
            }
        }
    }
}

/// Whether a request is kept in memory though nobody asks for it.
pub(super) fn stays(known: &Known, view: View<'_>, now: UnixTime) -> bool {
    let open =
        || matches!(evaluate(&known.chain, view, now).status, Status::Pending | Status::Approved);
    known.unreviewed() || known.issued.is_empty() && open()
}

#[cfg(test)]
mod tests;
