//! The store of a measurement.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use crate::exit::Failure;
use crate::store;

/// A store to measure. Files that are made for it are removed when the value is dropped.
pub struct Scratch {
    uri: String,
    /// The file, if it was not there before.
    made: Option<PathBuf>,
}

/// The schema on a PostgreSQL server, unless the URI names one.
const SCHEMA: &str = "dcb_bench";

impl Scratch {
    /// Returns the store that a URI names, or a new file in the current folder. Nothing is created yet.
    pub fn new(uri: Option<&str>) -> Result<Self, Failure> {
        let uri = match uri {
            Some(uri) if store::is_postgres(uri) => match store::split_schema(uri)? {
                (_, Some(_)) => uri.to_owned(),
                (rest, None) => {
                    let mark = if rest.contains('?') { '&' } else { '?' };
                    format!("{rest}{mark}schema={SCHEMA}")
                }
            },
            Some(uri) => uri.to_owned(),
            None => format!("sqlite:dcb-bench-{}.db", std::process::id()),
        };
        let made = store::path_of(&uri).filter(|path| path.symlink_metadata().is_err());
        Ok(Scratch { uri, made })
    }

    /// Returns the URI of the store.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns what to say about a store that the command cannot remove.
    pub fn stays(&self) -> Option<String> {
        if !store::is_postgres(&self.uri) {
            return None;
        }
        let (_, schema) = store::split_schema(&self.uri).ok()?;
        let schema = schema?;
        Some(format!(
            "the schema stays: DROP SCHEMA {schema} CASCADE removes it with all of its events"
        ))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(path) = &self.made else { return };
        for suffix in ["", "-wal", "-shm"] {
            let mut file: OsString = path.clone().into();
            file.push(suffix);
            // One of them may not be there. That a file stays which cannot be removed is no harm.
            let _ = fs::remove_file(file);
        }
    }
}
