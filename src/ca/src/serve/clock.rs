//! Waiting for a moment. What time it is comes from the crate's clock.

use std::time::Duration;

use jit_ssh_core::time::UnixTime;

use crate::clock;
pub(super) use crate::clock::now;

/// How long until `moment` has surely begun; a second at most too long.
pub(super) fn until(moment: UnixTime) -> Duration {
    Duration::from_secs(moment.since(clock::now()))
}
