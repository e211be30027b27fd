//! The options for opening a store.

use crate::error::{Error, Result};

/// The options for opening a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether the store refuses appends and writes nothing at all.
    pub read_only: bool,
    /// Whether the caller guarantees that no process writes the file while it is open. Implies
    /// `read_only`.
    pub immutable: bool,
    /// Whether a missing file is created.
    pub create: bool,
    /// Whether a store may be created in a database that has other tables already.
    pub adopt: bool,
    /// Whether the store keeps the timestamps that events are appended with. Without it, an append
    /// with one is refused. It is for copies of other stores.
    pub import: bool,
    /// How long a call waits for a lock by default, in milliseconds. A negative number means
    /// without a limit.
    pub busy_timeout_ms: i64,
    /// How many connections the store opens for reading at most, from 1 to 1,000. So many reads run
    /// at the same time, and others wait for one of them. `None` means 8. Only for a file.
    pub max_readers: Option<i64>,
    /// How many bytes of events and posting lists the store caches for its reads at most, from 0
    /// to 2^40. `None` means 64 MiB. Only for a file.
    pub cache_bytes: Option<i64>,
    /// The schema that the store is in. `None` means `dcb`. Only for PostgreSQL.
    pub schema: Option<String>,
    /// How many connections the store opens for reading at most, from 1 to 1,000. `None` means 4.
    /// Only for PostgreSQL.
    pub pool_size: Option<i64>,
    /// Whether a server may run with `fsync = off`, so that a crash of its machine loses events.
    /// Only for tests on PostgreSQL.
    pub allow_fsync_off: bool,
}

/// The most bytes that a store may be told to cache.
const MAX_CACHE_BYTES: i64 = 1 << 40;

impl Options {
    /// Returns whether the store refuses appends.
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.immutable
    }

    /// Returns how many connections may read at a time, or `default` if the options do not say.
    pub(crate) fn reader_limit(&self, default: usize) -> Result<usize> {
        match self.max_readers {
            None => Ok(default),
            Some(limit @ 1..=1_000) => Ok(limit as usize),
            Some(_) => Err(Error::invalid("max_readers: must be from 1 to 1000")),
        }
    }

    /// Returns how many connections to a server may read at a time, or `default` if the options do
    /// not say. Refuses the options of other stores.
    #[cfg(feature = "postgres")]
    pub(crate) fn pool_size(&self, default: usize) -> Result<usize> {
        for (name, is_set) in [
            ("immutable", self.immutable),
            ("adopt", self.adopt),
            ("max_readers", self.max_readers.is_some()),
            ("cache_bytes", self.cache_bytes.is_some()),
        ] {
            if is_set {
                return Err(Error::invalid(format!(
                    "{name}: is an option for a SQLite store, not for one in PostgreSQL"
                )));
            }
        }
        match self.pool_size {
            None => Ok(default),
            Some(limit @ 1..=1_000) => Ok(limit as usize),
            Some(_) => Err(Error::invalid("pool_size: must be from 1 to 1000")),
        }
    }

    /// Refuses the options that only a store in PostgreSQL has.
    pub(crate) fn check_without_server(&self) -> Result<()> {
        for (name, is_set) in [
            ("schema", self.schema.is_some()),
            ("pool_size", self.pool_size.is_some()),
            ("allow_fsync_off", self.allow_fsync_off),
        ] {
            if is_set {
                return Err(Error::invalid(format!(
                    "{name}: is an option for a store in PostgreSQL alone"
                )));
            }
        }
        Ok(())
    }

    /// Returns how many bytes may be cached, or `default` if the options do not say.
    pub(crate) fn cache_limit(&self, default: usize) -> Result<usize> {
        match self.cache_bytes {
            None => Ok(default),
            Some(bytes @ 0..=MAX_CACHE_BYTES) => Ok(usize::try_from(bytes).unwrap_or(usize::MAX)),
            Some(_) => Err(Error::invalid("cache_bytes: must be from 0 to 1099511627776")),
        }
    }

    /// Refuses the options of connections for reading, for a store that has none.
    pub(crate) fn check_without_readers(&self) -> Result<()> {
        if self.max_readers.is_some() {
            return Err(Error::invalid(
                "max_readers: only a store that is opened by the path of its file has connections \
                 for reading",
            ));
        }
        if self.cache_bytes.is_some() {
            return Err(Error::invalid(
                "cache_bytes: only a store that is opened by the path of its file has a cache",
            ));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            read_only: false,
            immutable: false,
            create: true,
            adopt: false,
            import: false,
            busy_timeout_ms: 5_000,
            max_readers: None,
            cache_bytes: None,
            schema: None,
            pool_size: None,
            allow_fsync_off: false,
        }
    }
}
