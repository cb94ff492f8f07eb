//! The memory, rebuilt from the log at start: newest entry first, back to where nothing can be
//! alive any more.

use std::collections::HashMap;
use std::ops::ControlFlow;

use anyhow::Context as _;
use jit_ssh_core::certificate::{host, lint};
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::{Enrolled, View};
use jit_ssh_core::entry::{CertificateEntry, Entry, HostCertificateEntry, StatementEntry};
use jit_ssh_core::lifecycle::{LONGEST_LIFE, over_at_under};
use jit_ssh_core::statement::{self, Decision, End, Kind, Request, Verified};
use jit_ssh_core::time::UnixTime;

use super::hosts::{Hosts, Newest};
use super::{Desk, enrolment};
use crate::bundles;
use crate::memory::{Memory, is_unreviewed};
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
    view: View<'a>,
    newest: UnixTime,
    /// Of how many entries it is noted which break-glass requests are unreviewed.
    noted: u64,
    /// The oldest entry read.
    reached: u64,
    later: HashMap<Digest, Later>,
    /// What those prolong that are kept, and until when.
    prolonged: HashMap<Digest, UnixTime>,
    kept: Vec<Kept>,
    hosts: Hosts,
}

/// A request to be remembered.
struct Kept {
    chain: Chain,
    index: u64,
    recorded_at: UnixTime,
    over_at: UnixTime,
}

impl Desk {
    /// Puts the log's newest bundle in force, then reads the log backwards and remembers every
    /// request that can still lead somewhere under it, and every break-glass request that nobody has
    /// reviewed, however old.
    pub(super) fn replay(&mut self) -> anyhow::Result<()> {
        let Some(last) = self.log.size().checked_sub(1) else {
            self.in_force = None;
            self.enrolled = Enrolled::default();
            return Ok(());
        };
        self.newest_entry = self.entry(last)?.at();
        self.adopt_bundle(last)?;
        let Some(in_force) = &self.in_force else { return Ok(()) };
        let now = (self.clock)();
        self.enrolled = enrolment::recall(&self.log, &in_force.bundle, self.newest_entry, now)?;
        let (noted, unreviewed) = self.noted_unreviewed();
        let mut replay = Replay {
            now: now.0,
            view: in_force.view(&self.enrolled),
            newest: self.newest_entry,
            noted,
            reached: self.log.size(),
            later: HashMap::new(),
            prolonged: HashMap::new(),
            kept: Vec::new(),
            hosts: Hosts::default(),
        };
        let mut failed = None;
        self.log.scan_back(|index, bytes| match replay.entry(index, bytes) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error.context(format!("log entry {index}")));
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for (index, request, at) in unreviewed {
            if index < replay.reached {
                replay.request(index, request, at, Age::Old)?;
            }
        }
        let mut memory = Memory::default();
        // The oldest first, so that what a request prolongs is there before it.
        let Replay { kept, hosts, .. } = replay;
        for Kept { chain, index, recorded_at, over_at } in kept.into_iter().rev() {
            memory.insert(chain, index, recorded_at, over_at);
        }
        self.memory = memory;
        self.hosts = hosts;
        self.revoked.replace(self.memory.all_fallen(now));
        self.note_unreviewed();
        Ok(())
    }

    /// The break-glass requests that are noted as unreviewed, newest first, and of how many entries
    /// the note is. Where there is no note that holds, all of the log is to be read.
    fn noted_unreviewed(&self) -> (u64, Vec<(u64, Verified<Request>, UnixTime)>) {
        let Some(note) = self.notes.unreviewed(self.log.size()) else { return (0, Vec::new()) };
        let read = |index: &u64| {
            let Ok(Entry::Statement(entry)) = self.entry(*index) else { return None };
            let signature = entry.signatures.first()?;
            let request = statement::open_recorded(entry.statement.as_bytes(), &signature.0);
            let request: Verified<Request> = request.ok()?;
            request.body().break_glass.is_some().then_some((*index, request, entry.at))
        };
        match note.requests.iter().rev().map(read).collect() {
            Some(requests) => (note.size, requests),
            None => (0, Vec::new()),
        }
    }

    /// The entry at `index` of the log.
    pub(super) fn entry(&self, index: u64) -> anyhow::Result<Entry> {
        let found = self.log.entries(index..index.saturating_add(1)).next();
        let (_, bytes) = found.with_context(|| format!("log entry {index} is not there"))??;
        Ok(Entry::parse(&bytes)?)
    }

    /// Puts in force the newest bundle of the log, whatever `current.json` says: the log alone
    /// knows which versions there were. It is the log's last entry, where a crash came before it
    /// was noted; or the one noted; or the first to be found backwards.
    fn adopt_bundle(&mut self, last: u64) -> anyhow::Result<()> {
        let noted = self.notes.newest_bundle();
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
            self.notes.write_newest_bundle(index)?;
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
        Entry::Statement(_) | Entry::Certificate(_) | Entry::HostCertificate(_) => None,
    }
}

/// How old an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// Something may still come of it.
    Live,
    /// Nothing can come of it, but it may be a break-glass request to be reviewed, or its review.
    Old,
}

impl Replay<'_> {
    fn entry(&mut self, index: u64, bytes: &[u8]) -> anyhow::Result<ControlFlow<()>> {
        let entry = Entry::parse(bytes)?;
        let old = entry.at().plus_secs(LONGEST_LIFE) < self.newest.min(UnixTime(self.now));
        let age = if old { Age::Old } else { Age::Live };
        if age == Age::Old && index < self.noted {
            return Ok(ControlFlow::Break(()));
        }
        self.reached = index;
        match (entry, age) {
            (Entry::Certificate(certificate), Age::Live) => self.certificate(&certificate)?,
            (Entry::HostCertificate(entry), Age::Live) => self.host_certificate(index, entry)?,
            (Entry::Certificate(_) | Entry::HostCertificate(_), Age::Old) => {}
            (Entry::Statement(statement), _) => self.statement(index, &statement, age)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A request: everything said of it later is known by now.
    fn request(
        &mut self,
        index: u64,
        request: Verified<Request>,
        recorded_at: UnixTime,
        age: Age,
    ) -> anyhow::Result<()> {
        let digest = request.digest();
        let later = self.later.remove(&digest).unwrap_or_default();
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
        let over_at = over_at_under(&chain, self.view, UnixTime(self.now));
        let over_at = self.prolonged.remove(&digest).map_or(over_at, |of| of.max(over_at));
        let alive = age == Age::Live && over_at.0 >= self.now;
        if !alive && !is_unreviewed(&chain) {
            return Ok(());
        }
        if let Some(older) = chain.request().body().extends {
            let until = self.prolonged.entry(older).or_insert(over_at);
            *until = over_at.max(*until);
        }
        self.kept.push(Kept { chain, index, recorded_at, over_at });
        Ok(())
    }

    fn certificate(&mut self, entry: &CertificateEntry) -> anyhow::Result<()> {
        let facts = lint::read(&entry.tbs.0).context("its certificate is malformed")?;
        let issued = facts.issued(entry.serial, entry.at);
        self.later.entry(entry.request).or_default().issued.push(issued);
        Ok(())
    }

    /// The newest of a host comes first, and is the one that counts.
    fn host_certificate(&mut self, index: u64, entry: HostCertificateEntry) -> anyhow::Result<()> {
        let facts = host::read(&entry.tbs.0).context("its host certificate is malformed")?;
        let newest = Newest { index, valid_before: facts.valid_before };
        self.hosts.note_older(entry.host, newest);
        Ok(())
    }

    fn statement(&mut self, index: u64, entry: &StatementEntry, age: Age) -> anyhow::Result<()> {
        let bytes = entry.statement.as_bytes();
        let signature = entry.signatures.first().map_or(&[][..], |s| &s.0);
        match Kind::of(bytes).context("it is of no known type")? {
            Kind::Request => {
                let request = statement::open_recorded(bytes, signature)?;
                self.request(index, request, entry.at, age)?;
            }
            Kind::Decision => {
                let decision: Verified<Decision> = statement::open_recorded(bytes, signature)?;
                self.later.entry(decision.body().request).or_default().decisions.push(decision);
            }
            Kind::End => {
                let end: Verified<End> = statement::open_recorded(bytes, signature)?;
                self.later.entry(end.body().request).or_default().ends.push(end);
            }
            Kind::Bundle | Kind::Session | Kind::Report | Kind::Host | Kind::Token => {}
        }
        Ok(())
    }
}
