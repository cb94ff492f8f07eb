//! Which ids are taken, and which are on their way: two requests never share one.

use jit_ssh_core::digest::Digest;
use jit_ssh_core::refusal::{Reason, Refusal};

use super::Memory;
use crate::serve::store::{IdRange, Store, id_number};

/// Bits of the table of taken ids, as a power of two: 8 MiB, of which only touched pages exist. At
/// a million requests one new id in 67 is looked up in the store for nothing.
const TAKEN_BITS: u32 = 26;

impl Memory {
    /// Reserves the id of a new request on its way to the signer.
    ///
    /// # Errors
    /// [`Reason::IdTaken`] if another request has it, [`Reason::StoreUnavailable`].
    pub(in crate::serve) async fn claim(
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

/// The id of a new request, reserved until this is dropped.
pub(in crate::serve) struct Claim<'m> {
    memory: &'m Memory,
    id: Option<u64>,
    stands: bool,
}

impl Claim<'_> {
    /// Whether this very request was recorded before.
    pub(in crate::serve) fn stands(&self) -> bool {
        self.stands || self.id.is_none()
    }

    /// Whether the store has this very request already, and this memory does not.
    pub(in crate::serve) fn stands_in_store(&self) -> bool {
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
pub(super) struct TakenIds(Vec<u64>);

impl TakenIds {
    /// All free.
    pub(super) fn new() -> TakenIds {
        TakenIds(vec![0; 1 << (TAKEN_BITS - u64::BITS.ilog2())])
    }

    /// Notes an id; tells whether it is certain that it was free.
    pub(super) fn take(&mut self, id: u64) -> bool {
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
