//! Where it is decided and logged: one thread, batch by batch.
//!
//! For each call of a batch: check, `authorize`, build, lint; nothing is changed yet. Then the
//! entries of all of them go to the log with one fsync. Only when that has succeeded does the
//! signer remember what they say, and hands the certificates on to be signed. If it fails, every
//! call of the batch is refused, and no certificate of it will ever be signed.
//!
//! - `inbox.rs`: what waits; `batch.rs`: what is logged together;
//! - `plan.rs`: what one call would write and change; `hosts.rs`: the same for host certificates;
//!   `enrolment.rs`: the same for hosts that join;
//! - `replay.rs`: the memory, rebuilt from the log at start.

mod batch;
mod enrolment;
mod hosts;
mod inbox;
mod plan;
mod replay;

use std::num::NonZeroU16;
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use jit_ssh_core::certificate::host::HostLinted;
use jit_ssh_core::certificate::{Linted, Scope, Serial};
use jit_ssh_core::chain::Issued;
use jit_ssh_core::deployment::Limits;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::Enrolled;
use jit_ssh_core::key::{CaKey, HostCaKey};
use jit_ssh_core::krl::Revoked;
use jit_ssh_core::log::Hash;
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{Decision, End, Host, Request, SignedBundle, Token, Verified};
use jit_ssh_core::time::UnixTime;

use crate::bundles::{InForce, Shelf};
use crate::connection::Reply;
use crate::log::{Committed, LogStore};
use crate::memory::{Memory, is_unreviewed};
use crate::notes::{Notes, Unreviewed};
use crate::protocol::{Outcome, Signed, State};
use crate::quota::Quotas;
use batch::Batch;
use hosts::Hosts;
pub(crate) use inbox::Inbox;
use plan::{Effect, Plan};

/// Longest time between what is durable and what is published, where nothing waits.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// The same under load: each publish makes and removes files, which costs more than the entries.
const PUBLISH_UNDER_LOAD: Duration = Duration::from_secs(1);

/// After so many entries it is noted anew which break-glass requests are unreviewed, so that a start
/// need not look for reviews further back.
const NOTE_EVERY: u64 = 1 << 16;

/// A batch of more calls than this means load, though nothing may be waiting just now.
const IDLE_BATCH: usize = 2;

/// How far, in seconds, the clock may be behind the newest log entry: further means that the clock
/// was set back, and what has ended could begin again.
const MAX_BEHIND_LOG: u32 = 5;

/// Something to decide, verified as far as signatures go.
pub(crate) enum Task {
    Submit {
        statement: Statement,
        certify: bool,
    },
    Relay {
        statement: Statement,
    },
    Certify {
        request: Digest,
        scope: Scope,
    },
    CertifyHost {
        name: HostName,
    },
    Bundle {
        signed: SignedBundle,
        statement: Signed,
    },
    State,
    /// Settled before it came here; passed on so that answers leave in one place.
    Settled(Outcome),
}

/// A statement to be recorded.
#[allow(clippy::large_enum_variant, reason = "moved through two threads, never kept in numbers")]
pub(crate) enum Statement {
    Request(Verified<Request>),
    Decision(Verified<Decision>),
    End(Verified<End>),
    Host(Verified<Host>),
    Token(Verified<Token>),
}

/// A task and where its answer goes.
pub(crate) struct Work {
    pub(crate) task: Task,
    pub(crate) reply: Reply,
}

/// An answer that may still need a signature.
pub(crate) enum Draft {
    Ready(Outcome),
    Recorded {
        digest: Digest,
        at: UnixTime,
        certificate: Option<Logged>,
    },
    Certified(Logged),
    /// Fresh, or with what proves that it stands in the log since before.
    HostCertified {
        logged: HostLogged,
        standing: Option<Standing>,
    },
}

/// A certificate that is durable in the log and not yet signed.
pub(crate) struct Logged {
    pub(crate) tbs: Linted,
    pub(crate) entry: Vec<u8>,
    pub(crate) serial: Serial,
    pub(crate) at: UnixTime,
}

/// A host certificate that is durable in the log, and not yet signed or to be signed again.
pub(crate) struct HostLogged {
    pub(crate) tbs: HostLinted,
    pub(crate) entry: Vec<u8>,
    pub(crate) serial: Serial,
}

/// What proves that an older entry is in the log.
pub(crate) struct Standing {
    pub(crate) checkpoint: String,
    pub(crate) proof: Vec<Hash>,
}

/// What goes on to be signed and answered.
pub(crate) struct Finished {
    /// `None` if nothing was appended.
    pub(crate) committed: Option<Committed>,
    pub(crate) drafts: Vec<(Reply, Draft)>,
}

/// Tells the time.
pub(crate) type Clock = Box<dyn Fn() -> UnixTime + Send>;

/// Who the signer is and whom it trusts.
pub(crate) struct Identity {
    pub(crate) number: NonZeroU16,
    pub(crate) ca_key: CaKey,
    pub(crate) host_ca_key: Option<HostCaKey>,
    pub(crate) root: Root,
}

/// The signer's mind: root, bundle, memory and log.
pub(crate) struct Desk {
    identity: Identity,
    shelf: Shelf,
    notes: Notes,
    in_force: Option<InForce>,
    memory: Memory,
    hosts: Hosts,
    /// The hosts that joined, and the tokens that let more join.
    enrolled: Enrolled,
    revoked: Revoked,
    quotas: Quotas,
    log: LogStore,
    clock: Clock,
    newest_entry: UnixTime,
    /// The latest that the clock ever said.
    seen: UnixTime,
    /// Of how many entries it is noted which break-glass requests are unreviewed.
    noted: u64,
    published: Instant,
}

impl Desk {
    /// Takes up the log and the bundle in force, and rebuilds the memory from the log.
    ///
    /// # Errors
    /// If log and bundle do not fit together.
    pub(crate) fn open(
        identity: Identity,
        log: LogStore,
        shelf: Shelf,
        notes: Notes,
        limits: Limits,
        clock: Clock,
    ) -> anyhow::Result<Desk> {
        let mut desk = Desk {
            // `current.json` spares reading the bundle twice; the log decides.
            in_force: shelf.current(&identity.root).ok().flatten(),
            identity,
            shelf,
            notes,
            memory: Memory::default(),
            hosts: Hosts::default(),
            enrolled: Enrolled::default(),
            revoked: Revoked::new(log.published_krl()),
            quotas: Quotas::new(limits),
            log,
            clock,
            newest_entry: UnixTime(0),
            seen: UnixTime(0),
            noted: 0,
            published: Instant::now(),
        };
        desk.replay()?;
        desk.publish_krl();
        Ok(desk)
    }

    /// Decides and logs until nobody is left to ask.
    pub(crate) fn run(mut self, mut inbox: Inbox, out: &SyncSender<Finished>) {
        loop {
            let first = match inbox.wait(PUBLISH_EVERY) {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => {
                    self.publish();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.publish();
                    return;
                }
            };
            let finished = self.batch(first, &mut inbox);
            // Idle: readers see it before the caller hears of it. Busy: at least every second.
            let idle = finished.drafts.len() <= IDLE_BATCH && inbox.is_empty();
            if finished.committed.is_some()
                && (idle || self.published.elapsed() > PUBLISH_UNDER_LOAD)
            {
                self.publish();
            }
            if out.send(finished).is_err() {
                return;
            }
        }
    }

    /// Plans as many calls as are waiting and do not build on each other, logs them at once, and
    /// then remembers them.
    fn batch(&mut self, first: Work, inbox: &mut Inbox) -> Finished {
        let now = self.now();
        self.memory.forget(now);
        self.enrolled.forget(now);
        let mut batch = Batch::at(now.max(self.newest_entry));
        let behind = now.plus_secs(MAX_BEHIND_LOG) < self.newest_entry;
        let mut current = Some(first);
        while let Some(Work { task, reply }) = current.take() {
            let touches = self.touches(&task);
            if !batch.can_take(&task, &touches) {
                inbox.put_back(Work { task, reply });
                break;
            }
            batch.touch(touches);
            let plan = match task {
                Task::Settled(outcome) => Ok(Plan::ready(outcome)),
                Task::State => Ok(Plan::ready(Outcome::State(self.state()))),
                _ if behind => Err(clock_is_behind()),
                task => self.plan(task, &batch),
            };
            let plan = plan.unwrap_or_else(|refusal| Plan::ready(Outcome::Refused(refusal)));
            batch.add(reply, plan);
            if !batch.is_full() {
                current = inbox.take();
            }
        }
        self.commit(batch)
    }

    /// Makes a batch durable; without that, nothing of it happened.
    fn commit(&mut self, batch: Batch) -> Finished {
        if batch.entries.is_empty() {
            return Finished { committed: None, drafts: batch.drafts };
        }
        match self.log.append(&batch.entries) {
            Ok(committed) => {
                self.newest_entry = batch.now;
                for effect in batch.effects {
                    self.apply(effect);
                }
                if self.log.size().saturating_sub(self.noted) > NOTE_EVERY {
                    self.note_unreviewed();
                }
                // Before the answer: whoever ended an access hears of it when it is in the list.
                self.publish_krl();
                Finished { committed: Some(committed), drafts: batch.drafts }
            }
            Err(error) => {
                eprintln!("jit-ssh-signer: the log can not take an entry: {error}");
                let refusal = Refusal::new(
                    Reason::LogUnavailable,
                    "the log can not take an entry now, so nothing was issued.",
                )
                .hint("try again; an admin finds the cause in the signer's output");
                let refuse = |(reply, draft)| match draft {
                    // What needed no entry is answered all the same.
                    Draft::Ready(
                        outcome @ (Outcome::Refused(_) | Outcome::State(_) | Outcome::Stored),
                    ) => (reply, Draft::Ready(outcome)),
                    standing @ Draft::HostCertified { standing: Some(_), .. } => (reply, standing),
                    _ => (reply, Draft::Ready(Outcome::Refused(refusal.clone()))),
                };
                Finished { committed: None, drafts: batch.drafts.into_iter().map(refuse).collect() }
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Remember { chain, index, at, over_at } => {
                let unreviewed = is_unreviewed(&chain);
                self.memory.insert(chain, index, at, over_at);
                if unreviewed {
                    self.note_unreviewed();
                }
            }
            Effect::Decide(decision) => {
                if self.memory.decide(decision) {
                    self.note_unreviewed();
                }
            }
            Effect::End(end) => {
                let fallen = self.memory.end(end, self.newest_entry);
                self.revoked.add(fallen);
            }
            Effect::Issue { request, issued } => self.memory.issue(&request, issued),
            Effect::IssueHost { name, certificate } => {
                self.hosts.note(name, certificate, self.newest_entry);
            }
            Effect::Enrol(enrolment) => self.enrolled.add(enrolment),
            Effect::PutInForce(in_force) => self.put_in_force(*in_force),
        }
    }

    /// Puts a logged bundle in force. It changes what every request may still lead to, also those
    /// that were over under the old one: so the memory is rebuilt from the log, denials and all.
    fn put_in_force(&mut self, in_force: InForce) {
        let index = self.log.size().saturating_sub(1);
        self.in_force = Some(in_force);
        let done = self.shelf.put_current().map_err(anyhow::Error::from);
        let done = done
            .and_then(|()| Ok(self.notes.write_newest_bundle(index)?))
            .and_then(|()| self.replay());
        if let Err(error) = done {
            // The bundle is logged, so it is in force; but a memory with gaps could forget a
            // denial, and a bundle that is not noted is looked for only at the log's end.
            eprintln!("jit-ssh-signer: stopping, since a bundle can not be taken up: {error:#}");
            std::process::abort();
        }
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        if let Err(error) = self.log.publish() {
            eprintln!("jit-ssh-signer: the log can not be published: {error}");
        }
        self.publish_krl();
    }

    /// Publishes the revocation list if it is another than the one that stands. An end holds even
    /// where that fails, since no certificate is issued any more; it is tried again soon.
    fn publish_krl(&mut self) {
        let now = self.now();
        let Some(krl) = self.revoked.due(self.log.size(), &self.identity.ca_key, now) else {
            return;
        };
        let done = self.log.publish_krl(&krl);
        if self.revoked.note_published(done.is_ok().then_some(krl))
            && let Err(error) = done
        {
            eprintln!(
                "jit-ssh-signer: the revocation list can not be published, and hosts do not hear \
                 of the newest ends: {error}; trying again"
            );
        }
    }

    /// Notes which break-glass requests nobody has reviewed. If that fails, the log tells at the next
    /// start, which then takes longer.
    fn note_unreviewed(&mut self) {
        let note = Unreviewed::new(self.log.size(), self.memory.unreviewed());
        match self.notes.write_unreviewed(&note) {
            Ok(()) => self.noted = note.size,
            Err(error) => eprintln!("jit-ssh-signer: the unreviewed can not be noted: {error}"),
        }
    }

    /// What the clock says. If it was set back, things that were over when it was ahead may be alive
    /// again, and the memory is rebuilt with them: who was revoked must stay in the list.
    fn now(&mut self) -> UnixTime {
        let now = (self.clock)();
        if now.plus_secs(MAX_BEHIND_LOG) < self.seen {
            self.seen = now;
            if let Err(error) = self.replay() {
                eprintln!("jit-ssh-signer: stopping, since the log can not be read: {error:#}");
                std::process::abort();
            }
        }
        self.seen = self.seen.max(now);
        now
    }

    fn state(&self) -> State {
        State {
            number: self.identity.number.get(),
            ca_key: self.identity.ca_key.to_string(),
            host_ca_key: self.identity.host_ca_key.as_ref().map(ToString::to_string),
            log_key: self.log.key().verifier().to_string(),
            bundle_version: self.in_force.as_ref().map_or(0, |b| b.bundle.version),
            bundle: self.in_force.as_ref().map(|b| b.digest),
            log_size: self.log.size(),
        }
    }
}

impl Statement {
    /// The request it is about; `None` if it is about a host.
    pub(crate) fn about(&self) -> Option<Digest> {
        match self {
            Statement::Request(request) => Some(request.digest()),
            Statement::Decision(decision) => Some(decision.body().request),
            Statement::End(end) => Some(end.body().request),
            Statement::Host(_) | Statement::Token(_) => None,
        }
    }
}

fn clock_is_behind() -> Refusal {
    Refusal::new(
        Reason::LogUnavailable,
        format!("the signer's clock is more than {MAX_BEHIND_LOG} s behind its log, so nothing is issued."),
    )
    .hint("set the clock of the CA node")
}

/// The certificate of a logged draft, as the chain remembers it.
fn issued(logged: &Logged) -> Issued {
    logged.tbs.facts().issued(logged.serial.get(), logged.at)
}

#[cfg(test)]
mod tests;
