//! The store of a single node: SQLite with a write-ahead log, one thread that writes, and
//! connections of their own for reading.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jit_ssh_core::chain::Issued;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::RuleName;
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::fault::{Fault, in_row};
use super::writer::{Inbox, Work, bits, run};
use super::{
    IdRange, Later, ListQuery, MAX_MATCHES, MAX_REPORTS, MAX_WAITS, Proposal, Record, Store,
    StoreError, StoredBundle, StoredChain, StoredStatement, listing, schema,
};

/// Connections kept for reading.
const MAX_READERS: usize = 2;

/// A SQLite file.
pub(in super::super) struct SqliteStore {
    inbox: Arc<Inbox>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Readers>,
}

impl SqliteStore {
    /// Opens the database at `path`, making it if it is not there.
    ///
    /// # Errors
    /// [`StoreError`] if it can not be opened, or is of a newer version.
    pub(in super::super) fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let fail = |error: rusqlite::Error| Fault::from(error).of(path);
        let mut connection = Connection::open(path).map_err(fail)?;
        schema::configure(&connection).map_err(fail)?;
        schema::settle(&mut connection, path)?;
        let inbox = Arc::new(Inbox::default());
        let (jobs, file) = (inbox.clone(), path.to_owned());
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(jobs, file, connection))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let readers = Arc::new(Readers { path: path.to_owned(), idle: Mutex::default() });
        Ok(SqliteStore { inbox, writer: Mutex::new(Some(writer)), readers })
    }

    fn write(&self, work: Work) -> Later<()> {
        let answer = self.inbox.push(work);
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| {
                Err(StoreError::Failed("the store is closed or too busy".to_owned()))
            })
        })
    }

    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Later<T> {
        let readers = self.readers.clone();
        let task = tokio::task::spawn_blocking(move || readers.with(query));
        Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
        })
    }
}

/// Idle connections for reading.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fail = |fault: Fault| fault.of(&self.path);
        let connection =
            idle.map_or_else(|| self.open(), Ok).map_err(|error| fail(error.into()))?;
        // A connection that failed is not used again.
        let answer = query(&connection).map_err(fail)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_READERS {
            idle.push(connection);
        }
        Ok(answer)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.set_prepared_statement_cache_capacity(16);
        Ok(connection)
    }
}

impl Store for SqliteStore {
    fn append(&self, records: Vec<Record>) -> Later<()> {
        self.write(Work::Append(records))
    }

    fn chain(&self, request: Digest) -> Later<Option<StoredChain>> {
        self.read(move |connection| chain(connection, request))
    }

    fn requests_with(&self, range: IdRange) -> Later<Vec<Digest>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT digest, seq FROM statements WHERE id BETWEEN ?1 AND ?2 AND kind = 1 LIMIT ?3",
            )?;
            let range = params![bits(range.first), bits(range.last), MAX_MATCHES];
            query.query_and_then(range, digest)?.collect()
        })
    }

    fn list(&self, query: ListQuery) -> Later<Vec<StoredChain>> {
        self.read(move |connection| {
            let found = listing::list(connection, &query)?;
            chains(connection, found)
        })
    }

    fn uncertified(&self, since: UnixTime) -> Later<Vec<StoredChain>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT digest, seq FROM statements WHERE kind = 1 AND at > ?1 AND NOT EXISTS
                 (SELECT 1 FROM certificates WHERE certificates.id = statements.id) ORDER BY at, id",
            )?;
            let found: Vec<Digest> =
                query.query_and_then([bits(since.0)], digest)?.collect::<Result<_, Fault>>()?;
            chains(connection, found)
        })
    }

    fn unreviewed(&self) -> Later<Vec<StoredChain>> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT digest, seq FROM statements AS request
                 WHERE kind = 1 AND break_glass = 1 AND NOT EXISTS
                 (SELECT 1 FROM statements AS review
                  WHERE review.id = request.id AND review.kind = 2
                  AND review.request = request.digest
                  AND review.by NOT IN (request.by, request.subject))
                 ORDER BY at, id",
            )?;
            let found: Vec<Digest> =
                query.query_and_then((), digest)?.collect::<Result<_, Fault>>()?;
            chains(connection, found)
        })
    }

    fn enrolments(&self, since: UnixTime) -> Later<Vec<StoredStatement>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT seq, bytes, signature FROM enrolments WHERE at > ?1 ORDER BY seq",
            )?;
            let read = |row: &Row<'_>| -> Result<StoredStatement, Fault> {
                let seq: i64 = row.get(0)?;
                signed(row, seq).map_err(in_row("enrolments", seq))
            };
            query.query_and_then([bits(since.0)], read)?.collect()
        })
    }

    fn waits(&self, rule: RuleName) -> Later<Vec<u32>> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT wait FROM approvals WHERE rule = ?1 ORDER BY at DESC LIMIT ?2",
            )?;
            let waits = query.query_map(params![rule.as_str(), MAX_WAITS], |row| row.get(0))?;
            Ok(waits.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn reports(&self, request: Digest) -> Later<Vec<StoredStatement>> {
        self.read(move |connection| reports(connection, request))
    }

    fn ids(&self) -> Later<Vec<u64>> {
        self.read(|connection| {
            // The index alone: its statements are not touched.
            let mut query = connection.prepare("SELECT id FROM statements ORDER BY id")?;
            let ids = query.query_map((), |row| unsigned(row, 0))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn mark(&self, signer: u16) -> Later<u64> {
        self.read(move |connection| {
            let query = "SELECT size FROM marks WHERE signer = ?1";
            let size = connection.query_row(query, [signer], |row| unsigned(row, 0)).optional();
            Ok(size.map_err(in_row("marks", signer))?.unwrap_or(0))
        })
    }

    fn bundles(&self) -> Later<Vec<StoredBundle>> {
        self.read(|connection| {
            let mut query = connection
                .prepare("SELECT since, statement, signatures FROM bundles ORDER BY since, seq")?;
            let bundles = query.query_and_then((), bundle)?;
            bundles.collect::<rusqlite::Result<_>>().map_err(in_row("bundles", "of some digest"))
        })
    }

    fn proposal(&self) -> Later<Option<Proposal>> {
        self.read(|connection| {
            let query = "SELECT statement, signatures, people, hosts, policy, signers, since FROM proposals";
            let found = connection.query_row(query, (), proposal).optional();
            found.map_err(in_row("proposals", 1))
        })
    }

    fn probe(&self) -> Later<()> {
        self.write(Work::Probe)
    }

    fn close(&self) {
        self.inbox.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's thread failed");
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// The digest of a row that also tells its `seq`.
pub(super) fn digest(row: &Row<'_>) -> Result<Digest, Fault> {
    let seq: i64 = row.get(1)?;
    row.get(0).map(Digest).map_err(in_row("statements", seq))
}

fn reports(connection: &Connection, request: Digest) -> Result<Vec<StoredStatement>, Fault> {
    let mut query = connection.prepare_cached(
        "SELECT seq, bytes, signature FROM told JOIN reports USING (seq)
         WHERE id = ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = query.query(params![bits(super::id_number(request)), MAX_REPORTS])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        let report = || -> rusqlite::Result<StoredStatement> {
            Ok(StoredStatement { row: seq, bytes: row.get(1)?, signature: row.get(2)? })
        };
        found.push(report().map_err(in_row("reports", seq))?);
    }
    Ok(found)
}

/// What hosts told, for a program that only reads the front's database.
pub(in super::super) struct ReportReader {
    readers: Readers,
}

impl ReportReader {
    /// Reads the database at `path`, which must be of this version.
    ///
    /// # Errors
    /// [`StoreError`] if it can not be read, or is of another version.
    pub(in super::super) fn open(path: &Path) -> Result<ReportReader, StoreError> {
        let readers = Readers { path: path.to_owned(), idle: Mutex::default() };
        if readers.with(|connection| Ok(schema::is_current(connection)?))? {
            return Ok(ReportReader { readers });
        }
        Err(StoreError::Failed(format!(
            "{}: the database is of another version than this program",
            path.display()
        )))
    }

    /// What hosts told of the use of a request; nothing of it is checked.
    ///
    /// # Errors
    /// [`StoreError`] if it can not be read.
    pub(in super::super) fn of(&self, request: Digest) -> Result<Vec<StoredStatement>, StoreError> {
        self.readers.with(|connection| reports(connection, request))
    }
}

fn chains(connection: &Connection, requests: Vec<Digest>) -> Result<Vec<StoredChain>, Fault> {
    requests.into_iter().filter_map(|request| chain(connection, request).transpose()).collect()
}

fn chain(connection: &Connection, request: Digest) -> Result<Option<StoredChain>, Fault> {
    let key = params![bits(super::id_number(request)), request.0.as_slice()];
    let mut found = StoredChain::default();
    let mut known = false;
    let mut statements = connection.prepare_cached(
        "SELECT kind, bytes, signature, seq FROM statements WHERE id = ?1 AND request = ?2",
    )?;
    let mut rows = statements.query(key)?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(3)?;
        let (kind, statement) = statement(row, seq).map_err(in_row("statements", seq))?;
        match kind {
            1 => (found.request, known) = (statement, true),
            2 => found.decisions.push(statement),
            _ => found.ends.push(statement),
        }
    }
    if !known {
        return Ok(None);
    }
    let mut certificates = connection.prepare_cached(
        "SELECT serial, at, valid_before, access_until FROM certificates
         WHERE id = ?1 AND request = ?2 ORDER BY at, serial",
    )?;
    let read = |row: &Row<'_>| -> Result<Issued, Fault> {
        let serial = unsigned(row, 0)?;
        issued(row).map_err(in_row("certificates", format_args!("with serial {serial}")))
    };
    found.issued = certificates.query_and_then(key, read)?.collect::<Result<_, Fault>>()?;
    let mut extensions = connection
        .prepare_cached("SELECT digest, seq, at FROM statements WHERE kind = 1 AND extends = ?1")?;
    let read = |row: &Row<'_>| -> Result<(UnixTime, Digest), Fault> {
        Ok((UnixTime(unsigned(row, 2)?), digest(row)?))
    };
    found.extensions =
        extensions.query_and_then([request.0.as_slice()], read)?.collect::<Result<_, Fault>>()?;
    found.extensions.sort_unstable();
    Ok(Some(found))
}

fn statement(row: &Row<'_>, seq: i64) -> rusqlite::Result<(u8, StoredStatement)> {
    Ok((row.get(0)?, signed(row, seq)?))
}

fn signed(row: &Row<'_>, seq: i64) -> rusqlite::Result<StoredStatement> {
    Ok(StoredStatement { row: seq, bytes: row.get(1)?, signature: row.get(2)? })
}

fn issued(row: &Row<'_>) -> rusqlite::Result<Issued> {
    Ok(Issued {
        serial: unsigned(row, 0)?,
        at: UnixTime(unsigned(row, 1)?),
        valid_before: UnixTime(unsigned(row, 2)?),
        access_until: UnixTime(unsigned(row, 3)?),
    })
}

fn blob(row: &Row<'_>, place: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(place).map(Bytes::from)
}

fn bundle(row: &Row<'_>) -> rusqlite::Result<StoredBundle> {
    Ok(StoredBundle {
        since: UnixTime(unsigned(row, 0)?),
        statement: blob(row, 1)?,
        signatures: signatures(&blob(row, 2)?),
    })
}

fn proposal(row: &Row<'_>) -> rusqlite::Result<Proposal> {
    Ok(Proposal {
        statement: blob(row, 0)?,
        signatures: signatures(&blob(row, 1)?),
        people: blob(row, 2)?,
        hosts: blob(row, 3)?,
        policy: blob(row, 4)?,
        signers: blob(row, 5)?,
        since: UnixTime(unsigned(row, 6)?),
    })
}

/// Signatures, each behind its length.
fn signatures(mut joined: &[u8]) -> Vec<Bytes> {
    let mut signatures = Vec::new();
    while let Some((length, tail)) = joined.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((signature, tail)) = tail.split_at_checked(length) else { break };
        signatures.push(Bytes::copy_from_slice(signature));
        joined = tail;
    }
    signatures
}

/// The counterpart of [`bits`].
pub(super) fn unsigned(row: &Row<'_>, place: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(place).map(|value| u64::from_ne_bytes(value.to_ne_bytes()))
}
