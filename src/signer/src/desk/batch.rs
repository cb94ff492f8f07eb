//! The calls that are logged together: one fsync serves them all, so none may build on another.

use std::collections::HashSet;

use jit_ssh_core::digest::{Digest, ShortId};
use jit_ssh_core::names::{ActorId, HostName};
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::time::UnixTime;

use super::plan::{Effect, Plan, log_full};
use super::{Desk, Draft, Statement, Task};
use crate::connection::Reply;

/// Most calls of one batch: one fsync serves them all.
const MAX_BATCH: usize = 256;

/// Most bytes of one batch's entries, under the log's limit of 4 MiB.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The calls that are logged together.
pub(super) struct Batch {
    pub(super) now: UnixTime,
    pub(super) entries: Vec<Vec<u8>>,
    bytes: usize,
    pub(super) effects: Vec<Effect>,
    pub(super) drafts: Vec<(Reply, Draft)>,
    /// What the batch already says something of: a further call about it waits for the next batch
    /// and sees what this one did.
    touched: HashSet<Touched>,
    closed: bool,
}

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Touched {
    /// A request, or one that it prolongs, by their ids: no two requests have the same.
    Request(ShortId),
    /// Whether this person's break-glass access is reviewed.
    BreakGlass(ActorId),
    /// The certificate of this host.
    Host(HostName),
}

impl Batch {
    pub(super) fn at(now: UnixTime) -> Batch {
        Batch {
            now,
            entries: Vec::new(),
            bytes: 0,
            effects: Vec::new(),
            drafts: Vec::new(),
            touched: HashSet::new(),
            closed: false,
        }
    }

    pub(super) fn can_take(&self, task: &Task, touches: &[Touched]) -> bool {
        match task {
            // A bundle changes what everything else means, and a host what requests mean that name it:
            // either is a batch of its own.
            Task::Bundle { .. } => self.drafts.is_empty(),
            Task::Submit { statement, .. } | Task::Relay { statement }
                if statement.about().is_none() =>
            {
                self.drafts.is_empty()
            }
            Task::Submit { .. }
            | Task::Relay { .. }
            | Task::Certify { .. }
            | Task::CertifyHost { .. } => {
                !self.closed && !touches.iter().any(|touched| self.touched.contains(touched))
            }
            Task::State | Task::Settled(_) => true,
        }
    }

    pub(super) fn touch(&mut self, touches: Vec<Touched>) {
        self.touched.extend(touches);
    }

    pub(super) fn is_full(&self) -> bool {
        self.closed || self.drafts.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }

    pub(super) fn add(&mut self, reply: Reply, plan: Plan) {
        self.bytes = plan.entries.iter().fold(self.bytes, |sum, e| sum.saturating_add(e.len()));
        self.entries.extend(plan.entries);
        self.closed |= plan
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::PutInForce(_) | Effect::Enrol(_)));
        self.effects.extend(plan.effects);
        self.drafts.push((reply, plan.draft));
    }

    /// The index the next entry of this batch will have.
    pub(super) fn next_index(&self, desk: &Desk) -> Result<u64, Refusal> {
        let planned = u64::try_from(self.entries.len()).map_err(|_| log_full())?;
        desk.log.size().checked_add(planned).ok_or_else(log_full)
    }
}

impl Desk {
    /// Everything that a task reads or changes.
    pub(super) fn touches(&self, task: &Task) -> Vec<Touched> {
        let (about, new) = match task {
            Task::Submit { statement, .. } | Task::Relay { statement } => {
                let Some(about) = statement.about() else { return Vec::new() };
                match statement {
                    Statement::Request(request) => (about, Some(request.body())),
                    _ => (about, None),
                }
            }
            Task::Certify { request, scope: _ } => (*request, None),
            Task::CertifyHost { name } => return vec![Touched::Host(name.clone())],
            Task::Bundle { .. } | Task::State | Task::Settled(_) => return Vec::new(),
        };
        let known = |digest: &Digest| self.memory.get(digest).map(|k| k.chain.request().body());
        let request = new.or_else(|| known(&about));
        let mut touches = vec![Touched::Request(about.short_id())];
        touches.extend(
            request
                .filter(|request| request.break_glass.is_some())
                .map(|request| Touched::BreakGlass(request.subject.clone())),
        );
        let mut of = request.and_then(|request| request.extends);
        while let Some(older) = of {
            touches.push(Touched::Request(older.short_id()));
            of = known(&older).and_then(|request| request.extends);
        }
        touches
    }
}
