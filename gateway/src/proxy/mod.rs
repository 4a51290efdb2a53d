//! The life of one client connection: requests in order, each decided by one table, forwarded over a pooled connection
//! and answered; its record is finished exactly once.
//!
//! In the common case a request costs four system calls (read, write, read, write): the head is read into the thread's
//! scratch buffer, decided, rewritten and sent within one synchronous step, and so is the answer. What a peer does not
//! take at once, or sends in pieces, is kept by the connection until it moves on.

mod answer;
mod connection;
mod exchange;
pub(crate) mod flow;
mod hear;
mod open_record;
mod relay;
pub(crate) mod scratch;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod timer;
pub(crate) mod tunnel;

pub(crate) use connection::serve;
pub(crate) use exchange::{Arrival, blank_record, micros};
pub(crate) use open_record::OpenRecord;
