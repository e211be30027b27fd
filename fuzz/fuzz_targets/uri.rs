//! URIs.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dcb_fuzz::uri(input));
