//! The crate as its users see it: conditions, tables, and what of them travels.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod condition_properties;
mod condition_texts;
mod table;
mod wire_compat;
