//! What a read delivers its events to, and how many of them at once.

use crate::domain::EventView;
use crate::error::Result;

/// The limits of one batch of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The highest number of events in the batch.
    pub max_events: usize,
    /// The number of bytes after which the batch ends. It ends with the event whose texts reach
    /// that number; a store may count some bytes more for each text.
    pub max_bytes: usize,
}

impl BatchLimits {
    /// The limits of a batch that ends with the read.
    pub const ALL: BatchLimits = BatchLimits { max_events: usize::MAX, max_bytes: usize::MAX };
}

/// Receives the events of a batch, in order. An error ends the call.
pub trait Sink {
    /// Receives one event. The view is valid during this call only.
    fn event(&mut self, event: &EventView<'_>) -> Result<()>;
}

impl<F: FnMut(&EventView<'_>) -> Result<()>> Sink for F {
    fn event(&mut self, event: &EventView<'_>) -> Result<()> {
        self(event)
    }
}
