//! Brings the wanted table into the store and keeps it there.
//!
//! Level-triggered: whatever rings (a change, a watch of the manifest, the clock), the same turn reads what the
//! database wants and what the store has, and does what is missing. So it does not matter where a former turn was cut
//! off, or who changed the store meanwhile. The database is the truth; see `docs/decisions/0002-epochs.md` for what
//! happens when the store is ahead of it.

mod guard;
#[cfg(test)]
mod tests;
mod worker;

use serde::Serialize;
use vamp_routing::wire::Generation;

pub(crate) use guard::guard;
pub(crate) use worker::run;

/// How the store stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StoreStatus {
    /// Where it is, without credentials.
    pub address: String,
    /// In one word.
    pub state: StoreState,
    /// The table that is known to be in it, as far as it is ours.
    pub published: Option<Generation>,
    /// What is wrong and how to mend it, or what was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl StoreStatus {
    /// Before the first turn.
    pub(crate) fn starting(address: &str) -> Self {
        Self { address: address.to_owned(), state: StoreState::Starting, published: None, problem: None }
    }
}

/// How the store stands to what is wanted, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreState {
    /// It was not asked yet.
    Starting,
    /// It has the wanted table, or nothing is wanted yet.
    Current,
    /// The wanted table is on its way.
    Publishing,
    /// It does not answer, or will not do it: it is tried again.
    Unreachable,
    /// Another control plane publishes into the same namespace.
    Contested,
    /// No table follows from what is stored, or the database does not answer: what is published is kept.
    NoTable,
}
