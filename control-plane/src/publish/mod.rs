//! Brings the wanted table into the store and keeps it there.

use serde::Serialize;
use vamp_routing::wire::Generation;

/// How the store stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Where it is, without credentials.
    pub address: String,
    /// In one word.
    pub state: StoreState,
    /// The table that is known to be in it.
    pub published: Option<Generation>,
    /// What is wrong and how to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How the store stands to what is wanted, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
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
    /// No table follows from what is stored.
    NoTable,
}
