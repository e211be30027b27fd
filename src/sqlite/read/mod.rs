//! Reads and waits, shared by the stores on the library's connections and on a program's own.
//!
//! Invariant: a read returns only events that are visible (`commit/visibility.rs`), and each of its
//! transactions is short. A read transaction on a connection of the library holds
//! the gate shared (`Checkpoints::pass_gate`).

pub mod check_ahead;
pub mod pool;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::commit::deadline::{CallOptions, Deadline, Timeout};
use crate::commit::head_watch::Pause;
use crate::commit::visibility::visible;
use crate::domain::{EventId, PositionRange, QueryItem, ReadState, SequencedEvent};
use crate::error::{Result, Status};
use crate::index::Progress;
use crate::position::Position;
use crate::sqlite::events::reader::EventReader;
use crate::sqlite::events::row::to_owned;
use crate::sqlite::events::source::{ReadResult, Source};
use crate::sqlite::index::limit::Limit;
use crate::sqlite::index::search::Search;
use crate::sqlite::index::view::View;
use crate::sqlite::snapshot::Snapshot;
use crate::sqlite::state::StoreState;
use crate::store::{BatchLimits, IndexCounts, Sink};

/// The longest that one read transaction lasts: a longer one would keep the WAL from being reset.
pub const MAX_TRANSACTION: Duration = Duration::from_millis(10);
/// How many bytes of text a batch of a long read has: so many that what a batch costs hardly counts,
/// and so few that the batch and the pages it came from stay in a processor's cache.
pub const BATCH_BYTES: usize = 256 * 1024;
/// How often a wait polls for events of other processes.
pub const POLL: Duration = Duration::from_millis(10);

impl StoreState {
    /// Starts a call: fails if the store is closed or the call is cancelled, and returns its
    /// deadline.
    pub fn start(&self, call: &CallOptions, default: Option<Duration>) -> Result<Deadline> {
        self.commits.watch.check_open()?;
        let deadline = call.start(default);
        deadline.check_cancel()?;
        Ok(deadline)
    }

    /// Reads one batch. `read_some` reads the part of it that one transaction may, and returns
    /// whether the batch is complete.
    pub fn read(
        &self,
        state: &mut ReadState,
        batch: BatchLimits,
        call: &CallOptions,
        read_some: &mut dyn FnMut(&mut ReadState, &mut BatchLimits, &Deadline) -> Result<bool>,
    ) -> Result<()> {
        let mut deadline = self.start(call, self.busy_timeout)?;
        let mut left = BatchLimits { max_bytes: batch.max_bytes.max(1), ..batch };
        if left.max_events == 0 || state.has_begun() && state.span().is_none() {
            return Ok(());
        }
        while !read_some(state, &mut left, &deadline)? {
            // The timeout bounds the wait for one lock, not the length of the read.
            deadline = self.start(call, self.busy_timeout)?;
        }
        Ok(())
    }

    /// Returns the position up to which a snapshot with this head may be shown.
    pub fn visible(&self, head: Position, only_reads: bool) -> Result<Position> {
        match visible(head, &self.commits.durability, &self.commits.own, &self.commits.watch) {
            // A read-only process starts with no event known to be durable: that is not an empty
            // store.
            Err(_) if !only_reads => Ok(self.commits.durability.durable().min(head)),
            visible => visible,
        }
    }

    /// Passes the part of a batch that one transaction reads, in this snapshot, to `sink`. Returns
    /// whether the batch is complete.
    #[allow(clippy::too_many_arguments)] // three belong to the connection, four to the call
    pub fn read_within(
        &self,
        source: Source<'_>,
        reader: &mut EventReader,
        snapshot: Snapshot,
        state: &mut ReadState,
        left: &mut BatchLimits,
        visible: &dyn Fn(Position) -> Result<Position>,
        sink: &mut dyn Sink,
    ) -> ReadResult<bool> {
        if !state.has_begun() {
            state.begin(visible(snapshot.head)?);
        }
        let Some(span) = state.span() else { return Ok(true) };
        let view = self.view(source, reader, snapshot, span.through)?;
        let until = Instant::now() + MAX_TRANSACTION;
        let query = state.query().clone();
        let search = Search { query: &query, range: span, direction: state.direction() };
        let progress = view.search(reader, search, Some(until), &mut |event| {
            sink.event(event)?;
            state.delivered(event.position);
            left.max_events -= 1;
            // What lies between packed texts counts too: their length is known without a look at each.
            let bytes = event.packed.map_or_else(|| event.text_len(), |packed| packed.text.len());
            left.max_bytes = left.max_bytes.saturating_sub(bytes);
            let full = left.max_events == 0 || left.max_bytes == 0;
            let done = full || state.span().is_none();
            Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        match progress {
            Progress::Exhausted => state.finish(),
            Progress::Reached(position) => state.advance_to(position),
        }
        Ok(left.max_events == 0 || left.max_bytes == 0 || state.span().is_none())
    }

    /// Counts the events that have each type and tag of `item`, in the segments of a snapshot.
    pub fn index_counts_within(
        &self,
        source: Source<'_>,
        snapshot: Snapshot,
        item: &QueryItem,
    ) -> ReadResult<IndexCounts> {
        let segments = self.index.segments.at_version(source, snapshot.version)?;
        segments.check(snapshot)?;
        let through = segments.indexed();
        let span = PositionRange { after: Position::START, through };
        let events = item
            .types()
            .iter()
            .chain(item.tags().iter())
            .map(|wanted| segments.estimate(source, wanted.term(), span))
            .collect::<ReadResult<Vec<u64>>>()?;
        Ok(IndexCounts { through, events })
    }

    /// Returns the event with this id in this snapshot, if it is visible.
    pub fn find_within(
        &self,
        source: Source<'_>,
        reader: &mut EventReader,
        snapshot: Snapshot,
        id: EventId<'_>,
        visible: &dyn Fn(Position) -> Result<Position>,
    ) -> ReadResult<Option<SequencedEvent>> {
        let head = visible(snapshot.head)?;
        let view = self.view(source, reader, snapshot, head)?;
        let span = PositionRange { after: Position::START, through: head };
        view.find(reader, id.as_str(), span, Limit::default(), |event| {
            to_owned(event).map(Arc::unwrap_or_clone)
        })
    }

    /// Returns the view of this snapshot, in which the events up to `through` are looked up.
    fn view<'s>(
        &'s self,
        source: Source<'s>,
        reader: &mut EventReader,
        snapshot: Snapshot,
        through: Position,
    ) -> ReadResult<View<'s>> {
        let segments = self.index.segments.at_version(source, snapshot.version)?;
        segments.check(snapshot)?;
        if through > segments.indexed() {
            self.index.tail.catch_up(source, reader, snapshot, segments.indexed())?;
        }
        Ok(View { source, segments, tail: &self.index.tail })
    }

    /// Waits until the head is above `after`, and returns it. `current_head` reads the head now.
    /// After that, `interval` says how long to wait before the next look.
    pub fn wait(
        &self,
        after: Position,
        deadline: &Deadline,
        current_head: &dyn Fn(&Deadline) -> Result<Position>,
        interval: &dyn Fn() -> Duration,
    ) -> Result<Position> {
        let no_wait =
            CallOptions { timeout: Timeout::After(Duration::ZERO), cancel: None }.start(None);
        loop {
            let alerts = self.commits.watch.alerts();
            // One waiter polls for all: publishing the head wakes the others.
            let polls = self.commits.try_poll();
            if polls.is_some() {
                // A poll never waits for a connection or a lock. If they are in use, a later poll
                // reads the head.
                match current_head(&no_wait) {
                    Ok(head) => self.commits.watch.publish(head),
                    Err(error) if error.status == Status::Busy => {}
                    Err(error) => return Err(error),
                }
            }
            // The interval also bounds how soon another waiter takes over from a poller that left.
            let length = if polls.is_some() { interval() } else { POLL };
            let pause = Pause { length, alerts };
            if let Some(head) = self.commits.watch.wait_above(after, deadline, Some(pause))? {
                return Ok(head);
            }
        }
    }
}
