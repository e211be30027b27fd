//! The versions: of the ABI and of the library.

use std::ffi::{CStr, c_char};

/// The version of the ABI that this header describes. Within one version, functions and statuses
/// are only added. It is the number in the shared library's name, libdcb.so.0.
pub const DCB_ABI_VERSION: u32 = 0;

/// The DCB_ABI_VERSION that the library was built with. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn dcb_abi_version() -> u32 {
    DCB_ABI_VERSION
}

/// The library's version: "0.1.0". Compare it with DCB_VERSION to see whether header and library
/// belong together. The text is static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn dcb_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("the version holds a NUL"),
        };
    VERSION.as_ptr()
}
