//! The database file as SQLite has it open: nothing else may open it.

use std::ffi::c_int;
use std::ptr;

use rusqlite::{Connection, ffi};

/// What [`Database::read_file`](super::database::Database::read_file) does.
pub fn read_at(connection: &Connection, buffer: &mut [u8], offset: u64) -> bool {
    let (Ok(len), Ok(offset)) = (c_int::try_from(buffer.len()), i64::try_from(offset)) else {
        return false;
    };
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open and this thread's own as long as it is borrowed; the file is
    // its own and stays open as long as it does; `buffer` has `len` bytes.
    unsafe {
        let found = ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        );
        if found != ffi::SQLITE_OK {
            return false;
        }
        let methods = file.as_ref().and_then(|file| file.pMethods.as_ref());
        let Some(read) = methods.and_then(|methods| methods.xRead) else { return false };
        let read = read(file, buffer.as_mut_ptr().cast(), len, offset);
        matches!(read, ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ)
    }
}
