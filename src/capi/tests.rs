//! What no real store can be brought to at will: failures in the middle of a batch, and panics.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::capi::boundary;
use crate::capi::cursor::{
    dcb_cursor, dcb_cursor_close, dcb_cursor_next, dcb_cursor_open, dcb_cursor_position,
};
use crate::capi::event::dcb_event;
use crate::capi::fork::OpenStore;
use crate::capi::status::{DCB_BUSY, DCB_INTERNAL, DCB_IO, DCB_OK, dcb_status};
use crate::capi::store::{dcb_close, dcb_head, dcb_store};
use crate::commit::deadline::CallOptions;
use crate::domain::{AppendRequest, EventView, ReadState, Tags};
use crate::error::{Error, Result, Status};
use crate::store::{Appended, BatchLimits, Sink, Store};

/// Ten events, of which a read gives three at a time; the read that comes to the one at `at`
/// fails before it, once.
struct Faulty {
    status: Status,
    at: i64,
    failures: AtomicUsize,
}

impl Faulty {
    fn open(status: Status, at: i64) -> *mut dcb_store {
        boundary::give(dcb_store::new(
            Arc::new(Faulty { status, at, failures: 1.into() }),
            OpenStore::count(),
        ))
    }
}

impl Store for Faulty {
    fn append(&self, _: AppendRequest, _: &CallOptions) -> Result<Appended> {
        unreachable!("nobody appends")
    }

    fn read(
        &self,
        reading: &mut ReadState,
        batch: BatchLimits,
        _: &CallOptions,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        reading.begin(10);
        for _ in 0..batch.max_events.min(3) {
            let Some(span) = reading.span() else { break };
            let position = span.first(reading.direction());
            if position == self.at && self.failures.swap(0, Ordering::Relaxed) == 1 {
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
            })?;
            reading.delivered(position);
        }
        Ok(())
    }

    fn head(&self, _: &CallOptions) -> Result<i64> {
        Ok(10)
    }

    fn wait(&self, _: i64, _: &CallOptions) -> Result<i64> {
        unreachable!("nobody waits")
    }

    fn close(&self) {}
}

/// One call: its status, and the positions that it gave.
fn next(cursor: *mut dcb_cursor) -> (dcb_status, Vec<i64>) {
    let (mut events, mut len) = (ptr::null::<dcb_event>(), 0);
    // SAFETY: a cursor of the test's own; the events live until the next call.
    unsafe {
        let status =
            dcb_cursor_next(cursor, 100, ptr::null(), &mut events, &mut len, ptr::null_mut());
        let events = if len == 0 { &[] } else { std::slice::from_raw_parts(events, len) };
        (status, events.iter().map(|event| event.position).collect())
    }
}

/// Reads to the end with a store that fails once; gives each answer, and the position after it.
fn play(store: *mut dcb_store, request: &str) -> Vec<(dcb_status, Vec<i64>, i64)> {
    let mut cursor = ptr::null_mut();
    let mut answers = Vec::new();
    // SAFETY: handles of the test's own.
    unsafe {
        let text = request.as_ptr().cast();
        let status =
            dcb_cursor_open(store, text, request.len(), ptr::null(), &mut cursor, ptr::null_mut());
        assert_eq!(status, DCB_OK);
        for _ in 0..6 {
            let (status, positions) = next(cursor);
            answers.push((status, positions, dcb_cursor_position(cursor)));
        }
        dcb_cursor_close(cursor);
        dcb_close(store);
    }
    answers
}

#[test]
fn a_batch_that_a_passing_failure_cuts_short_is_given_and_the_next_goes_on() {
    let answers = play(Faulty::open(Status::Busy, 6), "");
    assert_eq!(
        answers[..5],
        [
            (DCB_OK, vec![1, 2, 3], 3),
            (DCB_OK, vec![4, 5], 5),
            (DCB_OK, vec![6, 7, 8], 8),
            (DCB_OK, vec![9, 10], 10),
            (DCB_OK, vec![], 10),
        ]
    );
    let answers = play(Faulty::open(Status::Busy, 4), "");
    assert_eq!(answers[1], (DCB_BUSY, vec![], 3));
    assert_eq!(answers[2], (DCB_OK, vec![4, 5, 6], 6));
}

#[test]
fn a_failure_that_stays_comes_after_the_events_before_it() {
    let answers = play(Faulty::open(Status::Io, 6), "");
    assert_eq!(answers[1], (DCB_OK, vec![4, 5], 5));
    assert!(answers[2..].iter().all(|answer| *answer == (DCB_IO, vec![], 5)));
    let answers = play(Faulty::open(Status::Io, 5), r#"{"backwards": true}"#);
    assert_eq!(answers[1], (DCB_OK, vec![7, 6], 10));
    assert!(answers[2..].iter().all(|answer| *answer == (DCB_IO, vec![], 10)));
}

/// A store that panics wherever it can, with a reading that it has brought to its end.
struct Broken;

impl Store for Broken {
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
            reading.begin(3);
            return Ok(());
        }
        if reading.span().is_none() {
            return Ok(());
        }
        reading.finish();
        panic!("read")
    }

    fn head(&self, _: &CallOptions) -> Result<i64> {
        panic!("head")
    }

    fn wait(&self, _: i64, _: &CallOptions) -> Result<i64> {
        panic!("wait")
    }

    fn close(&self) {
        panic!("close")
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        panic!("drop")
    }
}

#[test]
fn panics_in_close_and_drop_are_contained() {
    let store = boundary::give(dcb_store::new(Arc::new(Broken), OpenStore::count()));
    let (mut cursor, mut head) = (ptr::null_mut(), 0);
    // SAFETY: handles of the test's own.
    unsafe {
        let no_error = ptr::null_mut();
        assert_eq!(dcb_head(store, ptr::null(), &mut head, no_error), DCB_INTERNAL);
        let status = dcb_cursor_open(store, ptr::null(), 0, ptr::null(), &mut cursor, no_error);
        assert_eq!(status, DCB_OK);
        // A panic stays, as every failure does that does not pass.
        for _ in 0..3 {
            assert_eq!(next(cursor), (DCB_INTERNAL, vec![]));
        }
        dcb_close(store);
        dcb_cursor_close(cursor);
    }
}
