//! The only place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use jit_ssh_core::time::UnixTime;

/// Now, by this machine's clock.
#[allow(clippy::disallowed_methods, reason = "everything else takes the time from here")]
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is before every end: sshd refuses each certificate as not valid yet.
    UnixTime(since.map_or(0, |span| span.as_secs()))
}
