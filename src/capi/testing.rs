//! What only the tests call. Not in the header, and not in a library that ships.

use super::boundary;
use super::error::dcb_error;
use super::status::dcb_status;
use super::store::dcb_store;

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
