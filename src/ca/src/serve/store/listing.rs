//! Requests page by page, newest first: by when they were made, then by id. Each page is found by
//! walking an index from where the page before ended, so it takes as long with a million requests
//! as with ten.

use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::ActorId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::fault::Fault;
use super::sqlite::{digest, unsigned};
use super::writer::bits;
use super::{ListQuery, Of, id_number};

/// All requests.
const ALL: &str = "SELECT digest, seq, at, id FROM statements
    WHERE kind = 1 AND (at, id) < (?1, ?2) AND at >= ?3
    ORDER BY at DESC, id DESC LIMIT ?4";
/// Those that somebody is the subject of.
const BY_SUBJECT: &str = "SELECT digest, seq, at, id FROM statements
    WHERE kind = 1 AND subject = ?5 AND (at, id) < (?1, ?2) AND at >= ?3
    ORDER BY at DESC, id DESC LIMIT ?4";
/// Those that somebody made for another.
const BY_OTHER: &str = "SELECT digest, seq, at, id FROM statements
    WHERE kind = 1 AND by = ?5 AND by <> subject AND (at, id) < (?1, ?2) AND at >= ?3
    ORDER BY at DESC, id DESC LIMIT ?4";
/// Those that somebody decided or ended.
const SPOKEN_OF: &str = "SELECT digest, seq, spoke.at, spoke.id FROM spoke
    CROSS JOIN statements ON statements.id = spoke.id AND statements.at = spoke.at AND kind = 1
    WHERE person = ?5 AND (spoke.at, spoke.id) < (?1, ?2) AND spoke.at >= ?3
    ORDER BY spoke.at DESC, spoke.id DESC LIMIT ?4";

/// A request's place among all: later is newer.
type Place = (u64, u64, Digest);

/// One page.
pub(super) fn list(connection: &Connection, query: &ListQuery) -> Result<Vec<Digest>, Fault> {
    let Some(before) = place(connection, query.after)? else { return Ok(Vec::new()) };
    let walk = |sql: &str, person: Option<&ActorId>| -> Result<Vec<Place>, Fault> {
        let since = bits(query.since.map_or(0, |since| since.0));
        let mut statement = connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| -> Result<Place, Fault> {
            Ok((unsigned(row, 2)?, unsigned(row, 3)?, digest(row)?))
        };
        let (at, id) = before;
        match person {
            None => statement.query_and_then(params![at, id, since, query.limit], read)?.collect(),
            Some(person) => {
                let params = params![at, id, since, query.limit, person.as_str()];
                statement.query_and_then(params, read)?.collect()
            }
        }
    };
    let mut found = match &query.of {
        Of::Everyone => walk(ALL, None)?,
        Of::Own(person) => {
            let mut found = walk(BY_SUBJECT, Some(person))?;
            found.extend(walk(BY_OTHER, Some(person))?);
            found
        }
        Of::Concerning(person) => {
            let mut found = walk(BY_SUBJECT, Some(person))?;
            found.extend(walk(BY_OTHER, Some(person))?);
            found.extend(walk(SPOKEN_OF, Some(person))?);
            found
        }
    };
    // Each walk is ordered and holds what its share of the page can be.
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.dedup();
    found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_, _, digest)| digest).collect())
}

/// The place before which a page begins; `None` if the request named is unknown.
fn place(connection: &Connection, after: Option<Digest>) -> Result<Option<(i64, i64)>, Fault> {
    let Some(after) = after else { return Ok(Some((i64::MAX, i64::MAX))) };
    let find = "SELECT at FROM statements WHERE id = ?1 AND digest = ?2 AND kind = 1";
    let id = bits(id_number(after));
    let at = connection
        .prepare_cached(find)?
        .query_row(params![id, after.0.as_slice()], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(at.map(|at| (at, id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::store::sqlite::SqliteStore;

    #[test]
    fn every_walk_goes_along_an_index_and_sorts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        drop(SqliteStore::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        for (walk, index) in [
            (ALL, "requests_by_time"),
            (BY_SUBJECT, "requests_by_subject"),
            (BY_OTHER, "requests_by_other"),
            (SPOKEN_OF, "PRIMARY KEY"),
        ] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {walk}")).unwrap();
            let count = plan.parameter_count();
            let steps =
                plan.query_map(rusqlite::params_from_iter(vec![1; count]), |row| row.get(3));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            let steps = steps.join("; ");
            assert!(
                steps.contains(&format!("USING INDEX {index}"))
                    || steps.contains(&format!("USING {index}")),
                "{steps}"
            );
            assert!(!steps.contains("SCAN") && !steps.contains("B-TREE"), "{steps}");
        }
        let plan = "EXPLAIN QUERY PLAN SELECT 1 FROM statements ORDER BY bytes";
        let steps: String = connection.query_row(plan, (), |row| row.get(3)).unwrap();
        assert!(steps.contains("SCAN"), "the test must be able to fail: {steps}");
    }
}
