//! What one call would write and change. Nothing here changes anything.

use std::borrow::Cow;

use jit_ssh_core::authorize::authorize;
use jit_ssh_core::certificate::{self, Context, Scope, Serial};
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::Enrolment;
use jit_ssh_core::entry::Entry;
use jit_ssh_core::lifecycle::{admit_decision, admit_end, admit_request, is_too_late, over_at};
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{
    Arrival, Body, Decision, End, Request, SignedBundle, Verified, check_date,
};
use jit_ssh_core::time::UnixTime;

use super::batch::Batch;
use super::hosts::Newest;
use super::{Desk, Draft, Logged, Statement, Task, issued};
use crate::bundles::InForce;
use crate::protocol::{Outcome, Signed};
use crate::quota::Use;

/// What a call would write to the log, what it would change then, and what it would answer.
pub(super) struct Plan {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) effects: Vec<Effect>,
    pub(super) draft: Draft,
}

/// A change of the signer's memory, made once its entry is durable.
#[allow(clippy::large_enum_variant, reason = "lives for one batch")]
pub(super) enum Effect {
    Remember { chain: Chain, index: u64, at: UnixTime, over_at: UnixTime },
    Decide(Verified<Decision>),
    End(Verified<End>),
    Issue { request: Digest, issued: Issued },
    IssueHost { name: HostName, certificate: Newest },
    Enrol(Enrolment),
    PutInForce(Box<InForce>),
}

impl Plan {
    /// An answer that needs no entry.
    pub(super) fn ready(outcome: Outcome) -> Plan {
        Plan { entries: Vec::new(), effects: Vec::new(), draft: Draft::Ready(outcome) }
    }
}

impl Desk {
    /// Plans a task that needs a decision.
    pub(super) fn plan(&mut self, task: Task, batch: &Batch) -> Result<Plan, Refusal> {
        match task {
            Task::Submit { statement, certify } => {
                self.plan_statement(statement, certify, Arrival::Submitted, batch)
            }
            Task::Relay { statement } => {
                self.plan_statement(statement, false, Arrival::Relayed, batch)
            }
            Task::Certify { request, scope } => self.plan_certify(request, &scope, batch),
            Task::CertifyHost { name } => self.plan_host(&name, batch),
            Task::Bundle { signed, statement } => self.plan_bundle(signed, &statement, batch),
            Task::State => Ok(Plan::ready(Outcome::State(self.state()))),
            Task::Settled(outcome) => Ok(Plan::ready(outcome)),
        }
    }

    fn plan_statement(
        &mut self,
        statement: Statement,
        certify: bool,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        match statement {
            Statement::Request(request) => self.plan_request(request, certify, arrival, batch),
            Statement::Decision(decision) => self.plan_decision(decision, arrival, batch),
            Statement::End(end) => self.plan_end(end, arrival, batch),
            Statement::Host(host) => self.plan_joining(host, arrival, batch),
            Statement::Token(token) => self.plan_token(token, arrival, batch),
        }
    }

    fn plan_request(
        &mut self,
        request: Verified<Request>,
        certify: bool,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let digest = request.digest();
        if let Some(known) = self.memory.get(&digest) {
            same_key(known.chain.request(), &request)?;
            let recorded_at = known.recorded_at;
            let mut plan = recorded(digest, recorded_at);
            if certify {
                self.certify_too(&mut plan, digest, batch)?;
            }
            return Ok(plan);
        }
        check_date(request.body().at, batch.now, arrival)?;
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        let mut chain = Chain::new(request);
        let whole = self.memory.complete(&chain);
        let unreviewed = self.memory.unreviewed_of(&chain.request().body().subject);
        let view = in_force.view(&self.enrolled);
        let rule = admit_request(&whole, unreviewed, view, batch.now)?;
        if is_too_late(&whole, rule, batch.now) {
            let id = chain.request().id();
            return Err(Refusal::new(
                Reason::Lapsed,
                format!("request {id} is too old for anything to come of it."),
            ));
        }
        let over_at = over_at(&whole, rule);
        if self.memory.by_id(&digest.short_id()).is_some() {
            return Err(Refusal::new(
                Reason::IdTaken,
                format!("another request has the id {} already.", digest.short_id()),
            )
            .hint("ask again: the next request has another id"));
        }
        let whole = whole.into_owned();
        let by = whole.request().body().by.clone();
        self.quotas.take(by.as_str(), Use::Request, batch.now)?;
        let mut entries = vec![statement_entry(batch.now, chain.request())];
        let index = batch.next_index(self)?;
        let mut certificate = None;
        if certify {
            let index = index.checked_add(1).ok_or_else(log_full)?;
            // Where approvals are needed there is no certificate yet, and that is no error.
            if let Some(logged) = self
                .certificate(&whole, &Scope::Access, index, batch.now)
                .map(Some)
                .or_else(pending)?
            {
                chain.add_issued(issued(&logged));
                entries.push(logged.entry.clone());
                certificate = Some(logged);
            }
        }
        Ok(Plan {
            entries,
            effects: vec![Effect::Remember { chain, index, at: batch.now, over_at }],
            draft: Draft::Recorded { digest, at: batch.now, certificate },
        })
    }

    /// Adds a certificate to the answer for a request that was recorded before, if it is approved.
    fn certify_too(
        &mut self,
        plan: &mut Plan,
        digest: Digest,
        batch: &Batch,
    ) -> Result<(), Refusal> {
        let Some(known) = self.memory.get(&digest) else {
            return Ok(());
        };
        let at = known.recorded_at;
        let chain = self.chain(digest)?.into_owned();
        let index = batch.next_index(self)?;
        if let Some(logged) =
            self.certificate(&chain, &Scope::Access, index, batch.now).map(Some).or_else(pending)?
        {
            plan.entries.push(logged.entry.clone());
            plan.effects.push(Effect::Issue { request: digest, issued: issued(&logged) });
            plan.draft = Draft::Recorded { digest, at, certificate: Some(logged) };
        }
        Ok(())
    }

    fn plan_decision(
        &mut self,
        decision: Verified<Decision>,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let chain = self.chain(decision.body().request)?;
        if let Some(known) = chain.decisions().iter().find(|d| d.digest() == decision.digest()) {
            same_key(known, &decision)?;
            return Ok(recorded(decision.digest(), batch.now));
        }
        check_date(decision.body().at, batch.now, arrival)?;
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        admit_decision(&decision, &chain, in_force.view(&self.enrolled), batch.now)?;
        check_room(chain.decisions().len())?;
        let by = decision.body().by.clone();
        self.quotas.take(by.as_str(), Use::Decision, batch.now)?;
        Ok(Plan {
            entries: vec![statement_entry(batch.now, &decision)],
            draft: recorded(decision.digest(), batch.now).draft,
            effects: vec![Effect::Decide(decision)],
        })
    }

    fn plan_end(
        &mut self,
        end: Verified<End>,
        arrival: Arrival,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let chain = self.chain(end.body().request)?;
        if let Some(known) = chain.ends().iter().find(|e| e.digest() == end.digest()) {
            same_key(known, &end)?;
            return Ok(recorded(end.digest(), batch.now));
        }
        check_date(end.body().at, batch.now, arrival)?;
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        admit_end(&end, &chain, in_force.view(&self.enrolled), arrival, batch.now)?;
        check_room(chain.ends().len())?;
        let by = end.body().by.clone();
        self.quotas.take(by.as_str(), Use::Decision, batch.now)?;
        Ok(Plan {
            entries: vec![statement_entry(batch.now, &end)],
            draft: recorded(end.digest(), batch.now).draft,
            effects: vec![Effect::End(end)],
        })
    }

    fn plan_certify(
        &mut self,
        request: Digest,
        scope: &Scope,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let chain = self.chain(request)?.into_owned();
        let index = batch.next_index(self)?;
        let logged = self.certificate(&chain, scope, index, batch.now)?;
        Ok(Plan {
            entries: vec![logged.entry.clone()],
            effects: vec![Effect::Issue { request, issued: issued(&logged) }],
            draft: Draft::Certified(logged),
        })
    }

    /// The one way to a certificate: authorize, count, build, lint, write down.
    fn certificate(
        &mut self,
        chain: &Chain,
        scope: &Scope,
        index: u64,
        now: UnixTime,
    ) -> Result<Logged, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        let view = in_force.view(&self.enrolled);
        let authorized = authorize(chain, view, now)?.within(scope, view)?;
        let bundle = in_force.digest;
        self.quotas.take(authorized.subject().as_str(), Use::Certificate, now)?;
        let serial = Serial::new(self.identity.number, index).ok_or_else(log_full)?;
        let mut nonce = [0u8; 32];
        getrandom::fill(&mut nonce)
            .map_err(|e| Refusal::new(Reason::Internal, format!("no randomness: {e}.")))?;
        let tbs = certificate::build(authorized, serial, nonce, &self.identity.ca_key);
        let context = Context::of(chain, scope, serial, &self.identity.ca_key, now);
        let tbs = certificate::lint(tbs, context).map_err(|fault| {
            eprintln!("jit-ssh-signer: refused to sign for {}: {fault}", chain.request().id());
            Refusal::new(Reason::Internal, format!("{fault}."))
        })?;
        let entry = Entry::certificate(
            now,
            serial,
            chain.digest(),
            tbs.rule().clone(),
            bundle,
            tbs.bytes().to_vec(),
        );
        Ok(Logged { tbs, entry: entry.to_bytes(), serial, at: now })
    }

    fn plan_bundle(
        &mut self,
        signed: SignedBundle,
        statement: &Signed,
        batch: &Batch,
    ) -> Result<Plan, Refusal> {
        let version = signed.body.version;
        let current = self.in_force.as_ref();
        if let Some(known) = current.filter(|known| known.digest == signed.digest) {
            return Ok(Plan::ready(Outcome::InForce { version, digest: known.digest }));
        }
        let newest = current.map_or(0, |known| known.bundle.version);
        if version <= newest {
            return Err(Refusal::new(
                Reason::StaleBundle,
                format!("the bundle has version {version}, and version {newest} is in force."),
            )
            .hint("fetch the bundle in force, look at the difference, and apply anew"));
        }
        // How old it may be is no matter here: admins may sign one after the other.
        check_date(signed.body.at, batch.now, Arrival::Relayed)?;
        let in_force = self.shelf.read(&signed, &self.identity.root)?;
        self.check_named(&in_force)?;
        self.shelf.keep(&signed)?;
        self.shelf.prepare_current(statement).map_err(|e| {
            Refusal::new(Reason::LogUnavailable, format!("the bundle can not be kept: {e}."))
        })?;
        let signatures: Vec<Vec<u8>> = statement.signatures.iter().map(|s| s.0.clone()).collect();
        let entry = Entry::statement(batch.now, statement.statement.clone(), &signatures);
        Ok(Plan {
            entries: vec![entry.to_bytes()],
            draft: Draft::Ready(Outcome::InForce { version, digest: in_force.digest }),
            effects: vec![Effect::PutInForce(Box::new(in_force))],
        })
    }

    /// A bundle that does not name this signer's keys would make every certificate useless.
    fn check_named(&self, in_force: &InForce) -> Result<(), Refusal> {
        let named = in_force.bundle.signers.get(self.identity.number).is_some_and(|signer| {
            // A bundle may leave out the host CA key, but not name another.
            let host_ca = signer.host_ca_key.as_ref();
            signer.ca_key == self.identity.ca_key
                && host_ca.is_none_or(|key| Some(key) == self.identity.host_ca_key.as_ref())
                && signer.log_key == self.log.key().verifier().to_string()
        });
        if named {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::BundleRefused,
            format!(
                "signers.toml does not name the keys of this signer, number {}.",
                self.identity.number
            ),
        )
        .hint("take the block for signers.toml that `jit-ssh-ca init` wrote"))
    }

    fn chain(&self, request: Digest) -> Result<Cow<'_, Chain>, Refusal> {
        self.memory.chain(&request).ok_or_else(|| {
            Refusal::new(
                Reason::UnknownRequest,
                format!("the signer knows no live request {}.", request.short_id()),
            )
        })
    }
}

/// A statement is its bytes and who signed them: the same bytes under another key are no retry.
fn same_key<T>(known: &Verified<T>, again: &Verified<T>) -> Result<(), Refusal> {
    if known.key() == again.key() {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::UnknownSigner,
        "this statement stands already, signed with another key.",
    ))
}

pub(super) fn recorded(digest: Digest, at: UnixTime) -> Plan {
    Plan::ready(Outcome::Recorded { digest, at, certificate: None })
}

/// Turns "not yet" into no certificate; every other refusal stays one.
fn pending(refusal: Refusal) -> Result<Option<Logged>, Refusal> {
    match refusal.reason {
        Reason::NotApproved | Reason::TooEarly => Ok(None),
        _ => Err(refusal),
    }
}

pub(super) fn statement_entry<T: Body>(now: UnixTime, statement: &Verified<T>) -> Vec<u8> {
    let text = String::from_utf8_lossy(statement.bytes()).into_owned();
    Entry::statement(now, text, &[statement.signature().to_vec()]).to_bytes()
}

fn check_room(statements: usize) -> Result<(), Refusal> {
    if statements < Chain::MAX_STATEMENTS {
        return Ok(());
    }
    Err(Refusal::new(Reason::Settled, "there are more statements on this request than can matter."))
}

pub(super) fn no_bundle() -> Refusal {
    Refusal::new(Reason::NoBundle, "there is no bundle yet: nobody and nothing is known.")
        .hint("an admin applies the first one with: jit-ssh-ca apply")
}

pub(super) fn log_full() -> Refusal {
    Refusal::new(Reason::LogUnavailable, "the log is full.")
}
