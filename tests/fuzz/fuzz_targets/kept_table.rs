//! Drives `vamp_fuzz::kept_table`: `tests/fuzz/run 60 kept_table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::kept_table(data));
