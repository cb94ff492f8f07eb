//! What can be counted. No label ever holds a person's or host's name.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::Cause;

/// `ok`, or the reason of the refusal.
type Outcome = [(&'static str, &'static str); 1];
/// How, and `ok` or the reason of the refusal.
type Ended = [(&'static str, &'static str); 2];
type Method = [(&'static str, &'static str); 1];

/// Upper bounds of the latency histogram, in seconds.
const LATENCIES: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// All metrics of a front.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    decisions: Family<Outcome, Counter>,
    certificates: Family<Outcome, Counter>,
    enrolments: Family<Outcome, Counter>,
    break_glass: Counter,
    ends: Family<Ended, Counter>,
    latency: Family<Method, Histogram, fn() -> Histogram>,
    /// Open watches.
    pub(super) watches: Gauge,
    /// Open read sessions.
    pub(super) sessions: Gauge,
    /// Open connections.
    pub(super) connections: Gauge,
    /// Entries in the signer's log.
    pub(super) log_size: Gauge,
    /// 1 while the signer answers.
    pub(super) signer_up: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("jit_ssh");
        let histogram: fn() -> Histogram = || Histogram::new(LATENCIES);
        let metrics = Metrics {
            requests: Family::default(),
            decisions: Family::default(),
            certificates: Family::default(),
            enrolments: Family::default(),
            break_glass: Counter::default(),
            ends: Family::default(),
            latency: Family::new_with_constructor(histogram),
            watches: Gauge::default(),
            sessions: Gauge::default(),
            connections: Gauge::default(),
            log_size: Gauge::default(),
            signer_up: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests handed in, by outcome", metrics.requests.clone());
        registry.register(
            "decisions",
            "Decisions handed in, by outcome",
            metrics.decisions.clone(),
        );
        registry.register(
            "certificates",
            "Certificates asked for, by outcome",
            metrics.certificates.clone(),
        );
        registry.register(
            "enrolments",
            "Hosts and join tokens handed in, by outcome",
            metrics.enrolments.clone(),
        );
        registry.register(
            "break_glass_requests",
            "Requests that went ahead without approvals",
            metrics.break_glass.clone(),
        );
        registry.register("ends", "Ends handed in, by cause and outcome", metrics.ends.clone());
        registry.register_with_unit(
            "rpc",
            "Time from a call's first byte to its answer, by method",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register("watches", "Open watches", metrics.watches.clone());
        registry.register("sessions", "Open read sessions", metrics.sessions.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("log_size", "Entries in the signer's log", metrics.log_size.clone());
        registry.register("signer_up", "Whether the signer answers", metrics.signer_up.clone());
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a request handed in.
    pub(super) fn request<T>(&self, result: &Result<T, Refusal>) {
        count(&self.requests, result);
    }

    /// Counts a decision handed in.
    pub(super) fn decision<T>(&self, result: &Result<T, Refusal>) {
        count(&self.decisions, result);
    }

    /// Counts a host or join token handed in.
    pub(super) fn enrolment<T>(&self, result: &Result<T, Refusal>) {
        count(&self.enrolments, result);
    }

    /// Counts a request that went ahead without approvals.
    pub(super) fn break_glass(&self) {
        self.break_glass.inc();
    }

    /// Counts an end handed in.
    pub(super) fn end<T>(&self, cause: Cause, result: &Result<T, Refusal>) {
        let labels = [("cause", cause.as_str()), ("outcome", outcome(result))];
        self.ends.get_or_create(&labels).inc();
    }

    /// Counts a certificate asked for.
    pub(super) fn certificate<T>(&self, result: &Result<T, Refusal>) {
        count(&self.certificates, result);
    }

    /// Notes how long a call took.
    pub(super) fn took(&self, method: &'static str, seconds: f64) {
        self.latency.get_or_create(&[("method", method)]).observe(seconds);
    }

    /// The text that Prometheus reads.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics can not be written");
        }
        text
    }
}

fn count<T>(family: &Family<Outcome, Counter>, result: &Result<T, Refusal>) {
    family.get_or_create(&[("outcome", outcome(result))]).inc();
}

fn outcome<T>(result: &Result<T, Refusal>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(refusal) => refusal.reason.as_str(),
    }
}

/// A gauge that is one higher while this lives.
pub(super) struct Counted(Gauge);

impl Counted {
    /// Counts one more.
    pub(super) fn new(gauge: &Gauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
