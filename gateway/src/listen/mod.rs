//! Where requests come in: sockets that come and go with the table, and the connections that they accept.
//!
//! Each thread has a socket of its own on each port (`SO_REUSEPORT`), so that no thread wakes for another's
//! connection; the kernel spreads the connections. It lets another process of the same user share the port if that
//! process asks for it too, as a second gateway process with the same table does.

mod accept;
mod bind;
mod listener;
mod neighbours;
mod refusal;
mod room;
mod seat;
mod thread;

pub(crate) use bind::BindAddress;
pub(crate) use listener::Listener;
pub(crate) use neighbours::neighbours;
pub(crate) use refusal::Refused;
pub(crate) use room::Room;
pub(crate) use seat::Seat;
pub(crate) use thread::{Command, Parts, Retire, Socket, start};
