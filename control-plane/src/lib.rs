//! Keeps what is wanted, plans the routing table that follows from it, and publishes that table to the gateways.
//!
//! One way for every change: read, validate, plan, compile as the gateways will, keep in the database, publish, watch
//! the gateways acknowledge. What a gateway would refuse is never stored.

mod act;
mod api;
mod backoff;
mod causes;
mod core;
mod deploy;
mod events;
mod persist;
mod plan;
pub mod platform;
mod publish;
mod reconcile;
mod rollout;
mod samples;
pub mod settings;
mod sla;
mod split;
mod start;

pub use start::{Running, StartError, start};
