//! Takes over from the signer's log what the front has no record of: at start what came after the
//! last mark, and later whatever was recorded for a caller that went away.
//!
//! The mark of a signer says up to which entry everything is stored. It rises without reading the
//! log: when all calls that were under way at some size of the log have been stored, everything
//! before that size is.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::Enrolment;
use jit_ssh_core::entry::{CertificateEntry, Entry, StatementEntry};
use jit_ssh_core::lifecycle::evaluate;
use jit_ssh_core::statement::{self, Decision, End, Host, Kind, Request, Token};
use jit_ssh_signer::log::TileDir;
use jit_ssh_signer::protocol::{Op, Outcome, State};
use prost::bytes::Bytes;

use super::front::{Front, Log};
use super::signer_link::SignerLink;
use super::store::{EnrolmentRecord, Record, RecordKind, StatementRecord, Store, StoredBundle};
use super::{clock, enrolment};
use crate::audit::certificate;

/// How often the mark is raised.
const MARKING: Duration = Duration::from_secs(10);
/// How long to wait before looking again for something that is not there yet.
const LOOK: Duration = Duration::from_millis(50);
/// How often to look.
const LOOKS: u32 = 100;
/// How long to wait after a failure.
const REST: Duration = Duration::from_secs(2);
/// Entries taken over at a time.
const CHUNK: u64 = 256;

/// How the signer is.
///
/// # Errors
/// If it does not answer.
pub(super) async fn state(signer: &SignerLink) -> anyhow::Result<State> {
    match signer.call(Op::State).await? {
        Outcome::State(state) => Ok(state),
        _ => bail!("the signer gave an answer that does not fit the question"),
    }
}

/// What was taken over from the log.
#[derive(Default)]
pub(super) struct TakenOver {
    /// The requests that were spoken of.
    pub(super) requests: Vec<Digest>,
    /// The hosts and tokens, in the log's order.
    pub(super) enrolments: Vec<EnrolmentRecord>,
}

/// Takes over everything after the mark. Returns what was found.
///
/// # Errors
/// If signer, log or store fail.
pub(super) async fn catch_up(
    signer: &SignerLink,
    store: &dyn Store,
    log: &Log,
) -> anyhow::Result<TakenOver> {
    let wanted = state(signer).await?.log_size;
    let mut mark = store.mark(log.signer).await?;
    let mut found = TakenOver::default();
    if mark >= wanted {
        return Ok(found);
    }
    let published = published(log, wanted).await?;
    while mark < published {
        let end = mark.saturating_add(CHUNK).min(published);
        let tiles = log.tiles();
        let reading = tokio::task::spawn_blocking(move || read(&tiles, mark..end, published));
        let mut records = reading.await??;
        found.requests.extend(records.iter().filter_map(request_of));
        found.enrolments.extend(records.iter().filter_map(enrolment_of));
        records.push(Record::Mark { signer: log.signer, size: end });
        store.append(records).await?;
        mark = end;
    }
    Ok(found)
}

/// Waits until the log is published up to `wanted`; returns how far it is.
async fn published(log: &Log, wanted: u64) -> anyhow::Result<u64> {
    for _ in 0..LOOKS {
        let (tiles, key) = (log.tiles(), log.key.clone());
        let checkpoint = tokio::task::spawn_blocking(move || tiles.checkpoint(&key)).await?;
        if let Ok(checkpoint) = checkpoint
            && checkpoint.checkpoint().size() >= wanted
        {
            return Ok(checkpoint.checkpoint().size());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("the signer's log has {wanted} entries, but they are not published")
}

/// Follows until the front stops.
pub(super) async fn follow(front: Arc<Front>) {
    let mut stopping = front.stopping.clone();
    loop {
        tokio::select! {
            () = front.lost.told() => {}
            () = tokio::time::sleep(MARKING) => {}
            _ = stopping.changed() => return,
        }
        if let Err(error) = take_over(&front).await {
            tracing::warn!(error = format!("{error:#}"), "the log can not be followed now");
            front.lost.mark();
            tokio::time::sleep(REST).await;
        }
    }
}

async fn take_over(front: &Front) -> anyhow::Result<()> {
    if !front.lost.take() && !raise_mark(front).await? {
        return Ok(());
    }
    let found = catch_up(&front.signer, &*front.store, &front.log).await?;
    front.trusted.enroll(clock::now(), |enrolled| {
        for record in &found.enrolments {
            if let Ok(recorded) = Enrolment::open_recorded(&record.bytes, &record.signature) {
                enrolled.add(recorded);
            }
        }
    });
    for request in once_each(found.requests) {
        if let Some(known) = front.memory.look_up(&*front.store, request).await? {
            if let Some(in_force) = front.trusted.current() {
                let evaluation = evaluate(&known.chain, in_force.view(), clock::now());
                front.note_approval(&known, &evaluation);
            }
            // Who watches what it prolongs sees it there.
            if let Some(of) = known.chain.request().body().extends {
                drop(front.announce(of));
            }
        }
        drop(front.announce(request));
    }
    Ok(())
}

/// The requests that a part of the log speaks of.
pub(super) fn once_each(spoken_of: Vec<Digest>) -> HashSet<Digest> {
    spoken_of.into_iter().collect()
}

/// Raises the mark to where everything is stored; whether something was lost instead.
async fn raise_mark(front: &Front) -> anyhow::Result<bool> {
    let size = state(&front.signer).await?.log_size;
    if front.store.mark(front.log.signer).await? >= size {
        return Ok(false);
    }
    // Whatever is in the log by now was asked for by a call that holds this epoch.
    let epoch = front.signer.next_epoch();
    let mut looks = 0u32;
    while Arc::strong_count(&epoch) > 1 {
        if looks >= LOOKS {
            // A call hangs. Its epoch will end later, and a later one with it.
            return Ok(true);
        }
        looks = looks.saturating_add(1);
        tokio::time::sleep(LOOK).await;
    }
    if front.lost.take() {
        return Ok(true);
    }
    front.store.append(vec![Record::Mark { signer: front.log.signer, size }]).await?;
    Ok(false)
}

fn read(tiles: &TileDir, range: Range<u64>, size: u64) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in tiles.entries(range, size) {
        let (index, bytes) = entry?;
        let entry = Entry::parse(&bytes).with_context(|| format!("entry {index}"))?;
        let record = match entry {
            Entry::Statement(entry) => statement_record(entry),
            Entry::Certificate(entry) => certificate_record(&entry).map(Some),
            // Of no request: whoever wants one asks the signer.
            Entry::HostCertificate(_) => Ok(None),
        };
        records.extend(record.with_context(|| format!("entry {index}"))?);
    }
    Ok(records)
}

/// The record of a logged statement; nothing for a session, which is not logged.
fn statement_record(entry: StatementEntry) -> anyhow::Result<Option<Record>> {
    let bytes = Bytes::from(entry.statement);
    if Kind::of(&bytes) == Some(Kind::Bundle) {
        let signatures = entry.signatures.into_iter().map(|blob| blob.0.into()).collect();
        let bundle = StoredBundle { since: entry.at, statement: bytes, signatures };
        return Ok(Some(Record::Bundle(bundle)));
    }
    let signature = entry.signatures.into_iter().next();
    let signature = Bytes::from(signature.context("it has no signature")?.0);
    let digest = Digest::of(&bytes);
    let (kind, request, by, at) = match Kind::of(&bytes).context("it is no statement")? {
        Kind::Request => {
            let body: Request = statement::parse(&bytes)?;
            (RecordKind::request(&body), digest, body.by, body.at)
        }
        Kind::Decision => {
            let body: Decision = statement::parse(&bytes)?;
            (RecordKind::Decision, body.request, body.by, body.at)
        }
        Kind::End => {
            let body: End = statement::parse(&bytes)?;
            (RecordKind::End, body.request, body.by, body.at)
        }
        Kind::Host => {
            let body: Host = statement::parse(&bytes)?;
            return Ok(Some(Record::Enrolment(enrolment::record(&body, bytes, signature))));
        }
        Kind::Token => {
            let body: Token = statement::parse(&bytes)?;
            return Ok(Some(Record::Enrolment(enrolment::record(&body, bytes, signature))));
        }
        Kind::Bundle | Kind::Session | Kind::Report => return Ok(None),
    };
    let record = StatementRecord { kind, digest, request, by, at, bytes, signature };
    Ok(Some(Record::Statement(record)))
}

fn certificate_record(entry: &CertificateEntry) -> anyhow::Result<Record> {
    let issued = certificate::facts(entry)?.issued(entry.serial, entry.at);
    Ok(Record::Certificate { request: entry.request, issued })
}

fn enrolment_of(record: &Record) -> Option<EnrolmentRecord> {
    match record {
        Record::Enrolment(record) => Some(record.clone()),
        _ => None,
    }
}

fn request_of(record: &Record) -> Option<Digest> {
    match record {
        Record::Statement(statement) => Some(statement.request),
        Record::Certificate { request, .. } => Some(*request),
        // About none, or noted once the request is known.
        Record::Approval(_)
        | Record::Bundle(_)
        | Record::Enrolment(_)
        | Record::Report(_)
        | Record::Mark { .. }
        | Record::Proposal(_) => None,
    }
}
