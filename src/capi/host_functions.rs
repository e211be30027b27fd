//! `dcb_host`: the functions with which a program lends the connections of its own SQLite.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::time::Duration;

use crate::capi::event::dcb_str;
use crate::error::{Error, Result};
use crate::sql::Value;
use crate::sql::host::{BorrowedConnection, ConnectionHandle, Failure, Host, Reply};

/// The kind of a value that is NULL.
pub const DCB_VALUE_NULL: i32 = 0;
/// The kind of a value that is a 64-bit integer.
pub const DCB_VALUE_INTEGER: i32 = 1;
/// The kind of a value that is UTF-8 text.
pub const DCB_VALUE_TEXT: i32 = 2;
/// The kind of a value that is a string of bytes.
pub const DCB_VALUE_BLOB: i32 = 3;

/// The value of one parameter of a statement. The first value in a list belongs to parameter 1.
#[repr(C)]
pub struct dcb_value {
    /// One of DCB_VALUE_NULL, DCB_VALUE_INTEGER, DCB_VALUE_TEXT and DCB_VALUE_BLOB.
    pub kind: i32,
    /// The integer, or 0 for another kind.
    pub integer: i64,
    /// The text or the bytes, or absent for another kind.
    pub bytes: dcb_str,
}

/// The result of a function of a dcb_host. The library owns it and zeroes it before the call.
#[repr(C)]
pub struct dcb_reply {
    /// The next rows, one after another, each of them complete. The memory belongs to the host and
    /// must stay valid until the next call on the connection. A row is the number of its columns (2
    /// bytes) followed by the columns. A column is its DCB_VALUE_ kind (1 byte) followed by nothing
    /// for NULL, the integer (8 bytes), or the length of the text or blob (4 bytes) and its bytes.
    /// Numbers are little-endian.
    pub rows: dcb_str,
    /// The number of rows that the statement changed.
    pub changes: i64,
    /// This is not 0 if there may be more rows, which `more` returns.
    pub is_more: i32,
    /// A terminated text that says why the function failed.
    pub message: [c_char; 240],
}

/// The connection pool of a program that has opened the database with its own SQLite, as functions
/// that the library calls.
///
/// A function is called by the thread that called the library, before that call returns. If several
/// threads use the store, several may call the functions at once, but only one at a time uses a
/// connection. A function must not be NULL, unwind, or use this store. It returns 0, the extended
/// result code of SQLite, or a negative number if it fails without such a code.
#[repr(C)]
pub struct dcb_host {
    /// Set this to sizeof(dcb_host).
    pub size: usize,
    /// A pointer of the host's, which is passed to `acquire`.
    pub context: *mut c_void,
    /// Lends a connection that is in no transaction. It waits for one as long as `timeout_ms` says,
    /// which is as in a dcb_call, and returns SQLITE_BUSY if none was free in time and
    /// SQLITE_INTERRUPT if the caller has given up.
    pub acquire: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            timeout_ms: i64,
            connection: *mut *mut c_void,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
    /// Runs a statement that returns no rows.
    pub run: Option<
        unsafe extern "C" fn(
            connection: *mut c_void,
            sql: dcb_str,
            values: *const dcb_value,
            len: usize,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
    /// Runs a statement and returns its first rows, as many as the host chooses.
    pub query: Option<
        unsafe extern "C" fn(
            connection: *mut c_void,
            sql: dcb_str,
            values: *const dcb_value,
            len: usize,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
    /// Returns the next rows of the last query that has not ended. Queries may be nested: a query
    /// that was started between the rows of another one ends before that one continues.
    pub more: Option<unsafe extern "C" fn(connection: *mut c_void, reply: *mut dcb_reply) -> i32>,
    /// Ends that query, even if it has more rows.
    pub finish: Option<unsafe extern "C" fn(connection: *mut c_void)>,
    /// Takes back a connection that was acquired. If `spoiled` is not 0, it could not be restored to
    /// the state in which it was lent, and the host must close it.
    pub release: Option<unsafe extern "C" fn(connection: *mut c_void, spoiled: i32)>,
}

impl dcb_reply {
    /// A reply as a function gets it.
    pub(super) fn empty() -> Self {
        let rows = dcb_str { data: ptr::null(), len: 0 };
        dcb_reply { rows, changes: 0, is_more: 0, message: [0; 240] }
    }

    /// The text that says why the function failed.
    pub(super) fn message(&self) -> String {
        let bytes = self.message.iter().map(|byte| *byte as u8);
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The functions of a host, none missing.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    context: *mut c_void,
    acquire: unsafe extern "C" fn(*mut c_void, i64, *mut *mut c_void, *mut dcb_reply) -> i32,
    run: Statement,
    query: Statement,
    more: unsafe extern "C" fn(*mut c_void, *mut dcb_reply) -> i32,
    finish: unsafe extern "C" fn(*mut c_void),
    release: unsafe extern "C" fn(*mut c_void, i32),
}

type Statement =
    unsafe extern "C" fn(*mut c_void, dcb_str, *const dcb_value, usize, *mut dcb_reply) -> i32;

// SAFETY: the header demands functions that several threads may call at once; what `context` leads
// to is theirs.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

/// Calls a function of the host's and takes what it answers.
fn ask(body: impl FnOnce(*mut dcb_reply) -> i32) -> std::result::Result<Reply, Failure> {
    let mut reply = dcb_reply::empty();
    let code = body(&mut reply);
    if code != 0 {
        return Err(Failure { code: code.max(0), message: reply.message() });
    }
    let mut rows = Vec::new();
    if !reply.rows.data.is_null() {
        if rows.try_reserve_exact(reply.rows.len).is_err() {
            let message = "there was no memory for the rows".to_owned();
            return Err(Failure { code: 7, message });
        }
        // SAFETY: the host says that so many bytes are there, until its next call.
        let own = unsafe { std::slice::from_raw_parts(reply.rows.data.cast(), reply.rows.len) };
        rows.extend_from_slice(own);
    }
    Ok(Reply { rows, is_more: reply.is_more != 0, changes: reply.changes.unsigned_abs() })
}

fn bind(value: &Value<'_>) -> dcb_value {
    let none = dcb_str { data: ptr::null(), len: 0 };
    let of = |bytes: &[u8]| dcb_str { data: bytes.as_ptr().cast(), len: bytes.len() };
    match *value {
        Value::Null | Value::Real(_) => dcb_value { kind: DCB_VALUE_NULL, integer: 0, bytes: none },
        Value::Integer(integer) => dcb_value { kind: DCB_VALUE_INTEGER, integer, bytes: none },
        Value::Text(text) => dcb_value { kind: DCB_VALUE_TEXT, integer: 0, bytes: of(text) },
        Value::Blob(blob) => dcb_value { kind: DCB_VALUE_BLOB, integer: 0, bytes: of(blob) },
    }
}

impl Host for Functions {
    fn acquire(
        &self,
        timeout: Option<Duration>,
    ) -> std::result::Result<Box<dyn BorrowedConnection>, Failure> {
        let timeout_ms = timeout.map_or(-1, |limit| {
            i64::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(i64::MAX)
        });
        let mut handle = ptr::null_mut();
        // SAFETY: the host's function, called as the header says.
        ask(|reply| unsafe { (self.acquire)(self.context, timeout_ms, &mut handle, reply) })?;
        Ok(Box::new(Connection { functions: *self, handle, is_spoiled: false, is_callers: false }))
    }

    fn transaction(&self, connection: ConnectionHandle) -> Box<dyn BorrowedConnection> {
        let handle = connection.as_ptr();
        Box::new(Connection { functions: *self, handle, is_spoiled: false, is_callers: true })
    }
}

/// A connection that the host has lent, or, not acquired, one of a caller's transaction.
struct Connection {
    functions: Functions,
    handle: *mut c_void,
    is_spoiled: bool,
    is_callers: bool,
}

impl Connection {
    fn statement(
        &mut self,
        function: Statement,
        sql: &str,
        values: &[Value<'_>],
    ) -> std::result::Result<Reply, Failure> {
        let sql = dcb_str { data: sql.as_ptr().cast(), len: sql.len() };
        let values: Vec<dcb_value> = values.iter().map(bind).collect();
        // Of none there is no first one.
        let first = if values.is_empty() { ptr::null() } else { values.as_ptr() };
        let len = values.len();
        // SAFETY: the host's function, called as the header says; what is passed outlives it.
        ask(|reply| unsafe { function(self.handle, sql, first, len, reply) })
    }
}

impl BorrowedConnection for Connection {
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        self.statement(self.functions.run, sql, values)
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>]) -> std::result::Result<Reply, Failure> {
        self.statement(self.functions.query, sql, values)
    }

    fn more(&mut self) -> std::result::Result<Reply, Failure> {
        // SAFETY: the host's function, called as the header says.
        ask(|reply| unsafe { (self.functions.more)(self.handle, reply) })
    }

    fn finish(&mut self) {
        // SAFETY: the host's function, called as the header says.
        unsafe { (self.functions.finish)(self.handle) }
    }

    fn spoil(&mut self) {
        self.is_spoiled = true;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_callers {
            // SAFETY: acquired, and not used after this.
            unsafe { (self.functions.release)(self.handle, i32::from(self.is_spoiled)) }
        }
    }
}

/// What the host has given, if it is complete.
///
/// # Safety
/// `host` is NULL or valid for reads of as many bytes as its `size` says.
pub(super) unsafe fn functions(host: *const dcb_host) -> Result<Functions> {
    if host.is_null() {
        return Err(Error::invalid("host: must not be NULL"));
    }
    // SAFETY: the size is there, whatever it says; the rest is only once it says so.
    let host = unsafe {
        if (&raw const (*host).size).read() < size_of::<dcb_host>() {
            return Err(Error::invalid("host.size: must be sizeof(dcb_host)"));
        }
        &*host
    };
    let missing = |name: &str| Error::invalid(format!("host.{name}: must not be NULL"));
    Ok(Functions {
        context: host.context,
        acquire: host.acquire.ok_or_else(|| missing("acquire"))?,
        run: host.run.ok_or_else(|| missing("run"))?,
        query: host.query.ok_or_else(|| missing("query"))?,
        more: host.more.ok_or_else(|| missing("more"))?,
        finish: host.finish.ok_or_else(|| missing("finish"))?,
        release: host.release.ok_or_else(|| missing("release"))?,
    })
}
