//! What the processes of the scenarios do.

use std::collections::HashSet;
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dcb::sqlite::locks::{self, LockKind};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::host::{self, Sqlite};

const ROLE: &str = "TWO_SQLITES_ROLE";
const DIRECTORY: &str = "TWO_SQLITES_DIRECTORY";
const HOOKS: &str = "TWO_SQLITES_HOOKS";

/// The database of a scene.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("file.db")
}

/// Starts this program again, to play `role` on the scene in `directory`. Without the hooks it is
/// expected to fail, so that what it has to say is of no interest.
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

/// Ends process `id` at once.
pub fn kill(id: i32) {
    // SAFETY: only sends a signal.
    unsafe { libc::kill(id, libc::SIGKILL) };
}

/// The rows that the processes of a scene were told are stored.
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

/// Plays the role that the environment names.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let scene = Scene {
        directory: PathBuf::from(std::env::var_os(DIRECTORY).unwrap()),
        hooks: std::env::var(HOOKS).unwrap() == "installed",
    };
    assert_eq!(locks::install(), LockKind::OpenFileDescription);
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
        "store_goes_on" => scene.store_goes_on(),
        "store_load" => scene.store_load(),
        "store_other_process" => scene.store_other_process(),
        "store_closes" => scene.store_closes(),
        "store_visitor" => scene.store_visitor(),
        other => panic!("no role {other}"),
    }
}

/// Has SQLite make its system calls itself, as if the hooks had never been installed.
fn take_out_hooks() {
    // SAFETY: no connection is open, and NULL stands for all calls as they were.
    unsafe {
        let vfs = rusqlite::ffi::sqlite3_vfs_find(c"unix".as_ptr());
        (*vfs).xSetSystemCall.unwrap()(vfs, std::ptr::null(), None);
    }
}

/// A writer's rows, and the file that says which of them it was told are stored.
pub struct Rows {
    pub next: i64,
    acks: std::fs::File,
}

impl Rows {
    /// The rows of one writer: no two have the same.
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

    /// A connection of the library's copy.
    fn library(&self, busy_timeout: Duration) -> Connection {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(busy_timeout).unwrap();
        connection
    }

    fn patient(&self) -> Connection {
        self.library(Duration::from_secs(10))
    }

    /// Says that SQLite found the file damaged, and ends the process.
    pub fn broken(&self, writer: &str, error: &dyn std::fmt::Display) -> ! {
        let mut errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("errors"))
            .unwrap();
        writeln!(errors, "{writer}: {error}").unwrap();
        die()
    }

    fn append(&self, connection: &Connection, rows: &mut Rows) {
        match connection.execute(&rows.insert(), []) {
            Ok(_) => rows.acknowledge(),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => self.broken("library", &error),
        }
    }

    fn host_append(&self, connection: &host::Connection, rows: &mut Rows) {
        match connection.run(&rows.insert()) {
            Ok(_) => rows.acknowledge(),
            Err(host::BUSY) => {}
            Err(code) => self.broken("host", &code),
        }
    }

    fn appends_go_on(&self) {
        let library = self.patient();
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
                    let (connection, mut rows) = (self.patient(), self.rows(writer));
                    loop {
                        self.append(&connection, &mut rows);
                    }
                });
            }
            scope.spawn(|| {
                loop {
                    let count = self
                        .patient()
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
            let connection = self.patient();
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
            self.append(&self.patient(), &mut rows);
        }
        // It takes itself for the last to have the file open if the host's locks are gone.
        start("visitor", &self.directory, self.hooks).wait().unwrap();
        for _ in 0..100 {
            self.host_append(&host, &mut host_rows);
        }
        die();
    }

    fn visitor(&self) {
        let mut rows = self.rows("visitor");
        self.append(&self.patient(), &mut rows);
    }

    /// Succeeds if it may write.
    fn writer(&self) {
        let written = self.library(Duration::ZERO).execute_batch("BEGIN IMMEDIATE; COMMIT");
        std::process::exit(i32::from(written.is_err()));
    }

    fn rollback(&self) {
        let insert = "INSERT INTO rows(filler) VALUES ('x')";
        let count = "SELECT count(*) FROM rows";
        let [one, two] = [(); 2].map(|()| self.library(Duration::ZERO));

        // The lock is taken by one connection, and let go of by another.
        for (reader, writer) in [(&one, &two), (&two, &one)] {
            reader.execute_batch(&format!("BEGIN; {count}")).unwrap();
            writer.execute_batch(&format!("BEGIN; {count}")).unwrap();
            reader.execute_batch("COMMIT").unwrap();
            writer.execute_batch(&format!("{insert}; COMMIT")).unwrap();
        }
        // A connection that is closed takes no lock of another away.
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

        // Nor does the library's last connection take the host's.
        host.run("BEGIN IMMEDIATE").unwrap();
        drop((one, two));
        drop(self.library(Duration::ZERO));
        assert!(!start("writer", &self.directory, true).wait().unwrap().success());
        host.run("COMMIT").unwrap();
        self.library(Duration::ZERO).execute_batch(insert).unwrap();
        assert_eq!(host.run(count).unwrap(), ["3"]);
    }

    fn fork(&self, seen: bool) {
        let library = self.patient();
        self.append(&library, &mut self.rows("library"));
        let mut pipe = [0; 2];
        let mut child: libc::pid_t = 0;
        // SAFETY: the child makes no call but these, and the buffers outlive the calls.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let fork = || {
                if seen {
                    libc::fork()
                } else {
                    // The system call itself: no handler of the library runs.
                    libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t
                }
            };
            // Twice: a child may be a parent too.
            if fork() == 0 {
                if fork() == 0 {
                    child = libc::getpid();
                    libc::write(pipe[1], (&raw const child).cast(), size_of_val(&child));
                    libc::sleep(60);
                }
                libc::_exit(0);
            }
            // Killed before its child has run, the process would prove nothing.
            let mut ready = libc::pollfd { fd: pipe[0], events: libc::POLLIN, revents: 0 };
            assert_eq!(libc::poll(&mut ready, 1, 30_000), 1, "the child does not run");
            let size = size_of_val(&child);
            assert_eq!(libc::read(pipe[0], (&raw mut child).cast(), size), size.cast_signed());
        }
        std::fs::write(self.directory.join("child"), child.to_string()).unwrap();
        die();
    }

    fn ten_thousand_files(&self) {
        let limit = libc::rlimit { rlim_cur: 256, rlim_max: 256 };
        // SAFETY: `limit` outlives the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        let sqlite = Sqlite::load();
        let before = descriptors();
        for number in 0..10_000 {
            let path = self.directory.join(format!("{number}.db"));
            let library = Connection::open(&path).unwrap();
            library
                .execute_batch(
                    "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL; CREATE TABLE t (c)",
                )
                .unwrap();
            let host = (number % 100 == 0).then(|| sqlite.open(&path, 0));
            if let Some(host) = &host {
                host.run("SELECT * FROM t").unwrap();
            }
            let close_first = number % 2 == 0;
            if close_first {
                drop(library);
                drop(host);
                delete(&path);
            } else {
                delete(&path);
            }
        }
        // What the last file left is closed by the next opening.
        drop(self.patient());
        assert!(descriptors() <= before, "{} descriptors", descriptors());
    }

    fn three_thousand_openings(&self) {
        let host = Sqlite::load().open(&self.file(), 10_000);
        host.run("SELECT * FROM rows").unwrap();
        let before = descriptors();
        for _ in 0..3_000 {
            self.patient().query_row("SELECT count(*) FROM rows", [], |_| Ok(())).unwrap();
        }
        // The database and its shared memory, each with the descriptor of its locks.
        assert!(descriptors() <= before + 4, "{} descriptors", descriptors() - before);
        drop(host);
        drop(self.patient());
        assert!(descriptors() < before, "{} descriptors", descriptors());
    }

    /// Has the file open until told to close it.
    fn keeper(&self) {
        let connection = self.patient();
        self.append(&connection, &mut self.rows("keeper"));
        std::fs::write(self.directory.join("kept"), "").unwrap();
        wait_for(&self.directory.join("closed"));
    }

    fn closed_before_another_process(&self) {
        let library = self.patient();
        let mut keeper = start("keeper", &self.directory, true);
        wait_for(&self.directory.join("kept"));
        self.append(&library, &mut self.rows("library"));
        drop(library);
        std::fs::write(self.directory.join("closed"), "").unwrap();
        assert!(keeper.wait().unwrap().success());
        // The other process was the last, and no lock was left to tell it otherwise.
        assert!(!self.directory.join("file.db-wal").exists());
    }

    fn files_deleted_under_the_host(&self) {
        let sqlite = Sqlite::load();
        let hosts: Vec<_> = (0..20)
            .map(|number| {
                let path = self.directory.join(format!("{number}.db"));
                let library = Connection::open(&path).unwrap();
                library.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (c)").unwrap();
                let host = sqlite.open(&path, 0);
                host.run("SELECT * FROM t").unwrap();
                drop(library);
                delete(&path);
                host
            })
            .collect();
        drop(self.patient());
        let with_hosts = descriptors();
        let count = hosts.len();
        drop(hosts);
        // The host's own: the database, its log and its shared memory.
        assert_eq!(with_hosts - descriptors(), 3 * count);
        assert!(descriptors() < count, "{} descriptors", descriptors());
    }

    fn file_made_again(&self) {
        let library = self.patient();
        self.append(&library, &mut self.rows("library"));
        let host = Sqlite::load().open(&self.file(), 0);
        host.run("BEGIN; SELECT * FROM rows").unwrap();
        drop(library);
        for _ in 0..3 {
            delete(&self.file());
            let library = self.patient();
            library.execute_batch("CREATE TABLE rows (id); INSERT INTO rows VALUES (7)").unwrap();
            let rows = library.query_row("SELECT count(*) FROM rows", [], |row| row.get(0));
            assert_eq!(rows, Ok(1));
        }
        assert_eq!(host.run("SELECT count(*) FROM rows").unwrap(), ["1"]);
    }

    fn readable_first(&self) {
        let read_only =
            || Connection::open_with_flags(self.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let count = "SELECT count(*) FROM rows";
        let insert = "INSERT INTO rows(filler) VALUES ('x')";
        let host = Sqlite::load().open(&self.file(), 0);
        host.run("BEGIN; SELECT * FROM rows").unwrap();
        // Both while it is open, and when only its descriptors are left.
        let first = read_only();
        first.execute_batch(count).unwrap();
        let writer = self.library(Duration::ZERO);
        host.run("COMMIT").unwrap();
        writer.execute_batch(insert).unwrap();
        drop((first, writer));
        host.run("BEGIN; SELECT * FROM rows").unwrap();
        read_only().execute_batch(count).unwrap();
        host.run("COMMIT").unwrap();
        self.library(Duration::ZERO).execute_batch(insert).unwrap();
        assert!(read_only().execute_batch(insert).is_err());
    }

    fn writable_later(&self) {
        const NOBODY: u32 = 65534;
        let permit = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        // SAFETY: no pointers are passed.
        unsafe {
            if libc::geteuid() == 0 {
                // Root may write whatever the mode says.
                std::os::unix::fs::chown(&self.directory, Some(NOBODY), None).unwrap();
                std::os::unix::fs::chown(self.file(), Some(NOBODY), None).unwrap();
                assert_eq!(libc::seteuid(NOBODY), 0);
                // Or /proc/self would stay root's.
                assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 1), 0);
            }
        }
        permit(&self.file(), 0o444);
        let read = "SELECT * FROM rows";
        let library = self.library(Duration::ZERO);
        library.execute_batch(read).unwrap();
        let host = Sqlite::load().open(&self.file(), 0);
        host.run(&format!("BEGIN; {read}")).unwrap();
        drop(library);
        permit(&self.file(), 0o644);
        let library = self.library(Duration::ZERO);
        library.execute_batch(read).unwrap();
        host.run("COMMIT").unwrap();
        library.execute_batch("INSERT INTO rows(filler) VALUES ('x')").unwrap();
    }

    fn forks_under_load(&self) {
        let sqlite = Sqlite::load();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in ["library one", "library two"] {
                let (rows, done) = (self.rows(writer), &done);
                scope.spawn(move || {
                    let mut rows = rows;
                    while !done.load(Ordering::Relaxed) {
                        self.append(&self.patient(), &mut rows);
                    }
                });
            }
            scope.spawn(|| {
                let mut rows = self.rows("host");
                while !done.load(Ordering::Relaxed) {
                    self.host_append(&sqlite.open(&self.file(), 10_000), &mut rows);
                }
            });
            for _ in 0..200 {
                // SAFETY: the child makes no call but `_exit`.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        libc::_exit(0);
                    }
                    assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        drop(self.patient());
        assert!(descriptors() < 16, "{} descriptors", descriptors());
    }

    fn diagnose(&self) {
        assert_eq!(locks::inspect(&self.file()), None);
        let library = self.patient();
        self.append(&library, &mut self.rows("library"));
        let locks = locks::inspect(&self.file()).unwrap();
        assert_eq!(locks.kind, LockKind::OpenFileDescription);
        assert!(!locks.foreign);

        let host = Sqlite::load().open(&self.file(), 10_000);
        host.run("SELECT * FROM rows").unwrap();
        assert!(locks::foreign_sqlite(&self.file()));
        drop(host);
        assert!(!locks::foreign_sqlite(&self.file()));
        drop(library);
        assert_eq!(locks::inspect(&self.file()), None);
    }
}

/// Ends this process as a crash would.
pub fn die() -> ! {
    kill(std::process::id().cast_signed());
    loop {
        std::thread::park();
    }
}

fn wait_for(mark: &Path) {
    let start = Instant::now();
    while !mark.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no {}", mark.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn delete(database: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}
