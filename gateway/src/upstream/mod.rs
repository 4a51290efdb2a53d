//! The way to the applications: endpoints, the choice among them, and the connections that are kept open to them.
//!
//! An endpoint is one address, known once per process however many routes name it, and kept over tables: its
//! addresses, its failures and its open connections do not change when weights do.

mod connect;
mod endpoint;
mod pick;
mod pools;
mod registry;

pub(crate) use connect::{Connection, has_no_descriptor_left};
pub(crate) use endpoint::Endpoint;
pub(crate) use pick::{Lease, pick};
pub(crate) use pools::Pools;
pub(crate) use registry::{RESOLVE_EVERY, Registry, resolve};
