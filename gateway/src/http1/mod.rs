//! HTTP/1.0 and 1.1 without I/O (RFC 9110, RFC 9112): heads in, decisions and rewritten heads out; bodies measured as
//! they pass.
//!
//! Nothing here reads, writes, waits or looks at a clock. Every function takes the bytes that are there and says what
//! they are, that more is needed, or what is wrong. Feeding a message in any pieces gives the same as feeding it whole.
//!
//! Strict on purpose: whatever two readers could understand differently (framing above all) is refused, never
//! repaired, because the reader behind the gateway would be the second one.

mod body;
mod fault;
mod field;
mod forwarded;
#[cfg(test)]
mod matrix;
mod onward;
mod request;
mod response;
mod scan;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod slow_response;
mod target;

pub(crate) use body::{Body, encode_chunk_head};
pub(crate) use fault::{Fault, ResponseFault};
pub(crate) use forwarded::{PeerText, client_address, is_trusted};
pub(crate) use onward::Onward;
pub(crate) use request::{HeadLimits, RequestHead, may_be_complete};
pub(crate) use response::{Relay, ResponseHead, Toward};
pub(crate) use scan::Storage;
