//! The memory store: an index, a read-write lock around it, and a watch of its head.
//!
//! An append is checked and stored under the write lock, so no other append comes in between.

#[cfg(test)]
mod tests;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::commit::deadline::CallOptions;
use crate::commit::head_watch::HeadWatch;
use crate::domain::{
    AppendRequest, EventId, ReadState, SequencedEvent, Verdict, check_conditions, check_ids,
};
use crate::error::{Error, Result, Status};
use crate::index::{Index, PreparedEvents, Progress};
use crate::position::Position;
use crate::store::{Appended, BatchLimits, Sink, Store};

/// A store in the memory of this process. Its events are gone when it is closed.
#[derive(Debug)]
pub struct MemoryStore {
    /// All events, from position 1.
    index: RwLock<Index>,
    watch: HeadWatch,
    /// Whether events keep the timestamps that they are appended with.
    import: bool,
}

/// The number of events that a read collects under the lock before it delivers them without it.
const SLICE: usize = 256;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::open(false)
    }

    /// Returns an empty store, whose events keep the timestamps that they are appended with if
    /// `import` says so.
    pub fn open(import: bool) -> Self {
        let index = RwLock::new(Index::unbounded(Position::START));
        MemoryStore { index, watch: HeadWatch::new(Position::START), import }
    }

    /// Acquires the read lock on the index of an open store.
    fn shared(&self) -> Result<RwLockReadGuard<'_, Index>> {
        let index = self.index.read().map_err(poisoned)?;
        // Closing empties the index under the lock, which no call may take for an empty store.
        self.watch.check_open()?;
        Ok(index)
    }

    /// Acquires the write lock on the index of an open store.
    fn exclusive(&self) -> Result<RwLockWriteGuard<'_, Index>> {
        let index = self.index.write().map_err(poisoned)?;
        self.watch.check_open()?;
        Ok(index)
    }

    /// Checks at the start of every call that the store is open and the call is not cancelled.
    fn check(&self, call: &CallOptions) -> Result<()> {
        self.watch.check_open()?;
        call.start(None).check_cancel()
    }
}

/// Returns the error of every call after a panic that left the index half changed.
fn poisoned<T>(_: PoisonError<T>) -> Error {
    Error::new(Status::Internal, "an internal error left the store unusable: close it")
}

/// Returns the time in microseconds since 1970, or 0 if the clock is set to an earlier time.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Store for MemoryStore {
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended> {
        self.check(call)?;
        if !self.import {
            request.expect_no_timestamps()?;
        }
        let (events, conditions) = request.into_parts();
        let mut prepared = PreparedEvents::new(events)?;

        let mut index = self.exclusive()?;
        let verdict = check_ids(
            prepared.events(),
            |id| Ok(index.position_of_id(id)),
            |position, event| Ok(index.get(position).is_some_and(|stored| stored.event == *event)),
        )?;
        if let Verdict::Repeated(last) = verdict {
            return Ok(Appended::repeated(last));
        }
        check_conditions(&conditions, |query, span| Ok(index.first_match(query, span)))?;
        prepared.place(index.head(), now_us());
        prepared.add_to(&mut index);
        let head = index.head();
        drop(index);
        self.watch.publish(head);
        Ok(Appended::new(head))
    }

    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.check(call)?;
        let mut found = Vec::new();
        // No event has 0 bytes, so a limit of 1 byte lets each batch deliver one event.
        let (mut events_left, mut bytes_left) = (batch.max_events, batch.max_bytes.max(1));
        while events_left > 0 && bytes_left > 0 {
            self.check(call)?;
            let progress = {
                let index = self.shared()?;
                reading.begin(index.head());
                let Some(span) = reading.span() else { return Ok(()) };
                let max = reading.remaining(events_left).min(SLICE);
                index.find(reading.query(), span, reading.direction(), max, &mut found)
            };
            let mut slice = found.drain(..);
            while bytes_left > 0
                && let Some(event) = slice.next()
            {
                let view = event.view();
                sink.event(&view)?;
                reading.delivered(view.position);
                events_left -= 1;
                bytes_left = bytes_left.saturating_sub(view.text_len());
            }
            if slice.len() == 0 {
                match progress {
                    Progress::Exhausted => reading.finish(),
                    Progress::Reached(position) => reading.advance_to(position),
                }
            }
        }
        Ok(())
    }

    fn find(&self, id: EventId<'_>, call: &CallOptions) -> Result<Option<SequencedEvent>> {
        self.check(call)?;
        let index = self.shared()?;
        let position = index.position_of_id(id.as_str());
        Ok(position.and_then(|position| index.get(position)).map(|event| (**event).clone()))
    }

    fn head(&self, call: &CallOptions) -> Result<Position> {
        self.check(call)?;
        Ok(self.shared()?.head())
    }

    fn wait(&self, after: Position, call: &CallOptions) -> Result<Position> {
        let deadline = call.start(None);
        // An append publishes after it has released the lock, so a caller may have read a head that
        // is not published yet.
        self.watch.publish(self.shared()?.head());
        let head = self.watch.wait_above(after, &deadline, None)?;
        Ok(head.expect("a wait without a slice returns a head"))
    }

    fn close(&self) {
        self.watch.close();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::replace(&mut *index, Index::new(Position::START));
        drop(index);
        // Without the lock, since there may be millions of events to free.
        drop(events);
    }
}
