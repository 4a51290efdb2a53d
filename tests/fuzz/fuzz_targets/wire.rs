//! Drives `vamp_fuzz::wire`: `cargo +nightly fuzz run --fuzz-dir tests/fuzz --features libfuzzer wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::wire(data));
