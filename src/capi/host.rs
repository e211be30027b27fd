//! `dcb_host`: a store on connections of the caller's own SQLite.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::capi::boundary;
use crate::capi::boundary::{Out, c_string, document};
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::event::dcb_str;
use crate::capi::fork::Generation;
use crate::capi::status::dcb_status;
use crate::capi::store::dcb_store;
use crate::commit::deadline::CallOptions;
use crate::error::{Error, Result};
use crate::json;
use crate::sql::Value;
use crate::sql::host::{BorrowedConnection, Failure, Host, Reply};
use crate::sqlite::host::HostStore;

/// A value is NULL,
pub const DCB_VALUE_NULL: i32 = 0;
/// a 64-bit integer,
pub const DCB_VALUE_INTEGER: i32 = 1;
/// UTF-8 text,
pub const DCB_VALUE_TEXT: i32 = 2;
/// or bytes.
pub const DCB_VALUE_BLOB: i32 = 3;

/// A value that a statement of the library is given, for the parameter of its place in the list.
#[repr(C)]
pub struct dcb_value {
    /// DCB_VALUE_NULL, DCB_VALUE_INTEGER, DCB_VALUE_TEXT or DCB_VALUE_BLOB.
    pub kind: i32,
    /// The integer.
    pub integer: i64,
    /// The text or the bytes.
    pub bytes: dcb_str,
}

/// What a function of a dcb_host answers with. The library's own struct, zeroed.
#[repr(C)]
pub struct dcb_reply {
    /// The next rows, one after the other, none cut off; the host's memory, which stays until the
    /// next call on the connection. A row is the number of its columns in 2 bytes, and the columns;
    /// a column is a byte, its DCB_VALUE_ kind, and then: an integer in 8 bytes, or the length of a
    /// text or blob in 4 bytes and its bytes. Numbers are little-endian.
    pub rows: dcb_str,
    /// How many rows the statement has changed.
    pub changes: i64,
    /// Not 0: there may be more rows, which `more` gives.
    pub is_more: i32,
    /// Why it failed, terminated.
    pub message: [c_char; 240],
}

/// The connections of a program that has the database open itself, with a SQLite of its own: its
/// pool, as functions that the library calls. They are called in the thread of the call on the
/// store that needs them, before that call returns, and from several threads at once where the
/// store is used so; a connection by one thread at a time. None may be NULL, unwind, or call the
/// library on this store. They return 0, or the extended result code of SQLite; below 0 where there
/// is no such code.
#[repr(C)]
pub struct dcb_host {
    /// sizeof(dcb_host).
    pub size: usize,
    /// The host's own, given back to `acquire`.
    pub context: *mut c_void,
    /// Lends a connection that is in no transaction, having waited for one as long as `timeout_ms`
    /// says (as that of a dcb_call); SQLITE_BUSY where none was free in time, SQLITE_INTERRUPT
    /// where the caller has given up.
    pub acquire: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            timeout_ms: i64,
            connection: *mut *mut c_void,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
    /// Runs a statement that gives no rows.
    pub run: Option<
        unsafe extern "C" fn(
            connection: *mut c_void,
            sql: dcb_str,
            values: *const dcb_value,
            len: usize,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
    /// Runs a statement and gives its first rows, as many as are worth a call.
    pub query: Option<
        unsafe extern "C" fn(
            connection: *mut c_void,
            sql: dcb_str,
            values: *const dcb_value,
            len: usize,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
    /// Gives the next rows of the last query that said that there may be more: one that was begun
    /// amid the rows of another ends before that one goes on.
    pub more: Option<unsafe extern "C" fn(connection: *mut c_void, reply: *mut dcb_reply) -> i32>,
    /// Ends that query, whatever rows it has left.
    pub finish: Option<unsafe extern "C" fn(connection: *mut c_void)>,
    /// Takes back a connection that was acquired. `spoiled` not 0: it could not be left as it was
    /// found, and has to be closed.
    pub release: Option<unsafe extern "C" fn(connection: *mut c_void, spoiled: i32)>,
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
    let mut reply = dcb_reply {
        rows: dcb_str { data: ptr::null(), len: 0 },
        changes: 0,
        is_more: 0,
        message: [0; 240],
    };
    let code = body(&mut reply);
    if code != 0 {
        let bytes = reply.message.iter().map(|byte| *byte as u8);
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        let message = String::from_utf8_lossy(&bytes).into_owned();
        return Err(Failure { code: code.max(0), message });
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
unsafe fn functions(host: *const dcb_host) -> Result<Functions> {
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

/// Opens the store in a database that the caller has open with a SQLite of its own, and makes it
/// if there is none. The library runs its statements on the caller's connections and never opens
/// the database file; it opens the log or the journal beside it, to sync them. It needs nothing of
/// the database but tables named dcb_..., and shares the format, and the file, with stores that
/// dcb_open opens. That there are other tables is no hindrance.
///
/// All of the header's promises hold, where every connection to the file runs at
/// `PRAGMA synchronous` NORMAL or above. There is no thread behind the store: an append now and
/// then writes, or merges, a bit of the index. A connection is given back as it was found; in
/// between it is in a transaction, with a `PRAGMA busy_timeout` of 0 where that writes or there is
/// no log, and without `read_uncommitted`. A database in memory has to have one connection only,
/// or be shared.
///
/// `host` is copied. Its functions are called until dcb_close returns, and no longer. Of the
/// options, `read_only` and `immutable` are not to be had, and `adopt` changes nothing. The store
/// is written to `*out`, which the caller closes with dcb_close; NULL if the call fails. A call
/// that waits in `acquire` ends with its time-out; its dcb_cancel is looked at before and after.
///
/// The statuses of dcb_open, DCB_CANCELLED where `acquire` says so, and DCB_UNAVAILABLE where the
/// host fails without a code of SQLite's,
/// as every call on the store and its cursors then answers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_open_host(
    host: *const dcb_host,
    options_json: *const c_char,
    out: *mut *mut dcb_store,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("out", out), || {
            let functions = functions(host)?;
            // As in dcb_open.
            if Generation::current().is_child() {
                return Err(boundary::closed_by_fork());
            }
            let options = c_string(options_json).map_or(&b""[..], std::ffi::CStr::to_bytes);
            let options = json::parse_options(options)?;
            let store = Arc::new(HostStore::open(Box::new(functions), &options)?);
            Ok(boundary::give(dcb_store::of_host(store, functions)))
        })
    }
}

/// Appends as dcb_append does, in a transaction that the caller has open on `connection`, one of
/// its own that the functions of the store's dcb_host take. The events are stored when the caller
/// commits, as durable as that commit is, and not at all if it does not. What they are told by is
/// the transaction's own: they are among the events that conditions of later appends in it see.
///
/// Other writers wait from here on until the transaction ends; another append of this thread, on
/// the store itself, would wait for nothing. With DCB_BUSY another writer had the database for too
/// long, or the transaction has read and others have written since: then roll all of it back and
/// run it again. After any other failure what the append has written is undone, and the
/// transaction may go on, unless the database has ended it, or the library where nothing less would
/// undo the append: then its commit fails. After DCB_IO roll it back.
///
/// `request` is borrowed for the call, `connection` is not NULL. Any thread.
///
/// DCB_INVALID_ARGUMENT (also: the store is not one of a host's, or the transaction is one of
/// another database, or over: to see that, the library runs a BEGIN, which has to fail) and the
/// other statuses of dcb_append.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_append_within(
    store: *mut dcb_store,
    connection: *mut c_void,
    request: *const c_char,
    len: usize,
    call: *const dcb_call,
    last: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, Out("last", last), || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            let request = json::parse_append(document(request, len)?)?;
            if connection.is_null() {
                return Err(Error::invalid("connection: must not be NULL"));
            }
            let Some((store, functions)) = &store.host else {
                return Err(Error::invalid("store: is not one of a host's"));
            };
            let lent = Connection {
                functions: *functions,
                handle: connection,
                is_spoiled: false,
                is_callers: true,
            };
            store.append_within(Box::new(lent), request, &call)
        })
    }
}
