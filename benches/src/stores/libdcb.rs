//! libdcb through its C ABI, as a program in C would use it: requests are JSON text, made for
//! each call.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use dcb::capi::buf::{dcb_buf, dcb_buf_free};
use dcb::capi::cursor::{dcb_cursor_close, dcb_cursor_next, dcb_cursor_open, dcb_cursor_position};
use dcb::capi::error::dcb_error;
use dcb::capi::event::{dcb_event, dcb_str};
use dcb::capi::status::{DCB_CONDITION_FAILED, DCB_OK, dcb_status};
use dcb::capi::store::{
    dcb_append, dcb_close, dcb_diagnose, dcb_head, dcb_open, dcb_read, dcb_store,
};

use crate::measure::cpu_time;

use super::{Append, Form, Found, Outcome, Subject};

/// How many events a caller asks a cursor for at once.
const BATCH: usize = 1024;

/// The part of a processor above which a store is not at rest.
const BUSY: f64 = 0.03;

pub struct Libdcb(*mut dcb_store);

// SAFETY: a dcb_store is for any thread, any number at once.
unsafe impl Send for Libdcb {}
// SAFETY: as above.
unsafe impl Sync for Libdcb {}

impl Libdcb {
    pub fn open(uri: &str) -> Self {
        let uri = CString::new(uri).expect("a uri without NUL");
        let (mut store, mut error) = (null_mut(), Error::new());
        // SAFETY: the uri is terminated, and both outputs are valid.
        let status = unsafe { dcb_open(uri.as_ptr(), null(), &raw mut store, error.out()) };
        error.expect(status);
        Libdcb(store)
    }

    /// Appends a request that is there as text already.
    pub fn append_text(&self, request: &str) -> Outcome {
        let (mut last, mut error) = (0, Error::new());
        // SAFETY: the store is open, the request borrowed, and both outputs are valid.
        let status = unsafe {
            dcb_append(
                self.0,
                request.as_ptr().cast(),
                request.len(),
                null(),
                &raw mut last,
                error.out(),
            )
        };
        if status == DCB_CONDITION_FAILED {
            return Outcome::Refused;
        }
        error.expect(status);
        Outcome::Stored
    }

    /// The position of the newest event, which is also how many there are.
    pub fn head(&self) -> u64 {
        let (mut head, mut error) = (0, Error::new());
        // SAFETY: the store is open, and both outputs are valid.
        let status = unsafe { dcb_head(self.0, null(), &raw mut head, error.out()) };
        error.expect(status);
        head.cast_unsigned()
    }

    /// In how many parts the index is by now.
    pub fn segments(&self) -> u64 {
        let (mut result, mut error) = (dcb_buf { data: null_mut(), len: 0, cap: 0 }, Error::new());
        // SAFETY: the store is open, and both outputs are valid.
        let status = unsafe { dcb_diagnose(self.0, null(), &raw mut result, error.out()) };
        error.expect(status);
        // SAFETY: the call gave so many bytes, which live until they are freed.
        let text = unsafe { std::slice::from_raw_parts(result.data.cast::<u8>(), result.len) };
        let text = String::from_utf8_lossy(text).into_owned();
        // SAFETY: from the call, and not used again.
        unsafe { dcb_buf_free(&raw mut result) };
        let (_, rest) = text.split_once("\"segments\":").expect("a store on a file");
        let digits = rest.trim_start().bytes().take_while(u8::is_ascii_digit);
        digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    }

    fn read_structs(&self, request: &str) -> Found {
        let (mut found, mut error, mut cursor) = (Found::default(), Error::new(), null_mut());
        // SAFETY: as in `append_text`.
        let status = unsafe {
            let request = (request.as_ptr().cast(), request.len());
            dcb_cursor_open(self.0, request.0, request.1, null(), &raw mut cursor, error.out())
        };
        error.expect(status);
        loop {
            let (mut events, mut len) = (null(), 0);
            // SAFETY: the cursor is open and this thread's own, and the outputs are valid.
            let status = unsafe {
                dcb_cursor_next(cursor, BATCH, null(), &raw mut events, &raw mut len, error.out())
            };
            error.expect(status);
            if len == 0 {
                break;
            }
            // SAFETY: the call gave so many events, which live until the next call.
            let events: &[dcb_event] = unsafe { std::slice::from_raw_parts(events, len) };
            for event in events {
                found.look(bytes(&event.r#type), bytes(&event.data));
            }
        }
        // SAFETY: the cursor is open, and not used afterwards.
        unsafe {
            found.position = dcb_cursor_position(cursor).cast_unsigned();
            dcb_cursor_close(cursor);
        }
        found
    }

    fn read_json(&self, request: &str) -> Found {
        let (mut result, mut error) = (dcb_buf { data: null_mut(), len: 0, cap: 0 }, Error::new());
        // SAFETY: as in `append_text`.
        let status = unsafe {
            dcb_read(
                self.0,
                request.as_ptr().cast(),
                request.len(),
                null(),
                &raw mut result,
                error.out(),
            )
        };
        error.expect(status);
        let bytes = std::hint::black_box(result.len) as u64;
        // SAFETY: the buffer is the caller's, and not used afterwards.
        unsafe { dcb_buf_free(&raw mut result) };
        Found { events: 0, bytes, position: 0 }
    }
}

impl Subject for Libdcb {
    fn append(&self, append: &Append<'_>) -> Outcome {
        self.append_text(&append_request(append))
    }

    fn read(&self, tag: Option<&str>, form: Form) -> Found {
        let request = read_request(tag);
        match form {
            Form::Structs => self.read_structs(&request),
            Form::Json => self.read_json(&request),
        }
    }

    fn come_to_rest(&self, unchanged: Duration) {
        // While nothing else is to be done it merges, twice a second and a slice at a time. A large
        // merge takes long until the number of segments changes, and processor time all the while.
        let (mut segments, mut since, mut cpu) = (self.segments(), Instant::now(), cpu_time());
        while since.elapsed() < unchanged {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.segments();
            if now != segments || cpu_time() - cpu > unchanged.mul_f64(BUSY) {
                (segments, since, cpu) = (now, Instant::now(), cpu_time());
            }
        }
    }
}

impl Drop for Libdcb {
    fn drop(&mut self) {
        // SAFETY: no other call runs, or can begin.
        unsafe { dcb_close(self.0) };
    }
}

/// The JSON of an append. Nothing in the load needs escaping.
pub fn append_request(append: &Append<'_>) -> String {
    let mut json = String::with_capacity(160 + append.events.len() * 400);
    json.push_str("{\"events\":[");
    for (index, event) in append.events.iter().enumerate() {
        json.push_str(if index > 0 { ",{\"type\":\"" } else { "{\"type\":\"" });
        json.push_str(event.event_type);
        json.push_str("\",\"tags\":[");
        for (index, tag) in event.tags.iter().enumerate() {
            json.push_str(if index > 0 { ",\"" } else { "\"" });
            json.push_str(tag);
            json.push('"');
        }
        json.push_str("],\"data\":");
        json.push_str(event.data);
        json.push('}');
    }
    json.push(']');
    if let Some((tag, after)) = append.condition {
        json.push_str(",\"condition\":{\"failIfEventsMatch\":{\"items\":[{\"tags\":[\"");
        json.push_str(tag);
        json.push_str("\"]}]},\"after\":");
        json.push_str(&after.to_string());
        json.push('}');
    }
    json.push('}');
    json
}

/// The JSON of a read.
pub fn read_request(tag: Option<&str>) -> String {
    match tag {
        Some(tag) => format!("{{\"query\":{{\"items\":[{{\"tags\":[\"{tag}\"]}}]}}}}"),
        None => String::new(),
    }
}

fn bytes(text: &dcb_str) -> &[u8] {
    // SAFETY: a view that the cursor keeps until its next call; type and data are never absent.
    unsafe { std::slice::from_raw_parts(text.data.cast(), text.len) }
}

/// A caller's `dcb_error`.
struct Error(MaybeUninit<dcb_error>);

impl Error {
    fn new() -> Self {
        Error(MaybeUninit::zeroed())
    }

    fn out(&mut self) -> *mut dcb_error {
        self.0.as_mut_ptr()
    }

    fn expect(&self, status: dcb_status) {
        if status != DCB_OK {
            // SAFETY: zeroed, or filled by the call; the message is always terminated.
            let message = unsafe { CStr::from_ptr(self.0.assume_init_ref().message.as_ptr()) };
            panic!("libdcb: status {status}: {}", message.to_string_lossy());
        }
    }
}
