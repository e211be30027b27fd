//! The C interface on stores that fail in the middle of a batch or panic, which a real store cannot
//! be made to do at will.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::capi::boundary;
use crate::capi::cursor::{
    dcb_cursor, dcb_cursor_close, dcb_cursor_next, dcb_cursor_open, dcb_cursor_position,
};
use crate::capi::event::dcb_event;
use crate::capi::fork::OpenStore;
use crate::capi::status::{
    DCB_BUSY, DCB_CANCELLED, DCB_INTERNAL, DCB_IO, DCB_OK, DCB_TIMEOUT, DCB_UNAVAILABLE, dcb_status,
};
use crate::capi::store::{dcb_close, dcb_head, dcb_store};
use crate::commit::deadline::CallOptions;
use crate::domain::{AppendRequest, EventId, EventView, ReadState, SequencedEvent, Tags};
use crate::error::{Error, Result, Status};
use crate::position::{Position, at};
use crate::store::{Appended, BatchLimits, Sink, Store};

/// A store of ten events that delivers up to three in a batch. The first read that reaches the
/// event at `at` fails with `status` before it.
struct FailingStore {
    status: Status,
    at: i64,
    failures: AtomicUsize,
}

impl FailingStore {
    /// Returns a handle of a new store.
    fn open(status: Status, at: i64) -> *mut dcb_store {
        boundary::give(dcb_store::new(
            Arc::new(FailingStore { status, at, failures: 1.into() }),
            OpenStore::count(),
        ))
    }
}

impl Store for FailingStore {
    fn append(&self, _: AppendRequest, _: &CallOptions) -> Result<Appended> {
        unreachable!("no test appends")
    }

    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        _: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        reading.begin(at(10));
        for _ in 0..batch.max_events.min(3) {
            let Some(span) = reading.span() else { break };
            let position = span.first(reading.direction());
            if position == at(self.at) && self.failures.swap(0, Ordering::Relaxed) == 1 {
                return Err(Error::new(self.status, "on purpose"));
            }
            sink.event(&EventView {
                position,
                timestamp_us: 0,
                event_type: "T",
                tags: Tags::listed(&["a", "b:c"]),
                data: "{}",
                id: None,
                metadata: None,
                packed: None,
            })?;
            reading.delivered(position);
        }
        Ok(())
    }

    fn find(&self, _: EventId<'_>, _: &CallOptions) -> Result<Option<SequencedEvent>> {
        unreachable!("no test finds")
    }

    fn head(&self, _: &CallOptions) -> Result<Position> {
        Ok(at(10))
    }

    fn wait(&self, _: Position, _: &CallOptions) -> Result<Position> {
        unreachable!("no test waits")
    }

    fn close(&self) {}
}

/// Calls `dcb_cursor_next`; returns its status and the positions of the events that it returned.
fn next(cursor: *mut dcb_cursor) -> (dcb_status, Vec<i64>) {
    let (mut events, mut len) = (ptr::null::<dcb_event>(), 0);
    // SAFETY: the test owns the cursor, and the events live until the next call.
    unsafe {
        let status =
            dcb_cursor_next(cursor, 100, ptr::null(), &mut events, &mut len, ptr::null_mut());
        let events = if len == 0 { &[] } else { std::slice::from_raw_parts(events, len) };
        (status, events.iter().map(|event| event.position).collect())
    }
}

/// Reads `store` with six calls, more than it takes to its end, and closes it. Returns the status,
/// the positions and the position of the cursor of each call.
fn read_to_end(store: *mut dcb_store, request: &str) -> Vec<(dcb_status, Vec<i64>, i64)> {
    let mut cursor = ptr::null_mut();
    let mut calls = Vec::new();
    // SAFETY: the test owns the handles.
    unsafe {
        let text = request.as_ptr().cast();
        let status =
            dcb_cursor_open(store, text, request.len(), ptr::null(), &mut cursor, ptr::null_mut());
        assert_eq!(status, DCB_OK);
        for _ in 0..6 {
            let (status, positions) = next(cursor);
            calls.push((status, positions, dcb_cursor_position(cursor)));
        }
        dcb_cursor_close(cursor);
        dcb_close(store);
    }
    calls
}

#[test]
fn a_transient_failure_shortens_one_batch_only() {
    let calls = read_to_end(FailingStore::open(Status::Busy, 6), "");
    assert_eq!(
        calls[..5],
        [
            (DCB_OK, vec![1, 2, 3], 3),
            (DCB_OK, vec![4, 5], 5),
            (DCB_OK, vec![6, 7, 8], 8),
            (DCB_OK, vec![9, 10], 10),
            (DCB_OK, vec![], 10),
        ]
    );
    for (status, code) in [
        (Status::Busy, DCB_BUSY),
        (Status::Timeout, DCB_TIMEOUT),
        (Status::Cancelled, DCB_CANCELLED),
        (Status::Unavailable, DCB_UNAVAILABLE),
    ] {
        let calls = read_to_end(FailingStore::open(status, 4), "");
        assert_eq!(calls[1], (code, vec![], 3));
        assert_eq!(calls[2], (DCB_OK, vec![4, 5, 6], 6));
    }
}

#[test]
fn a_permanent_failure_is_reported_after_the_events_before_it() {
    let calls = read_to_end(FailingStore::open(Status::Io, 6), "");
    assert_eq!(calls[1], (DCB_OK, vec![4, 5], 5));
    assert!(calls[2..].iter().all(|call| *call == (DCB_IO, vec![], 5)));
    let calls = read_to_end(FailingStore::open(Status::Io, 5), r#"{"backwards": true}"#);
    assert_eq!(calls[1], (DCB_OK, vec![7, 6], 10));
    assert!(calls[2..].iter().all(|call| *call == (DCB_IO, vec![], 10)));
}

/// A store that panics in every call but the first read. The second read panics after it has
/// finished the read, so that the cursor could take the panic for the end.
struct PanickingStore;

impl Store for PanickingStore {
    fn append(&self, _: AppendRequest, _: &CallOptions) -> Result<Appended> {
        panic!("append")
    }

    fn read(
        &self,
        reading: &mut ReadState,
        _: BatchLimits,
        _: &CallOptions,
        _: &mut dyn Sink,
    ) -> Result<()> {
        if !reading.has_begun() {
            reading.begin(at(3));
            return Ok(());
        }
        if reading.span().is_none() {
            return Ok(());
        }
        reading.finish();
        panic!("read")
    }

    fn find(&self, _: EventId<'_>, _: &CallOptions) -> Result<Option<SequencedEvent>> {
        panic!("find")
    }

    fn head(&self, _: &CallOptions) -> Result<Position> {
        panic!("head")
    }

    fn wait(&self, _: Position, _: &CallOptions) -> Result<Position> {
        panic!("wait")
    }

    fn close(&self) {
        panic!("close")
    }
}

impl Drop for PanickingStore {
    fn drop(&mut self) {
        panic!("drop")
    }
}

#[test]
fn panics_in_close_and_drop_are_contained() {
    let store = boundary::give(dcb_store::new(Arc::new(PanickingStore), OpenStore::count()));
    let (mut cursor, mut head) = (ptr::null_mut(), 0);
    // SAFETY: the test owns the handles.
    unsafe {
        let no_error = ptr::null_mut();
        assert_eq!(dcb_head(store, ptr::null(), &mut head, no_error), DCB_INTERNAL);
        let status = dcb_cursor_open(store, ptr::null(), 0, ptr::null(), &mut cursor, no_error);
        assert_eq!(status, DCB_OK);
        // A panic is permanent: every later call reports it too.
        for _ in 0..3 {
            assert_eq!(next(cursor), (DCB_INTERNAL, vec![]));
        }
        dcb_close(store);
        dcb_cursor_close(cursor);
    }
}
