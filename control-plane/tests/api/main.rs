//! What the REST API promises, kept by a control plane that runs in this process: on a free port, with a database file
//! and a store of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests end at what they do not expect")]

mod access;
mod applying;
mod artifacts;
mod audit;
mod bad_input;
mod blueprints;
mod changes;
mod deployments;
mod dry_run;
mod events;
mod formats;
mod frame;
mod history;
mod imports;
mod lists;
mod measured;
mod metrics;
mod openapi;
mod pages;
mod preconditions;
mod rollout;
mod schemas;
mod status;
mod traffic;
mod vectors;
mod workflows;
mod world;
