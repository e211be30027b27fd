//! `dcb_cursor`: a read in batches of plain structs.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use crate::capi::boundary;
use crate::capi::boundary::{Handle, Out, document, event_id};
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::event::dcb_event;
use crate::capi::event_batch::Page;
use crate::capi::fork::Generation;
use crate::capi::read_ahead::Parts;
use crate::capi::status::dcb_status;
use crate::capi::store::dcb_store;
use crate::commit::deadline::CallOptions;
use crate::domain::{ReadRequest, ReadState, SequencedEvent};
use crate::error::{Error, Result, Status};
use crate::json;
use crate::position::Position;
use crate::store::{BatchLimits, Sink, Store};

/// A cursor reads a snapshot of the store in batches of structs, without JSON. It lives from
/// dcb_cursor_open to dcb_cursor_close. One thread may use it at a time; a store may have any number
/// of cursors. Between calls it blocks nobody. A thread of the library may read ahead for it.
///
///     const dcb_event *events;
///     size_t len;
///     while (dcb_cursor_next(cursor, 256, NULL, &events, &len, &err) == DCB_OK && len > 0)
///         for (size_t i = 0; i < len; i++)
///             use(&events[i]);
pub struct dcb_cursor {
    store: Arc<dyn Store>,
    generation: Generation,
    reading: ReadState,
    position: i64,
    /// The failure that every further call returns, after the events of the page.
    failure: Option<Error>,
    page: Page,
    /// How many events of the page were returned.
    returned: usize,
    /// The lowest number of events that the next page reads.
    ahead: usize,
    /// What a long read has in hand beyond the page.
    parts: Option<Arc<Parts>>,
}

/// How many events dcb_cursor_open reads, so that a small read takes one transaction.
const FIRST_AHEAD: usize = 256;
/// The factor by which that number grows from page to page, so that a caller that takes one event at
/// a time does not pay for a transaction each time.
const AHEAD_GROWTH: usize = 8;
/// A read is long, and read ahead, from this number on.
const LONG: usize = FIRST_AHEAD * AHEAD_GROWTH * AHEAD_GROWTH;

impl Handle for dcb_cursor {
    const NAME: &'static str = "cursor";

    fn generation(&self) -> Generation {
        self.generation
    }
}

impl dcb_cursor {
    fn new(store: &dcb_store, reading: ReadState) -> Self {
        dcb_cursor {
            store: Arc::clone(&store.store),
            generation: store.generation(),
            position: reading.position().get(),
            reading,
            failure: None,
            page: Page::default(),
            returned: 0,
            ahead: FIRST_AHEAD,
            parts: None,
        }
    }

    /// The cursor of a read that has ended: its page has the event, if there is one.
    fn of_event(store: &dcb_store, found: Option<SequencedEvent>) -> Result<Self> {
        let end = found.as_ref().map_or(Position::START, |event| event.position);
        let mut reading = ReadState::new(ReadRequest::default());
        reading.begin(end);
        reading.finish();
        let mut cursor = dcb_cursor::new(store, reading);
        cursor.position = 0;
        if let Some(event) = found {
            cursor.page.event(&event.view())?;
        }
        Ok(cursor)
    }

    fn next(&mut self, max: usize, call: &CallOptions) -> Result<&[dcb_event]> {
        if max == 0 {
            return Err(Error::invalid("max: must not be 0"));
        }
        if self.returned < self.page.events().len() {
            let nothing = BatchLimits { max_events: 0, max_bytes: 0 };
            self.store.read(&mut self.reading, nothing, call, &mut self.page)?;
        } else {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            self.fill(max, call)?;
        }
        let rest = &self.page.events()[self.returned..];
        let batch = &rest[..max.min(rest.len())];
        self.returned += batch.len();
        self.position = match batch.last() {
            Some(last) if !self.reading.direction().is_backward() => last.position,
            // A read ends with an empty batch, even if the store knows already that no event follows.
            _ => self.reading.position().get(),
        };
        Ok(batch)
    }

    /// Reads the next page, of at least `max` events.
    fn fill(&mut self, max: usize, call: &CallOptions) -> Result<()> {
        let mut page = std::mem::take(&mut self.page);
        let batch =
            BatchLimits { max_events: Page::MAX_EVENTS, max_bytes: self.store.batch_bytes() };
        if self.parts.is_none() && self.ahead >= LONG && self.store.read_ahead().is_some() {
            self.parts = Parts::new(&self.reading, batch, &page);
        }
        page.clear();
        self.returned = 0;
        // Stays set if the read panics.
        self.failure =
            Some(Error::new(Status::Internal, "a bug in the library ended an earlier call"));
        let max_events = max.max(self.ahead).min(batch.max_events);
        let outcome = match &self.parts {
            Some(parts) => parts.next(&*self.store, &mut self.reading, &mut page, call),
            None => {
                let batch = BatchLimits { max_events, ..batch };
                self.store.read(&mut self.reading, batch, call, &mut page)
            }
        };
        self.failure = outcome.as_ref().err().filter(|error| !is_temporary(error)).cloned();
        self.ahead = self.ahead.saturating_mul(AHEAD_GROWTH);
        self.page = page;
        match outcome {
            // The events before the failure are returned first. The next call returns a permanent
            // failure, and continues after a temporary one.
            Err(error) if self.page.events().is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for dcb_cursor {
    fn drop(&mut self) {
        if let Some(parts) = &self.parts {
            parts.end();
        }
    }
}

/// Returns whether the cursor continues after `error`.
fn is_temporary(error: &Error) -> bool {
    use Status::{Busy, Cancelled, Timeout, Unavailable};
    matches!(error.status, Busy | Timeout | Cancelled | Unavailable)
}

/// Starts a read. `request` is a read request as for dcb_read; a `len` of 0 reads every event. It
/// takes the snapshot and looks up the first events: the cursor does not return events that are
/// appended later. The cursor is written to `*out`, and the caller closes it with dcb_cursor_close.
///
/// It returns the statuses of dcb_read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cursor_open(
    store: *mut dcb_store,
    request: *const c_char,
    len: usize,
    call: *const dcb_call,
    out: *mut *mut dcb_cursor,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("out", out), || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            let reading = ReadState::new(json::parse_read(document(request, len)?)?);
            let mut cursor = dcb_cursor::new(store, reading);
            match cursor.fill(1, &call) {
                Err(error) if !cursor.reading.has_begun() => return Err(error),
                // The snapshot is taken. The next call reports the failure, or tries again.
                _ => {}
            }
            if cursor.reading.direction().is_backward() {
                cursor.position = cursor.reading.position().get();
            }
            Ok(boundary::give(cursor))
        })
    }
}

/// Looks up the event whose id is the `len` bytes at `id`, through the index. A cursor is written to
/// `*out`, over that event or, if none has the id, over no event: one loop reads both. The caller
/// closes it with dcb_cursor_close. An event is found if a read would return it now. At the end,
/// dcb_cursor_position is the event's position, or 0. Do not use that as an `after`: it says nothing
/// of other events. It returns the statuses of dcb_read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_find(
    store: *mut dcb_store,
    id: *const c_char,
    len: usize,
    call: *const dcb_call,
    out: *mut *mut dcb_cursor,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("out", out), || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            let found = store.store.find(event_id(id, len)?, &call)?;
            dcb_cursor::of_event(store, found).map(boundary::give)
        })
    }
}

/// Returns the next events, at most `max`. A pointer to the first one is written to `*events` and
/// their number to `*len`. A `len` of 0 means the end of the read; a batch may be shorter than `max`
/// before that, since its memory is bounded. The events belong to the cursor and stay valid until
/// the next call of dcb_cursor_next, whether that succeeds or not, or dcb_cursor_close.
///
/// After DCB_BUSY, DCB_TIMEOUT, DCB_CANCELLED, DCB_UNAVAILABLE or an invalid argument no event is
/// lost: the next call continues at the same place. Any other error is permanent: every later call
/// returns it again.
///
/// It also returns DCB_INVALID_ARGUMENT for a `max` of 0, and DCB_IO, DCB_CORRUPT, DCB_CLOSED or
/// DCB_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cursor_next(
    cursor: *mut dcb_cursor,
    max: usize,
    call: *const dcb_call,
    events: *mut *const dcb_event,
    len: *mut usize,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, (Out("events", events), Out("len", len)), || {
            let cursor = boundary::exclusive(cursor)?;
            let batch = cursor.next(max, &CallOptions::from_c(call)?)?;
            let events = if batch.is_empty() { ptr::null() } else { batch.as_ptr() };
            Ok((events, batch.len()))
        })
    }
}

/// Returns how far the read has come. At the end of a read, when `len` was 0, and at any time of a
/// backward read, that is the `position` that dcb_read returns, which is safe to use as the `after`
/// of an append condition with the same query. Before the end of a forward read it is the position
/// of the last event returned or, before the first one, the request's `after`. For NULL it is 0. The
/// cursor's events stay valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cursor_position(cursor: *const dcb_cursor) -> i64 {
    // SAFETY: the pointer is what the header demands.
    unsafe { cursor.as_ref() }.map_or(0, |cursor| cursor.position)
}

/// Closes the cursor and frees it and its events. It may be called after dcb_close of the store.
/// NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_cursor_close(cursor: *mut dcb_cursor) {
    // SAFETY: the pointer is what the header demands.
    unsafe {
        boundary::end(cursor, |_| ());
    }
}
