//! The contract on every driver, and tables on top of it.

mod etcd;
mod memory;
mod tables;
