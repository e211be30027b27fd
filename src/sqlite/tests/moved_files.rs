//! Files that are replaced, linked, mounted or write-protected.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::Status;
use crate::position::at;

#[test]
fn a_file_replaced_under_an_open_store_is_reported() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let other = Fixture::new();
    append(&other.store, vec![event("B", &[]), event("B", &[])], None).unwrap();
    other.store.close();
    std::fs::rename(other.path(), fixture.path()).unwrap();
    let request = ReadRequest::new(Query::all(), at(0), None, None, Direction::Forward);
    let error = positions(&fixture.store, request).unwrap_err();
    assert_eq!(error.status, Status::Io);
    assert!(error.message.contains("replaced"), "{error}");
}

#[test]
fn a_file_without_write_permission_opens_only_read_only() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    std::fs::set_permissions(fixture.path(), PermissionsExt::from_mode(0o444)).unwrap();
    bound_by_permissions(|| {
        assert!(std::fs::File::options().write(true).open(fixture.path()).is_err());
        let open = |options: Options| SqliteStore::open(Location::File(fixture.path()), &options);
        assert_eq!(open(Options::default()).unwrap_err().status, Status::ReadOnly);
        let store = open(Options { read_only: true, ..Options::default() }).unwrap();
        assert_eq!(all(&store, Query::all()), [1]);
    });
}

/// Runs `run` on a new thread without the capabilities that let root open every file, so that file
/// permissions apply to it.
fn bound_by_permissions(run: impl FnOnce() + Send) {
    const VERSION: u32 = 0x2008_0522;
    const DAC_OVERRIDE: u32 = 1 << 1;
    const DAC_READ_SEARCH: u32 = 1 << 2;
    thread::scope(|scope| {
        scope.spawn(|| {
            let header = [VERSION, 0];
            // The low words of the effective, permitted and inheritable sets, then the high words.
            let mut sets = [[0_u32; 3]; 2];
            // SAFETY: the arguments are laid out as in linux/capability.h and outlive the calls.
            unsafe {
                assert_eq!(libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets), 0);
                sets[0][0] &= !(DAC_OVERRIDE | DAC_READ_SEARCH);
                assert_eq!(libc::syscall(libc::SYS_capset, &raw const header, &raw const sets), 0);
            }
            run();
        });
    });
}

#[test]
fn a_path_may_contain_any_characters() {
    let folder = TempDir::new().unwrap();
    let names = ["two words", "Zoë's 事件.db", "50%20?mode=ro#x&y", "a\nb\"c", ":memory:", "-wal"];
    for name in names {
        let path = folder.path().join(name);
        let store = open(path.clone());
        append(&store, vec![event("A", &[])], None).unwrap();
        store.close();
        assert!(path.is_file(), "{name}");
        assert_eq!(all(&open(path.clone()), Query::all()), [1], "{name}");
        for options in [
            Options { read_only: true, ..Options::default() },
            Options { read_only: true, immutable: true, ..Options::default() },
        ] {
            let store = SqliteStore::open(Location::File(path.clone()), &options).unwrap();
            assert_eq!(all(&store, Query::all()), [1], "{name}");
        }
    }
    // The readers may leave the WAL and the shared memory behind, but no other file.
    let ours = |left: &str| {
        let suffixes = ["", "-wal", "-shm"];
        names.iter().any(|name| suffixes.iter().any(|suffix| left == format!("{name}{suffix}")))
    };
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let left = entry.unwrap().file_name().into_string().unwrap();
        assert!(ours(&left), "{left}");
    }
}

#[test]
fn paths_through_symbolic_links_open_the_same_store() {
    let fixture = Fixture::new();
    let links = TempDir::new().unwrap();
    let (to_file, to_folder) = (links.path().join("file"), links.path().join("folder"));
    std::os::unix::fs::symlink(fixture.path(), &to_file).unwrap();
    std::os::unix::fs::symlink(fixture.folder.path(), &to_folder).unwrap();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    // All are open at once, so each must use the same WAL, which is next to the file itself.
    let others = [open(to_file), open(to_folder.join("events.db"))];
    for (index, store) in others.iter().enumerate() {
        assert_eq!(append(store, vec![event("B", &[])], None), Ok(2 + index as i64));
        assert_eq!(fixture.store.head(&CallOptions::default()), Ok(at(2 + index as i64)));
    }
    assert_eq!(all(&fixture.store, Query::all()), [1, 2, 3]);
    let beside_links = std::fs::read_dir(links.path()).unwrap().count();
    assert_eq!(beside_links, 2);
}

#[test]
fn a_dangling_symbolic_link_creates_its_target() {
    let folder = TempDir::new().unwrap();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let store = open(link);
    assert_eq!(append(&store, vec![event("A", &[])], None), Ok(1));
    store.close();
    assert!(target.is_file());
}

#[test]
fn a_file_with_a_wal_or_journal_is_not_opened_as_immutable() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    let folder = TempDir::new().unwrap();
    let at = |end: &str| folder.path().join(format!("copy.db{end}"));
    for end in ["", "-wal"] {
        let from = fixture.folder.path().join(format!("events.db{end}"));
        std::fs::copy(from, at(end)).unwrap();
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(at(""), &link).unwrap();
    let open = |path: &Path, immutable| {
        let options = Options { read_only: true, immutable, ..Options::default() };
        SqliteStore::open(Location::File(path.to_owned()), &options)
    };
    for path in [&at(""), &link] {
        let error = open(path, true).unwrap_err();
        assert_eq!(error.status, Status::InvalidArgument);
        assert!(error.message.contains("-wal"), "{error}");
    }
    assert_eq!(all(&open(&at(""), false).unwrap(), Query::all()), [1]);
    std::fs::remove_file(at("-wal")).unwrap();
    assert!(all(&open(&at(""), true).unwrap(), Query::all()).is_empty());
    for (journal, is_open) in [(&b""[..], true), (b"\0\0\0", true), (b"\xd9\xd5", false)] {
        std::fs::write(at("-journal"), journal).unwrap();
        assert_eq!(open(&at(""), true).is_ok(), is_open, "{journal:?}");
    }
}

fn try_open(path: &Path, options: &Options) -> Result<SqliteStore> {
    SqliteStore::open(Location::File(path.to_owned()), options)
}

/// SQLite would use a separate WAL for each name of the file.
#[test]
fn a_file_with_two_hard_links_is_rejected() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    let second = fixture.folder.path().join("second.db");
    std::fs::hard_link(fixture.path(), &second).unwrap();
    let read_only = Options { read_only: true, ..Options::default() };
    let immutable = Options { immutable: true, ..read_only.clone() };
    for path in [fixture.path(), second.clone()] {
        for options in [&Options::default(), &read_only] {
            let error = try_open(&path, options).unwrap_err();
            assert_eq!((error.status, error.detail), (Status::Io, libc::EMLINK), "{error}");
            assert!(error.message.contains("2 names"), "{error}");
        }
        assert_eq!(all(&try_open(&path, &immutable).unwrap(), Query::all()), [1]);
    }
    let beside = std::fs::read_dir(fixture.folder.path()).unwrap().count();
    assert_eq!(beside, 2, "a WAL was created");
    std::fs::remove_file(&second).unwrap();
    assert_eq!(append(&open(fixture.path()), vec![event("B", &[])], None), Ok(2));
}

#[test]
fn a_new_hard_link_stops_appends_until_it_is_removed() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    append(store, vec![event("A", &[])], None).unwrap();
    let second = fixture.folder.path().join("second.db");
    std::fs::hard_link(fixture.path(), &second).unwrap();
    // This append notices the second name. It is durable all the same, in the WAL of the name by
    // which the store was opened.
    assert_eq!(append(store, vec![event("B", &[])], None), Ok(2));
    let error = append(store, vec![event("C", &[])], None).unwrap_err();
    assert_eq!((error.status, error.detail), (Status::Io, libc::EMLINK), "{error}");
    assert_eq!(all(store, Query::all()), [1, 2]);
    let failure = store.diagnose(&CallOptions::default()).unwrap().sqlite.unwrap().failure;
    assert!(failure.is_some_and(|failure| failure.contains("2 names")));
    std::fs::remove_file(&second).unwrap();
    assert_eq!(append(store, vec![event("C", &[])], None), Ok(3));
}

/// SQLite would use a separate WAL for the second path of a file that is mounted by itself.
#[test]
fn a_bind_mounted_file_is_rejected_at_its_second_path() {
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    fixture.store.close();
    let target = fixture.folder.path().join("mounted.db");
    std::fs::write(&target, "").unwrap();
    let run = |command: &str, arguments: &[&Path]| {
        let command = std::process::Command::new(command).args(arguments).output();
        command.is_ok_and(|output| output.status.success())
    };
    if !run("mount", &[Path::new("--bind"), &fixture.path(), &target]) {
        eprintln!("skipped: this user may not mount");
        return;
    }
    let error = try_open(&target, &Options::default()).err();
    let own = try_open(&fixture.path(), &Options::default()).map(drop);
    assert!(run("umount", &[&target]));
    let error = error.expect("opened by its second path");
    assert_eq!((error.status, error.detail), (Status::Io, libc::EMLINK), "{error}");
    assert!(error.message.contains("mounted by itself"), "{error}");
    assert_eq!(own, Ok(()));
}
