//! One request with all that is known of it.

use std::collections::BTreeSet;

use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::lifecycle::is_reviewed;
use jit_ssh_core::time::UnixTime;

/// One request with all that is known of it.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Known {
    /// The statements, and those on what it prolongs.
    pub(in crate::serve) chain: Chain,
    /// Every certificate, oldest first.
    pub(in crate::serve) issued: Vec<Issued>,
    /// When each request that prolongs this one was made, and its digest.
    pub(in crate::serve) extensions: BTreeSet<(UnixTime, Digest)>,
}

impl Known {
    /// A request alone.
    pub(in crate::serve) fn new(chain: Chain) -> Known {
        Known { chain, issued: Vec::new(), extensions: BTreeSet::new() }
    }

    /// Whether this went ahead without approvals, and nobody has reviewed it.
    pub(in crate::serve) fn unreviewed(&self) -> bool {
        self.chain.request().body().break_glass.is_some() && !is_reviewed(&self.chain)
    }

    /// Whether this may wait for somebody: for a decision before its first certificate, or for a
    /// review.
    pub(super) fn may_wait(&self) -> bool {
        self.issued.is_empty() || self.unreviewed()
    }

    /// Whether this may hold what `other` does not.
    pub(super) fn adds_to(&self, other: &Known) -> bool {
        !self.chain.decisions().is_empty()
            || !self.chain.ends().is_empty()
            || self.issued.iter().any(|issued| !other.issued.contains(issued))
            || !self.extensions.is_subset(&other.extensions)
            || self.chain.prolonged().is_some() && other.chain.prolonged().is_none()
    }

    /// Adds all that `other` knows of the same request.
    pub(super) fn merge(&mut self, other: &Known) {
        if let (None, Some(of)) = (self.chain.prolonged(), other.chain.prolonged()) {
            self.chain = prolonging(self.chain.clone(), of.clone());
        }
        for decision in other.chain.decisions() {
            note(self.chain.add_decision(decision.clone()));
        }
        for end in other.chain.ends() {
            note(self.chain.add_end(end.clone()));
        }
        other.issued.iter().for_each(|issued| self.add_issued(*issued));
        self.extensions.extend(&other.extensions);
    }

    /// Notes a certificate; one that is known already changes nothing.
    pub(in crate::serve) fn add_issued(&mut self, issued: Issued) {
        let place = self
            .issued
            .partition_point(|known| (known.at, known.serial) < (issued.at, issued.serial));
        if self.issued.get(place).is_none_or(|known| known.serial != issued.serial) {
            self.issued.insert(place, issued);
            self.chain.add_issued(issued);
        }
    }
}

/// The chain with what it prolongs.
pub(super) fn prolonging(chain: Chain, of: Chain) -> Chain {
    let alone = chain.clone();
    chain.prolonging(of).unwrap_or_else(|error| {
        note::<()>(Err(error));
        alone
    })
}

/// A statement that is about another request than it should be is left out, and told.
pub(super) fn note<T>(result: Result<T, jit_ssh_core::chain::OtherRequest>) {
    if let Err(error) = result {
        tracing::error!(%error, "a statement stands in a wrong place");
    }
}
