//! What a long read has in hand beyond the batch that its caller works on.
//!
//! What is left to read is cut into parts. A part is read by whoever comes first: the store's thread, or
//! the caller, who reads the next one if the thread is still at the first. The caller takes them in
//! order. An error of the thread is dropped: the caller tries again and meets it, or does not.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::capi::event_batch::Page;
use crate::capi::panic::contain;
use crate::commit::deadline::{CallOptions, CancelToken, Timeout};
use crate::domain::{PositionRange, ReadState};
use crate::error::Result;
use crate::position::Position;
use crate::store::read_ahead::{Ahead, SpareReads};
use crate::store::{BatchLimits, Store};

/// How many parts are in hand at most.
const PARTS: usize = 3;

/// The parts that are in hand of one read.
pub(super) struct Parts {
    state: Mutex<State>,
    /// The thread has read a part.
    changed: Condvar,
    /// Ends what the thread reads.
    stop: CancelToken,
    batch: BatchLimits,
}

struct State {
    parts: VecDeque<Part>,
    /// The number of the first part.
    first: u64,
    /// The positions that are in no part yet.
    rest: PositionRange,
    /// How many positions a part has, in a read of all events. The parts of other reads are not cut
    /// beforehand: to look a query up in a part takes about as long as in all of it.
    positions: Option<u64>,
    /// Whether the thread has been asked to read a part.
    is_queued: bool,
    /// Pages to use again.
    spare: Vec<Page>,
}

enum Part {
    /// Nobody reads it.
    Waiting(Box<Work>),
    /// Somebody reads it.
    Taken,
    /// It is read, as far as a batch goes.
    Done(Box<Work>),
}

struct Work {
    reading: ReadState,
    page: Page,
    /// Whether the thread leaves it to the caller.
    is_for_caller: bool,
}

impl Parts {
    /// Cuts what is left of `reading`, whose last batch was `page`. Returns `None` if it is not worth
    /// it.
    pub(super) fn new(reading: &ReadState, batch: BatchLimits, page: &Page) -> Option<Arc<Self>> {
        let mut rest = reading.span()?;
        let is_all = reading.query().is_all();
        if is_all {
            // Each position has an event, so the limit counts positions.
            let left = reading.remaining(usize::MAX) as u64;
            (rest, _) = rest.split(left, reading.direction());
        }
        let mut state = State {
            parts: VecDeque::new(),
            first: 0,
            rest,
            positions: is_all.then_some(1),
            is_queued: false,
            spare: Vec::new(),
        };
        state.parts.try_reserve(PARTS).ok()?;
        state.spare.try_reserve(PARTS + 1).ok()?;
        state.measure(batch, page);
        if state.positions.is_some_and(|positions| rest.len() <= positions) {
            return None;
        }
        Some(Arc::new(Parts {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: CancelToken::new(),
            batch,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the next batch into `page`, as the store would.
    pub(super) fn next(
        self: &Arc<Self>,
        store: &dyn Store,
        reading: &mut ReadState,
        page: &mut Page,
        call: &CallOptions,
    ) -> Result<()> {
        let nothing = BatchLimits { max_events: 0, max_bytes: 0 };
        loop {
            // Whatever is in hand: a closed store gives nothing, nor does a call that was cancelled.
            store.read(reading, nothing, call, page)?;
            if reading.span().is_none() {
                return Ok(());
            }
            let mut state = self.state();
            state.cut(reading);
            let outcome = match state.parts.front_mut() {
                None => return Ok(()),
                Some(Part::Taken) => {
                    self.read_other(state, store, call);
                    continue;
                }
                Some(part @ Part::Done(_)) => {
                    let Part::Done(work) = std::mem::replace(part, Part::Taken) else { continue };
                    state.take(work, reading, page, self.batch);
                    self.enqueue(&mut state, store);
                    Ok(())
                }
                Some(part @ Part::Waiting(_)) => {
                    let Part::Waiting(mut work) = std::mem::replace(part, Part::Taken) else {
                        continue;
                    };
                    self.enqueue(&mut state, store);
                    drop(state);
                    let outcome = store.read(&mut work.reading, self.batch, call, &mut work.page);
                    state = self.state();
                    state.take(work, reading, page, self.batch);
                    self.enqueue(&mut state, store);
                    outcome
                }
            };
            if outcome.is_err() || !page.events().is_empty() {
                return outcome;
            }
        }
    }

    /// While the thread reads the first part: reads another one, or waits for the thread.
    fn read_other(&self, mut state: MutexGuard<'_, State>, store: &dyn Store, call: &CallOptions) {
        let Some((number, mut work)) = state.waiting() else {
            // The timeout bounds the wait for a lock, and the thread waits for none.
            let cancel = call.cancel.clone();
            let deadline = CallOptions { timeout: Timeout::Never, cancel }.start(None);
            drop(deadline.sleep_on(&self.changed, state, None));
            return;
        };
        drop(state);
        // Its failure is none of this batch's.
        work.is_for_caller =
            store.read(&mut work.reading, self.batch, call, &mut work.page).is_err();
        self.state().put(number, work);
    }

    /// Asks the thread to read a part, if one waits.
    fn enqueue(self: &Arc<Self>, state: &mut State, store: &dyn Store) {
        let waits = |part: &Part| matches!(part, Part::Waiting(work) if !work.is_for_caller);
        if !state.is_queued
            && state.parts.iter().any(waits)
            && let Some(thread) = store.read_ahead()
        {
            let own: Arc<Self> = Arc::clone(self);
            state.is_queued = thread.add(own);
        }
    }

    /// Ends it: what the thread reads for it is of no use any more.
    pub(super) fn end(&self) {
        self.stop.trigger();
        let mut state = self.state();
        let (parts, spare) = (std::mem::take(&mut state.parts), std::mem::take(&mut state.spare));
        state.first = u64::MAX;
        drop(state);
        drop((parts, spare));
    }
}

impl Ahead for Parts {
    fn read_one(&self, store: &dyn SpareReads) -> bool {
        let mut state = self.state();
        let Some((number, mut work)) = state.waiting() else {
            state.is_queued = false;
            return false;
        };
        drop(state);
        let cancel = Some(self.stop.clone());
        let call = CallOptions { timeout: Timeout::After(Duration::ZERO), cancel };
        let outcome =
            contain(|| store.read_spare(&mut work.reading, self.batch, &call, &mut work.page));
        work.is_for_caller = outcome.is_err();
        if let Some(last) = work.page.events().last().map(|event| Position::clamped(event.position))
            && work.reading.span().is_some_and(|span| span.contains(last))
        {
            // It panicked between the two: no event comes twice.
            work.reading.delivered(last);
        }
        let mut state = self.state();
        state.put(number, work);
        state.is_queued = outcome.is_ok();
        drop(state);
        self.changed.notify_one();
        outcome.is_ok()
    }
}

impl State {
    /// Cuts parts off the rest.
    fn cut(&mut self, reading: &ReadState) {
        while self.parts.len() < PARTS && !self.rest.is_empty() {
            let positions = self.positions.unwrap_or(u64::MAX);
            let (range, rest) = self.rest.split(positions, reading.direction());
            self.rest = rest;
            let page = self.spare.pop().unwrap_or_default();
            let work = Work { reading: reading.part(range), page, is_for_caller: false };
            self.parts.push_back(Part::Waiting(Box::new(work)));
        }
    }

    /// Takes the first part that waits, with its number.
    fn waiting(&mut self) -> Option<(u64, Box<Work>)> {
        for (index, part) in self.parts.iter_mut().enumerate() {
            if matches!(part, Part::Waiting(work) if !work.is_for_caller)
                && let Part::Waiting(work) = std::mem::replace(part, Part::Taken)
            {
                return Some((self.first + index as u64, work));
            }
        }
        None
    }

    /// Puts a part back that was read.
    fn put(&mut self, number: u64, work: Box<Work>) {
        // Not there any more if the read has ended.
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(part) = index.and_then(|index| self.parts.get_mut(index)) {
            let is_done = !work.is_for_caller || !work.page.events().is_empty();
            *part = if is_done { Part::Done(work) } else { Part::Waiting(work) };
        }
    }

    /// Gives the first part to the caller. What is left of it stays the first part.
    fn take(
        &mut self,
        mut work: Box<Work>,
        reading: &mut ReadState,
        page: &mut Page,
        batch: BatchLimits,
    ) {
        for event in work.page.events() {
            reading.delivered(Position::clamped(event.position));
        }
        if reading.span().is_some() {
            reading.advance_to(work.reading.examined());
        }
        self.measure(batch, &work.page);
        std::mem::swap(page, &mut work.page);
        work.page.clear();
        if work.reading.span().is_some() && reading.span().is_some() {
            if let Some(first) = self.parts.front_mut() {
                *first = Part::Waiting(work);
            }
        } else {
            self.parts.pop_front();
            self.first += 1;
            self.spare.push(work.page);
        }
        self.cut(reading);
    }

    /// Sizes the next parts by a page, so that one page holds a part.
    fn measure(&mut self, batch: BatchLimits, page: &Page) {
        let events = page.events().len();
        if let Some(positions) = &mut self.positions
            && events > 0
        {
            let by_bytes = events.saturating_mul(batch.max_bytes) / page.bytes().max(1);
            let fitting = by_bytes.min(batch.max_events).min(events.saturating_mul(8));
            // A part that is a little too long would leave a batch of a few events.
            *positions = (fitting as u64 * 3 / 4).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::capi::boundary;
    use crate::capi::call::dcb_call;
    use crate::capi::cancel::{dcb_cancel, dcb_cancel_free, dcb_cancel_new, dcb_cancel_trigger};
    use crate::capi::cursor::{
        dcb_cursor, dcb_cursor_close, dcb_cursor_next, dcb_cursor_open, dcb_cursor_position,
    };
    use crate::capi::event::{dcb_event, dcb_str};
    use crate::capi::fork::OpenStore;
    use crate::capi::status::{
        DCB_BUSY, DCB_CANCELLED, DCB_CLOSED, DCB_CORRUPT, DCB_OK, dcb_status,
    };
    use crate::capi::store::{dcb_close, dcb_store};
    use crate::domain::{
        AppendRequest, EventBuilder, EventId, EventType, EventView, SequencedEvent, Tag,
    };
    use crate::error::{Error, Status};
    use crate::memory::MemoryStore;
    use crate::store::options::Options;
    use crate::store::read_ahead::ReadAheadThread;
    use crate::store::{Appended, Sink};

    /// What fails in a store, and when.
    #[derive(Debug, Clone, Copy, Default)]
    struct Faults {
        /// No read gets past this event.
        damaged: Option<i64>,
        /// Every so many events a read of the caller fails with `busy`.
        busy: Option<usize>,
        /// Every so many events a read of the thread fails with `busy`.
        spare_busy: Option<usize>,
        /// Every so many events a read of the thread panics after the event was delivered.
        spare_panic: Option<usize>,
    }

    impl Faults {
        fn has_come(every: Option<usize>, count: usize) -> bool {
            every.is_some_and(|every| count % every == every - 1)
        }
    }

    /// Reads of another store that fail as they are told to.
    struct Reads {
        inner: Arc<dyn Store>,
        faults: Faults,
        count: AtomicUsize,
        spare_count: AtomicUsize,
        spare_reads: AtomicUsize,
    }

    impl Reads {
        fn read(
            &self,
            reading: &mut ReadState,
            batch: BatchLimits,
            call: &CallOptions,
            sink: &mut dyn Sink,
            is_spare: bool,
        ) -> Result<()> {
            let Faults { damaged, busy, spare_busy, spare_panic } = self.faults;
            self.inner.read(reading, batch, call, &mut |view: &EventView<'_>| {
                if damaged == Some(view.position.get()) {
                    return Err(Error::new(Status::Corrupt, "on purpose"));
                }
                let count = if is_spare { &self.spare_count } else { &self.count };
                let count = count.fetch_add(1, Ordering::Relaxed);
                if Faults::has_come(if is_spare { spare_busy } else { busy }, count) {
                    return Err(Error::new(Status::Busy, "on purpose"));
                }
                sink.event(view)?;
                assert!(!is_spare || !Faults::has_come(spare_panic, count), "on purpose");
                Ok(())
            })
        }
    }

    impl SpareReads for Reads {
        fn read_spare(
            &self,
            reading: &mut ReadState,
            batch: BatchLimits,
            call: &CallOptions,
            sink: &mut dyn Sink,
        ) -> Result<()> {
            self.spare_reads.fetch_add(1, Ordering::Relaxed);
            self.read(reading, batch, call, sink, true)
        }
    }

    /// A store with batches of few bytes, with or without a thread that reads ahead.
    struct SmallBatches {
        reads: Arc<Reads>,
        bytes: usize,
        thread: Option<ReadAheadThread>,
    }

    impl SmallBatches {
        fn new(inner: &Arc<dyn Store>, faults: Faults, bytes: usize, is_ahead: bool) -> Arc<Self> {
            let [count, spare_count, spare_reads] = [const { AtomicUsize::new(0) }; 3];
            let inner = Arc::clone(inner);
            let reads = Arc::new(Reads { inner, faults, count, spare_count, spare_reads });
            let spare: Arc<dyn SpareReads> = Arc::<Reads>::clone(&reads);
            let thread = is_ahead.then(|| ReadAheadThread::new(spare));
            Arc::new(SmallBatches { reads, bytes, thread })
        }

        fn handle(self: &Arc<Self>) -> *mut dcb_store {
            boundary::give(dcb_store::new(Arc::<Self>::clone(self), OpenStore::count()))
        }
    }

    impl Store for SmallBatches {
        fn append(&self, _: AppendRequest, _: &CallOptions) -> Result<Appended> {
            unreachable!("the tests append to the store below")
        }

        fn read(
            &self,
            reading: &mut ReadState,
            batch: BatchLimits,
            call: &CallOptions,
            sink: &mut dyn Sink,
        ) -> Result<()> {
            self.reads.read(reading, batch, call, sink, false)
        }

        fn read_ahead(&self) -> Option<&ReadAheadThread> {
            self.thread.as_ref()
        }

        fn batch_bytes(&self) -> usize {
            self.bytes
        }

        fn find(&self, _: EventId<'_>, _: &CallOptions) -> Result<Option<SequencedEvent>> {
            unreachable!("no test finds")
        }

        fn head(&self, call: &CallOptions) -> Result<Position> {
            self.reads.inner.head(call)
        }

        fn wait(&self, _: Position, _: &CallOptions) -> Result<Position> {
            unreachable!("no test waits")
        }

        fn close(&self) {
            self.reads.inner.close();
            if let Some(thread) = &self.thread {
                thread.end();
            }
        }
    }

    fn append(store: &dyn Store, events: impl Iterator<Item = (bool, usize)>) {
        let events: Vec<_> = events
            .map(|(is_a, size)| {
                let data = format!("\"{}\"", "d".repeat(size));
                let mut event =
                    EventBuilder::new(EventType::new(if is_a { "A" } else { "B" }).unwrap());
                event
                    .tag(Tag::new(if size % 7 == 0 { "seven" } else { "other" }).unwrap())
                    .unwrap();
                event.data(&data).unwrap();
                event.build()
            })
            .collect();
        let request = AppendRequest::new(events, Vec::new()).unwrap();
        store.append(request, &CallOptions::default()).unwrap();
    }

    fn text(string: &dcb_str) -> String {
        // SAFETY: a type or data, which is there; its cursor is not used meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(string.data.cast(), string.len) };
        str::from_utf8(bytes).unwrap().to_owned()
    }

    /// What a cursor has given.
    #[derive(Debug, PartialEq)]
    enum Given {
        Event(i64, String, String),
        Failure(dcb_status),
        End,
    }

    /// A cursor of the C interface.
    struct Cursor(*mut dcb_cursor);

    impl Cursor {
        fn open(store: *mut dcb_store, request: &str) -> Self {
            let mut cursor = ptr::null_mut();
            let text = request.as_ptr().cast();
            // SAFETY: the test owns the store, and the outputs are valid.
            let status = unsafe {
                dcb_cursor_open(
                    store,
                    text,
                    request.len(),
                    ptr::null(),
                    &mut cursor,
                    ptr::null_mut(),
                )
            };
            assert_eq!(status, DCB_OK);
            Cursor(cursor)
        }

        fn next(&mut self, max: usize, cancel: *mut dcb_cancel) -> (Vec<Given>, i64) {
            let (mut events, mut len) = (ptr::null::<dcb_event>(), 0);
            let call = dcb_call { size: size_of::<dcb_call>(), timeout_ms: 1_000, cancel };
            // SAFETY: the test owns the cursor, and the events live until its next call.
            unsafe {
                let status =
                    dcb_cursor_next(self.0, max, &call, &mut events, &mut len, ptr::null_mut());
                let position = dcb_cursor_position(self.0);
                if status != DCB_OK {
                    return (vec![Given::Failure(status)], position);
                }
                if len == 0 {
                    return (vec![Given::End], position);
                }
                let events = std::slice::from_raw_parts(events, len);
                let given = |event: &dcb_event| {
                    Given::Event(event.position, text(&event.r#type), text(&event.data))
                };
                (events.iter().map(given).collect(), position)
            }
        }
    }

    impl Drop for Cursor {
        fn drop(&mut self) {
            // SAFETY: opened by `open`, and not used afterwards.
            unsafe { dcb_cursor_close(self.0) }
        }
    }

    fn close(store: *mut dcb_store) {
        // SAFETY: the test owns the store, and does not use it afterwards.
        unsafe { dcb_close(store) }
    }

    /// Reads until the end, or until a failure comes twice. Leaves out the failures after which a
    /// cursor goes on. Every `cancels`th call is cancelled.
    fn read_to_end(
        store: *mut dcb_store,
        request: &str,
        max: usize,
        cancels: Option<usize>,
        mut between: impl FnMut(),
    ) -> (Vec<Given>, Vec<i64>) {
        let mut cursor = Cursor::open(store, request);
        let (mut all, mut positions) = (Vec::new(), Vec::new());
        let cancel = dcb_cancel_new();
        // SAFETY: the test owns it.
        unsafe { dcb_cancel_trigger(cancel) };
        for call in 1.. {
            let is_cancelled = cancels.is_some_and(|every| call % every == 0);
            let cancel = if is_cancelled { cancel } else { ptr::null_mut() };
            let (given, position) = cursor.next(max, cancel);
            match given[..] {
                [Given::Failure(DCB_BUSY)] => assert!(!is_cancelled),
                [Given::Failure(DCB_CANCELLED)] => assert!(is_cancelled),
                [Given::Failure(_) | Given::End] => {
                    let is_over = all.last() == given.first();
                    all.extend(given);
                    positions.push(position);
                    if is_over {
                        break;
                    }
                }
                _ => {
                    if request.contains("backwards") {
                        positions.push(position);
                    } else if let Some(Given::Event(last, ..)) = given.last() {
                        assert_eq!(position, *last);
                    }
                    all.extend(given);
                    between();
                }
            }
        }
        // SAFETY: as above.
        unsafe { dcb_cancel_free(cancel) };
        positions.dedup();
        (all, positions)
    }

    fn request(
        kind: u8,
        after: i64,
        before: Option<i64>,
        limit: Option<u64>,
        backwards: bool,
    ) -> String {
        let mut text = String::from(match kind {
            0 => r#"{"query":{"items":[{"types":["A"]}]}"#,
            1 => r#"{"query":{"items":[{"tags":["seven"]},{"types":["B"],"tags":["other"]}]}"#,
            _ => r#"{"query":{"items":[]}"#,
        });
        if kind > 1 {
            text = "{".to_owned();
        } else {
            text.push(',');
        }
        text.push_str(&format!(r#""after":{after}"#));
        if let Some(before) = before {
            text.push_str(&format!(r#","before":{before}"#));
        }
        if let Some(limit) = limit {
            text.push_str(&format!(r#","limit":{limit}"#));
        }
        if backwards {
            text.push_str(r#","backwards":true"#);
        }
        text.push('}');
        text
    }

    fn every() -> impl Strategy<Value = Option<usize>> {
        proptest::option::of(2_usize..200)
    }

    prop_compose! {
        fn faults()(
            damaged in proptest::option::weighted(0.3, 1_i64..700),
            busy in every(),
            spare_busy in every(),
            spare_panic in proptest::option::weighted(0.2, 20_usize..200),
        ) -> Faults {
            Faults { damaged, busy, spare_busy, spare_panic }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("DCB_TEST_LONG").is_some() { 2_000 } else { 100 }))]

        /// The same events, the same failure at the same place, the same positions; whatever fails ahead.
        #[test]
        fn a_read_gives_the_same_with_and_without_reading_ahead(
            events in proptest::collection::vec((any::<bool>(), 0_usize..90), 1..700),
            faults in faults(),
            (kind, backwards) in (0_u8..4, any::<bool>()),
            (after, before) in (prop_oneof![Just(0), 0_i64..700], proptest::option::weighted(0.3, 1_i64..800)),
            limit in proptest::option::weighted(0.4, 0_u64..700),
            (bytes, max) in (1_usize..3_000, prop_oneof![1_usize..50, Just(1_024)]),
            cancels in proptest::option::weighted(0.5, 2_usize..9),
        ) {
            let inner = MemoryStore::new();
            append(&inner, events.into_iter());
            let inner: Arc<dyn Store> = Arc::new(inner);
            let request = request(kind, after, before, limit, backwards);
            let plain = SmallBatches::new(&inner, faults, bytes, false).handle();
            let expected = read_to_end(plain, &request, max, None, || ());
            let ahead = SmallBatches::new(&inner, faults, bytes, true).handle();
            let found = read_to_end(ahead, &request, max, cancels, || {
                // Time for the thread, which would have nothing to do beside a caller without work.
                std::thread::sleep(Duration::from_micros(50));
                append(&*inner, std::iter::once((true, 7)));
            });
            close(ahead);
            close(plain);
            prop_assert_eq!(found, expected);
        }
    }

    /// Returns a store of 2,000 events, and a cursor of it for which the thread has begun to read.
    fn begun(faults: Faults) -> (Arc<SmallBatches>, *mut dcb_store, Cursor) {
        let inner = MemoryStore::new();
        append(&inner, std::iter::repeat_n((true, 50), 2_000));
        let inner: Arc<dyn Store> = Arc::new(inner);
        let store = SmallBatches::new(&inner, faults, 2_000, true);
        let handle = store.handle();
        let mut cursor = Cursor::open(handle, "");
        for _ in 0..4 {
            let (given, _) = cursor.next(1_024, ptr::null_mut());
            assert!(matches!(given[0], Given::Event(..)));
        }
        while store.reads.spare_reads.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        (store, handle, cursor)
    }

    #[test]
    fn a_store_and_its_cursors_are_closed_in_any_order() {
        for _ in 0..20 {
            let (_, handle, mut cursor) = begun(Faults::default());
            close(handle);
            assert_eq!(cursor.next(1_024, ptr::null_mut()).0, [Given::Failure(DCB_CLOSED)]);
            drop(cursor);

            let (_, handle, cursor) = begun(Faults::default());
            drop(cursor);
            close(handle);

            let (store, handle, mut cursor) = begun(Faults::default());
            let others: Vec<Cursor> = (0..20)
                .map(|_| {
                    let mut other = Cursor::open(handle, "");
                    for _ in 0..4 {
                        other.next(1_024, ptr::null_mut());
                    }
                    other
                })
                .collect();
            cursor.next(1_024, ptr::null_mut());
            drop(store);
            close(handle);
            drop((others, cursor));
        }
    }

    /// One that the thread meets is tried again by the caller; a damaged event is told once the caller
    /// comes to it.
    #[test]
    fn a_failure_ahead_waits_for_its_turn() {
        let faults = Faults { damaged: Some(1_500), spare_busy: Some(1), ..Faults::default() };
        let (_, handle, mut cursor) = begun(faults);
        let mut last = 0;
        loop {
            let (given, position) = cursor.next(1_024, ptr::null_mut());
            match given.last() {
                Some(Given::Event(..)) => last = position,
                other => break assert_eq!(other, Some(&Given::Failure(DCB_CORRUPT))),
            }
        }
        assert_eq!(last, 1_499);
        drop(cursor);
        close(handle);
    }

    /// A limited read takes little more from the store than it gives.
    #[test]
    fn a_limited_read_does_not_read_far_beyond_its_limit() {
        for limit in [100_usize, 300, 1_000, 5_000] {
            let inner = MemoryStore::new();
            append(&inner, std::iter::repeat_n((true, 50), 6_000));
            let inner: Arc<dyn Store> = Arc::new(inner);
            let store = SmallBatches::new(&inner, Faults::default(), 2_000, true);
            let handle = store.handle();
            let (given, _) = read_to_end(
                handle,
                &request(2, 0, None, Some(limit as u64), false),
                64,
                None,
                || (),
            );
            assert_eq!(given.len(), limit + 2);
            close(handle);
            let read = [&store.reads.count, &store.reads.spare_count]
                .map(|count| count.load(Ordering::Relaxed));
            let [caller, spare] = read;
            // A batch has 34 events.
            assert!(caller + spare <= limit + 2 * 34, "{caller} and {spare} of {limit}");
        }
    }

    /// The database itself, its pages, and its connections.
    #[test]
    fn a_scan_of_a_file_is_read_ahead() {
        let folder = TempDir::new().unwrap();
        let uri = format!("sqlite:{}", folder.path().join("a.db").display());
        let inner = crate::open(&uri, &Options::default()).unwrap();
        append(&*inner, (0..9_000).map(|size| (size % 3 > 0, size % 400)));
        drop(inner);
        let options = [
            Options::default(),
            Options { read_only: true, ..Options::default() },
            Options { max_readers: Some(1), ..Options::default() },
        ];
        for options in options {
            let inner = crate::open(&uri, &options).unwrap();
            let plain = SmallBatches::new(&inner, Faults::default(), 20_000, false).handle();
            let own = boundary::give(dcb_store::new(Arc::clone(&inner), OpenStore::count()));
            for kind in 0..3 {
                for backwards in [false, true] {
                    let request = request(kind, 0, None, None, backwards);
                    let expected = read_to_end(plain, &request, 1_024, None, || ());
                    assert_eq!(read_to_end(own, &request, 1_024, Some(4), || ()), expected);
                }
            }
            close(own);
            close(plain);
        }
    }
}
