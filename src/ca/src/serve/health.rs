//! Whether signer and store work: for load balancers, for gRPC health checks, and for the metrics.
//! Also the front's housekeeping, which has the same beat.

use std::sync::Arc;
use std::time::Duration;

use jit_ssh_api::v1::access_server::AccessServer;
use jit_ssh_api::v1::hosts_server::HostsServer;
use jit_ssh_api::v1::log_server::LogServer;
use jit_ssh_api::v1::trust_server::TrustServer;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic_health::server::HealthReporter;

use super::front::Front;
use super::services::{AccessService, HostsService, LogService, TrustService};
use super::{clock, follower};

/// How often the signer is asked how it is.
const BEAT: Duration = Duration::from_secs(2);
/// How many beats pass between two sweeps of what is over.
const SWEEP: u32 = 15;
/// How long one look at signer and store serves everyone who asks.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at signer and store, at most once in [`FRESH`].
#[derive(Default)]
pub(super) struct Health(Mutex<Option<(Instant, Result<(), &'static str>)>>);

impl Health {
    /// Whether the signer answers and the store writes; if not, which does not.
    pub(super) async fn check(&self, front: &Front) -> Result<(), &'static str> {
        let mut last = self.0.lock().await;
        if let Some((at, result)) = *last
            && at.elapsed() < FRESH
        {
            return result;
        }
        let result = look(front).await;
        *last = Some((Instant::now(), result));
        result
    }
}

async fn look(front: &Front) -> Result<(), &'static str> {
    if *front.stopping.borrow() {
        return Err("stopping");
    }
    follower::state(&front.signer).await.map_err(|_| "signer")?;
    front.store.probe().await.map_err(|error| {
        tracing::error!(%error, "the store failed");
        "store"
    })
}

/// Watches the signer until the front stops, and tells gRPC health and metrics.
pub(super) async fn watch(front: Arc<Front>, reporter: HealthReporter) {
    let mut stopping = front.stopping.clone();
    let mut beats = 0u32;
    loop {
        let state = follower::state(&front.signer).await;
        front.metrics.signer_up.set(i64::from(state.is_ok()));
        match state {
            Ok(state) => {
                front.metrics.log_size.set(i64::try_from(state.log_size).unwrap_or(i64::MAX));
                let current = front.trusted.current().map(|current| current.digest);
                if state.bundle.is_some() && state.bundle != current {
                    // Another front put it in force. A failure has been logged, and comes again.
                    let _ = front.reload_bundle().await;
                }
                serving(&reporter).await;
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the signer does not answer");
                not_serving(&reporter).await;
            }
        }
        beats = beats.wrapping_add(1);
        if beats.is_multiple_of(SWEEP) {
            sweep(&front);
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = stopping.changed() => break,
        }
    }
    not_serving(&reporter).await;
}

fn sweep(front: &Front) {
    let now = clock::now();
    front.sessions.sweep(now);
    front.note_sessions();
    front.rates.sweep(now);
    if let Some(current) = front.trusted.current() {
        front.memory.sweep(current.view(), now);
    }
}

async fn serving(reporter: &HealthReporter) {
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    reporter.set_serving::<AccessServer<AccessService>>().await;
    reporter.set_serving::<TrustServer<TrustService>>().await;
    reporter.set_serving::<HostsServer<HostsService>>().await;
    reporter.set_serving::<LogServer<LogService>>().await;
    reporter.set_serving::<HostsServer<HostsService>>().await;
}

async fn not_serving(reporter: &HealthReporter) {
    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    reporter.set_not_serving::<AccessServer<AccessService>>().await;
    reporter.set_not_serving::<TrustServer<TrustService>>().await;
    reporter.set_not_serving::<HostsServer<HostsService>>().await;
    reporter.set_not_serving::<LogServer<LogService>>().await;
    reporter.set_not_serving::<HostsServer<HostsService>>().await;
}
