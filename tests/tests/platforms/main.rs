//! Every platform keeps one contract, on the real thing: programs of this host, and a real Docker engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what fails here is a failed test, and the panic tells which"
)]

mod conformance;
mod docker;
mod order;
mod process;
