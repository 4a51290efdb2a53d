//! Records on their way to Elasticsearch: bounded buffers that a request never waits for, and the task that empties
//! them.
//!
//! [`machine`] decides, [`run()`] does what it asks for. Each answered request is stored as one document, or dropped
//! and counted by reason, or still queued; [`ShipCounts`] says how many of each.

mod counts;
mod machine;
mod queue;
mod run;
#[cfg(test)]
mod shipping;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

pub(crate) use counts::{Bulk, ShipCounts};
pub(crate) use queue::Recorder;
pub(crate) use run::{ShipSettings, run};
