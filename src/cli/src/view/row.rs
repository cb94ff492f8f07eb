//! Requests in `--json`. Scripts rely on these names: never change one.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{ActorId, HostName, Login};
use jit_ssh_core::statement::{Decision, Verdict};
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
        }
    }
}

fn some(time: u64) -> Option<u64> {
    (time > 0).then_some(time)
}
