//! Hosts that join by themselves, and the tokens by which they do: what is checked before either is
//! recorded, and how the register of them is rebuilt from the log.

use std::ops::ControlFlow;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::enrolment::{Admission, Enrolled, Enrolment, View};
use jit_ssh_core::entry::{Entry, StatementEntry};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{Arrival, Body, Host, MAX_TOKEN_LIFE, Token, Verified};
use jit_ssh_core::time::UnixTime;

use super::Desk;
use super::batch::Batch;
use super::plan::{Effect, Plan, no_bundle, recorded, statement_entry};
use crate::bundles::InForce;
use crate::log::LogStore;
use crate::quota::Use;

/// Slack for clocks when the log is read back, in seconds: a statement may have come from another node.
const SLACK: u32 = 2 * 3_600;

impl InForce {
    /// The bundle with the hosts that joined.
    pub(super) fn view<'b>(&'b self, enrolled: &'b Enrolled) -> View<'b> {
        View::new(&self.bundle, enrolled)
    }
}

impl Desk {
    pub(super) fn plan_joining(
        &mut self,
        host: Verified<Host>,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        let admission = self.enrolled.admit_host(&host, &in_force.bundle, arrival, batch.now)?;
        self.plan_enrolment(&host, &host.body().by, admission, Enrolment::Host, batch.now)
    }

    pub(super) fn plan_token(
        &mut self,
        token: Verified<Token>,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        let admission = self.enrolled.admit_token(&token, &in_force.bundle, arrival, batch.now)?;
        self.plan_enrolment(&token, &token.body().by, admission, Enrolment::Token, batch.now)
    }

    fn plan_enrolment<T: Body>(
        &mut self,
        statement: &Verified<T>,
        by: &ActorId,
        admission: Admission,
        enrolment: impl FnOnce(Verified<T>) -> Enrolment,
        now: UnixTime,
    ) -> Result<Plan, Refusal> {
        let known = recorded(statement.digest(), now);
        match admission {
            Admission::Known => Ok(known),
            Admission::New => {
                self.quotas.take(by.as_str(), Use::Enrolment, now)?;
                Ok(Plan {
                    entries: vec![statement_entry(now, statement)],
                    effects: vec![Effect::Enrol(enrolment(statement.clone()))],
                    ..known
                })
            }
        }
    }
}

/// What is known of hosts and tokens by the log: all that may still matter under `bundle` at `now`.
/// Without an enroller nobody can have joined, and nothing is read.
pub(super) fn recall(
    log: &LogStore,
    bundle: &Bundle,
    newest: UnixTime,
    now: UnixTime,
) -> anyhow::Result<Enrolled> {
    let mut enrolled = Enrolled::default();
    let lives = bundle.hosts.enrollers.iter().map(|enroller| enroller.max_for.get());
    let Some(longest) = lives.max() else { return Ok(enrolled) };
    // The oldest host that can be there, and the token it may have joined by, lent before it.
    let horizon = longest.saturating_add(MAX_TOKEN_LIFE).saturating_add(SLACK);
    let oldest = newest.min(now).minus_secs(horizon);
    let mut found = Vec::new();
    let mut failed = None;
    log.scan_back(|index, bytes| {
        if recorded_at(bytes).is_some_and(|at| at < oldest) {
            return ControlFlow::Break(());
        }
        if is_enrolment(bytes) {
            match open(bytes) {
                Ok((at, statement)) => found.push((at, statement)),
                Err(error) => {
                    failed = Some(error.context(format!("log entry {index}")));
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    // The oldest first, as they came; and what was over by then was forgotten by then.
    for (at, statement) in found.into_iter().rev() {
        enrolled.forget(at);
        enrolled.add(statement);
    }
    enrolled.forget(now);
    Ok(enrolled)
}

fn open(bytes: &[u8]) -> anyhow::Result<(UnixTime, Enrolment)> {
    let Entry::Statement(StatementEntry { at, statement, signatures, .. }) = Entry::parse(bytes)?
    else {
        anyhow::bail!("it is no statement");
    };
    let signature = signatures.first().map_or(&[][..], |signature| &signature.0);
    Ok((at, Enrolment::open_recorded(statement.as_bytes(), signature)?))
}

/// Whether an entry is about a host or a token, by how it begins: most are not, and parsing all of a
/// month's would take long.
fn is_enrolment(entry: &[u8]) -> bool {
    let Some(rest) = entry.strip_prefix(STATEMENT) else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let kinds = [HOST, TOKEN];
    rest.get(digits..).is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
}

/// When an entry was recorded, by how it begins.
fn recorded_at(entry: &[u8]) -> Option<UnixTime> {
    let rest = entry.strip_prefix(STATEMENT).or_else(|| entry.strip_prefix(CERTIFICATE))?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(rest.get(..digits)?).ok()?;
    text.parse().ok().map(UnixTime)
}

const STATEMENT: &[u8] = br#"{"v":1,"kind":"statement","at":"#;
const CERTIFICATE: &[u8] = br#"{"v":1,"kind":"certificate","at":"#;
const HOST: &[u8] = br#","statement":"{\"v\":1,\"type\":\"host\","#;
const TOKEN: &[u8] = br#","statement":"{\"v\":1,\"type\":\"token\","#;
