//! The contract on every driver, and tables on top of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod etcd;
mod memory;
mod tables;
