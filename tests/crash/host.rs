//! A program that has the file open itself: a pool of connections that it lends to the library.

use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dcb::capi::event::dcb_str;
use dcb::capi::host_functions::{
    DCB_VALUE_BLOB, DCB_VALUE_INTEGER, DCB_VALUE_NULL, DCB_VALUE_TEXT, dcb_host, dcb_reply,
    dcb_value,
};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::client::Answer;

/// How the program configures its connections.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub journal_mode: &'static str,
    pub synchronous: &'static str,
}

pub struct Pool {
    path: PathBuf,
    settings: Settings,
    idle: Mutex<Vec<PooledConnection>>,
}

/// A connection that is lent to the library, and the rows that it returned last.
struct PooledConnection {
    pool: *const Pool,
    connection: Connection,
    rows: Vec<u8>,
}

// SAFETY: the pool outlives its connections, and may be used from any thread.
unsafe impl Send for PooledConnection {}

impl Pool {
    /// Creates a pool for the database at `path`, which is created if needed. The library gets the
    /// pool's address.
    pub fn new(path: &Path, settings: Settings) -> Arc<Pool> {
        Arc::new(Pool { path: path.to_owned(), settings, idle: Mutex::default() })
    }

    /// Returns whether the program's own commits are durable. (With a rollback journal they are
    /// only at EXTRA: otherwise the deletion of the journal is not synced.)
    pub fn syncs_commits(&self) -> bool {
        self.settings.journal_mode == "WAL" && self.settings.synchronous == "FULL"
    }

    /// Runs `work` in a transaction of the program. Returns `None` if the commit failed.
    pub fn transaction<T>(&self, work: impl FnOnce(*mut c_void) -> Answer<T>) -> Option<Answer<T>> {
        let mut pooled = self.take().ok()?;
        let run = |pooled: &PooledConnection, sql| pooled.connection.execute_batch(sql);
        run(&pooled, "BEGIN").ok()?;
        let answer = work((&raw mut pooled).cast());
        let ended = match &answer {
            Ok(_) => {
                run(&pooled, "COMMIT").or_else(|error| run(&pooled, "ROLLBACK").and(Err(error)))
            }
            Err(_) => run(&pooled, "ROLLBACK"),
        };
        ended.ok()?;
        self.idle().push(pooled);
        Some(answer)
    }

    /// Returns the functions through which the library uses the pool, which must outlive them.
    pub fn functions(&self) -> dcb_host {
        dcb_host {
            size: size_of::<dcb_host>(),
            context: (&raw const *self).cast_mut().cast(),
            acquire: Some(acquire),
            run: Some(statement),
            query: Some(statement),
            more: Some(more),
            finish: Some(finish),
            release: Some(release),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PooledConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> rusqlite::Result<PooledConnection> {
        let idle = self.idle().pop();
        match idle {
            Some(pooled) => Ok(pooled),
            None => Ok(PooledConnection { pool: self, connection: self.open()?, rows: Vec::new() }),
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.path)?;
        let Settings { journal_mode, synchronous } = self.settings;
        // Checkpoints every few transactions, so that a short run has many checkpoints.
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = {journal_mode}; PRAGMA synchronous = {synchronous}; \
             PRAGMA wal_autocheckpoint = 40"
        ))?;
        Ok(connection)
    }
}

fn report_error(error: &rusqlite::Error, reply: *mut dcb_reply) -> i32 {
    let text = error.to_string();
    // SAFETY: the reply is valid, and no other thread uses it during this call.
    let reply = unsafe { &mut *reply };
    for (to, from) in reply.message.iter_mut().take(239).zip(text.bytes()) {
        *to = from as c_char;
    }
    error.sqlite_error().map_or(-1, |inner| inner.extended_code)
}

unsafe extern "C" fn acquire(
    context: *mut c_void,
    _timeout_ms: i64,
    connection: *mut *mut c_void,
    reply: *mut dcb_reply,
) -> i32 {
    // SAFETY: the context is the pool, as `Pool::functions` sets it.
    let pool = unsafe { &*context.cast_const().cast::<Pool>() };
    let pooled = match pool.take() {
        Ok(pooled) => pooled,
        Err(error) => return report_error(&error, reply),
    };
    // SAFETY: the library passes a valid pointer.
    unsafe { *connection = Box::into_raw(Box::new(pooled)).cast() };
    0
}

unsafe extern "C" fn release(connection: *mut c_void, spoiled: c_int) {
    // SAFETY: `acquire` created the connection, and the library does not use it any more.
    let pooled = unsafe { Box::from_raw(connection.cast::<PooledConnection>()) };
    if spoiled == 0 {
        // SAFETY: the pool lives as long as the store.
        let pool = unsafe { &*pooled.pool };
        pool.idle().push(*pooled);
    }
}

unsafe extern "C" fn statement(
    connection: *mut c_void,
    sql: dcb_str,
    values: *const dcb_value,
    len: usize,
    reply: *mut dcb_reply,
) -> i32 {
    // SAFETY: `acquire` created the connection, and one thread at a time uses it.
    let PooledConnection { connection, rows, .. } =
        unsafe { &mut *connection.cast::<PooledConnection>() };
    let text = std::str::from_utf8(bytes(&sql)).expect("UTF-8");
    let values = match len {
        0 => &[][..],
        // SAFETY: the library passes `len` values.
        _ => unsafe { std::slice::from_raw_parts(values, len) },
    };
    rows.clear();
    if let Err(error) = run(connection, text, values, rows) {
        return report_error(&error, reply);
    }
    // SAFETY: the reply is valid, and no other thread uses it during this call.
    let reply = unsafe { &mut *reply };
    reply.changes = connection.changes() as i64;
    reply.rows = dcb_str { data: rows.as_ptr().cast(), len: rows.len() };
    0
}

/// Runs a statement, and encodes all rows that it returns.
fn run(
    connection: &Connection,
    sql: &str,
    values: &[dcb_value],
    encoded: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let count = statement.column_count();
    let values = values.iter().map(|value| {
        ToSqlOutput::Borrowed(match value.kind {
            DCB_VALUE_INTEGER => ValueRef::Integer(value.integer),
            DCB_VALUE_TEXT => ValueRef::Text(bytes(&value.bytes)),
            DCB_VALUE_BLOB => ValueRef::Blob(bytes(&value.bytes)),
            _ => ValueRef::Null,
        })
    });
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        encoded.extend((count as u16).to_le_bytes());
        for column in 0..count {
            let (kind, bytes) = match row.get_ref(column)? {
                ValueRef::Integer(integer) => {
                    encoded.push(DCB_VALUE_INTEGER as u8);
                    encoded.extend(integer.to_le_bytes());
                    continue;
                }
                ValueRef::Text(text) => (DCB_VALUE_TEXT, text),
                ValueRef::Blob(blob) => (DCB_VALUE_BLOB, blob),
                ValueRef::Null | ValueRef::Real(_) => {
                    encoded.push(DCB_VALUE_NULL as u8);
                    continue;
                }
            };
            encoded.push(kind as u8);
            encoded.extend((bytes.len() as u32).to_le_bytes());
            encoded.extend(bytes);
        }
    }
    Ok(())
}

fn bytes(text: &dcb_str) -> &[u8] {
    match text.len {
        0 => &[],
        // SAFETY: the library passes texts with their length.
        len => unsafe { std::slice::from_raw_parts(text.data.cast(), len) },
    }
}

/// Returns no further rows: `run` has returned all of them.
unsafe extern "C" fn more(_connection: *mut c_void, _reply: *mut dcb_reply) -> i32 {
    -1
}

unsafe extern "C" fn finish(_connection: *mut c_void) {}
