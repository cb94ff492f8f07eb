//! What can be wrong with the database, by file, table and row.

use std::fmt::Display;
use std::path::Path;

use rusqlite::ErrorCode;

use super::StoreError;

/// Why a query failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What the database says.
    Sql(rusqlite::Error),
    /// A row does not hold what it must.
    Row {
        table: &'static str,
        /// Which, by its key.
        row: String,
        error: rusqlite::Error,
    },
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sql(error)
    }
}

/// The fault of a value in this row.
pub(super) fn in_row(
    table: &'static str,
    row: impl Display,
) -> impl FnOnce(rusqlite::Error) -> Fault {
    move |error| Fault::Row { table, row: row.to_string(), error }
}

impl Fault {
    /// The same as an error of the store in this file.
    pub(super) fn of(&self, file: &Path) -> StoreError {
        let file = file.display();
        match self {
            Fault::Sql(error) => {
                let message = format!("{file}: {error}");
                let code = error.sqlite_error_code();
                match code {
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                        StoreError::Damaged(message)
                    }
                    _ => StoreError::Failed(message),
                }
            }
            Fault::Row { table, row, error } => StoreError::Damaged(format!(
                "{file}: table {table}, row {row} does not hold what it must: {error}"
            )),
        }
    }
}
