//! Health of instances, told by one component for every platform: [`Monitor`] asks, a state machine without I/O counts.
//!
//! A check belongs to an instance from its start to its end: an instance that was started again is *unknown* until its
//! checks have been answered anew.

mod machine;
mod monitor;
mod probe;

pub use monitor::{Checked, Monitor};

use std::time::Duration;

/// One check of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the start of the instance to the first question.
    pub initial_delay: Duration,
    /// From one question to the next; at least 10 ms.
    pub interval: Duration,
    /// Time for an answer; one that comes later is none.
    pub timeout: Duration,
    /// Bad answers in a row that make it fail; 0: it never fails.
    pub failures: u32,
    /// Good answers in a row that make it pass; 0 is taken as 1.
    pub successes: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of a path: 200 to 399 is good.
    Http {
        /// Name of the port.
        port: String,
        /// The path, with its `/`.
        path: String,
        /// Over TLS; who the certificate is for does not matter, as the address is the instance's own.
        is_tls: bool,
    },
    /// A connection that opens is good.
    Tcp {
        /// Name of the port.
        port: String,
    },
    /// A command beside the instance: exit code 0 is good.
    Command {
        /// The program and what it is given.
        command: Vec<String>,
    },
}

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known: it has no checks, does not run, or has not answered often enough.
    Unknown,
    /// All of its checks pass.
    Passing,
    /// At least one of its checks fails.
    Failing {
        /// The last bad answer, in words.
        reason: String,
    },
}
