//! Append conditions, and queries.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dcb_fuzz::condition(input));
