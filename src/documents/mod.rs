//! The JSON documents: requests in, results out.

use crate::domain::{AppendRequest, EventView, ReadRequest};
use crate::error::Result;
use crate::open::Options;

/// Reads an append request.
pub fn parse_append(_request: &[u8]) -> Result<AppendRequest> {
    unimplemented!()
}

/// Reads a read request; no bytes at all are the request for everything.
pub fn parse_read(_request: &[u8]) -> Result<ReadRequest> {
    unimplemented!()
}

/// Reads the options of an opening; no bytes at all are the defaults.
pub fn parse_options(_options: &[u8]) -> Result<Options> {
    unimplemented!()
}

/// A read result under construction: `{"events": [...], "position": 42}`.
#[derive(Debug, Default)]
pub struct ReadResult {
    text: Vec<u8>,
}

impl ReadResult {
    /// A result without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event. `no_memory` if there is no room for it.
    pub fn event(&mut self, _event: &EventView<'_>) -> Result<()> {
        unimplemented!()
    }

    /// The whole document.
    pub fn finish(self, _position: i64) -> Result<Vec<u8>> {
        Ok(self.text)
    }
}
