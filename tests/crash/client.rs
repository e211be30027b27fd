//! The C interface as a program calls it, wrapped in Rust types.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::ptr;

use dcb::capi::buf::{dcb_buf, dcb_buf_free};
use dcb::capi::call::dcb_call;
use dcb::capi::error::dcb_error;
use dcb::capi::host::{dcb_append_within, dcb_open_host};
use dcb::capi::host_functions::dcb_host;
use dcb::capi::status::{DCB_OK, dcb_status, dcb_status_name};
use dcb::capi::store::{dcb_append, dcb_close, dcb_head, dcb_open, dcb_read, dcb_store, dcb_wait};
use serde_json::value::RawValue;

/// A call whose status is not `ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub status: dcb_status,
    pub detail: i32,
    pub position: i64,
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: the name is a static, terminated text.
        let name = unsafe { CStr::from_ptr(dcb_status_name(self.status)) };
        write!(f, "{} ({}): {}", name.to_string_lossy(), self.detail, self.message)
    }
}

pub type Answer<T> = Result<T, Failure>;

/// An event as a read returns it.
#[derive(Debug)]
pub struct Stored {
    pub position: i64,
    pub event_type: String,
    pub tags: Vec<String>,
    pub data: Box<RawValue>,
    pub id: Option<String>,
}

impl Stored {
    fn parse(text: &str) -> serde_json::Result<Stored> {
        let mut keys: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
        let mut take = |key: &str| keys.remove(key).unwrap_or_else(|| RawValue::NULL.to_owned());
        Ok(Stored {
            position: serde_json::from_str(take("position").get())?,
            event_type: serde_json::from_str(take("type").get())?,
            tags: serde_json::from_str(take("tags").get())?,
            data: take("data"),
            id: serde_json::from_str(take("id").get())?,
        })
    }
}

/// The result of a read.
#[derive(Debug)]
pub struct ReadResult {
    pub events: Vec<Stored>,
    pub position: i64,
}

impl ReadResult {
    fn parse(text: &str) -> serde_json::Result<ReadResult> {
        let keys: BTreeMap<&str, &RawValue> = serde_json::from_str(text)?;
        let events: Vec<&RawValue> = serde_json::from_str(keys["events"].get())?;
        Ok(ReadResult {
            events: events
                .iter()
                .map(|event| Stored::parse(event.get()))
                .collect::<Result<_, _>>()?,
            position: serde_json::from_str(keys["position"].get())?,
        })
    }

    pub fn positions(&self) -> Vec<i64> {
        self.events.iter().map(|event| event.position).collect()
    }
}

/// An open store, and a value that has to live as long as it.
pub struct Store(*mut dcb_store, Option<Box<dyn Any + Send + Sync>>);

// SAFETY: the header allows any thread, any number at once.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

fn call(run: impl FnOnce(*mut dcb_error) -> dcb_status) -> Answer<()> {
    let mut err = dcb_error { status: 0, detail: 0, position: 0, message: [0; 240] };
    match run(&raw mut err) {
        DCB_OK => Ok(()),
        status => {
            assert_eq!(err.status, status, "the error and the call disagree");
            // SAFETY: the message is always terminated.
            let message = unsafe { CStr::from_ptr(err.message.as_ptr()) };
            let message = message.to_str().expect("UTF-8").to_owned();
            assert!(!message.is_empty(), "status {status} without a message");
            Err(Failure { status, detail: err.detail, position: err.position, message })
        }
    }
}

impl Store {
    /// Opens the store in the file at `path`.
    pub fn open(path: &Path) -> Answer<Store> {
        Store::open_with(path, "{}")
    }

    /// Opens the store in the file at `path`, with options.
    pub fn open_with(path: &Path, options: &str) -> Answer<Store> {
        Store::open_uri(&format!("sqlite:{}", path.display()), options)
    }

    /// Opens a store by its URI.
    pub fn open_uri(uri: &str, options: &str) -> Answer<Store> {
        let uri = CString::new(uri).expect("no NUL");
        let options = CString::new(options).expect("no NUL");
        let mut store = ptr::null_mut();
        // SAFETY: both texts are terminated, and the output is a local variable.
        call(|err| unsafe { dcb_open(uri.as_ptr(), options.as_ptr(), &raw mut store, err) })?;
        Ok(Store(store, None))
    }

    /// Opens the store in a database that a program has open. The functions of `host` use `pool`.
    pub fn open_host(host: &dcb_host, pool: Box<dyn Any + Send + Sync>) -> Answer<Store> {
        let mut store = ptr::null_mut();
        // SAFETY: the functions' context is the pool, which is dropped after the store is closed.
        call(|err| unsafe { dcb_open_host(host, ptr::null(), &raw mut store, err) })?;
        Ok(Store(store, Some(pool)))
    }

    /// Appends in a transaction that is open on a connection of the host.
    pub fn append_within(&self, connection: *mut c_void, request: &str) -> Answer<i64> {
        let mut last = 0;
        // SAFETY: the store is open, the connection is its host's, and the buffers are local.
        call(|err| unsafe {
            let (data, len) = (request.as_ptr().cast(), request.len());
            dcb_append_within(self.0, connection, data, len, ptr::null(), &raw mut last, err)
        })?;
        Ok(last)
    }

    /// Appends, and returns the position of the last event.
    pub fn append(&self, request: &str) -> Answer<i64> {
        let mut last = 0;
        // SAFETY: the store is open, and the buffers are local.
        call(|err| unsafe {
            let (data, len) = (request.as_ptr().cast(), request.len());
            dcb_append(self.0, data, len, ptr::null(), &raw mut last, err)
        })?;
        Ok(last)
    }

    /// Reads, and returns the text of the result.
    pub fn read_text(&self, request: &str) -> Answer<String> {
        let mut buf = dcb_buf { data: ptr::null_mut(), len: 0, cap: 0 };
        // SAFETY: the store is open, and the buffers are local.
        call(|err| unsafe {
            let (data, len) = (request.as_ptr().cast(), request.len());
            dcb_read(self.0, data, len, ptr::null(), &raw mut buf, err)
        })?;
        // SAFETY: the call has filled the buffer, which is freed once and not used afterwards.
        let bytes = unsafe {
            let bytes = std::slice::from_raw_parts(buf.data.cast::<u8>(), buf.len).to_vec();
            dcb_buf_free(&raw mut buf);
            bytes
        };
        Ok(String::from_utf8(bytes).expect("UTF-8"))
    }

    /// Reads, and returns the parsed result.
    pub fn read(&self, request: &str) -> Answer<ReadResult> {
        let text = self.read_text(request)?;
        Ok(ReadResult::parse(&text).expect("a read result"))
    }

    /// Returns the head.
    pub fn head(&self) -> Answer<i64> {
        let mut head = 0;
        // SAFETY: the store is open, and the output is a local variable.
        call(|err| unsafe { dcb_head(self.0, ptr::null(), &raw mut head, err) })?;
        Ok(head)
    }

    /// Waits for a head above `after`, and returns it.
    pub fn wait(&self, after: i64, milliseconds: i64) -> Answer<i64> {
        let size = size_of::<dcb_call>();
        let options = dcb_call { size, timeout_ms: milliseconds, cancel: ptr::null_mut() };
        let mut head = 0;
        // SAFETY: the store is open, and the output is a local variable.
        call(|err| unsafe { dcb_wait(self.0, after, &raw const options, &raw mut head, err) })?;
        Ok(head)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the store is open until here, and no other thread uses it any more.
        unsafe { dcb_close(self.0) };
        self.1 = None;
    }
}
