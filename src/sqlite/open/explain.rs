//! Errors of opening: they name the path, say what the system's reason was, and what to do.
//!
//! SQLite says "unable to open database file" for a dozen causes, and which file it means it does
//! not say. So the causes are looked for here, without opening anything: closing a file could drop
//! the locks that the process has on it.

use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rusqlite::ffi;

use crate::error::{Error, Status};
use crate::sqlite::wal::file_ops::beside;

/// The longest message that the C interface passes on.
const MAX_MESSAGE: usize = 239;
/// How much of a path a message shows at least.
const MIN_PATH: usize = 40;
/// The longest absolute path, in bytes, that SQLite opens: it keeps room for `-journal`.
pub const MAX_PATH: usize = 504;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only to read.
    Read,
    /// To append as well.
    Write,
}

/// The error with its cause, if that can be found, led by the path.
pub fn explain(error: Error, path: &Path, purpose: Purpose) -> Error {
    let error = if may_have_a_cause(&error) { with_cause(error, path, purpose) } else { error };
    name_path(error, path)
}

/// The error, its message led by the path.
pub fn name_path(error: Error, path: &Path) -> Error {
    let room = MAX_MESSAGE.saturating_sub(error.message.len() + ": ".len());
    error.at(&shown(path, room.max(MIN_PATH)))
}

/// The path for a message: on one line, and cut in the middle where it is longer than `max` bytes.
pub fn shown(path: &Path, max: usize) -> String {
    let clean = |character: char| if character.is_control() { '?' } else { character };
    let path: String = path.to_string_lossy().chars().map(clean).collect();
    if path.len() <= max {
        return path;
    }
    const GAP: &str = "...";
    let kept = max.saturating_sub(GAP.len());
    // The end tells more: the name is there.
    let is_boundary = |at: &usize| path.is_char_boundary(*at);
    let front = (0..=kept / 3).rev().find(is_boundary).unwrap_or(0);
    let back = path.len() - (kept - kept / 3);
    let back = (back..=path.len()).find(is_boundary).unwrap_or(path.len());
    format!("{}{GAP}{}", &path[..front], &path[back..])
}

/// Whether the error is of those that SQLite and the system have for many causes.
fn may_have_a_cause(error: &Error) -> bool {
    let by_sqlite = [
        ffi::SQLITE_CANTOPEN,
        ffi::SQLITE_IOERR,
        ffi::SQLITE_READONLY,
        ffi::SQLITE_PERM,
        ffi::SQLITE_AUTH,
    ];
    let by_system = [libc::EACCES, libc::EPERM, libc::EROFS, libc::EMFILE, libc::ENFILE];
    matches!(error.status, Status::Io | Status::ReadOnly)
        && (by_sqlite.contains(&(error.detail & 0xff)) || by_system.contains(&error.detail))
}

fn with_cause(error: Error, path: &Path, purpose: Purpose) -> Error {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let cause = no_descriptors()
        .or_else(|| forbidden_file(path, purpose))
        .or_else(|| forbidden_folder(path, purpose));
    match cause {
        Some(message) => Error { message, ..error },
        None => error,
    }
}

/// Opening anything at all fails.
fn no_descriptors() -> Option<Cow<'static, str>> {
    let reason = std::fs::File::open("/dev/null").err()?.raw_os_error()?;
    match reason {
        libc::EMFILE => Some(
            "this process has no file descriptors left (EMFILE): close what it does not need, or \
             raise its limit (ulimit -n)"
                .into(),
        ),
        libc::ENFILE => Some("the system has no file descriptors left (ENFILE)".into()),
        _ => None,
    }
}

/// A file of the store that this process may not use.
fn forbidden_file(database: &Path, purpose: Purpose) -> Option<Cow<'static, str>> {
    let (mode, verb) = match purpose {
        Purpose::Read => (libc::R_OK, "read"),
        Purpose::Write => (libc::R_OK | libc::W_OK, "write"),
    };
    ["", "-wal", "-shm"].into_iter().find_map(|end| {
        let file = beside(database, end);
        let metadata = std::fs::metadata(&file).ok()?;
        let reason = refused(&file, mode)?;
        let what = match end {
            "" => "the file".to_owned(),
            end => format!("the file with the ending {end}"),
        };
        let hint = match (end, purpose) {
            ("", Purpose::Write) => "grant the right, or use the option read_only",
            ("", Purpose::Read) => "grant the right",
            _ => "have its user close the store or grant the right",
        };
        // SAFETY: it cannot fail.
        let user = unsafe { libc::geteuid() };
        let owner = metadata.uid();
        Some(
            format!(
                "this process (user {user}) cannot {verb} {what}, which belongs to user {owner} \
                 ({reason}): {hint}"
            )
            .into(),
        )
    })
}

/// A folder in which the files beside the database cannot be created.
fn forbidden_folder(database: &Path, purpose: Purpose) -> Option<Cow<'static, str>> {
    let folder = folder_of(database);
    let reason = refused(&folder, libc::W_OK | libc::X_OK)?;
    Some(match purpose {
        Purpose::Write => format!(
            "its folder cannot be written ({reason}), and a store keeps its write-ahead log there: \
             grant the right to the folder, or use the option read_only"
        )
        .into(),
        // `explain_read_only` knows more.
        Purpose::Read => return None,
    })
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Why this process is refused that access; `None`: it is not, or nobody knows.
fn refused(path: &Path, mode: i32) -> Option<io::Error> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the path is terminated.
    let answer = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) };
    let error = (answer != 0).then(io::Error::last_os_error)?;
    let is_refusal = matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS));
    is_refusal.then_some(error)
}

/// Refuses what cannot be a database by its path or its kind, before SQLite sees it.
pub fn check_path(path: &Path) -> crate::error::Result<()> {
    let refuse =
        |errno: i32, message: String| Err(Error::new(Status::Io, message).with_detail(errno));
    let name = path.file_name().map_or(0, std::ffi::OsStr::len);
    if name + "-journal".len() > MAX_FILE_NAME {
        let most = MAX_FILE_NAME - "-journal".len();
        return refuse(
            libc::ENAMETOOLONG,
            format!("the name of the file has {name} bytes, and {most} are the most"),
        );
    }
    let folder = folder_of(path);
    let whole = std::path::absolute(path).map_or(0, |path| path.as_os_str().len());
    let real =
        std::fs::canonicalize(&folder).map_or(whole, |folder| folder.as_os_str().len() + 1 + name);
    if real > MAX_PATH {
        return refuse(
            libc::ENAMETOOLONG,
            format!("the path has {real} bytes, and SQLite opens {MAX_PATH} at most"),
        );
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            refuse(libc::EISDIR, "this is a folder: name a file in it".into())
        }
        Ok(metadata) => {
            let kind = metadata.file_type();
            let kind = match () {
                () if kind.is_fifo() => "a pipe",
                () if kind.is_socket() => "a socket",
                () => "a device",
            };
            refuse(libc::EINVAL, format!("this is {kind}, and a store needs a regular file"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => {
            refuse(libc::ENOENT, "its folder does not exist: create that first".into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Of the file systems of Linux (`NAME_MAX`).
const MAX_FILE_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_in_the_middle_and_between_characters() {
        let path = PathBuf::from(format!("/{}/é事件.db", "ü".repeat(200)));
        for max in 10..60 {
            let shown = shown(&path, max);
            assert!(shown.len() <= max && shown.len() + 6 > max, "{max}: {shown}");
            assert!(shown.contains("...") && shown.ends_with(".db"), "{shown}");
        }
        assert_eq!(shown(Path::new("a\nb"), 9), "a?b");
        let error = Error::new(Status::Io, "m".repeat(150));
        assert!(name_path(error, &path).message.len() <= MAX_MESSAGE);
    }
}
