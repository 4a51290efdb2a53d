//! Drives `vamp_fuzz::store_url`: `tests/fuzz/run 60 store_url`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::store_url(data));
