//! Host certificates: planned like those of people, but at most one for a host and half of its time.

use std::collections::HashMap;

use jit_ssh_core::certificate::Serial;
use jit_ssh_core::certificate::host::{
    self, AuthorizedHost, HostContext, authorize_host, build, check, lint,
};
use jit_ssh_core::entry::Entry;
use jit_ssh_core::key::HostCaKey;
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

use super::batch::Batch;
use super::plan::{Effect, Plan, log_full, no_bundle};
use super::{Desk, Draft, HostLogged, Standing};
use crate::quota::Use;

/// The newest certificate of each host that has one: where it is in the log.
#[derive(Default)]
pub(super) struct Hosts {
    newest: HashMap<HostName, Newest>,
    /// How many there may be before those that have ended are dropped.
    room: usize,
}

/// The newest certificate of a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    /// Its log index.
    pub(super) index: u64,
    pub(super) valid_before: UnixTime,
}

/// Fewer than this are not worth looking through.
const FEW: usize = 1024;

impl Hosts {
    pub(super) fn note(&mut self, name: HostName, certificate: Newest, now: UnixTime) {
        self.newest.insert(name, certificate);
        if self.newest.len() > self.room.max(FEW) {
            self.newest.retain(|_, newest| newest.valid_before > now);
            self.room = self.newest.len().saturating_mul(2);
        }
    }

    /// Notes a certificate unless a newer one is known.
    pub(super) fn note_older(&mut self, name: HostName, certificate: Newest) {
        self.newest.entry(name).or_insert(certificate);
    }
}

impl Desk {
    pub(super) fn plan_host(&mut self, name: &HostName, batch: &Batch) -> Result<Plan, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        let ca = self.host_ca()?;
        let authorized = authorize_host(name, in_force.view(&self.enrolled), batch.now)?;
        let bundle = in_force.digest;
        if let Some(logged) = self.standing(&authorized, &ca, batch.now) {
            let (proof, checkpoint) = self.log.prove(logged.serial.index()).map_err(|error| {
                eprintln!("jit-ssh-signer: the log can not prove an entry: {error}");
                Refusal::new(Reason::LogUnavailable, "the log can not be read now.")
                    .hint("try again; an admin finds the cause in the signer's output")
            })?;
            let standing = Standing { checkpoint: checkpoint.note().to_owned(), proof };
            let draft = Draft::HostCertified { logged, standing: Some(standing) };
            return Ok(Plan { entries: Vec::new(), effects: Vec::new(), draft });
        }
        self.quotas.take(name.as_str(), Use::HostCertificate, batch.now)?;
        let serial = Serial::new(self.identity.number, batch.next_index(self)?);
        let serial = serial.ok_or_else(log_full)?;
        let mut nonce = [0u8; 32];
        getrandom::fill(&mut nonce)
            .map_err(|e| Refusal::new(Reason::Internal, format!("no randomness: {e}.")))?;
        let identity = authorized.identity().clone();
        let context = HostContext { identity: &identity, serial, ca: &ca, at: batch.now };
        let tbs = lint(build(authorized, serial, nonce, &ca), context).map_err(|fault| {
            eprintln!("jit-ssh-signer: refused to sign for the host {name}: {fault}");
            Refusal::new(Reason::Internal, format!("{fault}."))
        })?;
        let entry = Entry::host_certificate(
            batch.now,
            serial,
            name.clone(),
            identity.statement,
            bundle,
            tbs.bytes().to_vec(),
        )
        .to_bytes();
        let valid_before = tbs.facts().valid_before;
        let certificate = Newest { index: serial.index(), valid_before };
        let logged = HostLogged { tbs, entry: entry.clone(), serial };
        Ok(Plan {
            entries: vec![entry],
            effects: vec![Effect::IssueHost { name: name.clone(), certificate }],
            draft: Draft::HostCertified { logged, standing: None },
        })
    }

    /// The host CA key, which hosts and clients must know of.
    fn host_ca(&self) -> Result<HostCaKey, Refusal> {
        let number = self.identity.number;
        let in_force = self.in_force.as_ref().ok_or_else(no_bundle)?;
        let named = in_force.bundle.signers.get(number).and_then(|s| s.host_ca_key.as_ref());
        match &self.identity.host_ca_key {
            None => Err(Refusal::new(
                Reason::NoHostCa,
                format!(
                    "the signer {number} has no host CA key, so it issues no host certificates."
                ),
            )
            .hint("an admin makes one; the README says how, under \"Host certificates\"")),
            Some(key) if named == Some(key) => Ok(key.clone()),
            Some(key) => Err(Refusal::new(
                Reason::NoHostCa,
                format!("signers.toml names no host CA key of the signer {number}."),
            )
            .hint(format!("an admin adds to it: host_ca_key = \"{key}\""))),
        }
    }

    /// The newest certificate of the host, if it says what a new one would say and half of its time
    /// is not over. Whatever does not fit any more, for whatever reason, is no longer the one.
    fn standing(
        &self,
        authorized: &AuthorizedHost,
        ca: &HostCaKey,
        now: UnixTime,
    ) -> Option<HostLogged> {
        let identity = authorized.identity();
        let newest = self.hosts.newest.get(&identity.name)?;
        let Ok(Entry::HostCertificate(entry)) = self.entry(newest.index) else { return None };
        let same = entry.host == identity.name && entry.statement == identity.statement;
        let serial = Serial::from_u64(entry.serial)?;
        let facts = host::read(&entry.tbs.0).ok()?;
        if !same || entry.at > now || facts.is_due(identity, now) {
            return None;
        }
        let bytes = Entry::HostCertificate(entry.clone()).to_bytes();
        let context = HostContext { identity, serial, ca, at: entry.at };
        let tbs = check(entry.tbs.0, context).ok()?;
        Some(HostLogged { tbs, entry: bytes, serial })
    }
}
