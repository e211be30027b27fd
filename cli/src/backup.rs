//! `dcb backup` and `dcb restore`: consistent copies of a store that is one file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dcb::{BackupProgress, CallOptions, Options};

use crate::exit::Failure;
use crate::progress::{Progress, Unit};
use crate::signals;
use crate::store::{self, StoreArgument};

/// What to copy, and where to.
#[derive(clap::Args)]
#[command(allow_missing_positional = true)]
pub struct BackupArguments {
    #[command(flatten)]
    store: StoreArgument,
    /// The file to create
    file: PathBuf,
}

/// What to restore, and where to.
#[derive(clap::Args)]
pub struct RestoreArguments {
    /// A file that `dcb backup` made
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgument,
}

/// Copies a store to a new file while others read and write, and prints the number of its events.
pub fn backup(arguments: &BackupArguments) -> Result<(), Failure> {
    let uri = &arguments.store.uri;
    if store::is_postgres(uri) {
        return Err(Failure::usage(
            "PostgreSQL has its own tools: pg_dump --schema copies the store, pg_basebackup the \
             server; dcb copy copies the events to a file of SQLite",
        ));
    }
    copy(arguments.store.open_to_read()?, &path_in(&arguments.file)?)
}

/// Returns the path of a backup, which may be given as the URI of the store that it is.
fn path_in(file: &Path) -> Result<PathBuf, Failure> {
    match file.to_str().filter(|text| store::is_uri(text)) {
        Some(uri) => store::path_of(uri).ok_or_else(|| {
            Failure::usage(format!(
                "{}: a backup is a file: for another store use dcb copy",
                store::shown(uri)
            ))
        }),
        None => Ok(file.to_owned()),
    }
}

/// Copies a backup to a new store, and prints the number of its events.
pub fn restore(arguments: &RestoreArguments) -> Result<(), Failure> {
    let uri = &arguments.store.uri;
    let Some(path) = store::path_of(uri) else {
        return Err(Failure::usage(format!(
            "{}: a backup becomes a file, such as sqlite:events.db; for another store use dcb copy",
            store::shown(uri)
        )));
    };
    let backup = path_in(&arguments.file)?;
    let Some(file) = backup.to_str() else {
        return Err(Failure::usage("the path of the backup is not valid UTF-8"));
    };
    if !backup.exists() {
        return Err(Failure::not_found(format!("{file}: no such file")));
    }
    // Nobody writes to a backup.
    let options = Options { immutable: true, create: false, ..Options::default() };
    copy(store::open(&format!("sqlite:{file}"), &options)?, &path)
}

fn copy(source: store::OpenStore, path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!(
            "{}: there is a file already, and it is not replaced: name a new one, or move that away",
            path.display()
        )));
    }
    let call = CallOptions { cancel: Some(signals::stop_token()?), ..CallOptions::default() };
    let bar = Progress::new("copying", Unit::Bytes, Some(0));
    let mut show = |progress: BackupProgress| {
        // The pages of a store have 4,096 bytes.
        bar.set_total(progress.total_pages.unsigned_abs() * 4_096);
        bar.reach(progress.done_pages.unsigned_abs() * 4_096);
        Ok(())
    };
    let events = source.backup(path, &call, &mut show)?;
    drop(bar);
    writeln!(io::stdout(), "{events}")?;
    Ok(())
}
