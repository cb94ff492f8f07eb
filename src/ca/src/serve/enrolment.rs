//! The hosts that have joined, as the front knows them: from the store at start, and from then on by
//! the signer's word. For showing and finding; the signer decides by its own.

use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::enrolment::{Enrolment, Joined};
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{Body, MAX_HOST_LIFE, MAX_TOKEN_LIFE, Verified};
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
            match Enrolment::open(&stored.bytes, &stored.signature, &ca) {
                Ok(found) => enrolled.add(found),
                Err(error) => {
                    tracing::warn!(row = stored.row, %error, "an enrolment in the store does not hold");
                }
            }
        }
    });
    Ok(())
}

impl Front {
    /// Asks again what the signer `refused`: to record or certify a request for these hosts, or to certify
    /// one of them. It may not know a host that joined at another node: it is told of it, once.
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
