//! The options for opening a store.

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
    /// How long a call waits for a lock by default, in milliseconds. A negative number means
    /// without a limit.
    pub busy_timeout_ms: i64,
}

impl Options {
    /// Returns whether the store refuses appends.
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.immutable
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            read_only: false,
            immutable: false,
            create: true,
            adopt: false,
            busy_timeout_ms: 5_000,
        }
    }
}
