//! Which file is at a path, or behind a descriptor, asked for in a way that costs the next sync
//! nothing.
//!
//! Where the kernel gives a file's times in more detail once somebody has looked at them
//! (Linux 6.13 and above), each look at all of a file's metadata makes the write after it change
//! the inode too, and a sync on ext4 then writes one block more: half as long again.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result, Status};

/// A file's device and inode.
pub type FileId = (u64, u64);

/// The file at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its device and inode.
    pub identity: FileId,
    /// How many hard links it has.
    pub links: u64,
    /// Whether it is mounted by itself. Linux can tell since 5.8.
    pub is_mount_point: bool,
}

impl Found {
    /// Returns `io` with EMLINK if the file has another name by which SQLite would give it a second
    /// WAL: SQLite derives the path of the WAL from the path of the database.
    pub fn check_single_name(&self) -> Result<()> {
        let message = if self.links > 1 {
            format!(
                "the file has {} names (hard links), and SQLite would keep a write-ahead log for \
                 each of them: remove the other names (find -samefile lists them)",
                self.links
            )
        } else if self.is_mount_point {
            "the file is mounted by itself, and by its other path it would have another \
             write-ahead log: mount its folder instead of the file"
                .into()
        } else {
            return Ok(());
        };
        Err(Error::new(Status::Io, message).with_detail(libc::EMLINK))
    }
}

/// Looks up the file at `path`, following symbolic links.
pub fn find(path: &Path) -> io::Result<Found> {
    #[cfg(target_os = "linux")]
    if let Some(found) = linux::find(path)? {
        return Ok(found);
    }
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path)?;
    Ok(Found { links: metadata.nlink(), identity: of(&metadata), is_mount_point: false })
}

/// Returns the identity of the file at `path`, following symbolic links.
pub fn file_id_at(path: &Path) -> io::Result<FileId> {
    find(path).map(|found| found.identity)
}

/// Which file is open.
pub fn file_id_of(file: &File) -> io::Result<FileId> {
    file.metadata().map(|metadata| of(&metadata))
}

/// Which file this is of.
pub fn of(metadata: &std::fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use crate::sqlite::wal::file_id::{Found, Path, io};

    /// `STATX_ATTR_MOUNT_ROOT`, as a field of `statx` that is 64 bits wide everywhere.
    const MOUNT_ROOT: u64 = 0x2000;

    /// Asks `statx` for everything but times; `None` if the kernel does not have it.
    pub fn find(path: &Path) -> io::Result<Option<Found>> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a struct of integers, which may be zero.
        let mut found: libc::statx = unsafe { std::mem::zeroed() };
        let (call, place) = (libc::SYS_statx, libc::AT_FDCWD);
        let wanted = libc::STATX_INO | libc::STATX_NLINK;
        // SAFETY: the path is terminated, and the struct is valid for writes. (The function of this
        // name is of glibc 2.28, and without it the whole library could not be loaded.)
        let failed =
            unsafe { libc::syscall(call, place, path.as_ptr(), 0, wanted, &raw mut found) != 0 };
        if failed {
            let error = io::Error::last_os_error();
            // An older kernel, or one that is told to refuse what it knows not.
            let unknown = matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
            return if unknown { Ok(None) } else { Err(error) };
        }
        let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
        Ok(Some(Found {
            identity: (device, found.stx_ino),
            links: found.stx_nlink.into(),
            is_mount_point: found.stx_attributes & MOUNT_ROOT != 0,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_to_a_file_gives_the_same_id() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let file = File::create(at("a")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        std::fs::hard_link(at("a"), at("second")).unwrap();
        std::fs::write(at("other"), "").unwrap();
        let own = file_id_of(&file).unwrap();
        for same in ["a", "link", "second"] {
            assert_eq!(file_id_at(&at(same)).unwrap(), own, "{same}");
        }
        assert_ne!(file_id_at(&at("other")).unwrap(), own);
        assert_eq!(file_id_at(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(file_id_at(Path::new("a\0b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(find(&at("link")).unwrap().links, 2);
        #[cfg(target_os = "linux")]
        assert_eq!(linux::find(&at("a")).unwrap(), Some(find(&at("second")).unwrap()));
    }
}
