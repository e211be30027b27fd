//! The host's own SQLite: a second copy in this process, loaded as a language's module would be.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

type Open = unsafe extern "C" fn(*const c_char, *mut *mut c_void, c_int, *const c_char) -> c_int;
type Row = unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;
type Exec = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    Option<Row>,
    *mut c_void,
    *mut *mut c_char,
) -> c_int;
type Close = unsafe extern "C" fn(*mut c_void) -> c_int;
type Timeout = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;

/// A result code of SQLite that is not 0.
pub type Code = c_int;

/// SQLite's code for a lock that another connection holds.
pub const BUSY: Code = 5;

#[derive(Clone, Copy)]
pub struct Sqlite {
    open: Open,
    exec: Exec,
    close: Close,
    timeout: Timeout,
}

pub struct Connection {
    sqlite: Sqlite,
    handle: *mut c_void,
}

impl Sqlite {
    /// Loads the system's SQLite beside the one that is compiled in.
    pub fn load() -> Sqlite {
        // SAFETY: the name is a C string. DEEPBIND makes the library's calls of itself stay in it.
        let library = unsafe {
            libc::dlopen(
                c"libsqlite3.so.0".as_ptr(),
                libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_DEEPBIND,
            )
        };
        assert!(!library.is_null(), "these tests need the system's libsqlite3.so.0");
        let symbol = |name: &CStr| {
            // SAFETY: the library is loaded and stays so.
            let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!symbol.is_null(), "no {name:?}");
            symbol
        };
        // SAFETY: the types are those of sqlite3.h.
        unsafe {
            Sqlite {
                open: std::mem::transmute::<*mut c_void, Open>(symbol(c"sqlite3_open_v2")),
                exec: std::mem::transmute::<*mut c_void, Exec>(symbol(c"sqlite3_exec")),
                close: std::mem::transmute::<*mut c_void, Close>(symbol(c"sqlite3_close")),
                timeout: std::mem::transmute::<*mut c_void, Timeout>(symbol(
                    c"sqlite3_busy_timeout",
                )),
            }
        }
    }

    /// Opens `path` for reading and writing.
    pub fn open(self, path: &Path, busy_timeout_ms: i32) -> Connection {
        const READWRITE: c_int = 2;
        let name = CString::new(path.to_str().unwrap()).unwrap();
        let mut handle = ptr::null_mut();
        // SAFETY: `name` and `handle` outlive the call.
        let code = unsafe { (self.open)(name.as_ptr(), &mut handle, READWRITE, ptr::null()) };
        assert_eq!(code, 0, "the host cannot open {}", path.display());
        // SAFETY: the connection is open.
        unsafe { (self.timeout)(handle, busy_timeout_ms) };
        Connection { sqlite: self, handle }
    }
}

impl Connection {
    /// Runs `sql` and returns the first column of each row.
    pub fn run(&self, sql: &str) -> Result<Vec<String>, Code> {
        unsafe extern "C" fn row(
            rows: *mut c_void,
            _columns: c_int,
            values: *mut *mut c_char,
            _names: *mut *mut c_char,
        ) -> c_int {
            // SAFETY: what `run` passed, which nothing else uses during the call.
            let rows = unsafe { &mut *rows.cast::<Vec<String>>() };
            // SAFETY: SQLite passes at least one column, NULL or a C string.
            let value = unsafe { *values };
            rows.push(if value.is_null() {
                String::new()
            } else {
                // SAFETY: not NULL, so a C string.
                unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned()
            });
            0
        }
        let sql = CString::new(sql).unwrap();
        let mut rows: Vec<String> = Vec::new();
        // SAFETY: the connection is open, and what is passed outlives the call.
        let code = unsafe {
            (self.sqlite.exec)(
                self.handle,
                sql.as_ptr(),
                Some(row),
                ptr::from_mut(&mut rows).cast(),
                ptr::null_mut(),
            )
        };
        if code == 0 { Ok(rows) } else { Err(code & 0xff) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: open until here.
        unsafe { (self.sqlite.close)(self.handle) };
    }
}
