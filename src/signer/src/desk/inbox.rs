//! What waits for the desk. Connections hand over several calls at a time, since to wake a thread
//! costs as much as to decide.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Work;

/// The receiving end of the connections, and what was received and not yet taken.
pub(crate) struct Inbox {
    from: Receiver<Vec<Work>>,
    waiting: VecDeque<Work>,
}

impl Inbox {
    pub(crate) fn new(from: Receiver<Vec<Work>>) -> Inbox {
        Inbox { from, waiting: VecDeque::new() }
    }

    /// The next call; waits for one so long.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<Work, RecvTimeoutError> {
        loop {
            if let Some(work) = self.take() {
                return Ok(work);
            }
            self.waiting.extend(self.from.recv_timeout(patience)?);
        }
    }

    /// The next call, if one is there.
    pub(super) fn take(&mut self) -> Option<Work> {
        while self.waiting.is_empty() {
            self.waiting.extend(self.from.try_recv().ok()?);
        }
        self.waiting.pop_front()
    }

    /// Puts a call back to be the next one.
    pub(super) fn put_back(&mut self, work: Work) {
        self.waiting.push_front(work);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&mut self) -> bool {
        match self.take() {
            Some(work) => {
                self.put_back(work);
                false
            }
            None => true,
        }
    }
}
