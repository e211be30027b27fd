//! Link settings of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdcb.so.0");
        // The lock hooks stay installed in SQLite for the life of the process.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
