//! The C interface with Rust's types on top, and what has to hold after every call of it.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use dcb::capi::buf::{dcb_buf, dcb_buf_free};
use dcb::capi::call::dcb_call;
use dcb::capi::cancel::{dcb_cancel_free, dcb_cancel_new, dcb_cancel_trigger};
use dcb::capi::cursor::{
    dcb_cursor, dcb_cursor_close, dcb_cursor_next, dcb_cursor_open, dcb_cursor_position,
};
use dcb::capi::error::dcb_error;
use dcb::capi::event::{dcb_event, dcb_str};
use dcb::capi::status::{DCB_NO_MEMORY, DCB_OK, dcb_status};
use dcb::capi::store::{
    dcb_append, dcb_close, dcb_count, dcb_head, dcb_open, dcb_read, dcb_store, dcb_wait,
};

use super::json::{Json, Kind, parse};
use super::model::{Event, Found, Stored};

/// What a call gives instead of its value: the status, and the position that the error names.
pub type Answer<T> = Result<T, (dcb_status, i64)>;

/// A pattern that no call leaves in an output.
const UNTOUCHED: i64 = 0x5a5a_5a5a_5a5a_5a5a;

fn call(run: impl FnOnce(*mut dcb_error) -> dcb_status) -> Answer<()> {
    call_with_detail(run).map(|detail| assert_eq!(detail, 0))
}

/// The same; gives what the error's detail says of a call that succeeded.
fn call_with_detail(run: impl FnOnce(*mut dcb_error) -> dcb_status) -> Answer<i32> {
    let mut err = dcb_error { status: 77, detail: 77, position: UNTOUCHED, message: [0x5a; 240] };
    let status = run(&raw mut err);
    assert_eq!(err.status, status, "the error and the call disagree");
    // SAFETY: bytes of an array.
    let message = unsafe { ptr::from_ref(&err.message).cast::<[u8; 240]>().read() };
    let message = CStr::from_bytes_until_nul(&message).expect("a terminated message");
    let message = message.to_str().expect("a message in UTF-8");
    assert_eq!(message.is_empty(), status == DCB_OK, "{status}: {message}");
    assert!((DCB_OK..=DCB_NO_MEMORY).contains(&status), "{status}: {message}");
    match status {
        DCB_OK => {
            assert_eq!(err.position, 0);
            Ok(err.detail)
        }
        status => Err((status, err.position)),
    }
}

/// What a call is given beside its arguments. A failed one leaves zero in its output.
fn value(run: impl FnOnce(*mut i64, *mut dcb_error) -> dcb_status) -> Answer<i64> {
    let mut value = UNTOUCHED;
    let answer = call(|err| run(&raw mut value, err));
    assert!(answer.is_ok() || value == 0, "an output after a failure: {value}");
    answer.map(|()| value)
}

fn parts(request: &[u8]) -> (*const c_char, usize) {
    (request.as_ptr().cast(), request.len())
}

/// A `dcb_call`, and the cancel that it holds.
pub struct Patience(dcb_call);

impl Patience {
    /// Waits that long at the most.
    pub fn of(timeout_ms: i64) -> Patience {
        Patience(dcb_call { size: size_of::<dcb_call>(), timeout_ms, cancel: ptr::null_mut() })
    }

    /// Is cancelled already.
    pub fn cancelled() -> Patience {
        let cancel = dcb_cancel_new();
        // SAFETY: made just now.
        unsafe { dcb_cancel_trigger(cancel) };
        Patience(dcb_call { cancel, ..Patience::of(-1).0 })
    }

    /// Of a size that no version has.
    pub fn broken() -> Patience {
        Patience(dcb_call { size: 3, ..Patience::of(0).0 })
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        // SAFETY: NULL, or ours and used no more.
        unsafe { dcb_cancel_free(self.0.cancel) };
    }
}

fn raw(deadline: Option<&Patience>) -> *const dcb_call {
    deadline.map_or(ptr::null(), |deadline| &raw const deadline.0)
}

/// An open store.
pub struct Store(*mut dcb_store);

// SAFETY: the header allows any thread, any number at once.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// One that every call has to refuse.
    pub fn null() -> Store {
        Store(ptr::null_mut())
    }

    /// Opens a store; neither text has a NUL.
    pub fn open(uri: &[u8], options: Option<&[u8]>) -> Answer<Store> {
        let uri = CString::new(uri).expect("no NUL");
        let options = options.map(|options| CString::new(options).expect("no NUL"));
        let options = options.as_ref().map_or(ptr::null(), |options| options.as_ptr());
        let mut store = ptr::dangling_mut();
        // SAFETY: texts and outputs of our own.
        let answer = call(|err| unsafe { dcb_open(uri.as_ptr(), options, &raw mut store, err) });
        assert_eq!(store.is_null(), answer.is_err());
        answer.map(|()| Store(store))
    }

    pub fn append(&self, request: &[u8], deadline: Option<&Patience>) -> Answer<Stored> {
        let (data, len) = parts(request);
        let mut last = UNTOUCHED;
        // SAFETY: a store that is open, and buffers of our own.
        let answer = call_with_detail(|err| unsafe {
            dcb_append(self.0, data, len, raw(deadline), &raw mut last, err)
        });
        assert!(answer.is_ok() || last == 0, "an output after a failure: {last}");
        let is_repeated = answer?;
        assert!((0..2).contains(&is_repeated), "{is_repeated}");
        Ok(Stored { last, is_repeated: is_repeated == 1 })
    }

    /// Reads, and takes the document apart.
    pub fn read(&self, request: &[u8], deadline: Option<&Patience>) -> Answer<Found> {
        let mut buf = dcb_buf { data: ptr::dangling_mut(), len: 7, cap: 7 };
        let (data, len) = parts(request);
        // SAFETY: a store that is open, and buffers of our own.
        let answer =
            call(|err| unsafe { dcb_read(self.0, data, len, raw(deadline), &raw mut buf, err) });
        if answer.is_err() {
            assert!(buf.data.is_null() && buf.len == 0 && buf.cap == 0);
        }
        let found = answer.map(|()| {
            // SAFETY: filled by the call.
            found(unsafe { std::slice::from_raw_parts(buf.data.cast::<u8>(), buf.len) })
        });
        // SAFETY: filled by the call. To free it twice is allowed.
        unsafe {
            dcb_buf_free(&raw mut buf);
            dcb_buf_free(&raw mut buf);
        }
        found
    }

    pub fn head(&self, deadline: Option<&Patience>) -> Answer<i64> {
        // SAFETY: a store that is open, and an output of our own.
        value(|head, err| unsafe { dcb_head(self.0, raw(deadline), head, err) })
    }

    pub fn count(&self, deadline: Option<&Patience>) -> Answer<i64> {
        // SAFETY: a store that is open, and an output of our own.
        value(|events, err| unsafe { dcb_count(self.0, raw(deadline), events, err) })
    }

    pub fn wait(&self, after: i64, deadline: &Patience) -> Answer<i64> {
        // SAFETY: a store that is open, and an output of our own.
        value(|head, err| unsafe { dcb_wait(self.0, after, raw(Some(deadline)), head, err) })
    }

    pub fn cursor(&self, request: &[u8], deadline: Option<&Patience>) -> Answer<Cursor> {
        let mut cursor = ptr::dangling_mut();
        let (data, len) = parts(request);
        // SAFETY: a store that is open, and buffers of our own.
        let answer = call(|err| unsafe {
            dcb_cursor_open(self.0, data, len, raw(deadline), &raw mut cursor, err)
        });
        assert_eq!(cursor.is_null(), answer.is_err());
        answer.map(|()| Cursor(cursor))
    }

    /// Calls without an output. Each has to refuse.
    pub fn without_outputs(&self) -> [Answer<()>; 5] {
        let (request, null) = (b"{}".as_ptr().cast(), ptr::null());
        // SAFETY: a store that is open; NULL is checked for.
        unsafe {
            [
                call(|err| dcb_append(self.0, request, 2, null, ptr::null_mut(), err)),
                call(|err| dcb_read(self.0, request, 2, null, ptr::null_mut(), err)),
                call(|err| dcb_cursor_open(self.0, request, 2, null, ptr::null_mut(), err)),
                call(|err| dcb_head(self.0, null, ptr::null_mut(), err)),
                call(|err| dcb_read(self.0, ptr::null(), 2, null, ptr::null_mut(), err)),
            ]
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: NULL, or open until here, and nobody has it any more.
        unsafe { dcb_close(self.0) };
    }
}

/// A read under way.
pub struct Cursor(*mut dcb_cursor);

impl Cursor {
    /// One that every call has to refuse.
    pub fn null() -> Cursor {
        Cursor(ptr::null_mut())
    }

    /// The next events.
    pub fn next(&mut self, max: usize, deadline: Option<&Patience>) -> Answer<Vec<(i64, Event)>> {
        let mut events = ptr::dangling();
        let mut len = 7;
        // SAFETY: a cursor that is open, and outputs of our own.
        let answer = call(|err| unsafe {
            dcb_cursor_next(self.0, max, raw(deadline), &raw mut events, &raw mut len, err)
        });
        if answer.is_err() || len == 0 {
            assert!(events.is_null() && len == 0);
            return answer.map(|()| Vec::new());
        }
        assert!(len <= max, "{len} events of {max}");
        // SAFETY: so many the call gave; they live until the next call.
        let events = unsafe { std::slice::from_raw_parts(events, len) };
        Ok(events.iter().map(|event| (event.position, keep(event))).collect())
    }

    pub fn position(&self) -> i64 {
        // SAFETY: NULL, or a cursor that is open.
        unsafe { dcb_cursor_position(self.0) }
    }

    /// Everything, `max` by `max`, and the position at the end.
    pub fn all(mut self, max: usize) -> Answer<Found> {
        let mut events = Vec::new();
        loop {
            let some = self.next(max, None)?;
            if some.is_empty() {
                return Ok((events, self.position()));
            }
            events.extend(some);
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        // SAFETY: NULL, or open until here.
        unsafe { dcb_cursor_close(self.0) };
    }
}

fn keep(event: &dcb_event) -> Event {
    let text = |view: &dcb_str| {
        assert!(!view.data.is_null() || view.len == 0);
        (!view.data.is_null()).then(|| {
            // SAFETY: so many bytes, alive until the cursor's next call.
            let bytes = unsafe { std::slice::from_raw_parts(view.data.cast::<u8>(), view.len) };
            String::from_utf8(bytes.to_vec()).expect("UTF-8")
        })
    };
    let tags = if event.tags_len == 0 {
        assert!(event.tags.is_null());
        &[]
    } else {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(event.tags, event.tags_len) }
    };
    Event {
        event_type: text(&event.r#type).expect("a type"),
        tags: tags.iter().map(|tag| text(tag).expect("a tag")).collect(),
        data: text(&event.data).expect("data"),
        id: text(&event.id),
        metadata: text(&event.metadata),
    }
}

/// Takes a read result apart.
fn found(document: &[u8]) -> Found {
    let json = parse(document).expect("the result is JSON");
    let [events, position] = entries(&json, &["events", "position"]);
    let Kind::List(events) = &events.expect("events").kind else { panic!("events are a list") };
    let events = events.iter().map(|json| {
        let keys = ["position", "type", "tags", "data", "id", "metadata", "timestamp"];
        let [position, event_type, tags, data, id, metadata, timestamp] = entries(json, &keys);
        let Kind::List(tags) = &tags.expect("tags").kind else { panic!("tags are a list") };
        assert_eq!(text(timestamp.expect("a timestamp")).len(), 27);
        let event = Event {
            event_type: text(event_type.expect("a type")),
            tags: tags.iter().map(text).collect(),
            data: data.expect("data").raw.into(),
            id: id.map(text),
            metadata: metadata.map(|json| json.raw.into()),
        };
        (integer(position), event)
    });
    (events.collect(), integer(position))
}

/// The values of an object's keys, which come in this order, each once or not at all.
fn entries<'a, 'j, const N: usize>(
    json: &'a Json<'j>,
    keys: &[&str; N],
) -> [Option<&'a Json<'j>>; N] {
    let Kind::Object(entries) = &json.kind else { panic!("an object") };
    let mut entries = entries.iter().peekable();
    let values = keys
        .map(|key| entries.next_if(|(own, _)| own.as_deref() == Some(key)).map(|(_, value)| value));
    assert!(entries.next().is_none(), "keys that nobody asked for, or in another order");
    values
}

fn text(json: &Json<'_>) -> String {
    let Kind::String(Some(text)) = &json.kind else { panic!("a string") };
    text.clone()
}

fn integer(json: Option<&Json<'_>>) -> i64 {
    json.expect("an integer").raw.parse().expect("an integer")
}
