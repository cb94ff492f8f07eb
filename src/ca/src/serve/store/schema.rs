//! The tables, and the version they are of.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;
use super::fault::Fault;

/// The version this program writes.
const VERSION: i64 = 1;

/// `id` is the number of the request's id, so that one index finds a whole chain; statements and
/// certificates are only ever added, so that everything but this index grows at its end.
const TABLES: &str = "
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

/// Makes the tables, or checks that they are of this version.
pub(super) fn settle(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| Fault::from(error).of(file);
    let found: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
    match found {
        0 => create(connection).map_err(fail),
        VERSION => Ok(()),
        newer => Err(StoreError::Failed(format!(
            "{}: the database is of version {newer}, and this program knows up to {VERSION}: start the newer program, or restore a backup made before it ran",
            file.display()
        ))),
    }
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
