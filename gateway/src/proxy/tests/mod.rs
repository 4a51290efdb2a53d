//! The proxy on real sockets, before origins that misbehave.

#![expect(clippy::string_slice, reason = "ASCII of the tests, cut where they say")]

mod announced;
mod bodies;
mod faults;
pub(crate) mod fixture;
mod messages;
mod pieces;
mod refusals;
mod retries;
mod routing;
