//! Two copies of SQLite in one process: the library's, with its lock hooks, and the host's own.
//!
//! Each test runs its scenario in separate processes, kills them at the end, and then checks the
//! file. Where a scenario damages the file without the hooks, a second test shows that it does:
//! otherwise the first test might check the wrong thing.
//!
//! `DCB_TEST_LONG=1` runs the scenarios under load for minutes.

#![cfg(all(target_os = "linux", feature = "bundled-sqlite"))]

mod descriptor_roles;
#[path = "../ends/mod.rs"]
mod ends;
mod host;
mod roles;
mod store_roles;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use dcb::CallOptions;
use tempfile::TempDir;

/// Whether the processes of a scenario install the lock hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hooks {
    Installed,
    Missing,
}

/// A directory with one database, and the files that the processes wrote beside it.
struct Scene {
    directory: TempDir,
    /// The query that returns the numbers of the stored rows.
    rows: &'static str,
}

impl Scene {
    /// Creates a scene with an empty table of rows, in a file in the given journal mode.
    fn new(journal_mode: &str) -> Scene {
        let scene = Scene { directory: TempDir::new().unwrap(), rows: "SELECT id FROM rows" };
        let database = rusqlite::Connection::open(scene.file()).unwrap();
        database.pragma_update(None, "journal_mode", journal_mode).unwrap();
        database.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, filler)").unwrap();
        scene
    }

    /// Creates a scene with an empty store.
    fn of_store() -> Scene {
        let rows = "SELECT CAST(id AS INTEGER) FROM dcb_events";
        let scene = Scene { directory: TempDir::new().unwrap(), rows };
        store_roles::open(&scene.file()).unwrap().close();
        scene
    }

    fn file(&self) -> PathBuf {
        roles::file(self.directory.path())
    }

    fn start(&self, role: &str, hooks: Hooks) -> Child {
        roles::start(role, self.directory.path(), hooks == Hooks::Installed)
    }

    fn run(&self, role: &str, hooks: Hooks) -> ExitStatus {
        self.start(role, hooks).wait().unwrap()
    }

    /// Returns what is wrong with the file: acknowledged rows that are missing, or worse.
    fn damage(&self) -> Option<String> {
        let path = self.directory.path();
        if let Ok(errors) = std::fs::read_to_string(path.join("errors")) {
            return Some(errors);
        }
        let acknowledged = roles::acknowledged(path);
        assert!(!acknowledged.is_empty(), "the scenario has done nothing");
        match stored(&self.file(), self.rows) {
            Err(error) => Some(error.to_string()),
            Ok((integrity, _)) if integrity != "ok" => Some(integrity),
            Ok((_, rows)) => {
                let lost = acknowledged.difference(&rows).count();
                (lost > 0).then(|| format!("{lost} of {} rows lost", acknowledged.len()))
            }
        }
    }
}

fn stored(file: &Path, rows: &str) -> rusqlite::Result<(String, HashSet<i64>)> {
    let database = rusqlite::Connection::open(file)?;
    let integrity = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let mut statement = database.prepare(rows)?;
    let rows = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok((integrity, rows))
}

fn long() -> bool {
    std::env::var_os("DCB_TEST_LONG").is_some()
}

/// The entry point of a role. It runs only in a process that another test starts.
#[test]
#[ignore = "a process of the other tests"]
fn role() {
    roles::play();
}

fn host_reads_and_closes(hooks: Hooks) -> Option<String> {
    let scene = Scene::new("WAL");
    scene.run("appends_go_on_after_the_host_has_closed", hooks);
    scene.damage()
}

#[test]
fn a_host_that_reads_and_closes_does_no_damage() {
    assert_eq!(host_reads_and_closes(Hooks::Installed), None);
}

#[test]
fn without_hooks_a_host_that_closes_deletes_the_wal() {
    let damage = host_reads_and_closes(Hooks::Missing).expect("damage");
    assert_eq!(damage, "100 of 110 rows lost");
}

fn under_load(hooks: Hooks, time: Duration) -> Option<String> {
    let scene = Scene::new("WAL");
    let mut processes = [scene.start("load", hooks), scene.start("other_process", hooks)];
    std::thread::sleep(time);
    for process in &mut processes {
        // A process that found the file damaged has ended by itself.
        let _ = process.kill();
        process.wait().unwrap();
    }
    scene.damage()
}

#[test]
fn load_from_both_copies_and_another_process_loses_nothing() {
    let (runs, time) = if long() { (60, 3_000) } else { (2, 1_000) };
    for run in 0..runs {
        assert_eq!(under_load(Hooks::Installed, Duration::from_millis(time)), None, "run {run}");
    }
}

#[test]
fn without_hooks_load_from_both_copies_does_damage() {
    let damaged = (0..10).any(|_| under_load(Hooks::Missing, Duration::from_secs(1)).is_some());
    assert!(damaged, "ten runs, and nothing lost");
}

fn library_closes(hooks: Hooks) -> Option<String> {
    let scene = Scene::new("WAL");
    scene.run("library_closes_while_the_host_has_the_file_open", hooks);
    scene.damage()
}

#[test]
fn the_library_closing_drops_no_lock_of_the_host() {
    assert_eq!(library_closes(Hooks::Installed), None);
}

#[test]
fn without_hooks_the_library_closing_drops_the_host_s_locks() {
    assert!(library_closes(Hooks::Missing).is_some());
}

#[test]
fn in_rollback_mode_the_copies_respect_each_other_s_locks() {
    assert!(Scene::new("DELETE").run("rollback", Hooks::Installed).success());
}

#[test]
fn without_hooks_the_copies_do_not_see_each_other() {
    assert!(!Scene::new("DELETE").run("rollback", Hooks::Missing).success());
}

fn store_goes_on(hooks: Hooks) -> Option<String> {
    let scene = Scene::of_store();
    scene.run("store_goes_on", hooks);
    scene.damage()
}

#[test]
fn a_store_keeps_its_events_when_the_host_reads_and_closes() {
    assert_eq!(store_goes_on(Hooks::Installed), None);
}

#[test]
fn without_hooks_a_store_loses_events_when_the_host_closes() {
    assert!(store_goes_on(Hooks::Missing).is_some());
}

#[test]
fn a_store_under_load_loses_nothing_beside_other_writers() {
    let (runs, time) = if long() { (20, 3_000) } else { (1, 1_500) };
    for run in 0..runs {
        let scene = Scene::of_store();
        let mut processes =
            ["store_load", "store_other_process"].map(|role| scene.start(role, Hooks::Installed));
        std::thread::sleep(Duration::from_millis(time));
        for process in &mut processes {
            let _ = process.kill();
            process.wait().unwrap();
        }
        assert_eq!(scene.damage(), None, "run {run}");
        let store = store_roles::open(&scene.file()).unwrap();
        let head = store.head(&CallOptions::default()).unwrap().get();
        assert_eq!(store_roles::read_all(&*store), Ok((head, head)));
        store.close();
    }
}

fn store_closes(hooks: Hooks) -> Option<usize> {
    let scene = Scene::of_store();
    scene.run("store_closes", hooks);
    let rows = stored(&scene.file(), "SELECT id FROM host_rows").ok()?.1;
    Some(rows.len())
}

#[test]
fn a_store_that_is_closed_does_the_host_no_damage() {
    assert_eq!(store_closes(Hooks::Installed), Some(100));
}

#[test]
fn without_hooks_a_store_that_is_closed_deletes_the_host_s_wal() {
    assert_ne!(store_closes(Hooks::Missing), Some(100));
}

/// Returns whether a lock remains after a process with the file open forks and is killed, while its
/// child lives on.
fn locked_after_fork(role: &str) -> bool {
    let scene = Scene::new("WAL");
    scene.run(role, Hooks::Installed);
    let child = std::fs::read_to_string(scene.directory.path().join("child")).unwrap();
    let database = rusqlite::Connection::open(scene.file()).unwrap();
    database.busy_timeout(Duration::ZERO).unwrap();
    // Only the last connection of all may switch the file from WAL mode.
    let left = database.pragma_update(None, "journal_mode", "DELETE").is_ok();
    roles::kill(child.parse().unwrap());
    !left
}

#[test]
fn a_forked_child_keeps_no_lock() {
    assert!(!locked_after_fork("fork"));
}

#[test]
fn a_child_of_a_raw_clone_keeps_the_locks() {
    assert!(locked_after_fork("clone"));
}

#[test]
fn descriptors_are_bounded_by_the_files_that_exist() {
    assert!(Scene::new("WAL").run("ten_thousand_files", Hooks::Installed).success());
}

#[test]
fn descriptors_are_bounded_while_the_host_has_the_file_open() {
    assert!(Scene::new("WAL").run("three_thousand_openings", Hooks::Installed).success());
}

#[test]
fn a_pooled_descriptor_holds_no_lock() {
    assert!(Scene::new("WAL").run("closed_before_another_process", Hooks::Installed).success());
}

#[test]
fn a_deleted_file_is_released_though_the_host_has_it_open() {
    assert!(Scene::new("WAL").run("files_deleted_under_the_host", Hooks::Installed).success());
}

#[test]
fn a_file_that_becomes_writable_can_be_written() {
    assert!(Scene::new("DELETE").run("writable_later", Hooks::Installed).success());
}

#[test]
fn forks_between_openings_and_closings_do_no_damage() {
    let scene = Scene::new("WAL");
    assert!(scene.run("forks_under_load", Hooks::Installed).success());
    assert_eq!(scene.damage(), None);
}

#[test]
fn a_pooled_descriptor_is_not_used_for_a_new_file() {
    assert!(Scene::new("WAL").run("file_made_again", Hooks::Installed).success());
}

#[test]
fn a_read_only_opening_does_not_block_a_writer() {
    assert!(Scene::new("DELETE").run("readable_first", Hooks::Installed).success());
}

#[test]
fn a_store_reports_a_foreign_sqlite() {
    assert!(Scene::of_store().run("store_diagnose", Hooks::Installed).success());
}

#[test]
fn diagnostics_name_a_foreign_sqlite() {
    let scene = Scene::new("WAL");
    // Another process's locks are older than the host's.
    let database = rusqlite::Connection::open(scene.file()).unwrap();
    database.execute("INSERT INTO rows VALUES (1, 'x')", []).unwrap();
    assert!(scene.run("diagnose", Hooks::Installed).success());
    drop(database);
    assert!(scene.run("diagnose", Hooks::Installed).success());
}
