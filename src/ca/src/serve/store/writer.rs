//! The one thread that writes: it takes all that waits, up to [`MAX_BATCH`] jobs, into one
//! transaction, so that one wait for the disk serves them all.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jit_ssh_core::digest::Digest;
use prost::bytes::Bytes;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

use super::fault::Fault;
use super::{
    Proposal, Record, RecordKind, ReportRecord, StatementRecord, StoreError, id_number, schema,
};

/// Most jobs of one transaction.
const MAX_BATCH: usize = 256;
/// Most jobs that may wait; the signer bounds what can be under way well below.
const MAX_WAITING: usize = 16 * 1024;

/// What is asked of the writer.
pub(super) enum Work {
    Append(Vec<Record>),
    Probe,
}

struct Job {
    work: Work,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Where jobs wait.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Inbox {
    /// Queues a job; the answer comes once it is durable.
    pub(super) fn push(&self, work: Work) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, answer) = oneshot::channel();
        let mut waiting = self.lock();
        // A job that is not taken drops its sender: its caller hears that the store is closed.
        if !waiting.closed && waiting.jobs.len() < MAX_WAITING {
            waiting.jobs.push_back(Job { work, done });
            drop(waiting);
            self.came.notify_one();
        }
        answer
    }

    /// Takes no more jobs; those that wait are still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for jobs; nothing once closed and done.
    fn take(&self) -> Vec<Job> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let count = waiting.jobs.len().min(MAX_BATCH);
        waiting.jobs.drain(..count).collect()
    }
}

/// Writes until the inbox is closed and empty. After a failure the next batch begins with a new
/// connection, so that the store heals when its disk does.
pub(super) fn run(inbox: Arc<Inbox>, path: PathBuf, connection: Connection) {
    let mut connection = Some(connection);
    loop {
        let jobs = inbox.take();
        if jobs.is_empty() {
            return;
        }
        let mut open = match connection.take().map_or_else(|| reopen(&path), Ok) {
            Ok(open) => open,
            Err(error) => {
                answer(jobs, &Err(error));
                continue;
            }
        };
        let written = write(&mut open, jobs.iter().map(|job| &job.work));
        if let Err(error) = &written {
            tracing::error!(%error, "a transaction failed");
        } else {
            connection = Some(open);
        }
        answer(jobs, &written.map_err(|error| Fault::from(error).of(&path)));
    }
}

fn answer(jobs: Vec<Job>, result: &Result<(), StoreError>) {
    for job in jobs {
        // Whoever asked may be gone; the record stays.
        let _ = job.done.send(result.clone());
    }
}

fn reopen(path: &PathBuf) -> Result<Connection, StoreError> {
    let open = || {
        let connection = Connection::open(path)?;
        schema::configure(&connection)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| Fault::from(error).of(path))
}

fn write<'w>(
    connection: &mut Connection,
    batch: impl Iterator<Item = &'w Work>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for work in batch {
        match work {
            Work::Append(records) => {
                for record in records {
                    insert(&transaction, record)?;
                }
            }
            Work::Probe => {
                transaction.prepare_cached("UPDATE probes SET count = count + 1")?.execute(())?;
            }
        }
    }
    transaction.commit()
}

fn insert(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Statement(record) => put_statement(transaction, record)?,
        Record::Certificate { request, issued } => {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO certificates
                 (serial, id, request, at, valid_before, access_until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            insert.execute(params![
                bits(issued.serial),
                bits(id_number(*request)),
                request.0.as_slice(),
                bits(issued.at.0),
                bits(issued.valid_before.0),
                bits(issued.access_until.0),
            ])?;
        }
        Record::Enrolment(record) => {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO enrolments (digest, at, bytes, signature)
                 VALUES (?1, ?2, ?3, ?4)",
            )?;
            insert.execute(params![
                record.digest.0.as_slice(),
                bits(record.at.0),
                record.bytes.as_ref(),
                record.signature.as_ref(),
            ])?;
        }
        Record::Approval(record) => {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO approvals (id, request, rule, at, wait)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            insert.execute(params![
                bits(id_number(record.request)),
                record.request.0.as_slice(),
                record.rule.as_str(),
                bits(record.at.0),
                record.wait,
            ])?;
        }
        Record::Report(record) => put_report(transaction, record)?,
        Record::Mark { signer, size } => {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO marks (signer, size) VALUES (?1, ?2)
                 ON CONFLICT (signer) DO UPDATE SET size = max(size, excluded.size)",
            )?;
            insert.execute(params![signer, bits(*size)])?;
        }
        Record::Bundle(bundle) => {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO bundles (digest, since, statement, signatures) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (digest) DO UPDATE SET since = min(since, excluded.since)",
            )?;
            insert.execute(params![
                Digest::of(&bundle.statement).0.as_slice(),
                bits(bundle.since.0),
                bundle.statement.as_ref(),
                joined(&bundle.signatures),
            ])?;
        }
        Record::Proposal(None) => {
            transaction.execute("DELETE FROM proposals", ())?;
        }
        Record::Proposal(Some(proposal)) => put_proposal(transaction, proposal)?,
    }
    Ok(())
}

fn put_statement(transaction: &Transaction<'_>, record: &StatementRecord) -> rusqlite::Result<()> {
    let (kind, subject, extends, break_glass) = match &record.kind {
        RecordKind::Request { subject, extends, break_glass } => {
            let extends = extends.as_ref().map(|extends| extends.0.as_slice());
            (1, Some(subject.as_str()), extends, *break_glass)
        }
        RecordKind::Decision => (2, None, None, false),
        RecordKind::End => (3, None, None, false),
    };
    let (id, request) = (bits(id_number(record.request)), record.request.0.as_slice());
    let mut insert = transaction.prepare_cached(
        "INSERT INTO statements
         (id, kind, digest, request, by, subject, at, bytes, signature, extends, break_glass)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
         WHERE NOT EXISTS (SELECT 1 FROM statements WHERE id = ?1 AND digest = ?3)",
    )?;
    let new = insert.execute(params![
        id,
        kind,
        record.digest.0.as_slice(),
        request,
        record.by.as_str(),
        subject,
        bits(record.at.0),
        record.bytes.as_ref(),
        record.signature.as_ref(),
        extends,
        break_glass,
    ])?;
    if new == 0 {
        return Ok(());
    }
    // What is said of a request may come before it.
    let mut speak = match &record.kind {
        RecordKind::Request { .. } => transaction.prepare_cached(
            "INSERT OR IGNORE INTO spoke (person, at, id)
             SELECT by, ?3, id FROM statements WHERE id = ?1 AND request = ?2 AND kind <> 1",
        )?,
        RecordKind::Decision | RecordKind::End => transaction.prepare_cached(
            "INSERT OR IGNORE INTO spoke (person, at, id)
             SELECT ?3, at, id FROM statements WHERE id = ?1 AND digest = ?2 AND kind = 1",
        )?,
    };
    match &record.kind {
        RecordKind::Request { .. } => speak.execute(params![id, request, bits(record.at.0)])?,
        RecordKind::Decision | RecordKind::End => {
            speak.execute(params![id, request, record.by.as_str()])?
        }
    };
    Ok(())
}

fn put_report(transaction: &Transaction<'_>, record: &ReportRecord) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO reports (digest, at, bytes, signature) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let new = insert.execute(params![
        record.digest.0.as_slice(),
        bits(record.at.0),
        record.bytes.as_ref(),
        record.signature.as_ref(),
    ])?;
    if new == 0 {
        return Ok(());
    }
    let seq = transaction.last_insert_rowid();
    let mut about =
        transaction.prepare_cached("INSERT OR IGNORE INTO told (id, seq) VALUES (?1, ?2)")?;
    for id in &record.about {
        about.execute(params![bits(*id), seq])?;
    }
    Ok(())
}

fn put_proposal(transaction: &Transaction<'_>, proposal: &Proposal) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO proposals
         (place, statement, signatures, people, hosts, policy, signers, since)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            proposal.statement.as_ref(),
            joined(&proposal.signatures),
            proposal.people.as_ref(),
            proposal.hosts.as_ref(),
            proposal.policy.as_ref(),
            proposal.signers.as_ref(),
            bits(proposal.since.0),
        ],
    )?;
    Ok(())
}

/// Each signature behind its length.
fn joined(signatures: &[Bytes]) -> Vec<u8> {
    let mut joined = Vec::new();
    for signature in signatures {
        let length = u32::try_from(signature.len()).unwrap_or(u32::MAX);
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(signature);
    }
    joined
}

/// SQLite's integers are signed; the bits are the same.
pub(super) fn bits(value: u64) -> i64 {
    i64::from_ne_bytes(value.to_ne_bytes())
}
