//! Drives `vamp_fuzz::cookies`: `tests/fuzz/run 60 cookies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::cookies(data));
