//! The memory store.

use crate::call::Call;
use crate::domain::{AppendRequest, Reading};
use crate::error::Result;
use crate::store::{Batch, Sink, Store};

/// A store of this process alone, gone when it is closed.
#[derive(Debug, Default)]
pub struct MemoryStore {}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn append(&self, _request: AppendRequest, _call: &Call) -> Result<i64> {
        unimplemented!()
    }

    fn read(
        &self,
        _reading: &mut Reading,
        _batch: Batch,
        _call: &Call,
        _sink: &mut dyn Sink,
    ) -> Result<()> {
        unimplemented!()
    }

    fn head(&self, _call: &Call) -> Result<i64> {
        unimplemented!()
    }

    fn wait(&self, _after: i64, _call: &Call) -> Result<i64> {
        unimplemented!()
    }

    fn close(&self) {}
}
