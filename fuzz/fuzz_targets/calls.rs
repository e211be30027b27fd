//! Sequences of calls.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dcb_fuzz::calls(input));
