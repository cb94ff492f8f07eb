//! The tables, and the version they are of.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;
use super::fault::Fault;

/// What brings a database from each version to the next, from nothing to the version this program
/// writes. A new database takes all steps, so it is the same as one that grew old.
const STEPS: [&str; 5] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5];

/// The version this program writes: how many steps there are.
const VERSION: i64 = 5;

/// `id` is the number of the request's id, so that one index finds a whole chain; statements and
/// certificates are only ever added, so that everything but this index grows at its end.
const VERSION_1: &str = "
CREATE TABLE statements (
    seq       INTEGER PRIMARY KEY,
    id        INTEGER NOT NULL,
    kind      INTEGER NOT NULL CHECK (kind IN (1, 2, 3)), -- request, decision, end
    digest    BLOB NOT NULL,
    request   BLOB NOT NULL,
    by        TEXT NOT NULL,
    subject   TEXT,
    at        INTEGER NOT NULL,
    bytes     BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE INDEX statements_by_id ON statements (id);
CREATE INDEX requests_by_subject ON statements (subject, seq) WHERE kind = 1;
CREATE INDEX requests_by_other ON statements (by, seq) WHERE kind = 1 AND by <> subject;
CREATE INDEX requests_by_time ON statements (at) WHERE kind = 1;

-- One tree instead of a table and an index: this is written at every issuance.
CREATE TABLE certificates (
    id           INTEGER NOT NULL,
    serial       INTEGER NOT NULL, -- the bits of an unsigned number
    request      BLOB NOT NULL,
    at           INTEGER NOT NULL,
    valid_before INTEGER NOT NULL,
    access_until INTEGER NOT NULL,
    PRIMARY KEY (id, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    signer INTEGER PRIMARY KEY,
    size   INTEGER NOT NULL
) STRICT;

CREATE TABLE proposals (
    place      INTEGER PRIMARY KEY CHECK (place = 1),
    statement  BLOB NOT NULL,
    signatures BLOB NOT NULL, -- each behind its length, a big-endian u32
    people     BLOB NOT NULL,
    hosts      BLOB NOT NULL,
    policy     BLOB NOT NULL,
    signers    BLOB NOT NULL,
    since      INTEGER NOT NULL
) STRICT;

CREATE TABLE probes (
    place INTEGER PRIMARY KEY CHECK (place = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO probes (place, count) VALUES (1, 0);
";

/// Requests are listed by when they were made and then by id, which every store knows alike. No
/// request of version 1 prolonged another or went ahead without approvals: none was admitted.
const VERSION_2: &str = "
ALTER TABLE statements ADD COLUMN extends BLOB;
ALTER TABLE statements ADD COLUMN break_glass INTEGER NOT NULL DEFAULT 0 CHECK (break_glass IN (0, 1));

DROP INDEX requests_by_subject;
DROP INDEX requests_by_other;
DROP INDEX requests_by_time;
CREATE INDEX requests_by_subject ON statements (subject, at, id) WHERE kind = 1;
CREATE INDEX requests_by_other ON statements (by, at, id) WHERE kind = 1 AND by <> subject;
CREATE INDEX requests_by_time ON statements (at, id) WHERE kind = 1;
CREATE INDEX extensions ON statements (extends) WHERE kind = 1 AND extends IS NOT NULL;
CREATE INDEX break_glass ON statements (at, id) WHERE kind = 1 AND break_glass = 1;

-- Who decided or ended which requests, in the order in which requests are listed.
CREATE TABLE spoke (
    person TEXT NOT NULL,
    at     INTEGER NOT NULL, -- of the request
    id     INTEGER NOT NULL, -- of the request
    PRIMARY KEY (person, at, id)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO spoke
SELECT said.by, request.at, request.id FROM statements AS said
CROSS JOIN statements AS request
    ON request.id = said.id AND request.kind = 1 AND request.digest = said.request
WHERE said.kind <> 1;

CREATE TABLE approvals (
    id      INTEGER NOT NULL,
    request BLOB NOT NULL,
    rule    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    wait    INTEGER NOT NULL, -- seconds
    PRIMARY KEY (id, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_rule ON approvals (rule, at, wait);
";

/// What is over is told by the bundle of then. Those that came before this version stand in the log,
/// which is taken over once more: what is here already stays as it is.
const VERSION_3: &str = "
CREATE TABLE bundles (
    seq        INTEGER PRIMARY KEY, -- which of those of one second came first
    digest     BLOB NOT NULL UNIQUE,
    since      INTEGER NOT NULL,
    statement  BLOB NOT NULL,
    signatures BLOB NOT NULL -- each behind its length, a big-endian u32
) STRICT;
DELETE FROM marks;
";

/// What hosts tell of their logins, with their signatures, and which requests it is about.
const VERSION_4: &str = "
CREATE TABLE reports (
    seq       INTEGER PRIMARY KEY,
    digest    BLOB NOT NULL UNIQUE,
    at        INTEGER NOT NULL, -- when it was taken in
    bytes     BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;

CREATE TABLE told (
    id  INTEGER NOT NULL, -- the number of the request's id
    seq INTEGER NOT NULL, -- the report
    PRIMARY KEY (id, seq)
) STRICT, WITHOUT ROWID;
";

/// Hosts that join by themselves, and the tokens by which they do.
const VERSION_5: &str = "
CREATE TABLE enrolments (
    seq       INTEGER PRIMARY KEY,
    digest    BLOB NOT NULL UNIQUE,
    at        INTEGER NOT NULL,
    bytes     BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE INDEX enrolments_by_time ON enrolments (at);
";

/// How every connection works.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Every commit is on the disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "full")?;
    // At most 8 MiB, taken under load only: each request touches another page of the index by id.
    connection.pragma_update(None, "cache_size", -8 * 1024)?;
    // 16 MiB between two checkpoints: pages written again and again are copied once.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Brings the tables to the version of this program.
pub(super) fn settle(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| Fault::from(error).of(file);
    let found: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
    let Some(missing) = usize::try_from(found).ok().and_then(|found| STEPS.get(found..)) else {
        return Err(StoreError::Failed(format!(
            "{}: the database is of version {found}, and this program knows up to {}: start the newer program, or restore a backup made before it ran",
            file.display(),
            STEPS.len()
        )));
    };
    if missing.is_empty() {
        return Ok(());
    }
    if found > 0 {
        tracing::info!(from = found, to = STEPS.len(), "bringing the database to a newer version");
    }
    migrate(connection, missing).map_err(fail)
}

/// Whether the tables are of this program's version.
pub(super) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(found == VERSION)
}

/// Takes all steps, or none.
fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

#[cfg(test)]
mod tests;
