//! The WAL and the WAL-index of a database that another user owns.
//!
//! SQLite has whoever opens a database first create both, also to read it. Created by a user who is
//! not the database's owner, they would lock the owner out: as root SQLite gives them to the owner,
//! any other user cannot. So such a user creates them here first, with an access control list by
//! which the owner can write them, or does not open the database at all.

use std::ffi::CString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::{Error, Result, Status};
use crate::sqlite::connection::{Location, OpenMode, connect};
use crate::sqlite::wal::file_ops::beside;
use crate::sqlite::wal::wal_index::is_in_wal_mode;

/// Creates what is missing of the WAL and its index beside `database`, if that is in WAL mode and
/// belongs to another user, who will be able to use them.
pub fn create_for_owner(database: &Path) -> Result<()> {
    let metadata = std::fs::metadata(database)?;
    // SAFETY: it cannot fail.
    let user = unsafe { libc::geteuid() };
    if user == 0 || user == metadata.uid() {
        return Ok(());
    }
    let database = std::fs::canonicalize(database)?;
    let missing: Vec<PathBuf> = ["-wal", "-shm"]
        .map(|end| beside(&database, end))
        .into_iter()
        .filter(|path| !path.exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    // Without looking beside the file. What cannot be read is judged, and refused, later.
    let alone = connect(&Location::File(database.clone()), OpenMode::Immutable);
    if !alone.is_ok_and(|alone| is_in_wal_mode(&alone)) {
        return Ok(());
    }
    for path in missing {
        create_usable(&path, &metadata, user)?;
    }
    Ok(())
}

/// Creates a file that holds nothing and that the owner of the database can write from the first
/// moment on.
fn create_usable(path: &Path, database: &Metadata, user: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let draft = create_draft(folder)?;
    let given = lengthen(&draft).and_then(|()| give_access(&draft, folder, database, user));
    let done = given.and_then(|is_usable| {
        if !is_usable {
            return Ok(false);
        }
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(true),
        }
    });
    std::fs::remove_file(&draft)?;
    if done? {
        return Ok(());
    }
    let message = format!(
        "the file belongs to user {}, who could not use a write-ahead log that this user ({user}) \
         creates: open the file while its owner has it open, or with the option immutable if \
         nobody writes it",
        database.uid()
    );
    Err(Error::new(Status::ReadOnly, message).with_detail(libc::EACCES))
}

/// Creates a file that nobody else knows. It is never opened: closing it could drop locks.
fn create_draft(folder: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let name = format!(".dcb-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = folder.join(name);
        let raw = c_path(&path)?;
        // SAFETY: the path is terminated.
        if unsafe { libc::mknod(raw.as_ptr(), libc::S_IFREG | 0o600, 0) } == 0 {
            return Ok(path);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
    }
}

/// Makes the file so long that SQLite does not set the mode of an empty file, which would take the
/// rights away again. A WAL shorter than its header is empty all the same, and so is the index.
fn lengthen(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is terminated.
    let set = unsafe { libc::truncate(path.as_ptr(), 3) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the file the rights that the database has, and its owner the right to write it. Returns
/// whether the owner can use it.
fn give_access(path: &Path, folder: &Path, database: &Metadata, user: u32) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    // Works where the user is in that group; nothing depends on it.
    let _ = std::os::unix::fs::lchown(path, None, Some(database.gid()));
    std::fs::set_permissions(path, PermissionsExt::from_mode(database.mode() & 0o777))?;
    let folder = std::fs::metadata(folder)?;
    // There, Linux opens a file of another user only if it is the folder's owner
    // (fs.protected_regular).
    let is_protected = folder.mode() & libc::S_ISVTX != 0 && folder.mode() & 0o022 != 0;
    if is_protected && folder.uid() != user {
        return Ok(false);
    }
    Ok(database.mode() & 0o006 == 0o006 || set_access_list(path, database).is_ok())
}

/// Sets an access control list with the permissions of the database, and read and write for its
/// owner: acl(5), in the form of `linux/posix_acl_xattr.h`.
#[cfg(target_os = "linux")]
fn set_access_list(path: &Path, database: &Metadata) -> io::Result<()> {
    const UNDEFINED: u32 = u32::MAX;
    let mode = database.mode();
    let bits = |shift: u32| (mode >> shift & 0o7) as u16;
    let (read_write, mask) = (0o6, bits(3) | 0o6);
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01_u16, bits(6), UNDEFINED),
        (0x02, read_write, database.uid()),
        (0x04, bits(3), UNDEFINED),
        (0x10, mask, UNDEFINED),
        (0x20, bits(0), UNDEFINED),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let (path, name) = (c_path(path)?, c"system.posix_acl_access");
    // SAFETY: both strings are terminated, and the list is as long as it says.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), list.as_ptr().cast(), list.len(), 0)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn set_access_list(_: &Path, _: &Metadata) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
