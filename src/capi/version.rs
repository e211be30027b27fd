//! The versions: of the ABI and of the library.

use std::ffi::{CStr, c_char};

/// The version of the ABI that this header describes, which is also the number in the name of the
/// shared library, libdcb.so.0. Within one version functions and statuses are only ever added.
pub const DCB_ABI_VERSION: u32 = 0;

/// Returns the DCB_ABI_VERSION that the library was built with.
#[unsafe(no_mangle)]
pub extern "C" fn dcb_abi_version() -> u32 {
    DCB_ABI_VERSION
}

/// Returns the version of the library as a static string: "0.1.0". Compare it with DCB_VERSION to
/// check that header and library belong together.
#[unsafe(no_mangle)]
pub extern "C" fn dcb_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("the version holds a NUL"),
        };
    VERSION.as_ptr()
}
