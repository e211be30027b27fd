//! The room that a store takes on the disk.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Place;

/// The bytes of an event in the file, its part of the index included, and room for merges.
const EVENT_BYTES: u64 = 480;
/// The WAL at its maximum length, and what the measurements append.
const FIXED_BYTES: u64 = 2 << 30;

/// Refuses to begin where the file system lacks the room.
pub fn check(place: &Place) -> Result<(), String> {
    // The folder is made later: its nearest ancestor that is there lies on the same file system.
    let existing = place.folder.ancestors().find(|folder| folder.exists());
    let existing = existing.unwrap_or_else(|| Path::new("."));
    let free = free_bytes(existing)?;
    let needed = needed(place.events).saturating_sub(place.database_bytes());
    if free >= needed {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    Err(format!(
        "{} events need {:.1} GiB more in {}, which has {:.1} GiB: choose another folder with --data, or fewer events",
        place.events,
        gib(needed),
        place.folder.display(),
        gib(free)
    ))
}

fn needed(events: u64) -> u64 {
    // A smoke test is not to need gigabytes.
    events * EVENT_BYTES + FIXED_BYTES.min(events * EVENT_BYTES)
}

/// What a program that is not root may still write.
pub fn free_bytes(folder: &Path) -> Result<u64, String> {
    let path = CString::new(folder.as_os_str().as_bytes()).expect("a path without NUL");
    let mut status = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is terminated and the output valid; it is read only if it was filled.
    let status = unsafe {
        if libc::statvfs(path.as_ptr(), status.as_mut_ptr()) != 0 {
            let error = std::io::Error::last_os_error();
            return Err(format!("{}: {error}", folder.display()));
        }
        status.assume_init()
    };
    Ok(status.f_bavail * status.f_frsize)
}

/// The bytes of the database's pages that hold the index, and of those that hold nothing.
pub fn index_and_free(database: &Path) -> (u64, u64) {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the database to be read");
    let number = |sql: &str| {
        connection.query_row(sql, (), |row| row.get::<_, i64>(0)).expect("a number").cast_unsigned()
    };
    let bytes_of = |table: &str| {
        number(&format!(
            "SELECT sum(pgsize) FROM dbstat WHERE name = '{table}' AND aggregate = TRUE"
        ))
    };
    let tables = [
        "dcb_segments",
        "dcb_postings",
        "sqlite_autoindex_dcb_postings_1",
        "dcb_filters",
        "sqlite_autoindex_dcb_filters_1",
    ];
    let index = tables.into_iter().map(bytes_of).sum();
    (index, number("PRAGMA freelist_count") * number("PRAGMA page_size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_room_does_not_begin() {
        let folder = std::env::temp_dir().join("never-made/scale-1");
        let error = check(&Place { folder: folder.clone(), events: 1 << 50 }).unwrap_err();
        assert!(error.contains("GiB more"), "{error}");
        assert!(!folder.exists());
    }

    #[test]
    fn room_is_in_proportion() {
        assert_eq!(needed(100_000_000), 100_000_000 * EVENT_BYTES + FIXED_BYTES);
        assert!(needed(10_000) < 16 << 20);
    }
}
