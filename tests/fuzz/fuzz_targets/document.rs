//! Drives `vamp_fuzz::document`: `cargo +nightly fuzz run --fuzz-dir tests/fuzz --features libfuzzer document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vamp_fuzz::document(data));
