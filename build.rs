//! Link settings of the shared library, and the lock hooks under SQLite.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdcb.so.0");
        // The lock hooks stay installed in SQLite for the life of the process.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // A SQLite that the host shares is not the library's to put hooks into.
        if std::env::var_os("CARGO_FEATURE_BUNDLED_SQLITE").is_some() {
            println!("cargo:rerun-if-changed=src/sqlite/vfs/ofd_locks.c");
            cc::Build::new()
                .file("src/sqlite/vfs/ofd_locks.c")
                .extra_warnings(true)
                .compile("dcb_locks");
        }
    }
}
