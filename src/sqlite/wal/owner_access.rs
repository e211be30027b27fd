//! The WAL and the WAL-index of a database that another user owns.
//!
//! SQLite has whoever opens a database first create both, also to read it. Created by a user who is
//! not the database's owner, they would lock the owner out: as root SQLite gives them to the owner,
//! any other user cannot. So such a user creates them here first, with an access control list by
//! which the owner can write them and everybody else can do with them what they can do with the
//! database, or does not open the database at all.

#[cfg(target_os = "linux")]
use std::collections::BTreeMap;
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
        create_usable(&path, &database, &metadata, user)?;
    }
    Ok(())
}

/// Creates a file that holds nothing and that the owner of the database can write from the first
/// moment on.
fn create_usable(path: &Path, database: &Path, metadata: &Metadata, user: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let draft = match create_draft(folder) {
        // SQLite can create nothing here either. What it says then is explained where it is opened.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EROFS)) => {
            return Ok(());
        }
        draft => draft?,
    };
    let given =
        lengthen(&draft).and_then(|()| give_access(&draft, folder, database, metadata, user));
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
        metadata.uid()
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
fn give_access(
    path: &Path,
    folder: &Path,
    database: &Path,
    metadata: &Metadata,
    user: u32,
) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    // Works where the user is in that group.
    let _ = std::os::unix::fs::lchown(path, None, Some(metadata.gid()));
    std::fs::set_permissions(path, PermissionsExt::from_mode(metadata.mode() & 0o777))?;
    let folder = std::fs::metadata(folder)?;
    // There, Linux opens a file of another user only if it is the folder's owner
    // (fs.protected_regular).
    let is_protected = folder.mode() & libc::S_ISVTX != 0 && folder.mode() & 0o022 != 0;
    if is_protected && folder.uid() != user {
        return Ok(false);
    }
    let is_set = set_access_list(path, database, metadata).is_ok();
    Ok(is_set || metadata.mode() & 0o006 == 0o006)
}

/// An entry of an access control list, acl(5): its kind, the user or group, and the permissions.
#[cfg(target_os = "linux")]
type AccessEntry = (u16, u32, u16);

#[cfg(target_os = "linux")]
const ACCESS_LIST: &std::ffi::CStr = c"system.posix_acl_access";

/// The kinds of entries, in the order of a list. The mask bounds all but the first and the last.
#[cfg(target_os = "linux")]
mod kind {
    pub const OWN_USER: u16 = 0x01;
    pub const USER: u16 = 0x02;
    pub const OWN_GROUP: u16 = 0x04;
    pub const GROUP: u16 = 0x08;
    pub const MASK: u16 = 0x10;
    pub const OTHERS: u16 = 0x20;
}

/// The user or the group of an entry that names none.
#[cfg(target_os = "linux")]
const UNNAMED: u32 = u32::MAX;

/// Gives everybody the rights that they have on the database, and its owner the right to read and
/// write. The file may have another group than the database, and its own group gets nothing then.
#[cfg(target_os = "linux")]
fn set_access_list(path: &Path, database: &Path, metadata: &Metadata) -> io::Result<()> {
    let has_its_group = std::fs::metadata(path)?.gid() == metadata.gid();
    let mut list = BTreeMap::new();
    let mut add = |kind, id, permissions| *list.entry((kind, id)).or_default() |= permissions;
    for (kind, id, permissions) in access_list_of(database, metadata)? {
        match kind {
            kind::USER if id == metadata.uid() => {}
            kind::OWN_GROUP if !has_its_group => {
                add(kind::OWN_GROUP, UNNAMED, 0);
                add(kind::GROUP, metadata.gid(), permissions);
            }
            kind::MASK => {}
            _ => add(kind, id, permissions),
        }
    }
    add(kind::USER, metadata.uid(), 0o6);
    // Wide enough for all that it bounds.
    let mask = list.values().fold(0, |mask, permissions| mask | permissions);
    list.insert((kind::MASK, UNNAMED), mask);
    write_access_list(path, &list)
}

/// Returns who may do what with the database: its access control list with the mask applied to each
/// entry, or its mode.
#[cfg(target_os = "linux")]
fn access_list_of(path: &Path, metadata: &Metadata) -> io::Result<Vec<AccessEntry>> {
    let path = c_path(path)?;
    let mut bytes = vec![0; 65_536];
    // SAFETY: both strings are terminated, and the buffer is as long as it says.
    let len = unsafe {
        libc::getxattr(path.as_ptr(), ACCESS_LIST.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len())
    };
    let Ok(len) = usize::try_from(len) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENODATA) => Ok(entries_of_mode(metadata.mode())),
            _ => Err(error),
        };
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let entries: Vec<AccessEntry> = bytes[4.min(len)..len]
        .chunks_exact(8)
        .map(|entry| (number(&entry[..2]) as u16, number(&entry[4..]), number(&entry[2..4]) as u16))
        .collect();
    let mask = entries.iter().find(|(kind, ..)| *kind == kind::MASK).map_or(0o7, |entry| entry.2);
    let bounded = |(kind, id, permissions): AccessEntry| match kind {
        kind::OWN_USER | kind::OTHERS => (kind, id, permissions),
        _ => (kind, id, permissions & mask),
    };
    Ok(entries.into_iter().map(bounded).collect())
}

/// Returns the access control list that says the same as a mode.
#[cfg(target_os = "linux")]
fn entries_of_mode(mode: u32) -> Vec<AccessEntry> {
    let bits = |shift: u32| (mode >> shift & 0o7) as u16;
    vec![
        (kind::OWN_USER, UNNAMED, bits(6)),
        (kind::OWN_GROUP, UNNAMED, bits(3)),
        (kind::OTHERS, UNNAMED, bits(0)),
    ]
}

/// Sets an access control list, in the form of `linux/posix_acl_xattr.h`.
#[cfg(target_os = "linux")]
fn write_access_list(path: &Path, entries: &BTreeMap<(u16, u32), u16>) -> io::Result<()> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for ((kind, id), permissions) in entries {
        list.extend(kind.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let path = c_path(path)?;
    // SAFETY: both strings are terminated, and the list is as long as it says.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), ACCESS_LIST.as_ptr(), list.as_ptr().cast(), list.len(), 0)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn set_access_list(_: &Path, _: &Path, _: &Metadata) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
