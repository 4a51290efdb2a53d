//! Drives `vamp_fuzz::registration`: `tests/fuzz/run 60 registration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::registration(data));
