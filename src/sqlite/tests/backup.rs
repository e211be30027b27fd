//! Backups of a store in use: a copy is complete and of one snapshot, or is not created at all.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::commit::deadline::CancelToken;
use crate::position::{Position, at};
use crate::sqlite::events::row::to_owned;
use crate::sqlite::wal::file_ops::beside;
use crate::store::BackupProgress;
use crate::{Status, open as open_uri};

fn back_up(store: &dyn Store, path: &Path) -> Result<i64> {
    store.backup(path, &CallOptions::default(), &mut |_| Ok(())).map(Position::get)
}

/// Returns the first `limit` events of the store, each with its position and timestamp.
fn events(store: &dyn Store, limit: u64) -> Vec<(i64, i64, Event)> {
    let request = ReadRequest::new(Query::all(), at(0), None, Some(limit), Direction::Forward);
    let mut reading = ReadState::new(request);
    let mut events = Vec::new();
    while !reading.has_begun() || reading.span().is_some() {
        let batch = BatchLimits { max_events: 1_000, max_bytes: usize::MAX };
        store
            .read(&mut reading, batch, &CallOptions::default(), &mut |view: &EventView<'_>| {
                let event = to_owned(view)?;
                events.push((event.position.get(), event.timestamp_us, event.event.clone()));
                Ok(())
            })
            .unwrap();
    }
    events
}

/// Appends ten events of some 200 bytes, `appends` times.
fn fill(store: &SqliteStore, appends: usize) {
    for number in 0..appends {
        let tags = [format!("n:{number}"), "x".repeat(200)];
        append(store, vec![event("A", &tags); 10], None).unwrap();
    }
}

/// Returns the names of the files in `folder`, in order.
fn file_names(folder: &Path) -> Vec<String> {
    let mut file_names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    file_names.sort();
    file_names
}

/// Asserts that the copy is a single file with exactly the first `head` events of `store`, and that
/// it stays so however it is opened.
fn assert_copied(store: &dyn Store, path: &Path, head: i64) {
    let expected = events(store, head as u64);
    assert_eq!(expected.len() as i64, head);
    let [default, read_only, immutable] = [(); 3].map(|()| Options::default());
    for options in [
        Options { read_only: true, immutable: true, ..immutable },
        Options { read_only: true, ..read_only },
        Options { create: false, ..default },
    ] {
        let copy = SqliteStore::open(Location::File(path.to_owned()), &options).unwrap();
        assert!(events(&copy, u64::MAX) == expected, "{options:?}");
        assert_eq!(copy.head(&CallOptions::default()), Ok(at(head)));
        copy.close();
        for end in ["-wal", "-shm", "-journal"] {
            let left = beside(path, end).exists();
            assert!(!left, "{end}, {options:?}");
        }
    }
    let shell = rusqlite::Connection::open(path).unwrap();
    let integer = |sql| shell.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(integer("PRAGMA application_id"), 0x6463_6231);
    assert_eq!(integer("PRAGMA user_version"), crate::sqlite::FORMAT);
    let check: String = shell.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn a_copy_is_an_independent_store_with_all_events() {
    let fixture = Fixture::new();
    let folder = TempDir::new().unwrap();
    let path = |n: i64| folder.path().join(format!("{n}.db"));
    assert_eq!(back_up(&*fixture.store, &path(0)), Ok(0));
    assert_copied(&*fixture.store, &path(0), 0);
    fill(&fixture.store, 30);
    assert_eq!(back_up(&*fixture.store, &path(300)), Ok(300));
    fill(&fixture.store, 1);
    assert_copied(&*fixture.store, &path(300), 300);
    // Appends to the copy do not reach the store, nor the other way round.
    let copy = open(path(300));
    assert_eq!(append(&copy, vec![event("B", &[])], None), Ok(301));
    assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(310)));
    copy.close();
    assert_eq!(file_names(folder.path()), ["0.db", "300.db"]);
}

#[test]
fn a_copy_is_in_rollback_mode_so_that_reads_do_not_change_it() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("copy.db");
    fill(&fixture.store, 3);
    assert_eq!(back_up(&*fixture.store, &path), Ok(30));
    let before = std::fs::read(&path).unwrap();
    let shell = rusqlite::Connection::open(&path).unwrap();
    let mode: String = shell.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    let options = Options { read_only: true, ..Options::default() };
    let copy = SqliteStore::open(Location::File(path.clone()), &options).unwrap();
    assert_eq!(events(&copy, u64::MAX).len(), 30);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Between two steps, this store and a second one commit, checkpoint, and reset the WAL if they can.
#[test]
fn a_copy_is_one_snapshot_despite_commits_between_its_steps() {
    let fixture = Fixture::new();
    fill(&fixture.store, 40);
    let other = open(fixture.path());
    let path = fixture.folder.path().join("copy.db");
    let mut seen: Vec<BackupProgress> = Vec::new();
    let copied = fixture.store.backup(&path, &CallOptions::default(), &mut |now| {
        seen.push(now);
        fill(if seen.len().is_multiple_of(2) { &other } else { &fixture.store }, 1);
        Ok(())
    });
    assert_eq!(copied, Ok(at(400)));
    assert_copied(&*other, &path, 400);
    // The copy never starts over, and has as many pages as the store had when the copy began.
    let total = seen[0].total_pages;
    assert!(seen.len() > 5, "{seen:?}");
    assert!(seen.iter().all(|now| now.total_pages == total));
    assert!(seen.is_sorted_by_key(|now| now.done_pages));
    assert_eq!(seen.last().unwrap().done_pages, total);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), total as u64 * 4_096);
    assert_eq!(other.head(&CallOptions::default()), Ok(at(400 + 10 * seen.len() as i64)));
}

#[test]
fn copies_made_while_threads_append_are_prefixes() {
    let fixture = Fixture::new();
    let ended = AtomicBool::new(false);
    let heads: Vec<i64> = thread::scope(|scope| {
        let _ends = Ends(&ended);
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(SeqCst) {
                    fill(&fixture.store, 1);
                }
            });
        }
        let mut last = -1;
        let copies = (0..8).map(|number| {
            let head = || fixture.store.head(&CallOptions::default()).unwrap().get();
            assert!(eventually(|| head() > last), "no thread appends");
            let path = fixture.folder.path().join(format!("{number}.db"));
            last = back_up(&*fixture.store, &path).unwrap();
            last
        });
        copies.collect()
    });
    assert!(heads.windows(2).all(|pair| pair[0] < pair[1]), "{heads:?}");
    for (number, head) in heads.into_iter().enumerate() {
        let path = fixture.folder.path().join(format!("{number}.db"));
        assert_copied(&*fixture.store, &path, head);
    }
}

#[test]
fn a_copy_that_is_stopped_or_fails_leaves_no_file() {
    let fixture = Fixture::new();
    fill(&fixture.store, 40);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("copy.db");
    let attempt = |call: &CallOptions, at_step: &dyn Fn(i64) -> Result<()>| {
        let steps = Cell::new(0);
        let copied = fixture.store.backup(&path, call, &mut |_| {
            assert_eq!(file_names(folder.path()).len(), 1);
            steps.set(steps.get() + 1);
            at_step(steps.get())
        });
        let left = file_names(folder.path());
        assert!(left.is_empty(), "{left:?}");
        (copied.unwrap_err().status, steps.get())
    };
    let cancel = CancelToken::new();
    let call = CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) };
    let cancel_at_third = |step| {
        if step == 3 {
            cancel.trigger();
        }
        Ok(())
    };
    assert_eq!(attempt(&call, &cancel_at_third), (Status::Cancelled, 3));
    assert_eq!(attempt(&call, &|_| Ok(())), (Status::Cancelled, 0));
    let limit = Duration::from_millis(500);
    let call = CallOptions { timeout: Timeout::After(limit), cancel: None };
    let (status, steps) = attempt(&call, &|step| {
        if step == 2 {
            thread::sleep(limit);
        }
        Ok(())
    });
    assert_eq!((status, steps), (Status::Timeout, 2));
    let fail_at_fourth =
        |step| if step < 4 { Ok(()) } else { Err(Error::new(Status::Full, "on purpose")) };
    assert_eq!(attempt(&CallOptions::default(), &fail_at_fourth), (Status::Full, 4));
    let (status, _) = attempt(&CallOptions::default(), &|_| {
        fixture.store.shared.commits.watch.close();
        Ok(())
    });
    assert_eq!(status, Status::Closed);
    assert_eq!(attempt(&CallOptions::default(), &|_| Ok(())), (Status::Closed, 0));
}

/// The check of a finished copy reads all its pages, so it takes about as long as the copying did.
#[test]
fn the_check_of_a_copy_can_be_cancelled() {
    let fixture = Fixture::new();
    fill(&fixture.store, 400);
    let folder = TempDir::new().unwrap();
    let cancel = CancelToken::new();
    let call = CallOptions { timeout: Timeout::Never, cancel: Some(cancel.clone()) };
    let copied = fixture.store.backup(&folder.path().join("copy.db"), &call, &mut |now| {
        if now.done_pages == now.total_pages {
            // On another thread, so that this can happen before the check begins or during it.
            let cancel = cancel.clone();
            thread::spawn(move || cancel.trigger());
        }
        Ok(())
    });
    assert_eq!(copied.unwrap_err().status, Status::Cancelled);
    assert!(file_names(folder.path()).is_empty());
}

#[test]
fn a_copy_never_replaces_an_existing_file() {
    let fixture = Fixture::new();
    fill(&fixture.store, 10);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("copy.db");
    let refused = |what: &str| {
        let error = back_up(&*fixture.store, &path).unwrap_err();
        assert_eq!((error.status, error.detail), (Status::InvalidArgument, libc::EEXIST));
        assert!(error.message.contains(what), "{error}");
    };
    std::fs::write(&path, "mine").unwrap();
    refused("a file already");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    refused("a file already");
    std::fs::remove_file(&path).unwrap();
    for end in ["-wal", "-shm", "-journal"] {
        let beside = folder.path().join(format!("copy.db{end}"));
        std::fs::write(&beside, "").unwrap();
        refused(end);
        std::fs::remove_file(&beside).unwrap();
    }
    // Another program creates the file while the copy is made.
    let copied = fixture.store.backup(&path, &CallOptions::default(), &mut |_| {
        std::fs::write(&path, "theirs").unwrap();
        Ok(())
    });
    assert_eq!(copied.unwrap_err().detail, libc::EEXIST);
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    assert_eq!(file_names(folder.path()), ["copy.db"]);
    // A backup to the path of the store itself is rejected too.
    assert_eq!(back_up(&*fixture.store, &fixture.path()).unwrap_err().detail, libc::EEXIST);
}

#[test]
fn an_invalid_path_for_a_copy_is_rejected() {
    let fixture = Fixture::new();
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (path, status) in [
        (PathBuf::new(), Status::InvalidArgument),
        (PathBuf::from("/"), Status::InvalidArgument),
        (at("a/"), Status::InvalidArgument),
        (at("a\0b"), Status::InvalidArgument),
        (at(".."), Status::InvalidArgument),
        (at(&"n".repeat(248)), Status::Io),
        (at("none/copy.db"), Status::Io),
    ] {
        let error = back_up(&*fixture.store, &path).unwrap_err();
        assert_eq!(error.status, status, "{path:?}: {error}");
        assert!(error.message.starts_with("path: "), "{error}");
    }
    assert!(file_names(folder.path()).is_empty());
    assert_eq!(back_up(&*fixture.store, &at(&"n".repeat(247))), Ok(0));
}

/// A killed process leaves a file with a temporary name. A later backup skips such names and does
/// not touch the files.
#[test]
fn remains_of_a_killed_copy_do_not_prevent_another() {
    let fixture = Fixture::new();
    let folder = TempDir::new().unwrap();
    let steps = Cell::new(0);
    let temporary_name = Cell::new(String::new());
    let copy = |name: &str| {
        fixture.store.backup(&folder.path().join(name), &CallOptions::default(), &mut |_| {
            let hidden =
                file_names(folder.path()).into_iter().find(|name| name.starts_with(".dcb"));
            temporary_name.set(hidden.unwrap());
            steps.set(steps.get() + 1);
            Ok(())
        })
    };
    copy("a.db").unwrap();
    let name = temporary_name.take();
    let (prefix, number) = name.rsplit_once('-').unwrap();
    assert_eq!(prefix, format!(".dcb-backup-{}", std::process::id()));
    let number: u64 = number.parse().unwrap();
    let left: Vec<String> = (1..100).map(|next| format!("{prefix}-{}", number + next)).collect();
    for name in &left {
        std::fs::write(folder.path().join(name), "left").unwrap();
    }
    copy("b.db").unwrap();
    assert!(steps.get() >= 2);
    for name in &left {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"left");
    }
}

#[test]
fn only_users_who_can_read_the_store_can_read_a_copy() {
    let fixture = Fixture::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (of_store, of_copy) in [(0o600, 0o600), (0o400, 0o600), (0o640, 0o640)] {
        let mode_of = std::fs::Permissions::from_mode(of_store);
        std::fs::set_permissions(fixture.path(), mode_of).unwrap();
        let path = fixture.folder.path().join(format!("{of_store:o}.db"));
        back_up(&*fixture.store, &path).unwrap();
        // The umask may clear more bits.
        assert_eq!(mode(&path) & !of_copy, 0, "{of_store:o}: {:o}", mode(&path));
    }
}

#[test]
fn read_only_and_in_memory_stores_are_copied() {
    let fixture = Fixture::new();
    fill(&fixture.store, 10);
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let open_with = |options| SqliteStore::open(Location::File(fixture.path()), &options).unwrap();
    let reader = open_with(Options { read_only: true, ..Options::default() });
    assert_eq!(back_up(&reader, &at("reader.db")), Ok(100));
    assert_copied(&reader, &at("reader.db"), 100);
    drop(reader);
    fixture.store.close();
    let immutable = open_with(Options { read_only: true, immutable: true, ..Options::default() });
    assert_eq!(back_up(&immutable, &at("immutable.db")), Ok(100));
    assert_copied(&immutable, &at("immutable.db"), 100);
    // A copy is in rollback mode, and can be copied.
    let copy = SqliteStore::open(
        Location::File(at("reader.db")),
        &Options { read_only: true, ..Options::default() },
    );
    assert_eq!(back_up(&copy.unwrap(), &at("again.db")), Ok(100));
    assert_copied(&immutable, &at("again.db"), 100);

    let memory = SqliteStore::open(Location::Memory, &Options::default()).unwrap();
    fill(&memory, 10);
    assert_eq!(back_up(&memory, &at("memory.db")), Ok(100));
    assert_copied(&memory, &at("memory.db"), 100);
    // The backup used the store's only connection, and that still works.
    fill(&memory, 1);
    assert_eq!(memory.head(&CallOptions::default()), Ok(Position::from(110)));
    // The memory store is not SQLite's and has no backup.
    let none = open_uri("memory:", &Options::default()).unwrap();
    let error = back_up(&*none, &at("none.db")).unwrap_err();
    assert_eq!(error.status, Status::InvalidArgument);
    assert!(!at("none.db").exists());
}

#[test]
fn other_tables_of_an_adopted_database_are_copied() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shell = rusqlite::Connection::open(at("theirs.db")).unwrap();
    let sql = "PRAGMA page_size = 1024; PRAGMA user_version = 7; CREATE TABLE t (x); \
               INSERT INTO t VALUES (42)";
    shell.execute_batch(sql).unwrap();
    let options = Options { adopt: true, ..Options::default() };
    let store = SqliteStore::open(Location::File(at("theirs.db")), &options).unwrap();
    fill(&store, 2);
    assert_eq!(back_up(&store, &at("copy.db")), Ok(20));
    let copy = rusqlite::Connection::open(at("copy.db")).unwrap();
    for (sql, expected) in [
        ("SELECT x FROM t", 42),
        ("PRAGMA user_version", 7),
        ("PRAGMA application_id", 0),
        ("PRAGMA page_size", 1_024),
        ("SELECT count(*) FROM dcb_events", 20),
    ] {
        assert_eq!(copy.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(expected), "{sql}");
    }
}

/// The store may lose an event that is not on its disk, and a copy must not contain such an event.
/// So a backup syncs the WAL, and fails if the sync does.
#[test]
fn a_copy_contains_only_durable_events() {
    let fixture = Fixture::new();
    fill(&fixture.store, 1);
    let reader = SqliteStore::open(
        Location::File(fixture.path()),
        &Options { read_only: true, ..Options::default() },
    )
    .unwrap();
    let folder = TempDir::new().unwrap();
    let syncs = || reader.shared.commits.durability.tampering.count.load(SeqCst);
    let before = syncs();
    assert_eq!(back_up(&reader, &folder.path().join("a.db")), Ok(10));
    assert_eq!(syncs(), before + 1);
    fill(&fixture.store, 1);
    reader.shared.commits.durability.tampering.fail.store(true, SeqCst);
    let error = back_up(&reader, &folder.path().join("b.db")).unwrap_err();
    assert_eq!(error.status, Status::Io);
    assert_eq!(file_names(folder.path()), ["a.db"]);
}

#[test]
fn a_damaged_store_is_reported_and_not_copied() {
    let fixture = Fixture::new();
    fill(&fixture.store, 40);
    fixture.store.close();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("copy.db");
    let shell = rusqlite::Connection::open(fixture.path()).unwrap();
    // An event whose checksum does not match its bytes. SQLite itself finds nothing wrong.
    shell
        .execute_batch(
            "DROP TRIGGER dcb_events_no_update; \
             UPDATE dcb_events SET data = '7' WHERE position = 123; \
             CREATE TRIGGER dcb_events_no_update BEFORE UPDATE ON dcb_events \
             BEGIN SELECT RAISE(ABORT, 'dcb: an event never changes'); END",
        )
        .unwrap();
    shell.close().unwrap();
    let store = open(fixture.path());
    let error = back_up(&*store, &path).unwrap_err();
    assert_eq!(error.status, Status::Corrupt, "{error}");
    assert!(error.message.contains("123"), "{error}");
    store.close();
    // Pages that are overwritten with garbage.
    let pages = std::fs::metadata(fixture.path()).unwrap().len() / 4_096;
    let file = std::fs::File::options().write(true).open(fixture.path()).unwrap();
    let mut damaged = 0;
    for page in pages / 2..pages {
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(&[0xa5; 4_096], page * 4_096).unwrap();
        let options = Options { read_only: true, immutable: true, ..Options::default() };
        let Ok(store) = SqliteStore::open(Location::File(fixture.path()), &options) else { break };
        let error = back_up(&store, &path).unwrap_err();
        assert_eq!(error.status, Status::Corrupt, "{error}");
        damaged += 1;
    }
    assert!(damaged > 0);
    assert!(file_names(folder.path()).is_empty());
}
