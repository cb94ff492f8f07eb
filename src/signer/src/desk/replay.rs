//! The memory, rebuilt from the log at start: newest entry first, back to where nothing can be
//! alive any more.

use std::collections::HashMap;
use std::ops::ControlFlow;

use anyhow::Context as _;
use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::certificate::lint;
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::{CertificateEntry, Entry, StatementEntry};
use jit_ssh_core::statement::{self, Decision, End, Kind, Request, Verified};
use jit_ssh_core::time::UnixTime;

use super::Desk;
use crate::bundles;
use crate::memory::{LONGEST_LIFE, Memory, over_at_under};
use crate::protocol::Signed;

/// What stands in the log about one request, before the request itself is reached.
#[derive(Default)]
struct Later {
    decisions: Vec<Verified<Decision>>,
    ends: Vec<Verified<End>>,
    issued: Vec<Issued>,
}

struct Replay<'a> {
    /// The signer's clock, in Unix seconds.
    now: u64,
    bundle: &'a Bundle,
    newest: UnixTime,
    later: HashMap<Digest, Later>,
    memory: Memory,
}

impl Desk {
    /// Puts the log's newest bundle in force, then reads the log backwards and remembers every
    /// request that can still lead somewhere under it.
    pub(super) fn replay(&mut self) -> anyhow::Result<()> {
        let Some(last) = self.log.size().checked_sub(1) else {
            self.in_force = None;
            return Ok(());
        };
        self.newest_entry = self.entry(last)?.at();
        self.adopt_bundle(last)?;
        let Some(in_force) = &self.in_force else { return Ok(()) };
        let mut replay = Replay {
            now: (self.clock)().0,
            bundle: &in_force.bundle,
            newest: self.newest_entry,
            later: HashMap::new(),
            memory: Memory::default(),
        };
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
        self.memory = replay.memory;
        Ok(())
    }

    fn entry(&self, index: u64) -> anyhow::Result<Entry> {
        let found = self.log.entries(index..index.saturating_add(1)).next();
        let (_, bytes) = found.with_context(|| format!("log entry {index} is not there"))??;
        Ok(Entry::parse(&bytes)?)
    }

    /// Puts in force the newest bundle of the log, whatever `current.json` says: the log alone
    /// knows which versions there were. It is the log's last entry, where a crash came before it
    /// was noted; or the one noted; or the first to be found backwards.
    fn adopt_bundle(&mut self, last: u64) -> anyhow::Result<()> {
        let noted = self.pointer.read();
        let mut found = None;
        for index in [Some(last), noted].into_iter().flatten().filter(|index| *index <= last) {
            if let Some(statement) = bundle_of(self.entry(index)?) {
                found = Some((index, statement));
                break;
            }
        }
        if found.is_none() {
            self.log.scan_back(|index, bytes| {
                found = Entry::parse(bytes).ok().and_then(bundle_of).map(|bundle| (index, bundle));
                if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        let Some((index, statement)) = found else {
            self.in_force = None;
            return Ok(());
        };
        let signed = bundles::verify(&statement, &self.identity.root)?;
        if self.in_force.as_ref().is_none_or(|known| known.digest != signed.digest) {
            self.in_force = Some(self.shelf.read(&signed, &self.identity.root)?);
            self.shelf.prepare_current(&statement)?;
            self.shelf.put_current()?;
        }
        if noted != Some(index) {
            self.pointer.write(index)?;
        }
        Ok(())
    }
}

/// The bundle statement in an entry, if it is one.
fn bundle_of(entry: Entry) -> Option<Signed> {
    match entry {
        Entry::Statement(entry) if Kind::of(entry.statement.as_bytes()) == Some(Kind::Bundle) => {
            Some(Signed { statement: entry.statement, signatures: entry.signatures })
        }
        Entry::Statement(_) | Entry::Certificate(_) => None,
    }
}

impl Replay<'_> {
    fn entry(&mut self, bytes: &[u8]) -> anyhow::Result<ControlFlow<()>> {
        let entry = Entry::parse(bytes)?;
        if entry.at().plus_secs(LONGEST_LIFE) < self.newest.min(UnixTime(self.now)) {
            return Ok(ControlFlow::Break(()));
        }
        match entry {
            Entry::Certificate(certificate) => self.certificate(&certificate)?,
            Entry::Statement(statement) => self.statement(&statement)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A request: everything said of it later is known by now.
    fn request(&mut self, request: Verified<Request>, recorded_at: UnixTime) -> anyhow::Result<()> {
        let later = self.later.remove(&request.digest()).unwrap_or_default();
        let over_at = over_at_under(&request, self.bundle);
        if over_at.0 < self.now {
            return Ok(());
        }
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
        Ok(())
    }

    fn certificate(&mut self, entry: &CertificateEntry) -> anyhow::Result<()> {
        let facts = lint::read(&entry.tbs.0).context("its certificate is malformed")?;
        self.later.entry(entry.request).or_default().issued.push(Issued {
            serial: entry.serial,
            at: entry.at,
            valid_before: facts.valid_before,
            access_until: facts.key_id.access_until,
        });
        Ok(())
    }

    fn statement(&mut self, entry: &StatementEntry) -> anyhow::Result<()> {
        let bytes = entry.statement.as_bytes();
        let signature = entry.signatures.first().map_or(&[][..], |s| &s.0);
        match Kind::of(bytes).context("it is of no known type")? {
            Kind::Request => {
                self.request(statement::open_recorded(bytes, signature)?, entry.at)?;
            }
            Kind::Decision => {
                let decision: Verified<Decision> = statement::open_recorded(bytes, signature)?;
                self.later.entry(decision.body().request).or_default().decisions.push(decision);
            }
            Kind::End => {
                let end: Verified<End> = statement::open_recorded(bytes, signature)?;
                self.later.entry(end.body().request).or_default().ends.push(end);
            }
            Kind::Bundle | Kind::Session => {}
        }
        Ok(())
    }
}
