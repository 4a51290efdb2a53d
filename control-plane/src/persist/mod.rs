//! What the control plane keeps: every version of every artifact, the events that made them, the ports that were
//! assigned, and the revision that is wanted. The database is the truth; the store only carries what follows from it.
//!
//! One [`Persistence`] per product, one conformance suite that all of them pass. A change is one transaction: after a
//! crash it is there with its event and its ports, or it is not there at all. It is on the disk before it is answered.

#[cfg(test)]
mod conformance;
mod schema;
mod sqlite;

use std::collections::BTreeMap;

pub(crate) use sqlite::Sqlite;

/// Names one artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ArtifactId {
    /// Its kind, plural as in the address: `gateways`.
    pub kind: &'static str,
    /// Its name as its author wrote it.
    pub name: String,
}

/// One version of one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its name.
    pub name: String,
    /// 1, 2, 3 …; a deletion takes a number too.
    pub version: u64,
    /// The document in canonical JSON; `None` for a deletion.
    pub document: Option<String>,
    /// When it was written, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// The event that wrote it.
    pub sequence: u64,
}

/// All that is wanted, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Where in the history this is.
    pub position: Position,
    /// Current artifacts by kind and name; deleted ones are not in it.
    pub artifacts: BTreeMap<String, BTreeMap<String, Stored>>,
    /// The port of each gateway that has one.
    pub ports: BTreeMap<String, u16>,
}

/// A point in the history of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Drawn from the clock when the database was created; a later database has a higher one. Rises when the database
    /// goes on after it was restored from an old copy.
    pub epoch: u64,
    /// The last event.
    pub sequence: u64,
    /// The revision of the routing table that is wanted.
    pub revision: u64,
    /// The content of that table, as a digest; empty before the first.
    pub table: String,
}

/// One artifact that a change writes or deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Which.
    pub id: ArtifactId,
    /// Its new content in canonical JSON; `None` deletes.
    pub document: Option<String>,
}

/// One API call, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Where the caller stood when it planned: another writer in between makes it a [`PersistError::Moved`].
    pub expected: Position,
    /// What is written, in order; an artifact occurs once.
    pub writes: Vec<Write>,
    /// The ports of all gateways after the change.
    pub ports: BTreeMap<String, u16>,
    /// The revision of the table after the change.
    pub revision: u64,
    /// The content of that table, as a digest.
    pub table: String,
    /// What happened, for the event, in words: `PUT /api/v1/gateways/shop`.
    pub cause: String,
    /// Now, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// The start of a new epoch of the same database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BeginEpoch {
    /// Where the caller stood: another writer in between makes it a [`PersistError::Moved`].
    pub expected: Position,
    /// The new epoch, above the expected one.
    pub epoch: u64,
    /// Why, for the event, in words.
    pub cause: String,
    /// Now, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// What a change became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Where the database stands now.
    pub position: Position,
    /// The version that each write got, in order.
    pub versions: Vec<u64>,
}

/// One line of the events, which are only ever added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    /// 1, 2, 3 …
    pub sequence: u64,
    /// When, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// What happened.
    pub cause: String,
    /// The revision after it.
    pub revision: u64,
}

/// The last counts of one boot of one gateway process, kept when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredCounts {
    /// The gateway process.
    pub id: String,
    /// Its boot.
    pub boot: String,
    /// When they were read, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// The counts as the gateway told them, JSON.
    pub body: String,
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// Another writer was first.
    #[error("the database moved on from event {}: read it again and plan anew", .expected.sequence)]
    Moved {
        /// Where the caller stood.
        expected: Position,
    },
    /// A newer product wrote it.
    #[error(
        "database {address} has schema {found}, this build reads up to {known}: start the newer control plane, or restore a backup of the older schema"
    )]
    NewerSchema {
        /// Where it is.
        address: String,
        /// Its schema.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The address is none.
    #[error("database `{address}` is not known: write `sqlite:PATH`")]
    UnknownAddress {
        /// What was written.
        address: String,
    },
    /// Its files could not be made.
    #[error("database file {path} could not be prepared: check that its directory exists and may be written")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It failed.
    #[error("the database at {address} failed: nothing of the change was kept")]
    Failed {
        /// Where it is.
        address: String,
        /// What it said.
        #[source]
        cause: sqlx::Error,
    },
    /// What it holds makes no sense.
    #[error("the database at {address} holds {what}: restore a backup")]
    Damaged {
        /// Where it is.
        address: String,
        /// What was read.
        what: String,
    },
}

/// What keeps the truth. All methods are safe to call from many tasks; writes happen one after the other.
#[async_trait::async_trait]
pub(crate) trait Persistence: Send + Sync + std::fmt::Debug {
    /// Where the history stands: cheap, to see whether a snapshot is still current.
    async fn position(&self) -> Result<Position, PersistError>;
    /// Everything current, at one moment.
    async fn snapshot(&self) -> Result<Snapshot, PersistError>;
    /// Keeps a change, whole, on the disk, or nothing of it.
    async fn commit(&self, change: &Change) -> Result<Committed, PersistError>;
    /// Goes on under a higher epoch, with an event, at the same revision: tables that were published from a history
    /// that this database does not have are older from now on.
    async fn begin_epoch(&self, begin: &BeginEpoch) -> Result<Position, PersistError>;
    /// All versions of one artifact, oldest first; empty when it never was.
    async fn history(&self, id: &ArtifactId) -> Result<Vec<Stored>, PersistError>;
    /// The newest events, newest first.
    async fn events(&self, limit: u32) -> Result<Vec<StoredEvent>, PersistError>;
    /// Keeps the last counts of gateway processes, each in the place of older ones of the same boot.
    async fn keep_counts(&self, counts: &[StoredCounts]) -> Result<(), PersistError>;
    /// The counts that were kept.
    async fn counts(&self) -> Result<Vec<StoredCounts>, PersistError>;
    /// Where it is, without credentials, for messages.
    fn address(&self) -> &str;
    /// Ends it: later calls fail.
    async fn close(&self);
}
