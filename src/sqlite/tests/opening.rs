//! Opening files as crashes, unfinished copies and other programs leave them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::domain::SequencedEvent;
use crate::position::at;
use crate::sqlite::events::checksum::checksums;
use crate::sqlite::events::write::insert;

#[test]
fn a_file_with_an_unfinished_first_transaction_is_empty() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database.close().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
    std::fs::write(folder.path().join("events.db-journal"), journal(0)).unwrap();

    let store = open(path);
    assert_eq!(append(&store, vec![event("T", &[])], None), Ok(1));
}

/// A power failure may leave any sectors of the first page, and a file that ends after the last of
/// them or has its full length.
#[test]
fn any_sectors_of_a_first_transaction_are_an_empty_file() {
    let folder = TempDir::new().unwrap();
    let whole = {
        let database = rusqlite::Connection::open(folder.path().join("whole.db")).unwrap();
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        database.close().unwrap();
        std::fs::read(folder.path().join("whole.db")).unwrap()
    };
    let mut sectors = vec![0];
    sectors.extend((0..8).map(|sector| 1_u8 << sector));
    sectors.extend((1..8).map(|count| (1_u8 << count) - 1));
    sectors.extend((1..8).map(|count| !0 << count));
    for (number, kept) in sectors.into_iter().enumerate() {
        let last = if kept == 0 { 8 } else { 8 - kept.leading_zeros() as usize };
        for len in [last * 512, 4096] {
            let mut bytes = vec![0; len];
            for sector in (0..last).filter(|sector| kept >> sector & 1 == 1) {
                let range = sector * 512..(sector + 1) * 512;
                bytes[range.clone()].copy_from_slice(&whole[range]);
            }
            let path = folder.path().join(format!("{number}-{len}.db"));
            std::fs::write(&path, &bytes).unwrap();
            std::fs::write(path.with_extension("db-journal"), journal(0)).unwrap();
            let read_only = Options { read_only: true, ..Options::default() };
            let refused = SqliteStore::open(Location::File(path.clone()), &read_only).unwrap_err();
            assert!(
                refused.message.contains("a database without a store"),
                "{kept:b} {len}: {refused}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            let store = open(path);
            assert_eq!(append(&store, vec![event("T", &[])], None), Ok(1), "{kept:b} {len}");
        }
    }
}

/// Returns the journal of a transaction on a file that had `pages_before` pages. Its header has the
/// magic number, no page records, a checksum seed, the size before, 512-byte sectors and
/// 4,096-byte pages.
fn journal(pages_before: u32) -> Vec<u8> {
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    for word in [0_u32, 1, pages_before, 512, 4096] {
        journal.extend(word.to_be_bytes());
    }
    journal.resize(512, 0);
    journal
}

/// If a sync fails while a store is created, the deletion of the journal may be lost although later
/// writes are kept. What remains is a store without an event that nobody has used, with a journal
/// that undoes it.
#[test]
fn an_unfinished_creation_of_a_store_is_undone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let beside = folder.path().join("events.db-journal");
    open(path.clone()).close();
    assert!(std::fs::metadata(&path).unwrap().len() > 8192);
    // The journal of a transaction on a file that was not empty belongs to another program.
    std::fs::write(&beside, journal(1)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = SqliteStore::open(Location::File(path.clone()), &Options::default());
    assert_eq!(refused.map(drop).unwrap_err().status, crate::Status::ReadOnly);
    assert_eq!((std::fs::read(&path).unwrap(), beside.exists()), (before, true));

    std::fs::write(&beside, journal(0)).unwrap();
    let store = open(path);
    assert_eq!(append(&store, vec![event("T", &[])], None), Ok(1));
}

/// Asserts that opening the file with each of `options` fails with an unsupported format and a
/// message that contains `what`, and changes no byte of the file or its journal.
fn assert_unsupported(path: &Path, options: &[Options], what: &str) {
    let beside = path.with_extension("db-journal");
    let before = (std::fs::read(path).unwrap(), std::fs::read(&beside).ok());
    for options in options {
        let error = SqliteStore::open(Location::File(path.to_owned()), options).unwrap_err();
        assert_eq!(error.status, crate::Status::UnsupportedFormat, "{options:?}: {error}");
        assert!(error.message.contains(what), "{error}");
        assert_eq!((std::fs::read(path).unwrap(), std::fs::read(&beside).ok()), before);
    }
}

/// All or some pages of a store are there, with a journal that says that the file was empty before.
/// Such a file is what an unfinished copy leaves, and must not be taken for a new store.
#[test]
fn an_unfinished_copy_is_rejected_and_not_changed() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("T", &[]); 300], None).unwrap();
    fixture.store.close();
    let bytes = std::fs::read(fixture.path()).unwrap();
    assert!(bytes.len() > 40_960);
    let path = fixture.folder.path().join("copy.db");
    std::fs::write(path.with_extension("db-journal"), journal(0)).unwrap();
    let [default, read_only, adopt] = [(); 3].map(|()| Options::default());
    let read_only = Options { read_only: true, ..read_only };
    let adopt = Options { adopt: true, ..adopt };
    let all = [default, read_only, adopt];
    for part in [bytes.clone(), bytes[..40_960].into(), bytes[..4_096].into()] {
        std::fs::write(&path, part).unwrap();
        assert_unsupported(&path, &all, "unfinished copy");
    }
    // SQLite writes the pages in any order, so the first page may be missing.
    std::fs::write(&path, [&vec![0; 4_096][..], &bytes[4_096..40_960]].concat()).unwrap();
    assert_unsupported(&path, &all, "unfinished copy");
    // An unfinished copy of another program's database.
    let other = rusqlite::Connection::open(fixture.folder.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE a (b); CREATE TABLE c (d)").unwrap();
    other.close().unwrap();
    std::fs::copy(fixture.folder.path().join("other.db"), &path).unwrap();
    assert_unsupported(&path, &all, "unfinished copy");
    // A truncated file is rejected without a journal too.
    std::fs::remove_file(path.with_extension("db-journal")).unwrap();
    for part in [&bytes[..40_960], &bytes[..4_096], &bytes[..1_000], &bytes[..1], &[0; 8_192]] {
        std::fs::write(&path, part).unwrap();
        for options in &all {
            let error = SqliteStore::open(Location::File(path.clone()), options).unwrap_err();
            let expected = [crate::Status::UnsupportedFormat, crate::Status::Corrupt];
            assert!(expected.contains(&error.status), "{options:?}: {error}");
            assert_eq!(std::fs::read(&path).unwrap(), part);
        }
    }
}

#[test]
fn an_unfinished_backup_by_sqlite_is_rejected() {
    let fixture = Fixture::new();
    let data = ["x".repeat(255)];
    for _ in 0..20 {
        append(&fixture.store, vec![event("T", &data); 300], None).unwrap();
    }
    let path = fixture.folder.path().join("copy.db");
    let source = rusqlite::Connection::open(fixture.path()).unwrap();
    let mut copy = rusqlite::Connection::open(&path).unwrap();
    copy.pragma_update(None, "cache_size", 10).unwrap();
    let backup = rusqlite::backup::Backup::new(&source, &mut copy).unwrap();
    assert_eq!(backup.step(100).unwrap(), rusqlite::backup::StepResult::More);
    // The files as they are at this moment, which is what a killed process leaves.
    let killed = fixture.folder.path().join("killed.db");
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(path.with_extension("db-journal"), killed.with_extension("db-journal")).unwrap();
    assert!(std::fs::metadata(&killed).unwrap().len() > 8_192);
    let read_only = Options { read_only: true, ..Options::default() };
    assert_unsupported(&killed, &[Options::default(), read_only], "unfinished copy");
}

/// Several pages without a table once held something: a program has dropped its tables, or a copy
/// has failed. So the database is not a new one.
#[test]
fn an_emptied_database_is_opened_only_to_adopt_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE a (b); DROP TABLE a").unwrap();
    database.close().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 4_096);
    assert_unsupported(&path, &[Options::default()], "adopt");
    let options = Options { adopt: true, ..Options::default() };
    let store = SqliteStore::open(Location::File(path), &options).unwrap();
    assert_eq!(append(&store, vec![event("T", &[])], None), Ok(1));
}

/// A partial checkpoint counts its pages as checkpointed before they are synced. If another program
/// fails to sync them later, those pages may never reach the disk. So opening the store checkpoints
/// the whole WAL again.
#[test]
fn pages_that_others_checkpointed_are_checkpointed_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let store = open(path.clone());
    append(&store, vec![event("T", &[])], None).unwrap();
    store.close();
    let [writer, reader] = [(); 2].map(|()| rusqlite::Connection::open(&path).unwrap());
    writer.execute_batch("CREATE TABLE mine (a); PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    let before = std::fs::read(&path).unwrap();

    let row = "x".repeat(10_000);
    writer.execute("INSERT INTO mine VALUES (?1)", [&row]).unwrap();
    reader.execute_batch("BEGIN; SELECT a FROM mine").unwrap();
    writer.execute("INSERT INTO mine VALUES (?1)", [&row]).unwrap();
    let (wal, done) = writer
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .unwrap();
    assert!(0 < done && done < wal, "{done} of {wal}");
    reader.execute_batch("ROLLBACK").unwrap();
    // Restores the database as it would be if none of the checkpointed pages had reached the disk.
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&before, 0).unwrap();
    file.set_len(before.len() as u64).unwrap();
    drop(file);

    let store = open(path.clone());
    let alone = folder.path().join("alone.db");
    std::fs::copy(&path, &alone).unwrap();
    let alone = rusqlite::Connection::open(alone).unwrap();
    let check: String = alone.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let rows: i64 =
        alone.query_row("SELECT sum(length(a)) FROM mine", [], |row| row.get(0)).unwrap();
    assert_eq!((check.as_str(), rows), ("ok", 20_000));
    assert_eq!(append(&store, vec![event("T", &[])], None), Ok(2));
    drop([writer, reader]);
}

/// A reader that began when the whole WAL was checkpointed reads only the database file, so opening
/// a store does not wait for it.
#[test]
fn a_reader_of_the_checkpointed_state_does_not_block_opening() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let store = open(path.clone());
    append(&store, vec![event("T", &[])], None).unwrap();
    store.close();
    let [writer, reader] = [(); 2].map(|()| rusqlite::Connection::open(&path).unwrap());
    writer.execute_batch("CREATE TABLE mine (a); PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    reader.execute_batch("BEGIN; SELECT a FROM mine").unwrap();
    let options = Options { busy_timeout_ms: 200, ..Options::default() };
    let store = SqliteStore::open(Location::File(path), &options).unwrap();
    assert_eq!(append(&store, vec![event("T", &[])], None), Ok(2));
    drop([writer, reader]);
}

/// Copies a store's database file and WAL, as a killed process would leave them.
fn copy(from: &Fixture, to: &Path) {
    for end in ["", "-wal"] {
        let name = |path: &Path| format!("{}{end}", path.display());
        std::fs::copy(name(&from.path()), name(to)).unwrap();
    }
}

#[test]
fn a_wal_of_another_store_or_an_older_one_is_rejected() {
    let [one, mut two] = [Fixture::new(), Fixture::new()];
    append(&one.store, vec![event("One", &[])], None).unwrap();
    append(&two.store, vec![event("Two", &[])], None).unwrap();
    let folder = TempDir::new().unwrap();
    let (foreign, old) = (folder.path().join("foreign.db"), folder.path().join("old.db"));
    copy(&one, &foreign);
    copy(&two, &old);
    two.reopen();
    append(&two.store, vec![event("Two", &[]); 3], None).unwrap();
    two.store.close();
    let bytes = std::fs::read(two.path()).unwrap();
    for other in [foreign, old] {
        let path = folder.path().join("mixed.db");
        std::fs::write(&path, &bytes).unwrap();
        let wal = std::fs::read(format!("{}-wal", other.display())).unwrap();
        std::fs::write(folder.path().join("mixed.db-wal"), &wal).unwrap();
        for read_only in [true, false] {
            let options = Options { read_only, ..Options::default() };
            let error = SqliteStore::open(Location::File(path.clone()), &options).unwrap_err();
            assert_eq!(error.status, crate::Status::Corrupt, "{error}");
            assert!(error.message.contains("log"), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(std::fs::read(folder.path().join("mixed.db-wal")).unwrap(), wal);
    }
}

#[test]
fn a_wal_without_its_database_is_rejected_not_deleted() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("T", &[])], None).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.db");
    copy(&fixture, &path);
    let wal = std::fs::read(folder.path().join("x.db-wal")).unwrap();
    let refused = || {
        let error =
            SqliteStore::open(Location::File(path.clone()), &Options::default()).unwrap_err();
        assert_eq!(error.status, crate::Status::Corrupt, "{error}");
        assert_eq!(std::fs::read(folder.path().join("x.db-wal")).unwrap(), wal);
    };
    std::fs::write(&path, "").unwrap();
    refused();
    std::fs::remove_file(&path).unwrap();
    refused();
}

#[test]
fn opening_waits_while_others_create_the_store() {
    for _ in 0..100 {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.db");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| open(path.clone()).close());
            }
        });
    }
}

fn read_only(path: PathBuf) -> SqliteStore {
    let options = Options { read_only: true, ..Options::default() };
    SqliteStore::open(Location::File(path), &options).unwrap()
}

/// A copy made by `VACUUM INTO` has no WAL until a writer opens it. A reader that was opened before
/// that must still make durable what it reads.
#[test]
fn a_reader_opened_without_a_wal_syncs_a_later_one() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let copy = fixture.folder.path().join("copy.db");
    let shell = rusqlite::Connection::open(fixture.path()).unwrap();
    shell.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let reader = read_only(copy.clone());
    let syncs = || reader.shared.commits.durability.tampering.count.load(SeqCst);
    assert_eq!(reader.head(&CallOptions::default()), Ok(at(1)));
    assert_eq!(syncs(), 1);
    let writer = open(copy);
    let stalled = writer.shared.commits.durability.tampering.stall.lock().unwrap();
    thread::scope(|scope| {
        let append = scope.spawn(|| append(&writer, vec![event("B", &[])], None));
        let seen = eventually(|| reader.head(&CallOptions::default()) == Ok(at(2)));
        assert!(seen);
        // The reader has synced event 2, since the writer's sync is still stalled.
        assert_eq!(syncs(), 2);
        drop(stalled);
        assert_eq!(append.join().unwrap(), Ok(2));
    });
    assert_eq!(all(&reader, Query::all()), [1, 2]);
    assert_eq!(syncs(), 2);
}

/// For instance, a damaged pointer to a page of another table leads to such a row.
#[test]
fn a_head_without_a_valid_event_is_reported_as_damage() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    let shell = rusqlite::Connection::open(fixture.path()).unwrap();
    let row = "INSERT INTO dcb_events VALUES (34359738368, 'A', '[]', '1', NULL, NULL, 0, 0)";
    shell.execute(row, []).unwrap();
    // Closes the connection, which removes the WAL. A file with a WAL is not opened as immutable.
    drop(shell);
    for options in [
        Options { immutable: true, ..Options::default() },
        Options { read_only: true, ..Options::default() },
        Options::default(),
    ] {
        let error = SqliteStore::open(Location::File(fixture.path()), &options).unwrap_err();
        assert_eq!(error.status, crate::Status::Corrupt, "{error}");
    }
}

#[test]
fn an_immutable_store_cannot_be_written() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    let options = Options { immutable: true, ..Options::default() };
    let store = SqliteStore::open(Location::File(fixture.path()), &options).unwrap();
    assert_eq!(all(&store, Query::all()), [1]);
    let error = append(&store, vec![event("A", &[])], None).unwrap_err();
    assert_eq!(error.status, crate::Status::ReadOnly, "{error}");
    let error = SqliteStore::open(Location::Memory, &options).unwrap_err();
    assert_eq!(error.status, crate::Status::InvalidArgument, "{error}");
}

/// If ROLLBACK runs out of memory too, the transaction stays open on its connection. The next use
/// of the connection must end it.
#[test]
fn a_leftover_transaction_is_rolled_back_before_a_read() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let deadline = CallOptions::default().start(None);
    // A transaction left on a reader would keep its old snapshot.
    let reader = read_only(fixture.path());
    reader
        .connections
        .lend(&deadline)
        .unwrap()
        .transaction(&deadline, |source, _, _| {
            source.own().unwrap().execute_batch("BEGIN; SELECT * FROM dcb_meta").unwrap();
            Ok(())
        })
        .unwrap();
    append(&fixture.store, vec![event("B", &[])], None).unwrap();
    assert_eq!(reader.head(&CallOptions::default()), Ok(at(2)));
    assert_eq!(all(&reader, Query::all()), [1, 2]);
    // A transaction left on the connection of an in-memory store would show an event that was never
    // committed, and conditions would fail because of it.
    let store = SqliteStore::open(Location::Memory, &Options::default()).unwrap();
    {
        let mut guard = store.connections.writer().unwrap().lock();
        let (connection, _) = guard.open().unwrap().parts();
        let lost = event("Lost", &[]);
        let checksums = checksums(std::slice::from_ref(&lost));
        let lost = SequencedEvent { position: at(1), timestamp_us: 0, event: lost };
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        insert(connection, [&lost.into()].into_iter().zip(&checksums)).unwrap();
    }
    assert!(all(&store, Query::all()).is_empty());
    let claim = || append(&store, vec![event("A", &[])], Some(query(&["A"], &[])));
    assert_eq!(claim(), Ok(1));
    assert_eq!(claim(), Err(Error::condition_failed(at(1))));
}

/// It must not keep SQLite's lock from other processes, even if this store appends nothing more.
#[test]
fn a_leftover_transaction_releases_its_lock_in_the_end() {
    let fixture = Fixture::new();
    {
        let mut guard = fixture.store.connections.writer().unwrap().lock();
        let (connection, _) = guard.open().unwrap().parts();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    }
    let other = open(fixture.path());
    assert_eq!(append(&other, vec![event("A", &[])], None), Ok(1));
}

/// Returns the error of opening the file, whose message must not be too long.
fn refusal(path: &Path, options: &Options) -> Error {
    let error = SqliteStore::open(Location::File(path.to_owned()), options).unwrap_err();
    assert!(error.message.len() < 240, "{error}");
    error
}

/// Each error has the code of the operating system or of SQLite, the end of the path, and what is
/// wrong.
#[test]
fn a_failure_to_open_names_the_path_and_the_cause() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [existing, read_only] = [
        Options { create: false, ..Options::default() },
        Options { read_only: true, ..Options::default() },
    ];
    std::fs::write(at("text.db"), "this is no database, but a text of some length").unwrap();
    rusqlite::Connection::open(at("theirs.db"))
        .unwrap()
        .execute_batch("CREATE TABLE a (b)")
        .unwrap();
    let pipe = std::ffi::CString::new(at("pipe").to_str().unwrap()).unwrap();
    // SAFETY: the path is terminated.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let deep = (0..30).fold(folder.path().to_owned(), |path, _| path.join("d".repeat(20)));
    std::fs::create_dir_all(&deep).unwrap();
    let not_a_database = rusqlite::ffi::SQLITE_NOTADB;
    for (path, detail, expected) in [
        (folder.path().to_owned(), libc::EISDIR, "a folder"),
        (at("pipe"), libc::EINVAL, "a pipe"),
        (at("none/events.db"), libc::ENOENT, "folder does not exist"),
        (at("text.db/events.db"), libc::ENOTDIR, "Not a directory"),
        (deep.join("events.db"), libc::ENAMETOOLONG, "504"),
        (at(&"n".repeat(250)), libc::ENAMETOOLONG, "247"),
        (at("text.db"), not_a_database, "not a database"),
        (at("theirs.db"), 0, "adopt"),
    ] {
        for options in [&Options::default(), &existing, &read_only] {
            let error = refusal(&path, options);
            assert_eq!(error.detail, detail, "{error}");
            let (place, message) = error.message.split_once(": ").unwrap();
            assert!(message.contains(expected), "{error}");
            let end = path.to_str().unwrap();
            assert!(place.len() >= 40 || place == end, "{place}");
            assert!(place.ends_with(&end[end.len() - 9..]), "{place}");
        }
    }
    for options in [&existing, &read_only] {
        let error = refusal(&at("none.db"), options);
        assert_eq!((error.status, error.detail), (crate::Status::Io, libc::ENOENT), "{error}");
        assert!(error.message.starts_with(at("none.db").to_str().unwrap()), "{error}");
        assert!(error.message.contains("No such file"), "{error}");
    }
}

/// The environment variables that tell a child process the file, and what it is to do.
const CHILD: [&str; 2] = ["DCB_TEST_OPENING_FILE", "DCB_TEST_OPENING_PART"];

/// Runs in the child processes of the tests below. As a test of its own it does nothing.
#[test]
fn child() {
    let [Ok(path), Ok(part)] = CHILD.map(std::env::var) else { return };
    let mut files = Vec::new();
    if part == "no descriptors" {
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
    }
    let read_only = part == "read";
    let options = Options { read_only, ..Options::default() };
    match SqliteStore::open(Location::File(path.into()), &options) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{} {error}", error.detail),
    }
}

/// Runs [`child`] in a process of this user; returns what it prints.
fn run_child(path: &Path, part: &str, user: u32) -> String {
    use std::os::unix::process::CommandExt;
    let output = std::process::Command::new("/proc/self/exe")
        .args(["--exact", "sqlite::tests::opening::child", "--nocapture"])
        .env(CHILD[0], path)
        .env(CHILD[1], part)
        .uid(user)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_lack_of_file_descriptors_is_reported() {
    let fixture = Fixture::new();
    // SAFETY: the call has no arguments and cannot fail.
    let own = unsafe { libc::geteuid() };
    let output = run_child(&fixture.path(), "no descriptors", own);
    assert!(output.contains("EMFILE") && output.contains("events.db: "), "{output}");
}

#[test]
fn a_folder_that_cannot_be_written_is_reported() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let fixture = Fixture::new();
    fixture.store.close();
    std::fs::set_permissions(fixture.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    if chown(fixture.path(), Some(40_001), None).is_err() {
        eprintln!("skipped: this user cannot act as another");
        return;
    }
    let output = run_child(&fixture.path(), "append", 40_001);
    assert!(output.contains("its folder cannot be written (Permission denied"), "{output}");
    assert!(output.contains("events.db: "), "{output}");
    let output = run_child(&fixture.path(), "read", 40_001);
    assert!(output.contains("events.db: ") && output.contains("immutable"), "{output}");
    let output = run_child(&fixture.folder.path().join("new.db"), "append", 40_001);
    assert!(output.contains("its folder cannot be written (Permission denied"), "{output}");
}
