//! Waiting for a moment. What time it is comes from the crate's clock.

use std::time::Duration;

use jit_ssh_core::time::UnixTime;

pub(super) use crate::clock::now;

/// How closely a moment is met.
const CLOSE: Duration = Duration::from_millis(50);

/// Waits for a step on the way to `turn`, as [`toward`] takes them; for ever where there is none.
pub(super) async fn turned(turn: Option<UnixTime>) {
    match turn {
        Some(turn) => tokio::time::sleep(toward(turn)).await,
        None => std::future::pending().await,
    }
}

/// How long to sleep on the way to `moment`: not all the way, for the clock tells whole seconds
/// only. Near it, little by little; nothing once it has come.
pub(super) fn toward(moment: UnixTime) -> Duration {
    match moment.since(now()) {
        0 => Duration::ZERO,
        1 => CLOSE,
        // The current second may be almost over.
        left => Duration::from_secs(left.saturating_sub(1)),
    }
}
