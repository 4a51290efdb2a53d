//! Drives `vamp_fuzz::responses`: `cargo +nightly fuzz run --fuzz-dir tests/fuzz --features libfuzzer responses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::responses(data));
