//! What is done to the files of a database beside SQLite.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Status};

/// Writes what is in the file once more.
pub fn write_again(file: &File) -> Result<()> {
    let mut piece = vec![0; 256 * 1024];
    let mut at = 0;
    loop {
        let count = file.read_at(&mut piece, at)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all_at(&piece[..count], at)?;
        at += count as u64;
    }
}

/// The answer of whoever finds another file where the store's was, or none.
pub fn replaced() -> Error {
    Error::new(
        Status::Io,
        "the database or its log was moved, replaced or deleted while the store was open",
    )
}

/// Makes the entries of a file's folder durable, so that the file is found after a power failure.
pub fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// The path of the file beside a database whose name ends with `end`.
pub fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
