//! Drives `vamp_fuzz::counts`: `tests/fuzz/run 60 counts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::counts(data));
