//! The roles of processes in the scenarios about descriptors: how many there are, who inherits
//! them, what they may do, and what the diagnosis reports.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dcb::sqlite::vfs::ofd_locks;
use dcb::sqlite::vfs::ofd_locks::LockKind;
use rusqlite::{Connection, OpenFlags};

use crate::ends::Ends;
use crate::host::Sqlite;
use crate::roles::{Scene, die, start};

impl Scene {
    pub fn fork(&self, seen: bool) {
        let library = self.connection();
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
                    // The raw system call, so that no fork handler of the library runs.
                    libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t
                }
            };
            // Forks twice: a child may be a parent too.
            if fork() == 0 {
                if fork() == 0 {
                    child = libc::getpid();
                    libc::write(pipe[1], (&raw const child).cast(), size_of_val(&child));
                    libc::sleep(60);
                }
                libc::_exit(0);
            }
            // If the process were killed before its child runs, the test would prove nothing.
            let mut ready = libc::pollfd { fd: pipe[0], events: libc::POLLIN, revents: 0 };
            assert_eq!(libc::poll(&mut ready, 1, 30_000), 1, "the child does not run");
            let size = size_of_val(&child);
            assert_eq!(libc::read(pipe[0], (&raw mut child).cast(), size), size.cast_signed());
        }
        std::fs::write(self.directory.join("child"), child.to_string()).unwrap();
        die();
    }

    pub fn ten_thousand_files(&self) {
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
        // The next opening closes the descriptors of the last file.
        drop(self.connection());
        assert!(descriptors() <= before, "{} descriptors", descriptors());
    }

    pub fn three_thousand_openings(&self) {
        let host = Sqlite::load().open(&self.file(), 10_000);
        host.run("SELECT * FROM rows").unwrap();
        let before = descriptors();
        for _ in 0..3_000 {
            self.connection().query_row("SELECT count(*) FROM rows", [], |_| Ok(())).unwrap();
        }
        // The database and its shared memory, each with the descriptor of its locks.
        assert!(descriptors() <= before + 4, "{} descriptors", descriptors() - before);
        drop(host);
        drop(self.connection());
        assert!(descriptors() < before, "{} descriptors", descriptors());
    }

    /// Keeps the file open until it is told to close it.
    pub fn keeper(&self) {
        let connection = self.connection();
        self.append(&connection, &mut self.rows("keeper"));
        std::fs::write(self.directory.join("kept"), "").unwrap();
        wait_for(&self.directory.join("closed"));
    }

    pub fn closed_before_another_process(&self) {
        let library = self.connection();
        let mut keeper = start("keeper", &self.directory, true);
        wait_for(&self.directory.join("kept"));
        self.append(&library, &mut self.rows("library"));
        drop(library);
        std::fs::write(self.directory.join("closed"), "").unwrap();
        assert!(keeper.wait().unwrap().success());
        // The other process was the last one, and no leftover lock made it think otherwise.
        assert!(!self.directory.join("file.db-wal").exists());
    }

    pub fn files_deleted_under_the_host(&self) {
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
        drop(self.connection());
        let with_hosts = descriptors();
        let count = hosts.len();
        drop(hosts);
        // The descriptors of the host: the database, its WAL and its shared memory.
        assert_eq!(with_hosts - descriptors(), 3 * count);
        assert!(descriptors() < count, "{} descriptors", descriptors());
    }

    pub fn file_made_again(&self) {
        let library = self.connection();
        self.append(&library, &mut self.rows("library"));
        let host = Sqlite::load().open(&self.file(), 0);
        host.run("BEGIN; SELECT * FROM rows").unwrap();
        drop(library);
        for _ in 0..3 {
            delete(&self.file());
            let library = self.connection();
            library.execute_batch("CREATE TABLE rows (id); INSERT INTO rows VALUES (7)").unwrap();
            let rows = library.query_row("SELECT count(*) FROM rows", [], |row| row.get(0));
            assert_eq!(rows, Ok(1));
        }
        assert_eq!(host.run("SELECT count(*) FROM rows").unwrap(), ["1"]);
    }

    pub fn readable_first(&self) {
        let read_only =
            || Connection::open_with_flags(self.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let count = "SELECT count(*) FROM rows";
        let insert = "INSERT INTO rows(filler) VALUES ('x')";
        let host = Sqlite::load().open(&self.file(), 0);
        host.run("BEGIN; SELECT * FROM rows").unwrap();
        // Checks it both while the file is open, and when only its descriptors remain.
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

    pub fn writable_later(&self) {
        let permit = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        obey_permissions();
        permit(&self.file(), 0o444);
        assert!(std::fs::File::options().write(true).open(self.file()).is_err());
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

    pub fn forks_under_load(&self) {
        let sqlite = Sqlite::load();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _ends = Ends(&done);
            for writer in ["library one", "library two"] {
                let (rows, done) = (self.rows(writer), &done);
                scope.spawn(move || {
                    let mut rows = rows;
                    while !done.load(Ordering::Relaxed) {
                        self.append(&self.connection(), &mut rows);
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
        });
        drop(self.connection());
        assert!(descriptors() < 16, "{} descriptors", descriptors());
    }

    pub fn diagnose(&self) {
        assert_eq!(ofd_locks::inspect(&self.file()), None);
        let library = self.connection();
        self.append(&library, &mut self.rows("library"));
        let locks = ofd_locks::inspect(&self.file()).unwrap();
        assert_eq!(locks.kind, LockKind::OpenFileDescription);
        assert!(!locks.foreign);

        let host = Sqlite::load().open(&self.file(), 10_000);
        host.run("SELECT * FROM rows").unwrap();
        assert!(ofd_locks::foreign_sqlite(&self.file()));
        drop(host);
        assert!(!ofd_locks::foreign_sqlite(&self.file()));
        drop(library);
        assert_eq!(ofd_locks::inspect(&self.file()), None);
    }
}

/// Takes from this thread what lets root open every file, so that permissions bind it as they do
/// any owner of a file.
fn obey_permissions() {
    const VERSION: u32 = 0x2008_0522;
    const DAC_OVERRIDE: u32 = 1 << 1;
    const DAC_READ_SEARCH: u32 = 1 << 2;
    let header = [VERSION, 0];
    // Effective, permitted and inheritable: the low words of the three, then the high.
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the header and the sets have the layout of linux/capability.h, and outlive the calls.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets), 0);
        sets[0][0] &= !(DAC_OVERRIDE | DAC_READ_SEARCH);
        assert_eq!(libc::syscall(libc::SYS_capset, &raw const header, &raw const sets), 0);
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
