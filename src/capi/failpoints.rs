//! What only the tests call. Not in the header, and not in a library that ships.

use crate::capi::boundary;
use crate::capi::error::dcb_error;
use crate::capi::status::dcb_status;
use crate::capi::store::dcb_store;

/// Panics inside the boundary.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dcb_testing_panic(
    store: *mut dcb_store,
    err: *mut dcb_error,
) -> dcb_status {
    // SAFETY: as for every function of the header.
    unsafe {
        boundary::call(err, (), || {
            boundary::shared(store)?;
            panic!("on purpose");
        })
    }
}
