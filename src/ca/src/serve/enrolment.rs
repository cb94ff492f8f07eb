//! The hosts that have joined, as the front knows them: from the store at start, and from then on by
//! the signer's word. For showing and finding; the signer decides by its own.

use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::enrolment::{Enrolled, Joined};
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{
    self, Body, Host, Kind, MAX_HOST_LIFE, MAX_TOKEN_LIFE, StatementError, Token, Verified,
};
use jit_ssh_core::time::UnixTime;
use jit_ssh_signer::protocol::{Op, Outcome, Signed};
use prost::bytes::Bytes;

use super::front::{Front, relayed};
use super::in_force::Trusted;
use super::signer_link::Epoch;
use super::store::{EnrolmentRecord, Store, StoredStatement};

/// How long after it was made a statement may still matter, in seconds: a host's life, its token's
/// before it, and some slack for clocks.
const MATTERS: u32 = MAX_HOST_LIFE + MAX_TOKEN_LIFE + 2 * 3_600;

/// A statement about hosts that join.
pub(super) enum Enrolment {
    Host(Verified<Host>),
    Token(Verified<Token>),
}

impl Enrolment {
    /// Verifies a statement that the store holds.
    fn open(stored: &StoredStatement, ca: &RootFingerprint) -> Result<Enrolment, StatementError> {
        let (bytes, signature) = (&stored.bytes, &stored.signature);
        match Kind::of(bytes) {
            Some(Kind::Token) => statement::open(bytes, signature, ca).map(Enrolment::Token),
            _ => statement::open(bytes, signature, ca).map(Enrolment::Host),
        }
    }

    /// Reads a statement that our signer recorded.
    pub(super) fn of_record(record: &EnrolmentRecord) -> Result<Enrolment, StatementError> {
        let (bytes, signature) = (&record.bytes, &record.signature);
        match Kind::of(bytes) {
            Some(Kind::Token) => statement::open_recorded(bytes, signature).map(Enrolment::Token),
            _ => statement::open_recorded(bytes, signature).map(Enrolment::Host),
        }
    }

    /// Adds it to what is known.
    pub(super) fn add_to(self, enrolled: &mut Enrolled) {
        match self {
            Enrolment::Host(host) => enrolled.add_host(host),
            Enrolment::Token(token) => enrolled.add_token(token),
        }
    }
}

/// The record of a statement about hosts.
pub(super) fn record<T: Body>(body: &T, bytes: Bytes, signature: Bytes) -> EnrolmentRecord {
    EnrolmentRecord { digest: Digest::of(&bytes), at: body.at(), bytes, signature }
}

/// Takes up all hosts and tokens of the store that may still matter. What does not hold is left out
/// and logged with its row.
///
/// # Errors
/// [`Reason::StoreUnavailable`].
pub(super) async fn load(
    store: &dyn Store,
    trusted: &Trusted,
    ca: RootFingerprint,
    now: UnixTime,
) -> Result<(), Refusal> {
    let stored = store.enrolments(now.minus_secs(MATTERS)).await?;
    trusted.enroll(now, |enrolled| {
        for stored in stored {
            match Enrolment::open(&stored, &ca) {
                Ok(found) => found.add_to(enrolled),
                Err(error) => {
                    tracing::warn!(row = stored.row, %error, "an enrolment in the store does not hold");
                }
            }
        }
    });
    Ok(())
}

impl Front {
    /// Has a request recorded, or certified, that names hosts, or a host certified. A signer that does not know one of them,
    /// which joined at another node, is told of it, once.
    ///
    /// # Errors
    /// What the signer refuses with.
    pub(super) async fn for_hosts(
        &self,
        epoch: &Epoch,
        names: &[HostName],
        refused: Refusal,
        op: Op,
    ) -> Result<Outcome, Refusal> {
        if !matches!(refused.reason, Reason::PolicyRefused | Reason::UnknownHost) {
            return Err(refused);
        }
        let enrolled = self.trusted.enrolled();
        let joined: Vec<&Joined> = names.iter().filter_map(|name| enrolled.get(name)).collect();
        if joined.is_empty() {
            return Err(refused);
        }
        for joined in joined {
            if let Some(token) = joined.token() {
                self.tell(epoch, token).await;
            }
            self.tell(epoch, joined.statement()).await;
        }
        self.signer.record(op, epoch).await
    }

    /// Tells the signer of a statement that it may not know. What it says to it is its own affair.
    pub(super) async fn tell<T>(&self, epoch: &Epoch, statement: &Verified<T>) {
        let stored = StoredStatement {
            row: 0,
            bytes: statement.bytes().to_vec(),
            signature: statement.signature().to_vec(),
        };
        let statement: Signed = relayed(stored);
        if let Err(refusal) = self.signer.record(Op::Relay { statement }, epoch).await {
            tracing::info!(reason = %refusal.reason, "the signer does not take a relayed host or token");
        }
    }
}
