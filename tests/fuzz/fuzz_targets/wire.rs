//! Drives `vamp_fuzz::wire`: `tests/fuzz/run 60 wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::wire(data));
