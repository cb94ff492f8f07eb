//! The memory, rebuilt from the log at start: newest entry first, back to where nothing can be
//! alive any more.

use std::collections::HashMap;
use std::ops::ControlFlow;

use anyhow::Context as _;
use jit_ssh_core::certificate::lint;
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::{CertificateEntry, Entry, StatementEntry};
use jit_ssh_core::statement::{self, Decision, End, Kind, Request, Verified};
use jit_ssh_core::time::UnixTime;

use super::Desk;
use crate::bundles;
use crate::memory::{LONGEST_LIFE, over_at_under};
use crate::protocol::Signed;

/// What stands in the log about one request, before the request itself is reached.
#[derive(Default)]
struct Later {
    decisions: Vec<Verified<Decision>>,
    ends: Vec<Verified<End>>,
    issued: Vec<Issued>,
}

#[derive(Default)]
struct Replay {
    /// The signer's clock at start, in Unix seconds.
    now: u64,
    newest: Option<UnixTime>,
    later: HashMap<Digest, Later>,
    requests: Vec<(Verified<Request>, UnixTime)>,
    newest_bundle: Option<StatementEntry>,
}

impl Desk {
    /// Reads the log backwards and remembers every request that can still lead somewhere.
    pub(super) fn replay(&mut self) -> anyhow::Result<()> {
        let mut replay = Replay { now: (self.clock)().0, ..Replay::default() };
        let mut failed = None;
        self.log.scan_back(|index, bytes| match replay.entry(bytes) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error.context(format!("log entry {index}")));
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.newest_entry = replay.newest.unwrap_or(UnixTime(0));
        self.adopt_bundle(replay.newest_bundle.take())?;
        let Some(in_force) = &self.in_force else {
            return Ok(());
        };
        for (request, recorded_at) in replay.requests {
            let over_at = over_at_under(request.body(), &in_force.bundle);
            if over_at.0 < replay.now {
                continue;
            }
            let later = replay.later.remove(&request.digest()).unwrap_or_default();
            let mut chain = Chain::new(request);
            for decision in later.decisions {
                chain.add_decision(decision)?;
            }
            for end in later.ends {
                chain.add_end(end)?;
            }
            for issued in later.issued {
                chain.add_issued(issued);
            }
            self.memory.insert(chain, recorded_at, over_at);
        }
        Ok(())
    }

    /// Puts in force what the log names, if a crash came between the log and `current.json`.
    fn adopt_bundle(&mut self, newest: Option<StatementEntry>) -> anyhow::Result<()> {
        let Some(entry) = newest else { return Ok(()) };
        let statement = Signed { statement: entry.statement, signatures: entry.signatures };
        let signed = bundles::verify(&statement, &self.identity.root)?;
        let version = self.in_force.as_ref().map_or(0, |known| known.bundle.version);
        if signed.body.version > version {
            self.in_force = Some(self.shelf.read(&signed, &self.identity.root)?);
            self.shelf.prepare_current(&statement)?;
            self.shelf.put_current()?;
        }
        Ok(())
    }
}

impl Replay {
    fn entry(&mut self, bytes: &[u8]) -> anyhow::Result<ControlFlow<()>> {
        let entry = Entry::parse(bytes)?;
        let newest = *self.newest.get_or_insert(entry.at());
        if entry.at().plus_secs(LONGEST_LIFE) < newest.min(UnixTime(self.now)) {
            return Ok(ControlFlow::Break(()));
        }
        match entry {
            Entry::Certificate(certificate) => self.certificate(&certificate)?,
            Entry::Statement(statement) => self.statement(statement)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn certificate(&mut self, entry: &CertificateEntry) -> anyhow::Result<()> {
        let facts = lint::read(&entry.tbs.0).context("its certificate is malformed")?;
        if facts.key_id.access_until.0 < self.now {
            return Ok(());
        }
        self.later.entry(entry.request).or_default().issued.push(Issued {
            serial: entry.serial,
            at: entry.at,
            valid_before: facts.valid_before,
            access_until: facts.key_id.access_until,
        });
        Ok(())
    }

    fn statement(&mut self, entry: StatementEntry) -> anyhow::Result<()> {
        let bytes = entry.statement.as_bytes();
        let signature = entry.signatures.first().map_or(&[][..], |s| &s.0);
        match Kind::of(bytes).context("it is of no known type")? {
            Kind::Request => {
                let request: Verified<Request> = statement::open_recorded(bytes, signature)?;
                self.requests.push((request, entry.at));
            }
            Kind::Decision => {
                let decision: Verified<Decision> = statement::open_recorded(bytes, signature)?;
                self.later.entry(decision.body().request).or_default().decisions.push(decision);
            }
            Kind::End => {
                let end: Verified<End> = statement::open_recorded(bytes, signature)?;
                self.later.entry(end.body().request).or_default().ends.push(end);
            }
            Kind::Bundle => {
                self.newest_bundle.get_or_insert(entry);
            }
            Kind::Session => {}
        }
        Ok(())
    }
}
