//! Reading and waiting, on whatever connection.

pub mod lock_free;
pub mod pool;

use std::ops::ControlFlow;
use std::sync::TryLockError;
use std::time::{Duration, Instant};

use crate::commit::deadline::{CallOptions, Deadline, Timeout};
use crate::commit::visibility::visible;
use crate::domain::ReadState;
use crate::error::{Result, Status};
use crate::index::Progress;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::view::View;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::store::{BatchLimits, Sink};

/// How long one read transaction lasts at the most: longer ones would keep the log from
/// starting anew.
const TRANSACTION: Duration = Duration::from_millis(10);
/// How often a wait looks for the events of other processes.
const POLL: Duration = Duration::from_millis(10);

impl StoreState {
    /// What every call looks at first.
    pub fn start(&self, call: &CallOptions, default: Option<Duration>) -> Result<Deadline> {
        self.watch.check_open()?;
        let deadline = call.start(default);
        deadline.check_cancel()?;
        Ok(deadline)
    }

    /// A batch of a read. `some` is a transaction's part of it, and gives whether the batch is
    /// done.
    pub fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        some: &mut dyn FnMut(&mut ReadState, &mut BatchLimits, &Deadline) -> Result<bool>,
    ) -> Result<()> {
        let mut deadline = self.start(call, self.busy_timeout)?;
        let mut left = BatchLimits { max_bytes: batch.max_bytes.max(1), ..batch };
        if left.max_events == 0 || reading.has_begun() && reading.span().is_none() {
            return Ok(());
        }
        while !some(reading, &mut left, &deadline)? {
            // It is how long one lock may be waited for, however long the read is.
            deadline = self.start(call, self.busy_timeout)?;
        }
        Ok(())
    }

    /// The position up to which a snapshot may be shown.
    pub fn visible(&self, head: i64, only_reads: bool) -> Result<i64> {
        match visible(head, &self.durability, &self.own, &self.watch) {
            // Who only reads begins with nothing known to be durable: that is not an empty store.
            Err(_) if !only_reads => Ok(self.durability.durable().min(head)),
            visible => visible,
        }
    }

    /// The part of a batch that one transaction, whose snapshot this is, gives to `sink`. Gives
    /// whether the batch is done.
    #[allow(clippy::too_many_arguments)] // the two halves of it are a connection's and a call's
    pub fn read_within(
        &self,
        source: Source<'_>,
        decoder: &mut EventReader,
        snapshot: Snapshot,
        reading: &mut ReadState,
        left: &mut BatchLimits,
        visible: &dyn Fn(i64) -> Result<i64>,
        sink: &mut dyn Sink,
    ) -> ReadResult<bool> {
        if !reading.has_begun() {
            reading.begin(visible(snapshot.head)?);
        }
        let Some(span) = reading.span() else { return Ok(true) };
        let segments = self.segments.at_version(source, snapshot.version)?;
        segments.check(snapshot)?;
        if span.through > segments.indexed() {
            self.tail.catch_up(source, decoder, snapshot, segments.indexed())?;
        }
        let view = View { source, segments, tail: &self.tail };
        let until = Instant::now() + TRANSACTION;
        let query = reading.query().clone();
        let backwards = reading.backwards();
        let progress =
            view.search(decoder, &query, span, backwards, Some(until), &mut |event| {
                sink.event(event)?;
                reading.delivered(event.position);
                left.max_events -= 1;
                left.max_bytes = left.max_bytes.saturating_sub(event.text_len());
                let full = left.max_events == 0 || left.max_bytes == 0;
                let done = full || reading.span().is_none();
                Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        match progress {
            Progress::Exhausted => reading.finish(),
            Progress::Reached(position) => reading.advance_to(position),
        }
        Ok(left.max_events == 0 || left.max_bytes == 0 || reading.span().is_none())
    }

    /// The head, as soon as it is above `after`. `look` tells the head of this moment.
    pub fn wait(
        &self,
        after: i64,
        deadline: &Deadline,
        look: &dyn Fn(&Deadline) -> Result<i64>,
    ) -> Result<i64> {
        let at_once =
            CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None }.start(None);
        loop {
            // One waiter looks for all: what it sees wakes the others.
            let polls = match self.poller.try_lock() {
                Ok(polls) => Some(polls),
                // Somebody panicked while it looked.
                Err(TryLockError::Poisoned(polls)) => Some(polls.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if polls.is_some() {
                // It waits for nothing but an event: if all connections are in use, or a lock is
                // held, those who have them look.
                match look(&at_once) {
                    Ok(head) => self.watch.publish(head),
                    Err(error) if error.status == Status::Busy => {}
                    Err(error) => return Err(error),
                }
            }
            // Who does not poll takes over soon after the one who does is gone.
            if let Some(head) = self.watch.wait_above(after, deadline, Some(POLL))? {
                return Ok(head);
            }
        }
    }
}
