//! Drives `vamp_fuzz::requests`: `cargo +nightly fuzz run --fuzz-dir tests/fuzz --features libfuzzer requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::requests(data));
