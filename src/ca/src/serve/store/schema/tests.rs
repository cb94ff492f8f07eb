use jit_ssh_core::digest::Digest;
use jit_ssh_core::time::UnixTime;
use rusqlite::params;

use super::*;
use crate::serve::store::sqlite::SqliteStore;
use crate::serve::store::{ListQuery, Of, Store as _, id_number};

/// A database of version 1 with a request of alice that bob approved and alice took back.
fn version_1(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let request = Digest::of(b"r");
    let id = i64::try_from(id_number(request)).unwrap();
    // The approval came first: rows need not stand in the order of the life of a request.
    let rows = [(2, "d", "bob", None), (1, "r", "alice", Some("alice")), (3, "e", "alice", None)];
    for (kind, name, by, subject) in rows {
        let digest = Digest::of(name.as_bytes());
        connection
            .execute(
                "INSERT INTO statements
                 (id, kind, digest, request, by, subject, at, bytes, signature)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 10, ?7, x'00')",
                params![
                    id,
                    kind,
                    digest.0.as_slice(),
                    request.0.as_slice(),
                    by,
                    subject,
                    name.as_bytes()
                ],
            )
            .unwrap();
    }
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_to_this_version_with_all_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    version_1(&path);
    for _ in 0..2 {
        let store = SqliteStore::open(&path).unwrap();
        let chain = store.chain(Digest::of(b"r")).await.unwrap().unwrap();
        assert_eq!((chain.decisions.len(), chain.ends.len()), (1, 1));
        for (person, count) in [("alice", 1), ("bob", 1), ("carol", 0)] {
            let of = Of::Concerning(person.parse().unwrap());
            let query = ListQuery { of, since: Some(UnixTime(10)), after: None, limit: 10 };
            assert_eq!(store.list(query).await.unwrap().len(), count, "{person}");
        }
        assert!(store.unreviewed().await.unwrap().is_empty());
        store.close();
    }
}

#[test]
fn a_database_that_grew_old_has_the_same_tables_as_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let schema = |name: &str, old: bool| {
        let path = folder.path().join(name);
        if old {
            version_1(&path);
        }
        SqliteStore::open(&path).unwrap().close();
        let connection = Connection::open(&path).unwrap();
        let mut query =
            connection.prepare("SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY 1");
        let rows = query.as_mut().unwrap().query_map((), |row| row.get::<_, String>(0)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(schema("old.db", true), schema("new.db", false));
}

#[test]
fn a_step_that_fails_leaves_the_database_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    version_1(&path);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE approvals (x INTEGER)").unwrap();
    let error = SqliteStore::open(&path).err().unwrap().to_string();
    assert!(error.contains("test.db"), "{error}");
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    connection.execute_batch("DROP TABLE approvals").unwrap();
    assert!(SqliteStore::open(&path).is_ok());
}
