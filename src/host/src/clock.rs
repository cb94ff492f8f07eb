//! The only place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use jit_ssh_core::time::UnixTime;
use rustix::time::{ClockId, clock_gettime};

/// One moment by both clocks: the one that people read and may set, and the one that only runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// By the wall clock.
    pub(crate) wall: UnixTime,
    /// Seconds since this machine started, those it slept among them (`CLOCK_BOOTTIME`).
    pub(crate) boot: u64,
}

/// Now, by both clocks.
pub(crate) fn moment() -> Moment {
    let boot = clock_gettime(ClockId::Boottime).tv_sec;
    Moment { wall: now(), boot: u64::try_from(boot).unwrap_or(0) }
}

/// Now, by this machine's clock.
#[allow(clippy::disallowed_methods, reason = "everything else takes the time from here")]
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is before every end: sshd refuses each certificate as not valid yet.
    UnixTime(since.map_or(0, |span| span.as_secs()))
}
