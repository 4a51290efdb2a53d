//! Drives `vamp_fuzz::access`: `tests/fuzz/run 60 access`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::access(data));
