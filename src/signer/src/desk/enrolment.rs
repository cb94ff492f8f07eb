//! Hosts that join by themselves, and the tokens by which they do: what is checked before either is
//! recorded, and how the register of them is rebuilt from the log.

use std::ops::ControlFlow;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::enrolment::{Admission, Enrolled, View};
use jit_ssh_core::entry::{Entry, StatementEntry};
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{self, Arrival, Host, Kind, MAX_TOKEN_LIFE, Token, Verified};
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
        match self.enrolled.admit_host(&host, &in_force.bundle, arrival, batch.now)? {
            Admission::Known => Ok(recorded(host.digest(), batch.now)),
            Admission::New => {
                self.quotas.take(host.body().by.as_str(), Use::Enrolment, batch.now)?;
                Ok(Plan {
                    entries: vec![statement_entry(batch.now, &host)],
                    draft: recorded(host.digest(), batch.now).draft,
                    effects: vec![Effect::Join(host)],
                })
            }
        }
    }

    pub(super) fn plan_token(
        &mut self,
        token: Verified<Token>,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        match self.enrolled.admit_token(&token, &in_force.bundle, arrival, batch.now)? {
            Admission::Known => Ok(recorded(token.digest(), batch.now)),
            Admission::New => {
                self.quotas.take(token.body().by.as_str(), Use::Enrolment, batch.now)?;
                Ok(Plan {
                    entries: vec![statement_entry(batch.now, &token)],
                    draft: recorded(token.digest(), batch.now).draft,
                    effects: vec![Effect::Lend(token)],
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
        match statement {
            Enrolment::Host(host) => enrolled.add_host(host),
            Enrolment::Token(token) => enrolled.add_token(token),
        }
    }
    enrolled.forget(now);
    Ok(enrolled)
}

enum Enrolment {
    Host(Verified<Host>),
    Token(Verified<Token>),
}

fn open(bytes: &[u8]) -> anyhow::Result<(UnixTime, Enrolment)> {
    let Entry::Statement(StatementEntry { at, statement, signatures, .. }) = Entry::parse(bytes)?
    else {
        anyhow::bail!("it is no statement");
    };
    let signature = signatures.first().map_or(&[][..], |signature| &signature.0);
    let bytes = statement.as_bytes();
    let statement = match Kind::of(bytes) {
        Some(Kind::Host) => Enrolment::Host(statement::open_recorded(bytes, signature)?),
        Some(Kind::Token) => Enrolment::Token(statement::open_recorded(bytes, signature)?),
        _ => anyhow::bail!("it is neither a host nor a token"),
    };
    Ok((at, statement))
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
