//! What became of the wanted shares: counts of all gateway processes, side by side and summed; and what a request
//! would meet.

mod ask;

use serde::Serialize;

pub use ask::{AskError, AskSettings};

/// Wanted and delivered shares of one gateway.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Split {
    /// The gateway.
    pub gateway: String,
    /// Gateway processes whose counts were read just now.
    pub counted: usize,
    /// Gateway processes that announce themselves.
    pub of: usize,
    /// The store does not answer: the gateway processes are as last known.
    pub unknown: bool,
    /// The weights, summed over all processes whose account is the present one.
    pub weights: Level,
    /// The strength of each condition below 100 %, likewise.
    pub strengths: Vec<Level>,
    /// Requests of each route by what decided, summed over all processes, in route order.
    pub decided_by: Vec<DecidedBy>,
    /// Each process.
    pub processes: Vec<Process>,
}

/// One place where a share is decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// The route whose condition it is; absent for the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_of: Option<String>,
    /// Requests that it decided: the sum of the deliveries.
    pub tickets: u64,
    /// When the account began, milliseconds since 1970 (UTC); in a sum, the earliest. Absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// Its sides, in route order; for a strength the route, then the rest.
    pub routes: Vec<Side>,
}

/// One side of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// The route; empty for what a condition's strength leaves to the weights.
    pub route: String,
    /// The wanted share: `90%`.
    pub wanted: String,
    /// Requests that it got.
    pub delivered: u64,
    /// Delivered minus wanted, in requests.
    pub error: f64,
}

/// Requests of one route by what decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DecidedBy {
    /// The route.
    pub route: String,
    /// All of them.
    pub requests: u64,
    /// Taken by its condition.
    pub condition: u64,
    /// Kept by a cookie.
    pub cookie: u64,
    /// Given by the weights.
    pub weight: u64,
    /// The only route with weight.
    pub only_route: u64,
}

/// How fresh the counts of a process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Read just now.
    Read,
    /// It announces itself and could not be read: as last seen.
    Unread,
    /// That boot is over: as last seen.
    Ended,
}

/// The account of one gateway process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Its id.
    pub id: String,
    /// Its boot.
    pub boot: String,
    /// How fresh its counts are.
    pub state: Freshness,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it was read, milliseconds since 1970 (UTC); absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_unix_ms: Option<u64>,
    /// It is part of the sum: its account is of the shares that are wanted now.
    pub summed: bool,
    /// Its weights as it counts them; absent when it does not know the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Level>,
    /// Its strengths.
    pub strengths: Vec<Level>,
    /// Its requests of each route by what decided.
    pub decided_by: Vec<DecidedBy>,
}

/// There is no such gateway.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// Nothing of this name is stored.
    #[error("there is no gateway `{gateway}`")]
    UnknownGateway {
        /// Its name.
        gateway: String,
    },
    /// What is stored gives no table now.
    #[error("no table follows from what is stored: look at the problems of the control plane")]
    NoTable,
    /// The database did not answer.
    #[error(transparent)]
    Persist(#[from] crate::persist::PersistError),
}
