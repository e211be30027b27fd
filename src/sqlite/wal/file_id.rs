//! Which file is at a path, or behind a descriptor, asked for in a way that costs the next sync
//! nothing.
//!
//! Where the kernel gives a file's times in more detail once somebody has looked at them
//! (Linux 6.13 and above), each look at all of a file's metadata makes the write after it change
//! the inode too, and a sync on ext4 then writes one block more: half as long again.

use std::fs::File;
use std::io;
use std::path::Path;

/// A file's device and inode.
pub type FileId = (u64, u64);

/// Which file is at `path`, symbolic links followed.
pub fn file_id_at(path: &Path) -> io::Result<FileId> {
    #[cfg(target_os = "linux")]
    if let Some(identity) = linux::file_id_at(path)? {
        return Ok(identity);
    }
    std::fs::metadata(path).map(of)
}

/// Which file is open.
pub fn file_id_of(file: &File) -> io::Result<FileId> {
    file.metadata().map(of)
}

fn of(metadata: std::fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use crate::sqlite::wal::file_id::{FileId, Path, io};

    /// By `statx`, which is told that no time is asked for; `None`: there is none.
    pub fn file_id_at(path: &Path) -> io::Result<Option<FileId>> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a struct of integers, which may be zero.
        let mut found: libc::statx = unsafe { std::mem::zeroed() };
        let (call, place) = (libc::SYS_statx, libc::AT_FDCWD);
        // SAFETY: the path is terminated, and the struct is valid for writes. (The function of this
        // name is of glibc 2.28, and without it the whole library could not be loaded.)
        let failed = unsafe {
            libc::syscall(call, place, path.as_ptr(), 0, libc::STATX_INO, &raw mut found) != 0
        };
        if failed {
            let error = io::Error::last_os_error();
            // An older kernel, or one that is told to refuse what it knows not.
            let unknown = matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
            return if unknown { Ok(None) } else { Err(error) };
        }
        let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
        Ok(Some((device, found.stx_ino)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_itself_by_every_way_to_it() {
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
        #[cfg(target_os = "linux")]
        assert_eq!(linux::file_id_at(&at("a")).unwrap(), Some(own));
    }
}
