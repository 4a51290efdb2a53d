//! The crate as its users have it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what does not hold must stop the test")]

mod compose;
mod deployables;
mod documents;
mod expansion;
