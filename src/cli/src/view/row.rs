//! Requests in `--json`. Scripts rely on these names: never change one.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{ActorId, HostName, Login};
use jit_ssh_core::statement::{Decision, End, Verdict};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::{View, status_name};

/// A request in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct RequestRow<'a> {
    id: String,
    digest: Digest,
    status: &'static str,
    by: &'a ActorId,
    subject: &'a ActorId,
    key: String,
    hosts: &'a [HostName],
    logins: &'a [Login],
    r#for: u32,
    reason: &'a str,
    permit: Vec<&'static str>,
    source: Vec<String>,
    command: Option<&'a str>,
    at: UnixTime,
    rule: &'a str,
    detail: &'a str,
    approvals_needed: u32,
    approvals_given: u32,
    approvers: &'a [String],
    decide_by: Option<u64>,
    approved_at: Option<u64>,
    use_by: Option<u64>,
    access_until: Option<u64>,
    principals: Vec<String>,
    decisions: Vec<DecisionRow>,
    certificates: Vec<CertificateRow>,
    basis: Option<&'static str>,
    reviewed: Option<bool>,
    not_before: Option<UnixTime>,
    break_glass: Option<&'a str>,
    extends: Option<Digest>,
    extensions: &'a [String],
    prolongs_until: Option<u64>,
    opens_at: Option<u64>,
    steps: Vec<StepRow<'a>>,
    ends: Vec<EndRow>,
    live_seconds: u32,
}

/// One step of the approvals in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct StepRow<'a> {
    from: &'a [String],
    needed: u32,
    given: u32,
    strength: &'a str,
}

impl StepRow<'_> {
    /// A step as the CA says it.
    pub(crate) fn of(step: &v1::ApprovalStep) -> StepRow<'_> {
        StepRow {
            from: &step.from,
            needed: step.needed,
            given: step.given,
            strength: &step.strength,
        }
    }
}

/// A connection in `--json`, as its host told it.
#[derive(Debug, Serialize)]
pub(crate) struct UseRow<'a> {
    host: &'a str,
    login: &'a str,
    from: &'a str,
    serial: u64,
    begun_at: Option<u64>,
    ended_at: Option<u64>,
    closed: Option<&'static str>,
    other_key: bool,
}

impl UseRow<'_> {
    /// A connection as the CA says it.
    pub(crate) fn of(told: &v1::Use) -> UseRow<'_> {
        UseRow {
            host: &told.host,
            login: &told.login,
            from: &told.from,
            serial: told.serial,
            begun_at: some(told.begun_at),
            ended_at: some(told.ended_at),
            closed: match told.closed() {
                v1::Closed::Unspecified => None,
                v1::Closed::Closed => Some("closed"),
                v1::Closed::Expired => Some("expired"),
                v1::Closed::Revoked => Some("revoked"),
                v1::Closed::Unseen => Some("unseen"),
            },
            other_key: told.other_key,
        }
    }
}

/// An end in `--json`.
#[derive(Debug, Serialize)]
struct EndRow {
    by: String,
    cause: &'static str,
    reason: Option<String>,
    at: UnixTime,
}

impl EndRow {
    fn of(end: &End) -> EndRow {
        EndRow {
            by: end.by.to_string(),
            cause: end.cause.as_str(),
            reason: end.reason.clone(),
            at: end.at,
        }
    }
}

/// The stable name of what approves a request; `None` if nothing does.
pub(crate) fn basis_name(basis: v1::Basis) -> Option<&'static str> {
    match basis {
        v1::Basis::Unspecified => None,
        v1::Basis::Approvals => Some("approvals"),
        v1::Basis::Auto => Some("auto"),
        v1::Basis::BreakGlass => Some("break-glass"),
    }
}

/// A decision in `--json`.
#[derive(Debug, Serialize)]
struct DecisionRow {
    by: String,
    verdict: Verdict,
    r#for: Option<u32>,
    hosts: Option<Vec<HostName>>,
    logins: Option<Vec<Login>>,
    reason: Option<String>,
    at: UnixTime,
    counts: bool,
}

impl DecisionRow {
    fn of(decision: &Decision, counts: bool) -> DecisionRow {
        DecisionRow {
            by: decision.by.to_string(),
            verdict: decision.verdict,
            r#for: decision.r#for.map(|span| span.get()),
            hosts: decision.hosts.clone(),
            logins: decision.logins.clone(),
            reason: decision.reason.clone(),
            at: decision.at,
            counts,
        }
    }
}

/// An issued certificate in `--json`.
#[derive(Debug, Serialize)]
struct CertificateRow {
    serial: u64,
    /// The same as text: it exceeds 2^53, where many readers of JSON lose digits.
    serial_text: String,
    at: u64,
    valid_before: u64,
}

impl CertificateRow {
    fn of(issued: &v1::IssuedCertificate) -> CertificateRow {
        CertificateRow {
            serial: issued.serial,
            serial_text: issued.serial.to_string(),
            at: issued.at,
            valid_before: issued.valid_before,
        }
    }
}

impl View {
    /// What `--json` prints of it.
    pub(crate) fn row(&self) -> RequestRow<'_> {
        let asked = self.asked();
        let said = &self.said;
        RequestRow {
            id: self.id().to_string(),
            digest: self.digest(),
            status: status_name(self.status()),
            by: &asked.by,
            subject: &asked.subject,
            key: self.request.body().key.fingerprint(),
            hosts: &asked.hosts,
            logins: &asked.logins,
            r#for: asked.r#for.get(),
            reason: &asked.reason,
            permit: asked.permit.iter().map(|permit| permit.as_str()).collect(),
            source: asked.source.iter().map(ToString::to_string).collect(),
            command: asked.command.as_deref(),
            at: asked.at,
            rule: &said.rule,
            detail: &said.detail,
            approvals_needed: said.approvals_needed,
            approvals_given: said.approvals_given,
            approvers: &said.approvers,
            decide_by: some(said.decide_by),
            approved_at: some(said.approved_at),
            use_by: some(said.use_by),
            access_until: some(said.access_until),
            principals: self.principals(),
            decisions: self
                .decisions
                .iter()
                .map(|(d, counts)| DecisionRow::of(d.body(), *counts))
                .collect(),
            certificates: said.certificates.iter().map(CertificateRow::of).collect(),
            basis: basis_name(self.basis()),
            reviewed: (self.basis() == v1::Basis::BreakGlass).then_some(said.reviewed),
            not_before: asked.not_before,
            break_glass: asked.break_glass.as_deref(),
            extends: asked.extends,
            extensions: &said.extensions,
            prolongs_until: some(said.prolongs_until),
            opens_at: some(said.opens_at),
            steps: said.steps.iter().map(StepRow::of).collect(),
            ends: self.ends.iter().map(|end| EndRow::of(end.body())).collect(),
            live_seconds: said.live_seconds,
        }
    }
}

fn some(time: u64) -> Option<u64> {
    (time > 0).then_some(time)
}
