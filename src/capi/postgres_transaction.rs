//! `dcb_postgres_transaction`: a transaction of the caller's own on a PostgreSQL server.

use std::ffi::{c_char, c_void};

use crate::capi::boundary;
use crate::capi::boundary::{Out, document};
use crate::capi::call::dcb_call;
use crate::capi::error::dcb_error;
use crate::capi::event::dcb_str;
use crate::capi::host_functions::dcb_reply;
use crate::capi::status::dcb_status;
use crate::capi::store::{AppendOut, dcb_store};
use crate::commit::deadline::CallOptions;
use crate::error::{Error, Result};
use crate::json;
use crate::store::{ProgramTransaction, TransactionFailure};

/// A transaction that a program has open on a PostgreSQL server by its own client library, such as
/// libpq: a function that the library calls.
#[repr(C)]
pub struct dcb_postgres_transaction {
    /// Set this to sizeof(dcb_postgres_transaction).
    pub size: usize,
    /// A pointer of the program's, which is passed to `query`.
    pub context: *mut c_void,
    /// Runs a statement in the transaction. Its `len` parameters are texts of which the server knows
    /// the types; a zero byte follows each text, and the statement. It returns one row with one
    /// column, a text or NULL: set `rows` to that text, and leave it alone for NULL. The memory
    /// belongs to the program and must stay valid until dcb_append_within_postgres returns.
    ///
    /// It returns 0; or, if the statement fails, the SQLSTATE as the `detail` of a dcb_error has it,
    /// five digits of base 36, or a negative number if there is none, and sets `message`. It is called
    /// by the thread that called the library, before that call returns. It must not be NULL or unwind.
    pub query: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            sql: dcb_str,
            values: *const dcb_str,
            len: usize,
            reply: *mut dcb_reply,
        ) -> i32,
    >,
}

/// The transaction of one call.
struct Transaction {
    context: *mut c_void,
    query: unsafe extern "C" fn(*mut c_void, dcb_str, *const dcb_str, usize, *mut dcb_reply) -> i32,
}

impl Transaction {
    /// # Safety
    /// `given` is NULL or valid for reads of as many bytes as its `size` says.
    unsafe fn new(given: *const dcb_postgres_transaction) -> Result<Self> {
        if given.is_null() {
            return Err(Error::invalid("transaction: must not be NULL"));
        }
        // SAFETY: the size is there, whatever it says; the rest is only once it says so.
        let given = unsafe {
            if (&raw const (*given).size).read() < size_of::<dcb_postgres_transaction>() {
                return Err(Error::invalid(
                    "transaction.size: must be sizeof(dcb_postgres_transaction)",
                ));
            }
            &*given
        };
        let query =
            given.query.ok_or_else(|| Error::invalid("transaction.query: must not be NULL"))?;
        Ok(Transaction { context: given.context, query })
    }
}

impl ProgramTransaction for Transaction {
    fn query(
        &mut self,
        sql: &str,
        mut values: Vec<String>,
    ) -> std::result::Result<Option<String>, TransactionFailure> {
        let view = |text: &str| dcb_str { data: text.as_ptr().cast(), len: text.len() - 1 };
        let sql = format!("{sql}\0");
        values.iter_mut().for_each(|value| value.push('\0'));
        let views: Vec<dcb_str> = values.iter().map(|value| view(value)).collect();
        let mut reply = dcb_reply::empty();
        // SAFETY: the program's function, called as the header says; what is passed outlives it.
        let code = unsafe {
            (self.query)(self.context, view(&sql), views.as_ptr(), views.len(), &mut reply)
        };
        if code != 0 {
            return Err(TransactionFailure { sqlstate: code.max(0), message: reply.message() });
        }
        if reply.rows.data.is_null() {
            return Ok(None);
        }
        // SAFETY: the program says that so many bytes are there, until the call returns.
        let text = unsafe { std::slice::from_raw_parts(reply.rows.data.cast(), reply.rows.len) };
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

/// Appends like dcb_append to a store in PostgreSQL, within a transaction that the caller has open on
/// a connection of its own to the same database. The events are stored when the caller commits, and
/// waits of other callers learn of them then; if the caller rolls back, they are not stored.
/// Conditions of later appends in the same transaction see them.
///
/// With a `len` of 0 it appends nothing and only locks the store, as an append does; `*last` is the
/// head. From then on nobody else can append until the transaction ends, so what the program reads
/// and decides in it is still true when it appends.
///
/// WARNING: On DCB_OK, the `detail` of `err` is 1 if the append repeats one that is stored already.
/// The statements that the program ran beside that one were committed with it, so do not run them
/// again. Append first, and then run them only for a new append.
///
/// The transaction must have the isolation level READ COMMITTED, and its session client_encoding UTF8.
/// Its role needs the right to run the function `append`, and to read the tables. From this call until
/// the transaction ends, other appends wait. Do not call dcb_append on this store in the same thread
/// during that time: it could not succeed. The call waits for the lock as long as its timeout says; its
/// dcb_cancel is not looked at while `query` runs, which the program ends itself.
///
/// After DCB_CONDITION_FAILED and DCB_DUPLICATE_ID the transaction can go on, and so it can if the
/// request was refused before a statement ran. After any other error the server has ended it: roll it
/// back. After DCB_BUSY, run all of it again.
///
/// It returns the statuses of dcb_append. DCB_INVALID_ARGUMENT also means that the store is not in
/// PostgreSQL, that the transaction is one of another database, has failed before, or has another
/// isolation level or encoding; DCB_UNAVAILABLE, that `query` failed without a SQLSTATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_append_within_postgres(
    store: *mut dcb_store,
    transaction: *const dcb_postgres_transaction,
    request: *const c_char,
    len: usize,
    call: *const dcb_call,
    last: *mut i64,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: the pointers are what the header demands.
    unsafe {
        boundary::call(err, AppendOut { last: Out("last", last), err }, || {
            let store = boundary::shared(store)?;
            let call = CallOptions::from_c(call)?;
            let mut transaction = Transaction::new(transaction)?;
            let request = match len {
                0 => None,
                _ => Some(json::parse_append(document(request, len)?)?),
            };
            store.store.append_in(&mut transaction, request, &call)
        })
    }
}
