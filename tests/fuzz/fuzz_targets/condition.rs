//! Drives `vamp_fuzz::condition`: `tests/fuzz/run 60 condition`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::condition(data));
