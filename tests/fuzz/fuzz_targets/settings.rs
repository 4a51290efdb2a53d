//! Drives `vamp_fuzz::settings`: `tests/fuzz/run 60 settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::settings(data));
