//! The memory store: the index, a lock around it, and a watch on its head.

#[cfg(test)]
mod tests;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::commit::deadline::CallOptions;
use crate::commit::head_watch::HeadWatch;
use crate::domain::{AppendRequest, ReadState, Verdict, check_conditions, check_ids};
use crate::error::{Error, Result, Status};
use crate::index::{Index, PreparedEvents, Progress};
use crate::store::{Appended, BatchLimits, Sink, Store};

/// A store of this process alone, gone when it is closed.
#[derive(Debug)]
pub struct MemoryStore {
    /// From position 1. Appends are judged and stored under the write lock.
    index: RwLock<Index>,
    watch: HeadWatch,
}

/// How many events a read takes under the lock before it gives them, outside of it.
const SLICE: usize = 256;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore { index: RwLock::new(Index::unbounded(0)), watch: HeadWatch::new(0) }
    }

    /// The index of a store that is open, to look at.
    fn shared(&self) -> Result<RwLockReadGuard<'_, Index>> {
        let index = self.index.read().map_err(poisoned)?;
        // Closing empties the index under the lock: nobody may take that for an empty store.
        self.watch.check_open()?;
        Ok(index)
    }

    /// The index of a store that is open, to change.
    fn exclusive(&self) -> Result<RwLockWriteGuard<'_, Index>> {
        let index = self.index.write().map_err(poisoned)?;
        self.watch.check_open()?;
        Ok(index)
    }

    /// What every call looks at first.
    fn check(&self, call: &CallOptions) -> Result<()> {
        self.watch.check_open()?;
        call.start(None).check_cancel()
    }
}

/// A panic left the index half changed.
fn poisoned<T>(_: PoisonError<T>) -> Error {
    Error::new(Status::Internal, "the store is unusable since an earlier call failed in it")
}

/// Microseconds since 1970; 0 where the clock stands before that.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Store for MemoryStore {
    fn append(&self, request: AppendRequest, call: &CallOptions) -> Result<Appended> {
        self.check(call)?;
        let (events, conditions) = request.into_parts();
        let mut filed = PreparedEvents::new(events)?;

        let mut index = self.exclusive()?;
        let verdict = check_ids(
            filed.events(),
            |id| Ok(index.position_of_id(id)),
            |position, event| Ok(index.get(position).is_some_and(|stored| stored.event == *event)),
        )?;
        if let Verdict::Repeated(last) = verdict {
            return Ok(Appended::repeated(last));
        }
        check_conditions(&conditions, |query, span| Ok(index.first_match(query, span)))?;
        filed.place(index.head(), now_us());
        filed.add_to(&mut index);
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
        // No event is without bytes, so each batch gives one at least.
        let (mut events_left, mut bytes_left) = (batch.max_events, batch.max_bytes.max(1));
        while events_left > 0 && bytes_left > 0 {
            self.check(call)?;
            let progress = {
                let index = self.shared()?;
                reading.begin(index.head());
                let Some(span) = reading.span() else { return Ok(()) };
                let max = reading.remaining(events_left).min(SLICE);
                index.find(reading.query(), span, reading.backwards(), max, &mut found)
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

    fn head(&self, call: &CallOptions) -> Result<i64> {
        self.check(call)?;
        Ok(self.shared()?.head())
    }

    fn wait(&self, after: i64, call: &CallOptions) -> Result<i64> {
        let deadline = call.start(None);
        // An append publishes only after it has let go of the lock; what it stored is seen before.
        self.watch.publish(self.shared()?.head());
        let head = self.watch.wait_above(after, &deadline, None)?;
        Ok(head.expect("without a slice a wait has but this end"))
    }

    fn close(&self) {
        self.watch.close();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::replace(&mut *index, Index::new(0));
        drop(index);
        // Outside of the lock: there may be millions of them.
        drop(events);
    }
}
