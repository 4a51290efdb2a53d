//! What the rest of the process may know of the table's way here: for readiness, metrics and the admin listener.

use std::time::Instant;

use vamp_routing::wire::{Degradation, Digest, Generation, RefusedTable};

/// How the served table stands to the one in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum SyncState {
    /// The store was not asked yet.
    #[default]
    Starting,
    /// The store has no table, and none is served.
    Empty,
    /// The newest table is served.
    Current,
    /// A newer table is being read or applied.
    Updating,
    /// The table in the store is refused; the last good one is served.
    Refused,
    /// The store has an older table than the served one, another one under its number, or none: it lost data.
    Ahead,
    /// The store does not answer; the last good table is served.
    Disconnected,
}

impl SyncState {
    /// All states, for a metric with one series for each.
    pub(crate) const ALL: [Self; 7] =
        [Self::Starting, Self::Empty, Self::Current, Self::Updating, Self::Refused, Self::Ahead, Self::Disconnected];

    /// The word for a metric's label.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Empty => "empty",
            Self::Current => "current",
            Self::Updating => "updating",
            Self::Refused => "refused",
            Self::Ahead => "ahead",
            Self::Disconnected => "disconnected",
        }
    }
}

/// What became of tables since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    /// Tables that were applied, the one from disk included.
    pub applied: u64,
    /// Tables that were refused because they could not be read or compiled.
    pub refused: u64,
    /// Tables that were passed by because they were older than the served one, or another one under its number.
    pub outdated: u64,
    /// Tables that were written to disk.
    pub kept: u64,
    /// Writes to disk that failed.
    pub not_kept: u64,
}

/// The table's way here, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SyncStatus {
    /// How the served table stands to the one in the store.
    pub state: SyncState,
    /// The table that is served.
    pub applied: Option<Generation>,
    /// Its digest.
    pub digest: Option<Digest>,
    /// The table on disk that a restart would serve without the store.
    pub kept: Option<Generation>,
    /// The table that the control plane was told of.
    pub acknowledged: Option<Generation>,
    /// When the store last said which table is the newest; the age of it is how stale the table may be.
    pub last_confirmed: Option<Instant>,
    /// Whether the store once said that it has no table.
    pub was_confirmed_empty: bool,
    /// The newest table that is refused, if it is newer than the served one.
    pub refused: Option<RefusedTable>,
    /// What does not work although the table is served.
    pub problems: Vec<Degradation>,
    /// Why the store can't be read now.
    pub fault: Option<String>,
    /// What became of tables.
    pub outcomes: Outcomes,
}

impl SyncStatus {
    /// Whether traffic may be sent here: a table is served, be it from disk, or it is certain that there is none yet.
    pub(crate) fn is_ready(&self) -> bool {
        self.applied.is_some() || self.was_confirmed_empty
    }
}
