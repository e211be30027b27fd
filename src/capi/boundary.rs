//! The one function between C and Rust, and how pointers become values on their way in.

use std::ffi::{CStr, c_char};

use crate::capi::error;
use crate::capi::error::dcb_error;
use crate::capi::fork::Generation;
use crate::capi::panic::contain;
use crate::capi::status::{DCB_OK, dcb_status};
use crate::domain::EventId;
use crate::error::{Error, Result, Status};
use crate::limits::{MAX_NAME_BYTES, MAX_REQUEST_BYTES};

/// Every call that can fail: zeroes what the caller holds, runs `body`, and writes its value or
/// its error there. A panic is an error.
///
/// # Safety
/// `err` and the outputs are NULL or valid for writes.
pub(super) unsafe fn call<O: Outputs>(
    err: *mut dcb_error,
    outputs: O,
    body: impl FnOnce() -> Result<O::Value>,
) -> dcb_status {
    // SAFETY: as this function's own.
    unsafe {
        error::clear(err);
        match outputs.clear().and_then(|()| contain(body)) {
            Ok(value) => {
                outputs.put(value);
                DCB_OK
            }
            Err(error) => error::report(err, &error),
        }
    }
}

/// The end of a handle: runs `finish` on it and drops it, unless it is NULL. A handle of another
/// process is left as it is, for its threads, locks and files are not this one's.
///
/// # Safety
/// `handle` is NULL or came from [`give`], and is used by nobody else and never again.
pub(super) unsafe fn end<H: Handle>(handle: *mut H, finish: impl FnOnce(&H)) {
    if handle.is_null() {
        return;
    }
    // SAFETY: from `give`, so a box; exclusive, by this function's contract.
    let handle = unsafe { Box::from_raw(handle) };
    if handle.generation() != Generation::current() {
        std::mem::forget(handle);
        return;
    }
    // There is nobody to tell of a failure. One after the other: a drop that panics while
    // another panic unwinds would end the process.
    let _ = contain(|| {
        finish(&handle);
        Ok(())
    });
    let _ = contain(|| {
        drop(handle);
        Ok(())
    });
}

/// What C holds by a pointer that it cannot look behind.
pub(super) trait Handle {
    /// What the functions call the parameter.
    const NAME: &'static str;

    /// The process that made it.
    fn generation(&self) -> Generation;
}

/// Hands a value over to C, until [`end`].
pub(super) fn give<H: Handle>(handle: H) -> *mut H {
    Box::into_raw(Box::new(handle))
}

/// A handle that other threads may use at the same time.
///
/// # Safety
/// `handle` is NULL or came from [`give`], and is not ended before `'a` is over.
pub(super) unsafe fn shared<'a, H: Handle + Sync>(handle: *const H) -> Result<&'a H> {
    // SAFETY: as this function's own.
    let handle = unsafe { handle.as_ref() }.ok_or_else(|| null(H::NAME))?;
    of_this_process(handle)?;
    Ok(handle)
}

/// A handle that nobody else uses at the same time.
///
/// # Safety
/// As [`shared`], and exclusive until `'a` is over.
pub(super) unsafe fn exclusive<'a, H: Handle>(handle: *mut H) -> Result<&'a mut H> {
    // SAFETY: as this function's own.
    let handle = unsafe { handle.as_mut() }.ok_or_else(|| null(H::NAME))?;
    of_this_process(handle)?;
    Ok(handle)
}

fn of_this_process(handle: &impl Handle) -> Result<()> {
    if handle.generation() == Generation::current() { Ok(()) } else { Err(closed_by_fork()) }
}

/// What a child is told.
fn closed_by_fork() -> Error {
    Error::new(Status::Closed, "opened before a fork: the child process cannot use it")
}

fn null(name: &str) -> Error {
    Error::invalid(format!("{name}: must not be NULL"))
}

/// A request document; NULL of length 0 is an empty one.
///
/// # Safety
/// `data` is NULL or valid for reads of `len` bytes until `'a` is over.
pub(super) unsafe fn document<'a>(data: *const c_char, len: usize) -> Result<&'a [u8]> {
    // Also keeps the length within what a slice may have.
    if len > MAX_REQUEST_BYTES {
        return Err(Error::too_large(format!(
            "request: {len} bytes exceed the limit of {MAX_REQUEST_BYTES}"
        )));
    }
    if data.is_null() {
        return if len == 0 { Ok(&[]) } else { Err(null("request")) };
    }
    // SAFETY: valid for `len` bytes, by this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// An event id; NULL of length 0 is an empty one, which no event can have.
///
/// # Safety
/// `data` is NULL or valid for reads of `len` bytes until `'a` is over.
pub(super) unsafe fn event_id<'a>(data: *const c_char, len: usize) -> Result<EventId<'a>> {
    // Also keeps the length within what a slice may have.
    if len > MAX_NAME_BYTES {
        return Err(Error::too_large(format!(
            "id: {len} bytes exceed the limit of {MAX_NAME_BYTES}"
        )));
    }
    if data.is_null() && len > 0 {
        return Err(null("id"));
    }
    let bytes = if data.is_null() {
        &[]
    } else {
        // SAFETY: valid for `len` bytes, by this function's contract.
        unsafe { std::slice::from_raw_parts(data.cast(), len) }
    };
    let text = str::from_utf8(bytes).map_err(|_| Error::invalid("id: must be UTF-8"))?;
    EventId::new(text).map_err(|error| error.at("id"))
}

/// A terminated string; `None` for NULL.
///
/// # Safety
/// `text` is NULL or a terminated string that stays until `'a` is over.
pub(super) unsafe fn c_string<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: terminated, by this function's contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// As [`c_string`], where NULL is not allowed and UTF-8 is demanded.
///
/// # Safety
/// As [`c_string`].
pub(super) unsafe fn utf8<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: as this function's own.
    let text = unsafe { c_string(text) }.ok_or_else(|| null(name))?;
    text.to_str().map_err(|_| Error::invalid(format!("{name}: must be UTF-8")))
}

/// Where a call puts what it gives.
pub(super) trait Outputs {
    /// What goes there.
    type Value;

    /// Zeroes all of them; NULL is an error.
    ///
    /// # Safety
    /// They are NULL or valid for writes.
    unsafe fn clear(&self) -> Result<()>;

    /// Writes the value.
    ///
    /// # Safety
    /// [`clear`](Outputs::clear) found nothing wrong.
    unsafe fn put(self, value: Self::Value);
}

/// A parameter that the caller wants a `T` in.
pub(super) struct Out<T>(pub(super) &'static str, pub(super) *mut T);

/// # Safety
/// Zero bytes are a value of the type.
pub(super) unsafe trait Zeroable {}
// SAFETY: an integer.
unsafe impl Zeroable for i64 {}
// SAFETY: an integer.
unsafe impl Zeroable for usize {}
// SAFETY: NULL.
unsafe impl<T> Zeroable for *mut T {}
// SAFETY: NULL.
unsafe impl<T> Zeroable for *const T {}

impl<T: Zeroable> Outputs for Out<T> {
    type Value = T;

    unsafe fn clear(&self) -> Result<()> {
        if self.1.is_null() {
            return Err(null(self.0));
        }
        // SAFETY: valid for a write, and `T` may be zero.
        unsafe { self.1.write_bytes(0, 1) };
        Ok(())
    }

    unsafe fn put(self, value: T) {
        // SAFETY: valid for a write; what is there was zeroed and needs no drop.
        unsafe { self.1.write(value) }
    }
}

impl<A: Outputs, B: Outputs> Outputs for (A, B) {
    type Value = (A::Value, B::Value);

    unsafe fn clear(&self) -> Result<()> {
        // SAFETY: as this function's own. Both are zeroed, also if one is NULL.
        let (first, second) = unsafe { (self.0.clear(), self.1.clear()) };
        first.and(second)
    }

    unsafe fn put(self, value: Self::Value) {
        // SAFETY: as this function's own.
        unsafe {
            self.0.put(value.0);
            self.1.put(value.1);
        }
    }
}

impl Outputs for () {
    type Value = ();

    unsafe fn clear(&self) -> Result<()> {
        Ok(())
    }

    unsafe fn put(self, (): ()) {}
}
