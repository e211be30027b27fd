//! Untrusted database files, and files that belong to other users.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::*;
use crate::Status;
use crate::sqlite::connection::{OpenMode, connect};

#[test]
fn connections_do_not_trust_the_schema_of_the_file() {
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
        // Temporary tables are in memory, so no file is created beside the database or in a folder
        // that the environment names.
        let temp_store: i64 =
            connection.query_row("PRAGMA temp_store", [], |row| row.get(0)).unwrap();
        assert_eq!(temp_store, 2, "{role:?}");
        let loads = connection.query_row("SELECT load_extension('none')", [], |_| Ok(()));
        let refusal = loads.unwrap_err().to_string();
        let is_refused = refusal.contains("no such function") || refusal.contains("not authorized");
        assert!(is_refused, "{role:?}: {refusal}");
    }
}

/// Closes the store and runs `sql` on its file with plain SQLite.
fn tamper(fixture: &Fixture, sql: &str) {
    fixture.store.close();
    Connection::open(fixture.path()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_database_with_a_header_of_others_must_be_adopted() {
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
fn triggers_in_the_file_do_not_run() {
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
fn a_view_in_place_of_a_table_is_rejected() {
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

/// The environment variables that tell a child process the file, and what to do with it.
const CHILD: [&str; 2] = ["DCB_TEST_RIGHTS_FILE", "DCB_TEST_RIGHTS_PART"];
const OWNER: u32 = 40_001;
const OTHER: u32 = 40_002;

/// Runs a part of [`child`] in a process of `user`; returns what it prints.
fn run_as(user: u32, path: &Path, part: &str) -> String {
    use std::os::unix::process::CommandExt;
    let output = std::process::Command::new("/proc/self/exe")
        .args(["--exact", "sqlite::tests::rights::child", "--nocapture"])
        .env(CHILD[0], path)
        .env(CHILD[1], part)
        .uid(user)
        .gid(user)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs in the child processes of the tests below. As a test of its own it does nothing.
#[test]
fn child() {
    let [Ok(path), Ok(part)] = CHILD.map(std::env::var) else { return };
    let options = Options { read_only: part != "append", ..Options::default() };
    match SqliteStore::open(Location::File(path.into()), &options) {
        Ok(store) if part == "append" => {
            println!("{:?}", append(&store, vec![event("A", &[])], None));
        }
        Ok(store) => {
            println!("{:?}", all(&store, Query::all()));
            if part == "read and die" {
                std::process::exit(0);
            }
        }
        Err(error) => println!("{} {error}", error.detail),
    }
}

/// Creates a folder that everybody may write, with a store in it that belongs to [`OWNER`]. Returns
/// `None` if this user may not give files to others.
fn store_of_owner() -> Option<(tempfile::TempDir, PathBuf)> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = folder.path().join("events.db");
    append(&open(path.clone()), vec![event("A", &[])], None).unwrap();
    if std::os::unix::fs::chown(&path, Some(OWNER), Some(OWNER)).is_err() {
        eprintln!("skipped: this user cannot act as another");
        return None;
    }
    Some((folder, path))
}

#[test]
fn a_reader_of_another_user_does_not_lock_the_owner_out() {
    let Some((_folder, path)) = store_of_owner() else { return };
    for (part, last) in [("read", 2), ("read and die", 3)] {
        let read = run_as(OTHER, &path, part);
        let events: Vec<i64> = (1..last).collect();
        // Without access control lists the reader is rejected, with the owner in the message.
        let is_right = read.contains(&format!("{events:?}")) || read.contains("to user 40001");
        assert!(is_right, "{read}");
        let appended = run_as(OWNER, &path, "append");
        assert!(appended.contains(&format!("Ok({last})")), "{part}: {appended}");
    }
    // The same holds for a reader that is root.
    all(&read_only(&path), Query::all());
    assert!(run_as(OWNER, &path, "append").contains("Ok(4)"));
}

fn read_only(path: &Path) -> SqliteStore {
    let options = Options { read_only: true, ..Options::default() };
    SqliteStore::open(Location::File(path.to_owned()), &options).unwrap()
}

/// Sets the access control list of a file. An entry has its kind, its user or group, and its
/// permissions.
#[cfg(target_os = "linux")]
fn set_access_list(path: &Path, entries: &[(u16, u32, u16)]) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (kind, id, permissions) in entries {
        list.extend(kind.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = c"system.posix_acl_access";
    // SAFETY: both strings are terminated, and the list is as long as it says.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), list.as_ptr().cast(), list.len(), 0)
    };
    if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// If the database has an access control list, its mode shows the mask and not the permissions of the
/// group. So the mode alone is not enough for the files that a reader creates.
#[test]
#[cfg(target_os = "linux")]
fn files_that_a_reader_creates_have_the_access_list_of_the_database() {
    use std::os::unix::process::CommandExt;
    const WRITER: u32 = 40_003;
    const STRANGER: u32 = 40_004;
    const NONE: u32 = u32::MAX;
    for group_may in [0, 6] {
        let Some((_folder, path)) = store_of_owner() else { return };
        let list = [
            (0x01, NONE, 6),
            (0x02, OTHER, 4),
            (0x02, WRITER, 6),
            (0x04, NONE, group_may),
            (0x10, NONE, 6),
            (0x20, NONE, 0),
        ];
        if let Err(error) = set_access_list(&path, &list) {
            eprintln!("SKIPPED: no access control lists here: {error}");
            return;
        }
        assert!(run_as(OTHER, &path, "read and die").contains("[1]"));
        for end in ["", "-wal", "-shm"] {
            let file = path.with_file_name(format!("events.db{end}"));
            let can_read = |user, group| {
                let mut cat = std::process::Command::new("cat");
                cat.arg(&file).uid(user).gid(group).output().unwrap().status.success()
            };
            assert!(can_read(OWNER, OWNER) && can_read(WRITER, WRITER), "{end}");
            assert_eq!(can_read(STRANGER, OWNER), group_may != 0, "{end}: in the owner's group");
            assert!(!can_read(STRANGER, OTHER), "{end}: in the reader's group");
            assert!(!can_read(STRANGER, STRANGER), "{end}");
        }
        assert!(run_as(WRITER, &path, "append").contains("Ok(2)"));
        assert!(run_as(OWNER, &path, "append").contains("Ok(3)"));
    }
}

/// In a folder with the sticky bit, Linux does not let the owner open files that others have
/// created, so the reader must not create any.
#[test]
fn a_reader_that_would_lock_the_owner_out_is_rejected() {
    use std::os::unix::fs::PermissionsExt;
    let Some((folder, path)) = store_of_owner() else { return };
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let refused = run_as(OTHER, &path, "read");
    assert!(refused.contains("belongs to user 40001"), "{refused}");
    assert!(refused.contains("events.db") && refused.contains("immutable"), "{refused}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(run_as(OWNER, &path, "append").contains("Ok(2)"));
    // While the store is open in another process, the reader can use the files that are there.
    let store = open(path.clone());
    assert!(run_as(OTHER, &path, "read").contains("[1, 2]"));
    drop(store);
}

/// Where a reader of another user can create nothing beside the file, the message says what helps.
#[test]
fn a_reader_that_can_create_no_log_is_told_of_immutable() {
    use std::os::unix::fs::PermissionsExt;
    let Some((folder, path)) = store_of_owner() else { return };
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let refused = run_as(OTHER, &path, "read");
    assert!(refused.contains("neither exists nor can be made"), "{refused}");
    assert!(refused.contains("events.db") && refused.contains("immutable"), "{refused}");
}

#[test]
fn an_unusable_wal_or_shm_file_is_reported_with_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let Some((folder, path)) = store_of_owner() else { return };
    for end in ["-wal", "-shm"] {
        let beside = folder.path().join(format!("events.db{end}"));
        std::fs::write(&beside, "").unwrap();
        std::os::unix::fs::chown(&beside, Some(OTHER), Some(OTHER)).unwrap();
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o644)).unwrap();
        let refused = run_as(OWNER, &path, "append");
        let expected = format!("the file with the ending {end}, which belongs to user {OTHER}");
        assert!(refused.contains(&expected) && refused.contains("events.db: "), "{refused}");
        std::fs::remove_file(&beside).unwrap();
        for leftover in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("events.db{leftover}")));
        }
    }
}
