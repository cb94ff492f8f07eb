//! The bundles that were in force, for telling what is over by the one of then (`told_by` in core).
//! They decide nothing: who may do what follows from the bundle in force alone.
//!
//! Each is read when it is first needed, and verified like the one in force. A few stay at hand.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::lifecycle::{evaluate, in_force_at, is_live, told_by};
use jit_ssh_core::root::Root;
use jit_ssh_core::time::UnixTime;
use jit_ssh_signer::protocol::Signed;

use super::in_force::{InForce, Standing, read};
use super::memory::Known;
use super::sessions::Caller;
use super::store::StoredBundle;
use super::visibility::{may_see, was_concerned};

/// Most bytes of files whose bundles stay at hand; the one read last stays in any case.
const MAX_AT_HAND: usize = 32 << 20;

/// See the module.
pub(super) struct Eras {
    /// Where the signer puts bundles.
    folder: PathBuf,
    root: Root,
    /// By when they came into force, oldest first.
    known: RwLock<Arc<Vec<Era>>>,
    /// The one read last is last.
    at_hand: Mutex<VecDeque<Read>>,
}

/// A bundle that came into force.
#[derive(Clone)]
struct Era {
    digest: Digest,
    stored: StoredBundle,
}

/// A bundle that was read, or can not be.
struct Read {
    digest: Digest,
    bundle: Option<Arc<InForce>>,
}

/// By which bundle a request is told, and which one is in force: they differ where it is over.
pub(super) struct Views {
    pub(super) told: Standing,
    pub(super) current: Standing,
}

impl Views {
    /// A request that is told by the bundle in force.
    pub(super) fn current(current: &Standing) -> Views {
        Views { told: current.clone(), current: current.clone() }
    }
}

impl Eras {
    /// None yet; `folder` is where the signer puts bundles.
    pub(super) fn new(folder: PathBuf, root: Root) -> Eras {
        Eras { folder, root, known: RwLock::default(), at_hand: Mutex::default() }
    }

    /// Notes a bundle; of one that is known the earliest moment stays.
    pub(super) fn note(&self, stored: StoredBundle) {
        let digest = Digest::of(&stored.statement);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::make_mut(&mut known);
        match known.iter_mut().find(|era| era.digest == digest) {
            Some(era) => era.stored.since = era.stored.since.min(stored.since),
            None => known.push(Era { digest, stored }),
        }
        // Of those of one second the later one stays later.
        known.sort_by_key(|era| era.stored.since);
    }

    /// Notes the bundle in force; returns what the store should hold of it if it is new here.
    pub(super) fn note_current(&self, current: &InForce, now: UnixTime) -> Option<StoredBundle> {
        if self.eras().iter().any(|era| era.digest == current.digest) {
            return None;
        }
        let stored = StoredBundle {
            since: now,
            statement: current.statement.statement.clone(),
            signatures: current.statement.signatures.clone(),
        };
        self.note(stored.clone());
        Some(stored)
    }

    /// By which bundle a request is told at `now`. May read files, but not on this thread.
    pub(super) async fn views(
        self: &Arc<Self>,
        known: &Known,
        current: &Standing,
        now: UnixTime,
    ) -> Views {
        let views = Views::current(current);
        let eras = self.eras();
        if eras.len() < 2 || is_live(&evaluate(&known.chain, current.view(), now).status) {
            return views;
        }
        let (this, chain, newest) = (self.clone(), known.chain.clone(), current.clone());
        let found = tokio::task::spawn_blocking(move || {
            let since: Vec<UnixTime> = eras.iter().map(|era| era.stored.since).collect();
            let open = |place: usize| this.open(eras.get(place)?, newest.in_force()).map(Opened);
            let place = told_by(&chain, &since, newest.enrolled(), now, open)?;
            this.open(eras.get(place)?, newest.in_force())
        });
        match found.await {
            Ok(Some(told)) => Views { told: current.under(told), ..views },
            Ok(None) | Err(_) => views,
        }
    }

    /// Whether `caller` may see a request; break-glass goes on being seen by whom it concerned when it
    /// was made.
    pub(super) async fn sees(
        self: &Arc<Self>,
        caller: &Caller,
        known: &Known,
        current: &Standing,
        now: UnixTime,
    ) -> bool {
        let evaluation = evaluate(&known.chain, current.view(), now);
        if may_see(caller, known, &evaluation, &current.bundle) {
            return true;
        }
        let request = known.chain.request().body();
        if request.break_glass.is_none() {
            return false;
        }
        let eras = self.eras();
        let since: Vec<UnixTime> = eras.iter().map(|era| era.stored.since).collect();
        let Some(era) = in_force_at(&since, request.at).and_then(|place| eras.get(place).cloned())
        else {
            return false;
        };
        let (this, newest) = (self.clone(), current.in_force().clone());
        let then = tokio::task::spawn_blocking(move || this.open(&era, &newest)).await;
        matches!(then, Ok(Some(then)) if was_concerned(&caller.id, known, current.view_under(&then.bundle)))
    }

    fn eras(&self) -> Arc<Vec<Era>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn at_hand(&self) -> MutexGuard<'_, VecDeque<Read>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bundle, read if it is not at hand; `None` if it can not be read. Blocks.
    fn open(&self, era: &Era, current: &Arc<InForce>) -> Option<Arc<InForce>> {
        if era.digest == current.digest {
            return Some(current.clone());
        }
        if let Some(read) = self.at_hand().iter().find(|read| read.digest == era.digest) {
            return read.bundle.clone();
        }
        let StoredBundle { statement, signatures, .. } = &era.stored;
        let signed = Signed {
            statement: String::from_utf8_lossy(statement).into_owned(),
            signatures: signatures.iter().map(|blob| Base64Bytes(blob.to_vec())).collect(),
        };
        let bundle = match read(&self.folder, signed, &self.root) {
            Ok(bundle) => Some(Arc::new(bundle)),
            Err(error) => {
                tracing::warn!(
                    bundle = %era.digest,
                    error = format!("{error:#}"),
                    "a bundle that was in force can not be read; what ended under it is told by the one in force"
                );
                None
            }
        };
        self.keep(Read { digest: era.digest, bundle: bundle.clone() });
        bundle
    }

    /// Keeps a bundle at hand; those that were read longest ago may have to go.
    fn keep(&self, read: Read) {
        let mut at_hand = self.at_hand();
        at_hand.retain(|known| known.digest != read.digest);
        at_hand.push_back(read);
        let size = |read: &Read| read.bundle.as_ref().map_or(0, |bundle| bundle.files.size());
        let mut total = at_hand.iter().map(size).fold(0, usize::saturating_add);
        while total > MAX_AT_HAND && at_hand.len() > 1 {
            total = total.saturating_sub(at_hand.pop_front().as_ref().map_or(0, size));
        }
    }

    /// Bundles that were in force from these moments on, at hand.
    #[cfg(test)]
    pub(super) fn of(bundles: &[(UnixTime, Arc<InForce>)]) -> Arc<Eras> {
        let eras = Eras::new(PathBuf::new(), super::testworld::root());
        for (since, bundle) in bundles {
            let mut stored = eras.note_current(bundle, *since);
            assert!(stored.take().is_some(), "each needs another statement");
            eras.keep(Read { digest: bundle.digest, bundle: Some(bundle.clone()) });
        }
        Arc::new(eras)
    }
}

/// A bundle as core takes it.
struct Opened(Arc<InForce>);

impl std::borrow::Borrow<jit_ssh_core::bundle::Bundle> for Opened {
    fn borrow(&self) -> &jit_ssh_core::bundle::Bundle {
        &self.0.bundle
    }
}

#[cfg(test)]
mod tests;
