//! What the disk alone costs.

use std::ffi::CString;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::measure::{Clock, Sample, timed};

/// Whether files in this folder are kept in memory, where being durable costs nothing.
pub fn is_memory(folder: &Path) -> bool {
    let path = CString::new(folder.as_os_str().as_bytes()).expect("a path without NUL");
    let mut status = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is terminated and the output valid; it is read only if it was filled.
    let kind = unsafe {
        assert_eq!(libc::statfs(path.as_ptr(), status.as_mut_ptr()), 0, "statfs of the folder");
        status.assume_init().f_type
    };
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    [libc::TMPFS_MAGIC, RAMFS_MAGIC].contains(&kind)
}

/// Overwrites a block of 4 KiB and syncs it, again and again: the least that a durable append
/// can take.
pub fn sync(folder: &Path, time: Duration) -> Sample {
    let path = folder.join("block");
    let file = File::options().create(true).truncate(true).write(true).open(&path).expect("a file");
    let write = |byte: u8| {
        file.write_all_at(&[byte; 4096], 0).expect("a write");
        file.sync_data().expect("a sync");
    };
    write(0);
    let (clock, mut latencies) = (Clock::start(), Vec::new());
    while latencies.is_empty() || clock.elapsed() < time {
        latencies.push(timed(|| write(latencies.len() as u8)).1);
    }
    let sample = clock.sample(latencies.len() as u64, latencies);
    std::fs::remove_file(path).expect("the file to be gone");
    sample
}
