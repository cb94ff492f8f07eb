//! What the front remembers beyond a restart: statements, certificates issued, and how far it has
//! taken the signer's log over. A copy for showing and finding; the log is the truth.
//!
//! Shaped for a database that several fronts share: records are only ever added, and adding one
//! that is there changes nothing.
//!
//! - [`Store`]: the promises, and the records they are about;
//! - [`sqlite`]: the store of a single node; `schema`, `listing`, `writer`, `fault`: its parts;
//! - `conformance`: what every store must do, as tests.

#[cfg(test)]
mod conformance;
mod fault;
mod listing;
mod schema;
pub(super) mod sqlite;
mod writer;

use std::pin::Pin;

use jit_ssh_core::chain::Issued;
use jit_ssh_core::digest::{Digest, IdPrefix, ShortId};
use jit_ssh_core::names::{ActorId, RuleName};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::Request;
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;

/// The answer of a store, some time later. What was asked is under way already, and goes on if
/// nobody waits for this.
pub(super) type Later<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Where the front keeps what it knows.
pub(super) trait Store: Send + Sync + 'static {
    /// Adds records, all or none. Answers once they are durable.
    fn append(&self, records: Vec<Record>) -> Later<()>;

    /// All that is known of a request.
    fn chain(&self, request: Digest) -> Later<Option<StoredChain>>;

    /// Requests whose ids are in `range`; at most [`MAX_MATCHES`].
    fn requests_with(&self, range: IdRange) -> Later<Vec<Digest>>;

    /// Requests, newest first: by when they were made, then by id.
    fn list(&self, query: ListQuery) -> Later<Vec<StoredChain>>;

    /// Requests made after `since` of which no certificate is known, oldest first.
    fn uncertified(&self, since: UnixTime) -> Later<Vec<StoredChain>>;

    /// Break-glass requests that nobody has decided but who made or uses them, oldest first.
    fn unreviewed(&self) -> Later<Vec<StoredChain>>;

    /// Statements about hosts that join, made after `since`, in the order in which they came.
    fn enrolments(&self, since: UnixTime) -> Later<Vec<StoredStatement>>;

    /// How long the latest approvals under a rule took, in seconds; at most [`MAX_WAITS`].
    fn waits(&self, rule: RuleName) -> Later<Vec<u32>>;

    /// What hosts told of the use of a request, oldest first; at most [`MAX_REPORTS`]. Nothing of it
    /// is checked here.
    fn reports(&self, request: Digest) -> Later<Vec<StoredStatement>>;

    /// The number of every request's id ([`id_number`]), in any order, possibly repeated.
    fn ids(&self) -> Later<Vec<u64>>;

    /// How many entries of the log of `signer` have been taken over.
    fn mark(&self, signer: u16) -> Later<u64>;

    /// The bundles that were put in force, oldest first.
    fn bundles(&self) -> Later<Vec<StoredBundle>>;

    /// The bundle that waits for more admins.
    fn proposal(&self) -> Later<Option<Proposal>>;

    /// Answers once a write that changes nothing of the above is durable.
    fn probe(&self) -> Later<()>;

    /// Finishes what was asked and closes; blocks until done.
    fn close(&self);
}

/// Most requests that [`Store::requests_with`] tells.
pub(super) const MAX_MATCHES: u32 = 32;
/// Most approvals that [`Store::waits`] tells.
pub(super) const MAX_WAITS: u32 = 20;
/// Most reports that [`Store::reports`] tells.
pub(super) const MAX_REPORTS: u32 = 1000;

/// What is remembered.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// A statement that a signer recorded.
    Statement(StatementRecord),
    /// A certificate that a signer issued.
    Certificate {
        /// The request it follows from.
        request: Digest,
        /// What was issued.
        issued: Issued,
    },
    /// A host or token that a signer recorded.
    Enrolment(EnrolmentRecord),
    /// That persons approved a request; what was noted of it first stays.
    Approval(ApprovalRecord),
    /// What a host told.
    Report(ReportRecord),
    /// The log of `signer` has been taken over up to `size`. Never goes back.
    Mark {
        /// The signer's number.
        signer: u16,
        /// Entries taken over.
        size: u64,
    },
    /// That a bundle came into force; the earliest moment noted stays.
    Bundle(StoredBundle),
    /// The bundle that waits for more admins, in the place of any other; `None` for none.
    Proposal(Option<Proposal>),
}

/// That the last approval which a request needed was given.
#[derive(Debug, Clone)]
pub(super) struct ApprovalRecord {
    pub(super) request: Digest,
    /// The rule that asked for it.
    pub(super) rule: RuleName,
    pub(super) at: UnixTime,
    /// Seconds from the request to it.
    pub(super) wait: u32,
}

/// What a host told of its logins.
#[derive(Debug, Clone)]
pub(super) struct ReportRecord {
    pub(super) digest: Digest,
    /// When it was taken in.
    pub(super) at: UnixTime,
    /// The numbers of the ids of the requests it is about.
    pub(super) about: Vec<u64>,
    pub(super) bytes: Bytes,
    pub(super) signature: Bytes,
}

/// A host or token.
#[derive(Debug, Clone)]
pub(super) struct EnrolmentRecord {
    pub(super) digest: Digest,
    /// When it was made, by its maker's clock.
    pub(super) at: UnixTime,
    pub(super) bytes: Bytes,
    pub(super) signature: Bytes,
}

/// A request, decision or end.
#[derive(Debug, Clone)]
pub(super) struct StatementRecord {
    pub(super) kind: RecordKind,
    pub(super) digest: Digest,
    /// The request it is about; a request's own digest.
    pub(super) request: Digest,
    pub(super) by: ActorId,
    /// When it was made, by its maker's clock.
    pub(super) at: UnixTime,
    pub(super) bytes: Bytes,
    pub(super) signature: Bytes,
}

/// The kinds of statements that make a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RecordKind {
    Request {
        /// Who will use the access.
        subject: ActorId,
        /// The request it prolongs.
        extends: Option<Digest>,
        /// Whether it goes ahead without approvals.
        break_glass: bool,
    },
    Decision,
    End,
}

impl RecordKind {
    /// The kind of this request.
    pub(super) fn request(body: &Request) -> RecordKind {
        RecordKind::Request {
            subject: body.subject.clone(),
            extends: body.extends,
            break_glass: body.break_glass.is_some(),
        }
    }
}

/// A request with all that is known of it, as stored: nothing of it is checked here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoredChain {
    pub(super) request: StoredStatement,
    pub(super) decisions: Vec<StoredStatement>,
    pub(super) ends: Vec<StoredStatement>,
    /// Certificates, oldest first.
    pub(super) issued: Vec<Issued>,
    /// When each request that prolongs it was made, and its digest; oldest first.
    pub(super) extensions: Vec<(UnixTime, Digest)>,
}

/// A statement as stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoredStatement {
    /// Where it stands, for who must look: the row of its table.
    pub(super) row: i64,
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// Which requests to list.
#[derive(Debug, Clone)]
pub(super) struct ListQuery {
    /// Whose.
    pub(super) of: Of,
    /// Only those made at this moment or later.
    pub(super) since: Option<UnixTime>,
    /// Only those older than this request; an unknown one is older than all.
    pub(super) after: Option<Digest>,
    /// At most so many.
    pub(super) limit: u32,
}

/// Whose requests to list.
#[derive(Debug, Clone)]
pub(super) enum Of {
    /// Everyone's.
    Everyone,
    /// Those that this person made or is the subject of.
    Own(ActorId),
    /// The same, and those that this person decided or ended.
    Concerning(ActorId),
}

/// A bundle that came into force, as stored: nothing of it is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredBundle {
    /// When it came into force.
    pub(super) since: UnixTime,
    pub(super) statement: Bytes,
    pub(super) signatures: Vec<Bytes>,
}

/// A bundle that waits for more admins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) statement: Bytes,
    pub(super) signatures: Vec<Bytes>,
    pub(super) people: Bytes,
    pub(super) hosts: Bytes,
    pub(super) policy: Bytes,
    pub(super) signers: Bytes,
    /// When its first signature came.
    pub(super) since: UnixTime,
}

/// The store can not do what was asked now.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum StoreError {
    /// Something that may pass, or that is no matter of what is stored.
    #[error("{0}")]
    Failed(String),
    /// What is stored is damaged: it does not pass by itself.
    #[error("{0}")]
    Damaged(String),
}

impl StoreError {
    /// What an operator can do, if there is something.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            StoreError::Failed(_) => None,
            StoreError::Damaged(_) => Some(
                "the database is a copy: stop `serve`, move jit-ssh.db with its -wal and -shm away, and start it again; it is made anew from the log (a bundle that waits for more admins must be handed in again)",
            ),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        // What exactly went wrong concerns the operator, not the caller.
        tracing::error!(%error, hint = error.hint(), "the store failed");
        Refusal::new(Reason::StoreUnavailable, "the CA's store can not be used now.")
            .hint("try again")
    }
}

/// A request's id as a number: the first 50 bits of its digest.
pub(super) fn id_number(digest: Digest) -> u64 {
    digest.0.iter().take(7).fold(0, |head, byte| head << 8 | u64::from(*byte)) >> 6
}

/// The ids that begin with what a person typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdRange {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl IdRange {
    /// The one id of `digest`.
    pub(super) fn only(digest: Digest) -> IdRange {
        let id = id_number(digest);
        IdRange { first: id, last: id }
    }

    /// Every id that begins with `prefix`.
    pub(super) fn of(prefix: &IdPrefix) -> IdRange {
        let digits = prefix.as_str().bytes();
        let open = 5 * ShortId::LEN.saturating_sub(digits.len());
        let value = digits.fold(0, |value, digit| value << 5 | crockford(digit));
        let first = value << open;
        IdRange { first, last: first | ((1 << open) - 1) }
    }
}

/// The value of a digit that an [`IdPrefix`] may have.
fn crockford(digit: u8) -> u64 {
    let letter = |skipped: u8| u64::from(digit.saturating_sub(b'a').saturating_sub(skipped)) + 10;
    match digit {
        b'0'..=b'9' => u64::from(digit - b'0'),
        b'a'..=b'h' => letter(0),
        b'j'..=b'k' => letter(1),
        b'm'..=b'n' => letter(2),
        b'p'..=b't' => letter(3),
        _ => letter(4),
    }
}
