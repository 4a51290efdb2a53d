//! Drives `vamp_fuzz::compose`: `tests/fuzz/run 60 compose`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::compose(data));
