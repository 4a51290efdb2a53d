//! The crate as its users have it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what does not hold must stop the test"
)]

mod compose;
mod deployables;
mod documents;
mod expansion;
mod imports;
mod json_schema;
mod large;
mod schemas;
mod templates;
mod together;
mod vectors;
mod weights;
mod workflows;
