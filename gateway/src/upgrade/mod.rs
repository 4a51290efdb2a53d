//! A new program takes over from the one that runs, without a connection refused or a request failed.
//!
//! The running process (the predecessor) starts the new one (the successor) and hands it all listening sockets and the
//! table that it serves, over a socket that stands in the place of standard input. The successor accepts nothing
//! before it serves that table; then the predecessor accepts nothing any more, answers what it has, and ends. Whatever
//! goes wrong before leaves the predecessor serving.
//!
//! | successor | predecessor | then |
//! |---|---|---|
//! | `Hello` | | the predecessor leaves table, files and registration as they are |
//! | | `State`, `Sockets`… (each confirmed by `Received`) | the successor puts the table into service |
//! | `Ready` | | |
//! | | `Go` | the successor accepts and registers |
//! | `Serving` | | the predecessor stops accepting |
//! | | `Counts`… | the successor shows what its predecessor counted |
//!
//! An end of the connection means that the other process has ended: before `Go`, a successor that was `Ready` serves
//! on its own. To be told to end, it gets `Abort`.

mod channel;
mod command;
mod counts;
mod notify;
mod predecessor;
mod requests;
mod successor;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vamp_routing::wire::Generation;

pub use command::UpgradeCommand;
pub(crate) use counts::Before;
pub use counts::Heir;
pub(crate) use notify::is_supervised;
pub use notify::{ready, stopping};
pub use predecessor::{Predecessor, TakeOverError};
pub use requests::{End, Requests};
pub use successor::Program;

/// What the messages mean. Raised when a program could not take over from one that speaks the former.
const PROTOCOL: u32 = 1;

/// Tells a new process that its standard input is a predecessor.
const TAKE_OVER_VARIABLE: &str = "VAMP_TAKE_OVER";

/// What a successor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToPredecessor {
    Hello {
        protocol: u32,
        pid: u32,
        version: String,
    },
    /// The descriptors of the last message arrived.
    Received,
    Ready,
    Serving,
    /// It ends, and why.
    Failed(String),
}

/// What a predecessor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToSuccessor {
    State(State),
    /// Some of the listening sockets, as descriptors.
    Sockets,
    Go,
    /// What was counted up to now, as a descriptor of a file in memory: told until the end.
    Counts,
    /// It is not to take over.
    Abort(String),
}

/// What a successor gets beside the sockets.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    protocol: u32,
    /// The table that is served.
    generation: Option<Generation>,
    /// How many sockets follow.
    sockets: usize,
    /// What the descriptors of this message are, in order.
    descriptors: Vec<Descriptor>,
}

/// What a descriptor of [`ToSuccessor::State`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Descriptor {
    /// The lock of the data directory.
    Lock,
    /// The socket of the admin listener.
    Admin,
    /// Where upgrades are asked for.
    Requests,
    /// Standard error; until then, the successor's goes through the predecessor.
    Log,
    /// A file in memory with the table that is served.
    Table,
}

/// What an operator asks a running process for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    /// The program to start; without it, the one that this process was started as.
    binary: Option<PathBuf>,
    /// How long it may take until it is ready.
    patience: Duration,
}

/// What becomes of an [`Order`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Upgraded(Upgraded),
    /// The old process serves on.
    Failed(String),
    /// Another upgrade is under way.
    Busy,
    /// The asker may not.
    Denied,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Upgraded {
    pid_before: u32,
    version_before: String,
    pid: u32,
    version: String,
    /// Listening sockets that went over.
    sockets: usize,
    /// Client connections that the old process still has.
    connections: u64,
    /// How long they may take to end.
    drain_timeout: Duration,
}
