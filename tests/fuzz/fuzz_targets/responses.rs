//! Drives `vamp_fuzz::responses`: `tests/fuzz/run 60 responses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::responses(data));
