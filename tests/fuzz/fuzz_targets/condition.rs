//! Drives `vamp_fuzz::condition`: `cargo +nightly fuzz run --fuzz-dir tests/fuzz --features libfuzzer condition`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::condition(data));
