//! The index in memory: the memory store's, and the SQLite store's for its recent events.
