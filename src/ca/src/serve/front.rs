//! What every service works with: the root, the bundle in force, memory, store and signer, and the
//! few ways in which they are used together.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jit_ssh_core::chain::Issued;
use jit_ssh_core::deployment::Limits;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::lifecycle::Evaluation;
use jit_ssh_core::log::VerifierKey;
use jit_ssh_core::names::{ActorId, HostName};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Request};
use jit_ssh_signer::log::TileDir;
use jit_ssh_signer::protocol::{Issuance, Op, Outcome, Signed};
use prost::bytes::Bytes;
use tokio::sync::watch;

use super::approvals;
use super::eras::Eras;
use super::heard::Heard;
use super::host_feed::{HostFeed, Prolonging};
use super::in_force::Trusted;
use super::memory::{Change, Known, Memory};
use super::metrics::{Counted, Metrics};
use super::rates::Rates;
use super::sessions::{Caller, Sessions, no_session};
use super::signer_link::{Epoch, Lost, SignerLink};
use super::store::{Record, Store, StoredStatement};
use super::{MAX_LINEAGE, clock};

/// Everything the services share.
pub(super) struct Front {
    pub(super) root: Root,
    /// Of the root, computed once.
    pub(super) fingerprint: RootFingerprint,
    /// The exact bytes of `root.json`.
    pub(super) root_bytes: Bytes,
    pub(super) limits: Limits,
    pub(super) trusted: Trusted,
    pub(super) eras: Arc<Eras>,
    pub(super) signer: SignerLink,
    pub(super) lost: Arc<Lost>,
    pub(super) store: Arc<dyn Store>,
    pub(super) memory: Memory,
    pub(super) sessions: Sessions,
    pub(super) rates: Rates,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
    pub(super) watching: Watching,
    pub(super) heard: Heard,
    /// What hosts hear.
    pub(super) host_feed: HostFeed,
    /// Held while a bundle is judged and put in force, one at a time.
    pub(super) applying: tokio::sync::Mutex<()>,
    /// Bounds how many answers with bundle files are on their way at a time.
    pub(super) sending_files: tokio::sync::Semaphore,
    /// True once the front shuts down.
    pub(super) stopping: watch::Receiver<bool>,
}

/// The log of our signer.
pub(super) struct Log {
    /// Where it lies.
    pub(super) dir: PathBuf,
    /// The signer's number.
    pub(super) signer: u16,
    /// The key its checkpoints are signed with, by the signer's own word.
    pub(super) key: VerifierKey,
}

impl Log {
    /// The log's files.
    pub(super) fn tiles(&self) -> TileDir {
        TileDir::new(&self.dir)
    }
}

impl Front {
    /// Who holds the token with this SHA-256.
    ///
    /// # Errors
    /// [`Reason::NoSession`].
    pub(super) fn caller(&self, token: Option<Digest>) -> Result<Caller, Refusal> {
        let token = token.ok_or_else(no_session)?;
        let current = self.trusted.current();
        let bundle = current.as_ref().map(|current| &current.bundle);
        self.sessions.caller(token, &self.root, bundle, clock::now())
    }

    /// The admin who holds the token with this SHA-256. Admins have sessions before the first
    /// bundle, too.
    ///
    /// # Errors
    /// [`Reason::NoSession`], [`Reason::NotAllowed`].
    pub(super) fn admin(&self, token: Option<Digest>) -> Result<Caller, Refusal> {
        let caller = self.caller(token)?;
        if caller.is_admin() {
            return Ok(caller);
        }
        Err(Refusal::new(Reason::NotAllowed, format!("{} is no admin.", caller.id))
            .hint("admins stand in root.json; `jit-ssh-ca apply` signs with an admin's key"))
    }

    /// Counts the open sessions.
    pub(super) fn note_sessions(&self) {
        let count = i64::try_from(self.sessions.count()).unwrap_or(i64::MAX);
        self.metrics.sessions.set(count);
    }

    /// Has a statement or certificate recorded. If the signer does not know the request `about` any
    /// more, which it builds on, it is told of it from the store, once.
    ///
    /// # Errors
    /// What the signer refuses with.
    pub(super) async fn record(
        &self,
        epoch: &Epoch,
        about: Digest,
        op: Op,
    ) -> Result<Outcome, Refusal> {
        let again = op.clone();
        let refusal = match self.signer.record(op, epoch).await {
            Err(refusal) if refusal.reason == Reason::UnknownRequest => refusal,
            other => return other,
        };
        if !self.relay(epoch, about).await? {
            return Err(refusal);
        }
        self.signer.record(again, epoch).await
    }

    /// Tells the signer of a request and all that was said of it, and before that of what it
    /// prolongs; whether there was anything.
    async fn relay(&self, epoch: &Epoch, request: Digest) -> Result<bool, Refusal> {
        let mut lineage = Vec::new();
        let mut next = Some(request);
        while let Some(digest) = next.filter(|_| lineage.len() <= MAX_LINEAGE) {
            let Some(stored) = self.store.chain(digest).await? else { break };
            let StoredStatement { bytes, signature, .. } = &stored.request;
            // Only for finding the way: the signer verifies what it is told.
            let read = statement::open_recorded::<Request>(bytes, signature);
            next = read.ok().and_then(|request| request.body().extends);
            lineage.push(stored);
        }
        let known = !lineage.is_empty();
        let relay = |statement: StoredStatement| Op::Relay { statement: relayed(statement) };
        while let Some(stored) = lineage.pop() {
            let told = self.signer.record(relay(stored.request), epoch).await;
            match told {
                Ok(_) => {}
                // What is said next of the request asked for would be refused all the same.
                Err(refusal) if lineage.is_empty() => return Err(refusal),
                Err(refusal) => left_out(&refusal),
            }
            for statement in stored.decisions.into_iter().chain(stored.ends) {
                // One that the signer refuses does not count for it; the others may.
                if let Err(refusal) = self.signer.record(relay(statement), epoch).await {
                    left_out(&refusal);
                }
            }
        }
        Ok(known)
    }

    /// Keeps records that the signer has made. If that fails, or the caller goes away meanwhile,
    /// they are fetched from the log later.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`].
    pub(super) async fn keep(&self, records: Vec<Record>) -> Result<(), Refusal> {
        let appending = self.store.append(records);
        let mut unsure = Unsure { lost: &self.lost, kept: false };
        appending.await?;
        unsure.kept = true;
        Ok(())
    }

    /// A request that the caller says exists.
    ///
    /// # Errors
    /// [`Reason::UnknownRequest`], [`Reason::StoreUnavailable`].
    pub(super) async fn known(&self, request: Digest) -> Result<Arc<Known>, Refusal> {
        let known = self.memory.get(&*self.store, request).await?;
        known.ok_or_else(|| unknown_request(request.short_id()))
    }

    /// Notes how long a request took to be approved, if it is. Nobody waits for this, and nothing
    /// hangs on it.
    pub(super) fn note_approval(&self, known: &Known, evaluation: &Evaluation<'_>) {
        if let Some(record) = approvals::record(known, evaluation) {
            drop(self.store.append(vec![record]));
        }
    }

    /// Tells these hosts of a certificate, if it prolongs access to them.
    pub(super) fn tell_hosts(&self, request: &Request, hosts: &[HostName], issuance: &Issuance) {
        if request.extends.is_some() {
            let prolonging = Prolonging {
                hosts: hosts.to_vec(),
                serial: issuance.serial,
                valid_before: issuance.valid_before,
                certificate: issuance.certificate.0.clone().into(),
            };
            self.host_feed.prolong(prolonging, clock::now());
        }
    }

    /// Tells watchers of a request when this is dropped, however the call ends.
    pub(super) fn announce(&self, request: Digest) -> Announcement<'_> {
        Announcement { memory: &self.memory, request }
    }
}

fn left_out(refusal: &Refusal) {
    tracing::warn!(reason = %refusal.reason, "the signer does not take a relayed statement");
}

/// There is no such request, or none the caller may see.
pub(super) fn unknown_request(id: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::UnknownRequest, format!("there is no request {id} that you may see."))
        .hint("`jit-ssh requests` lists those you may")
}

/// The signer answered something else than was asked.
pub(super) fn unexpected() -> Refusal {
    Refusal::new(Reason::Internal, "the signer gave an answer that does not fit the question.")
}

/// What was issued, as the chain has it.
pub(super) fn issued(issuance: &Issuance) -> Issued {
    Issued {
        serial: issuance.serial,
        at: issuance.at,
        valid_before: issuance.valid_before,
        access_until: issuance.access_until,
    }
}

pub(super) fn relayed(statement: StoredStatement) -> Signed {
    // A row that is not UTF-8 is no statement; the signer refuses what is left of it.
    let text = String::from_utf8(statement.bytes).unwrap_or_default();
    Signed { statement: text, signatures: vec![Base64Bytes(statement.signature)] }
}

/// Set right only when records are known to be kept.
struct Unsure<'l> {
    lost: &'l Lost,
    kept: bool,
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.lost.mark();
        }
    }
}

/// See [`Front::announce`].
pub(super) struct Announcement<'m> {
    memory: &'m Memory,
    request: Digest,
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        self.memory.announce(Change::Request(self.request));
    }
}

/// How many watches each person has open.
#[derive(Default)]
pub(super) struct Watching(Arc<Mutex<HashMap<ActorId, u32>>>);

impl Watching {
    /// Counts one more watch of `id`.
    ///
    /// # Errors
    /// [`Reason::Quota`].
    pub(super) fn begin(&self, id: &ActorId, front: &Front) -> Result<OneWatch, Refusal> {
        let most = front.limits.watches_per_person.get();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(id.clone()).or_default();
        if *count >= most {
            let message = format!("{id} has {most} watches open, which is the most there may be.");
            return Err(Refusal::new(Reason::Quota, message).hint("close one"));
        }
        *count = count.saturating_add(1);
        let counted = Counted::new(&front.metrics.watches);
        Ok(OneWatch { open: self.0.clone(), id: id.clone(), _counted: counted })
    }
}

/// One open watch.
pub(super) struct OneWatch {
    open: Arc<Mutex<HashMap<ActorId, u32>>>,
    id: ActorId,
    _counted: Counted,
}

impl Drop for OneWatch {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.id);
            }
        }
    }
}
