//! The way to the signer: calls with an id each, many under way, answered in any order.
//!
//! Promises: a call ends within its deadline; after a broken connection the link heals by itself,
//! but for a child that can not start the very first time ([`SignerLink::can_not_start`]);
//! whatever the signer recorded for a caller that went away is reported to [`Lost`], so that it can
//! be fetched from the log. Knows nothing of what the calls mean.
//!
//! - [`SignerLink`]: what callers use;
//! - `connection`: one writer and one reader for a connection, and the loop that renews it;
//! - `process`: the signer as a child, or behind its own socket.

mod connection;
mod process;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_signer::protocol::{Call, MAX_FRAME, MAX_IN_FLIGHT, Op, Outcome};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

pub(super) use process::Place;

/// How long a call may take (design.md, 3).
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// The client of the signer. Cheap to clone.
#[derive(Clone)]
pub(super) struct SignerLink {
    shared: Arc<Shared>,
}

/// Told when the signer may have recorded what nobody here took note of.
#[derive(Default)]
pub(super) struct Lost {
    some: AtomicBool,
    told: Notify,
}

impl Lost {
    /// Something was recorded, and the caller is gone.
    pub(super) fn mark(&self) {
        self.some.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Whether something was lost since the last call of this.
    pub(super) fn take(&self) -> bool {
        self.some.swap(false, Ordering::AcqRel)
    }

    /// Waits for the next [`Lost::mark`], or returns at once if there was one.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }
}

/// Held by each call that records something, from before the signer hears of it until it is stored
/// here. When all of an epoch are gone, everything recorded in it is stored, or [`Lost`] was told.
pub(super) type Epoch = Arc<()>;

struct Shared {
    queue: Mutex<Queue>,
    epoch: Mutex<Epoch>,
    next_id: AtomicU64,
    /// Wakes the writer.
    wake: Notify,
    slots: Arc<Semaphore>,
    lost: Arc<Lost>,
    /// Whether the signer ever answered: from then on, whatever ends it, it is started anew.
    answered: AtomicBool,
    /// Why it could not be started the first time.
    hopeless: watch::Sender<Option<String>>,
}

/// Calls not yet written and calls not yet answered.
#[derive(Default)]
struct Queue {
    up: bool,
    /// Frames to be written with the next write.
    frames: Vec<u8>,
    waiting: HashMap<u64, Waiter>,
}

struct Waiter {
    answer: oneshot::Sender<Outcome>,
    /// Dropped last: whoever sees the epoch end sees what was lost in it, too.
    epoch: Option<Epoch>,
    /// Held until the signer answers, whether or not the caller still waits: that is what bounds
    /// the calls under way.
    _slot: OwnedSemaphorePermit,
}

/// Ends the link, its tasks and the signer's process with it.
pub(super) struct LinkHandle {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl LinkHandle {
    /// Closes the connection, which ends a child, and waits for it.
    pub(super) async fn close(self) {
        // Nobody listens only if the task is gone already.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of the signer's connection failed");
        }
    }
}

impl SignerLink {
    /// Begins to connect to the signer at `place`, and keeps at it.
    pub(super) fn start(place: Place, lost: Arc<Lost>) -> (SignerLink, LinkHandle) {
        let link = SignerLink {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                epoch: Mutex::default(),
                next_id: AtomicU64::new(1),
                wake: Notify::new(),
                slots: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
                lost,
                answered: AtomicBool::new(false),
                hopeless: watch::Sender::new(None),
            }),
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(connection::keep(link.shared.clone(), place, stopped));
        (link, LinkHandle { stop, task })
    }

    /// Waits until it is certain that a signer which is our child can not start, and says why. A
    /// signer that answered once is started anew instead, whatever ends it.
    pub(super) async fn can_not_start(&self) -> String {
        let mut hopeless = self.shared.hopeless.subscribe();
        let found = hopeless.wait_for(Option::is_some).await;
        match found.ok().and_then(|why| why.clone()) {
            Some(why) => why,
            // The sender lives as long as this.
            None => std::future::pending().await,
        }
    }

    /// The epoch of now, to be held until what is about to be recorded is stored.
    pub(super) fn epoch(&self) -> Epoch {
        self.shared.epoch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins another epoch; returns the one that ends.
    pub(super) fn next_epoch(&self) -> Epoch {
        let mut epoch = self.shared.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *epoch)
    }

    /// Makes one call that records nothing, and waits at most [`DEADLINE`].
    ///
    /// # Errors
    /// What the signer refuses with, or [`Reason::SignerUnavailable`].
    pub(super) async fn call(&self, op: Op) -> Result<Outcome, Refusal> {
        self.call_within(op, DEADLINE).await
    }

    /// Makes one call that records nothing, and waits at most `deadline`.
    ///
    /// # Errors
    /// As [`SignerLink::call`].
    pub(super) async fn call_within(&self, op: Op, deadline: Duration) -> Result<Outcome, Refusal> {
        in_time(deadline, self.exchange(op, None)).await
    }

    /// Makes one call that records something, and waits at most [`DEADLINE`].
    ///
    /// # Errors
    /// As [`SignerLink::call`].
    pub(super) async fn record(&self, op: Op, epoch: &Epoch) -> Result<Outcome, Refusal> {
        in_time(DEADLINE, self.exchange(op, Some(epoch.clone()))).await
    }

    async fn exchange(&self, op: Op, epoch: Option<Epoch>) -> Result<Outcome, Refusal> {
        let slot = self.shared.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| unavailable("the signer's connection is closed."))?;
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let call = serde_json::to_vec(&Call { id, op }).map_err(|error| {
            Refusal::new(Reason::Internal, format!("a call can not be written: {error}."))
        })?;
        let length = u32::try_from(call.len()).ok().filter(|_| call.len() <= MAX_FRAME);
        let length = length.ok_or_else(|| {
            Refusal::new(Reason::Malformed, "the statement is too long for the signer.")
        })?;
        let (answer, heard) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if !queue.up {
                return Err(unavailable("the signer is not connected."));
            }
            queue.frames.extend_from_slice(&length.to_be_bytes());
            queue.frames.extend_from_slice(&call);
            queue.waiting.insert(id, Waiter { answer, epoch, _slot: slot });
        }
        self.shared.wake.notify_one();
        let mut waiting = Waiting { heard, lost: &self.shared.lost };
        match (&mut waiting.heard).await {
            Ok(Outcome::Refused(refusal)) => Err(refusal),
            Ok(outcome) => Ok(outcome),
            Err(_) => Err(unavailable("the signer's connection broke.")),
        }
    }
}

async fn in_time(
    deadline: Duration,
    exchange: impl Future<Output = Result<Outcome, Refusal>>,
) -> Result<Outcome, Refusal> {
    match tokio::time::timeout(deadline, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(unavailable("the signer did not answer in time.")),
    }
}

/// A caller that waits. If it goes away, an answer that has come already is not lost unseen.
struct Waiting<'a> {
    heard: oneshot::Receiver<Outcome>,
    lost: &'a Lost,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.heard.close();
        if let Ok(outcome) = self.heard.try_recv() {
            note_unheard(&outcome, self.lost);
        }
    }
}

/// Notes an answer that nobody takes: if it says that something was recorded, the log has it.
fn note_unheard(outcome: &Outcome, lost: &Lost) {
    match outcome {
        Outcome::Recorded { .. } | Outcome::Certified(_) => lost.mark(),
        // A host certificate is of no request: the front stores nothing of it.
        Outcome::HostCertified(_)
        | Outcome::Stored
        | Outcome::InForce { .. }
        | Outcome::State(_)
        | Outcome::Refused(_) => {}
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // What is behind the lock is whole at every moment.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    fn give_up(&self, why: String) {
        self.hopeless.send_replace(Some(why));
    }

    /// A connection stands.
    fn open(&self) {
        self.queue().up = true;
    }

    /// The connection is gone: nobody waiting will be answered.
    fn close(&self) {
        let mut queue = self.queue();
        queue.up = false;
        queue.frames = Vec::new();
        let waiting = mem::take(&mut queue.waiting);
        drop(queue);
        if !waiting.is_empty() {
            // The signer may have recorded some of these before the connection broke.
            self.lost.mark();
        }
    }

    /// Frames to write now, in exchange for an empty buffer.
    fn take_frames(&self, empty: Vec<u8>) -> Vec<u8> {
        mem::replace(&mut self.queue().frames, empty)
    }

    /// Hands an answer to who waits for it.
    fn deliver(&self, id: u64, outcome: Outcome) {
        self.answered.store(true, Ordering::Release);
        let waiter = self.queue().waiting.remove(&id);
        let Some(Waiter { answer, epoch, _slot }) = waiter else { return };
        if let Err(outcome) = answer.send(outcome) {
            note_unheard(&outcome, &self.lost);
        }
        drop(epoch);
    }
}

fn unavailable(message: &str) -> Refusal {
    Refusal::new(Reason::SignerUnavailable, message).hint("try again; nothing was lost")
}
