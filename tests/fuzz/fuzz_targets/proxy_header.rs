//! Drives `vamp_fuzz::proxy_header`: `tests/fuzz/run 60 proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::proxy_header(data));
