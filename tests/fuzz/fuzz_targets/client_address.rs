//! Drives `vamp_fuzz::client_address`: `tests/fuzz/run 60 client_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::client_address(data));
