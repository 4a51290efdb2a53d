//! Drives `vamp_fuzz::document`: `tests/fuzz/run 60 document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::document(data));
