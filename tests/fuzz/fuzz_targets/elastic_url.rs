//! Drives `vamp_fuzz::elastic_url`: `tests/fuzz/run 60 elastic_url`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::elastic_url(data));
