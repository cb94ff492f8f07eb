//! From rows of the store to statements: each is verified, as if it came from a stranger.
//!
//! Whoever owns the database could put rows there that nobody signed. They can not change what is
//! signed (I3), and here they can not change what is shown either: a row that does not hold is left
//! out, and the operator is told which. What was verified in this run is not verified again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::statement::{self, Body, Verified};

use super::known::{Known, note};
use crate::serve::store::{StoredChain, StoredStatement};

/// How many verified rows are remembered, each by 32 bytes; when there are more, all begin anew.
const MAX_VERIFIED: usize = 16 * 1024;

/// Reads rows of the store.
pub(super) struct Reader {
    ca: RootFingerprint,
    verified: Mutex<HashSet<Digest>>,
}

impl Reader {
    /// For statements of the CA `ca`.
    pub(super) fn new(ca: RootFingerprint) -> Reader {
        Reader { ca, verified: Mutex::default() }
    }

    /// A request with what was said of it; `None` if the request itself does not hold.
    pub(super) fn read(&self, stored: StoredChain) -> Option<Known> {
        let mut known = Known::new(Chain::new(self.open(&stored.request)?));
        for decision in &stored.decisions {
            if let Some(decision) = self.open(decision) {
                note(known.chain.add_decision(decision));
            }
        }
        for end in &stored.ends {
            if let Some(end) = self.open(end) {
                note(known.chain.add_end(end));
            }
        }
        known.extensions = stored.extensions.into_iter().collect();
        stored.issued.into_iter().for_each(|issued| known.add_issued(issued));
        Some(known)
    }

    fn open<T: Body>(&self, stored: &StoredStatement) -> Option<Verified<T>> {
        let StoredStatement { row, bytes, signature } = stored;
        let mark = mark(bytes, signature);
        let opened = if self.verified().contains(&mark) {
            statement::open_recorded(bytes, signature)
        } else {
            statement::open(bytes, signature, &self.ca)
        };
        match opened {
            Ok(opened) => {
                let mut verified = self.verified();
                if verified.len() >= MAX_VERIFIED {
                    verified.clear();
                }
                verified.insert(mark);
                Some(opened)
            }
            Err(error) => {
                tracing::error!(
                    table = "statements",
                    row,
                    %error,
                    "jit-ssh.db holds a statement that nobody signed; it is left out. Somebody changed the database, or it is damaged: stop `serve`, move it away, and start again, so that it is made anew from the log"
                );
                None
            }
        }
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells a statement with its signature from every other pair of bytes.
fn mark(bytes: &[u8], signature: &[u8]) -> Digest {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Digest::of(&[&length.to_be_bytes()[..], bytes, signature].concat())
}
