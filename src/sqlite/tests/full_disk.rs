//! Stores on a disk that has no space left, or little.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use super::*;
use crate::Status;
use crate::position::at;

/// A small file system in memory, mounted on a temporary folder and unmounted on drop.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts a file system of `size`. Returns `None` if this user may not mount one.
    fn new(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(folder));
        }
        eprintln!("skipped: this user may not mount a disk");
        None
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fills the disk with a file of this name, except for `left` bytes.
    fn fill(&self, name: &str, left: usize) {
        let path = self.at(name);
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(left as u64)).unwrap();
    }

    /// Returns the length of a file, 0 if it does not exist.
    fn len(&self, name: &str) -> u64 {
        std::fs::metadata(self.at(name)).map_or(0, |file| file.len())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn try_open(path: PathBuf, read_only: bool) -> Result<SqliteStore> {
    SqliteStore::open(Location::File(path), &Options { read_only, ..Options::default() })
}

#[test]
fn a_full_disk_is_reported_and_its_store_can_be_read() {
    let Some(disk) = SmallDisk::new("2m") else { return };
    let path = disk.at("events.db");
    append(&open(path.clone()), vec![event("A", &[])], None).unwrap();
    disk.fill("filler", 0);
    let error = try_open(path.clone(), false).unwrap_err();
    assert_eq!(error.status, Status::Full, "{error}");
    assert!(error.message.contains("events.db: "), "{error}");
    let reader = try_open(path.clone(), true).unwrap();
    assert_eq!(all(&reader, Query::all()), [1]);
    // The reader also sees what a writer stores later.
    std::fs::remove_file(disk.at("filler")).unwrap();
    let writer = open(path);
    assert_eq!(append(&writer, vec![event("B", &[])], None), Ok(2));
    assert_eq!(all(&reader, Query::all()), [1, 2]);
}

/// A crash on a full disk leaves a database and a WAL, and no space to create the WAL-index.
#[test]
fn a_wal_without_a_wal_index_can_be_read_on_a_full_disk() {
    let Some(disk) = SmallDisk::new("2m") else { return };
    let fixture = Fixture::new();
    append(&fixture.store, vec![event("A", &[])], None).unwrap();
    for end in ["", "-wal"] {
        let name = format!("events.db{end}");
        std::fs::copy(fixture.folder.path().join(&name), disk.at(&name)).unwrap();
    }
    disk.fill("filler", 0);
    let reader = try_open(disk.at("events.db"), true).unwrap();
    assert_eq!(all(&reader, Query::all()), [1]);
    assert_eq!(reader.head(&CallOptions::default()), Ok(at(1)));
}

#[test]
fn no_wal_is_preallocated_on_an_almost_full_disk() {
    let Some(disk) = SmallDisk::new("2m") else { return };
    let path = disk.at("events.db");
    append(&open(path.clone()), vec![event("A", &[])], None).unwrap();
    disk.fill("filler", 924 * 1024);
    let store = open(path.clone());
    for _ in 0..10 {
        append(&store, vec![event("A", &[])], None).unwrap();
    }
    assert!(disk.len("events.db-wal") < 512 * 1024, "{}", disk.len("events.db-wal"));
    store.close();
    assert_eq!(append(&open(path), vec![event("A", &[])], None), Ok(12));
}

#[test]
fn preallocated_wal_is_released_once_the_disk_is_full() {
    let Some(disk) = SmallDisk::new("80m") else { return };
    let path = disk.at("events.db");
    let store = open(path.clone());
    append(&store, vec![event("A", &[])], None).unwrap();
    append(&store, vec![event("A", &[])], None).unwrap();
    assert!(disk.len("events.db-wal") > 1024 * 1024);
    disk.fill("filler", 0);
    // This append is longer than the preallocated part, so it would have to grow the WAL.
    let large = vec![event("Large", &["x".repeat(250)]); 8_000];
    assert_eq!(append(&store, large, None).unwrap_err().status, Status::Full);
    assert!(disk.len("events.db-wal") < 256 * 1024, "{}", disk.len("events.db-wal"));
    assert_eq!(append(&store, vec![event("B", &[])], None), Ok(3));
    store.close();
    // The released space was enough to checkpoint the whole WAL.
    assert_eq!(disk.len("events.db-wal"), 0);
    assert_eq!(all(&try_open(path, true).unwrap(), Query::all()), [1, 2, 3]);
}
