//! What a caller may choose when it opens a store.

/// What a caller may choose when it opens a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Refuse appends, and write nothing at all.
    pub read_only: bool,
    /// The caller vouches that nobody writes the file while it is open. Implies `read_only`.
    pub immutable: bool,
    /// Create the file if there is none.
    pub create: bool,
    /// Take a store into a database that holds other tables already.
    pub adopt: bool,
    /// How long a call waits for a lock by default; below 0: without end.
    pub busy_timeout_ms: i64,
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
