//! What a file from anywhere may do, and what a connection may.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::*;
use crate::Status;
use crate::sqlite::connection::{OpenMode, connect};

#[test]
fn a_connection_trusts_nothing_in_the_file() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    for role in [OpenMode::Create, OpenMode::Write, OpenMode::Read, OpenMode::Immutable] {
        let connection = connect(&Location::File(fixture.path()), role).unwrap();
        let is_on = |config| connection.db_config(config).unwrap();
        assert!(is_on(DbConfig::SQLITE_DBCONFIG_DEFENSIVE), "{role:?}");
        assert!(!is_on(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA), "{role:?}");
        assert!(!is_on(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER), "{role:?}");
        assert!(!is_on(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW), "{role:?}");
        // Nothing is put beside the database, or where the environment says.
        let temp_store: i64 =
            connection.query_row("PRAGMA temp_store", [], |row| row.get(0)).unwrap();
        assert_eq!(temp_store, 2, "{role:?}");
        let loads = connection.query_row("SELECT load_extension('none')", [], |_| Ok(()));
        let refusal = loads.unwrap_err().to_string();
        let is_refused = refusal.contains("no such function") || refusal.contains("not authorized");
        assert!(is_refused, "{role:?}: {refusal}");
    }
}

/// Does something to the file that the library would not.
fn tamper(fixture: &Fixture, sql: &str) {
    fixture.store.close();
    Connection::open(fixture.path()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_database_whose_header_somebody_has_written_is_theirs() {
    for pragma in ["user_version", "application_id"] {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("theirs.db");
        let ask = |sql: &str| -> i64 {
            Connection::open(&path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
        };
        Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA {pragma} = 7")).unwrap();
        let open = |adopt| {
            let options = Options { adopt, ..Options::default() };
            SqliteStore::open(Location::File(path.clone()), &options)
        };
        assert_eq!(open(false).err().unwrap().status, Status::UnsupportedFormat, "{pragma}");
        assert_eq!(ask("SELECT count(*) FROM sqlite_schema"), 0, "{pragma}");
        open(true).unwrap().close();
        assert_eq!(ask(&format!("PRAGMA {pragma}")), 7);
    }
}

#[test]
fn a_trigger_that_somebody_left_in_the_file_does_not_run() {
    let mut fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    tamper(
        &fixture,
        "CREATE TABLE seen (position);
         CREATE TRIGGER spy AFTER INSERT ON dcb_events BEGIN
             INSERT INTO seen VALUES (NEW.position);
         END;",
    );
    fixture.reopen();
    assert_eq!(append(&fixture.store, vec![event("B", &[])], None), Ok(2));
    fixture.store.close();
    let connection = Connection::open(fixture.path()).unwrap();
    let seen: i64 =
        connection.query_row("SELECT count(*) FROM seen", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 0);
}

#[test]
fn a_view_in_the_place_of_a_table_is_not_looked_through() {
    for table in ["dcb_events", "dcb_meta"] {
        let fixture = Fixture::new();
        append(&fixture.store, vec![event("A", &[])], None).unwrap();
        tamper(
            &fixture,
            &format!(
                "PRAGMA legacy_alter_table = ON;
                 ALTER TABLE {table} RENAME TO hidden;
                 CREATE VIEW {table} AS SELECT * FROM hidden;"
            ),
        );
        let opened = SqliteStore::open(Location::File(fixture.path()), &Options::default());
        let error = opened.and_then(|store| store.head(&CallOptions::default())).unwrap_err();
        let is_refused = matches!(error.status, Status::Corrupt | Status::UnsupportedFormat);
        assert!(is_refused, "{table}: {error:?}");
    }
}
