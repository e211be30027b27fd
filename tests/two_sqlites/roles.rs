//! The roles of processes in the scenarios.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dcb::sqlite::vfs::ofd_locks;
use dcb::sqlite::vfs::ofd_locks::LockKind;
use rusqlite::{Connection, ErrorCode};

use crate::host::{self, Sqlite};

const ROLE: &str = "TWO_SQLITES_ROLE";
const DIRECTORY: &str = "TWO_SQLITES_DIRECTORY";
const HOOKS: &str = "TWO_SQLITES_HOOKS";

/// Returns the path of a scene's database.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("file.db")
}

/// Starts this program again in `role`, on the scene in `directory`. Without the hooks the process
/// is expected to fail, so its output is discarded.
pub fn start(role: &str, directory: &Path, hooks: bool) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "role", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .env(HOOKS, if hooks { "installed" } else { "missing" })
        .stdout(Stdio::null())
        .stderr(if hooks { Stdio::inherit() } else { Stdio::null() })
        .spawn()
        .unwrap()
}

/// Kills process `id`.
pub fn kill(id: i32) {
    // SAFETY: only sends a signal.
    unsafe { libc::kill(id, libc::SIGKILL) };
}

/// Returns the rows whose insertion was acknowledged to a process of the scene.
pub fn acknowledged(directory: &Path) -> HashSet<i64> {
    let mut rows = HashSet::new();
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "acks") {
            let text = std::fs::read_to_string(path).unwrap();
            rows.extend(text.lines().map(|line| line.parse::<i64>().unwrap()));
        }
    }
    rows
}

/// Runs the role that the environment names.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let scene = Scene {
        directory: PathBuf::from(std::env::var_os(DIRECTORY).unwrap()),
        hooks: std::env::var(HOOKS).unwrap() == "installed",
    };
    assert_eq!(ofd_locks::install(), LockKind::OpenFileDescription);
    if !scene.hooks {
        take_out_hooks();
    }
    match role.as_str() {
        "appends_go_on_after_the_host_has_closed" => scene.appends_go_on(),
        "load" => scene.load(),
        "other_process" => scene.other_process(),
        "library_closes_while_the_host_has_the_file_open" => scene.library_closes(),
        "visitor" => scene.visitor(),
        "writer" => scene.writer(),
        "rollback" => scene.rollback(),
        "fork" => scene.fork(true),
        "clone" => scene.fork(false),
        "ten_thousand_files" => scene.ten_thousand_files(),
        "three_thousand_openings" => scene.three_thousand_openings(),
        "keeper" => scene.keeper(),
        "closed_before_another_process" => scene.closed_before_another_process(),
        "files_deleted_under_the_host" => scene.files_deleted_under_the_host(),
        "writable_later" => scene.writable_later(),
        "forks_under_load" => scene.forks_under_load(),
        "file_made_again" => scene.file_made_again(),
        "readable_first" => scene.readable_first(),
        "diagnose" => scene.diagnose(),
        "store_diagnose" => scene.store_diagnose(),
        "store_goes_on" => scene.store_goes_on(),
        "store_load" => scene.store_load(),
        "store_other_process" => scene.store_other_process(),
        "store_closes" => scene.store_closes(),
        "store_visitor" => scene.store_visitor(),
        other => panic!("no role {other}"),
    }
}

/// Restores SQLite's own system calls, as if the hooks had never been installed.
fn take_out_hooks() {
    // SAFETY: no connection is open, and NULL restores the original of every call.
    unsafe {
        let vfs = rusqlite::ffi::sqlite3_vfs_find(c"unix".as_ptr());
        (*vfs).xSetSystemCall.unwrap()(vfs, std::ptr::null(), None);
    }
}

/// A writer's rows, and the file to which it writes the acknowledged ones.
pub struct Rows {
    pub next: i64,
    acks: std::fs::File,
}

impl Rows {
    /// Creates the rows of one writer, which no other writer inserts.
    fn new(directory: &Path, writer: &str) -> Rows {
        let name = format!("{writer}-{}.acks", std::process::id());
        let acks = OpenOptions::new().create(true).append(true).open(directory.join(name)).unwrap();
        let writer: i64 = writer.bytes().map(i64::from).sum();
        Rows { next: (i64::from(std::process::id()) * 10_000 + writer) * 1_000_000, acks }
    }

    fn insert(&mut self) -> String {
        self.next += 1;
        format!("INSERT INTO rows VALUES ({}, hex(randomblob(200)))", self.next)
    }

    pub fn acknowledge(&mut self) {
        writeln!(self.acks, "{}", self.next).unwrap();
    }
}

pub struct Scene {
    pub directory: PathBuf,
    pub hooks: bool,
}

impl Scene {
    pub fn file(&self) -> PathBuf {
        file(&self.directory)
    }

    pub fn rows(&self, writer: &str) -> Rows {
        Rows::new(&self.directory, writer)
    }

    /// Opens a connection of the library's copy.
    pub fn library(&self, busy_timeout: Duration) -> Connection {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(busy_timeout).unwrap();
        connection
    }

    pub fn connection(&self) -> Connection {
        self.library(Duration::from_secs(10))
    }

    /// Records that SQLite found the file damaged, and ends the process.
    pub fn broken(&self, writer: &str, error: &dyn std::fmt::Display) -> ! {
        let mut errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("errors"))
            .unwrap();
        writeln!(errors, "{writer}: {error}").unwrap();
        die()
    }

    pub fn append(&self, connection: &Connection, rows: &mut Rows) {
        match connection.execute(&rows.insert(), []) {
            Ok(_) => rows.acknowledge(),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => self.broken("library", &error),
        }
    }

    pub fn host_append(&self, connection: &host::Connection, rows: &mut Rows) {
        match connection.run(&rows.insert()) {
            Ok(_) => rows.acknowledge(),
            Err(host::BUSY) => {}
            Err(code) => self.broken("host", &code),
        }
    }

    fn appends_go_on(&self) {
        let library = self.connection();
        let mut rows = self.rows("library");
        for _ in 0..10 {
            self.append(&library, &mut rows);
        }
        let host = Sqlite::load().open(&self.file(), 10_000);
        assert_eq!(host.run("SELECT id FROM rows LIMIT 1").unwrap().len(), 1);
        drop(host);
        for _ in 0..100 {
            self.append(&library, &mut rows);
        }
        die();
    }

    fn load(&self) {
        let sqlite = Sqlite::load();
        std::thread::scope(|scope| {
            for writer in ["library one", "library two"] {
                scope.spawn(move || {
                    let (connection, mut rows) = (self.connection(), self.rows(writer));
                    loop {
                        self.append(&connection, &mut rows);
                    }
                });
            }
            scope.spawn(|| {
                loop {
                    let count =
                        self.connection()
                            .query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0));
                    match count {
                        Ok(_) => {}
                        Err(error)
                            if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
                        Err(error) => self.broken("library's reader", &error),
                    }
                }
            });
            let mut rows = self.rows("host");
            loop {
                let connection = sqlite.open(&self.file(), 10_000);
                for _ in 0..5 {
                    self.host_append(&connection, &mut rows);
                }
            }
        });
    }

    fn other_process(&self) {
        let mut rows = self.rows("other");
        loop {
            let connection = self.connection();
            for _ in 0..20 {
                self.append(&connection, &mut rows);
            }
        }
    }

    fn library_closes(&self) {
        let host = Sqlite::load().open(&self.file(), 10_000);
        let mut host_rows = self.rows("host");
        for _ in 0..10 {
            self.host_append(&host, &mut host_rows);
        }
        let mut rows = self.rows("library");
        for _ in 0..3 {
            self.append(&self.connection(), &mut rows);
        }
        // If the host's locks are gone, the visitor believes that it is the last to have the file
        // open.
        start("visitor", &self.directory, self.hooks).wait().unwrap();
        for _ in 0..100 {
            self.host_append(&host, &mut host_rows);
        }
        die();
    }

    fn visitor(&self) {
        let mut rows = self.rows("visitor");
        self.append(&self.connection(), &mut rows);
    }

    /// Succeeds if it can write.
    fn writer(&self) {
        let written = self.library(Duration::ZERO).execute_batch("BEGIN IMMEDIATE; COMMIT");
        std::process::exit(i32::from(written.is_err()));
    }

    fn rollback(&self) {
        let insert = "INSERT INTO rows(filler) VALUES ('x')";
        let count = "SELECT count(*) FROM rows";
        let [one, two] = [(); 2].map(|()| self.library(Duration::ZERO));

        // One connection takes the lock, and another one releases its own.
        for (reader, writer) in [(&one, &two), (&two, &one)] {
            reader.execute_batch(&format!("BEGIN; {count}")).unwrap();
            writer.execute_batch(&format!("BEGIN; {count}")).unwrap();
            reader.execute_batch("COMMIT").unwrap();
            writer.execute_batch(&format!("{insert}; COMMIT")).unwrap();
        }
        // Closing a connection drops no lock of another one.
        one.execute_batch("BEGIN IMMEDIATE").unwrap();
        let reading = self.library(Duration::ZERO);
        reading.execute_batch(count).unwrap();
        drop(reading);
        assert!(!start("writer", &self.directory, true).wait().unwrap().success());
        one.execute_batch("COMMIT").unwrap();
        assert!(start("writer", &self.directory, true).wait().unwrap().success());

        let host = Sqlite::load().open(&self.file(), 0);
        host.run("BEGIN EXCLUSIVE").unwrap();
        let refused = one.execute_batch(insert).unwrap_err();
        assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
        host.run("COMMIT").unwrap();

        one.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(host.run(insert), Err(host::BUSY));
        one.execute_batch("COMMIT").unwrap();

        // Closing the library's last connection drops no lock of the host.
        host.run("BEGIN IMMEDIATE").unwrap();
        drop((one, two));
        drop(self.library(Duration::ZERO));
        assert!(!start("writer", &self.directory, true).wait().unwrap().success());
        host.run("COMMIT").unwrap();
        self.library(Duration::ZERO).execute_batch(insert).unwrap();
        assert_eq!(host.run(count).unwrap(), ["3"]);
    }
}

/// Ends this process as a crash would.
pub fn die() -> ! {
    kill(std::process::id().cast_signed());
    loop {
        std::thread::park();
    }
}
