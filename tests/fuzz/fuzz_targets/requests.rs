//! Drives `vamp_fuzz::requests`: `tests/fuzz/run 60 requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::requests(data));
