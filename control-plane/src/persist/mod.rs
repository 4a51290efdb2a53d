//! What the control plane keeps: every version of every artifact, the events that made them, the ports that were
//! assigned, and the revision that is wanted. The database is the truth; the store only carries what follows from it.
//!
//! One set of statements for SQLite, MySQL, MariaDB and PostgreSQL, one conformance suite that all of them pass. A change
//! is one transaction: after a crash it is there with its events, its ports and its hash, or it is not there at all. It
//! is on the disk before it is answered.

mod address;
mod audit;
mod chain;
#[cfg(test)]
mod conformance;
mod database;
mod error;
mod event;
mod events;
mod migrate;
mod pools;
mod read;
mod schema;
mod session;
mod thin;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

pub(crate) use audit::{Audit, Head};
pub(crate) use database::Database;
pub(crate) use error::PersistError;
pub(crate) use event::{Aggregator, EventQuery, NewEvent, Retention, StoredEvent};
pub(crate) use thin::Place;

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
    /// The change that wrote it.
    pub sequence: u64,
    /// Why it is not what was written, in words: somebody or something else changed it in the database.
    pub damage: Option<String>,
}

/// One version with the change that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    /// The version.
    pub stored: Stored,
    /// What happened, by whom and why.
    pub cause: Cause,
}

/// What made a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cause {
    /// What happened, in words: `PUT /api/v1/gateways/shop`.
    pub what: String,
    /// Who did it, as far as the API knows; `vamp` for the control plane itself; empty before it was recorded.
    pub who: String,
    /// Why, in the words of who did it; empty when nothing was said.
    pub why: String,
}

impl Cause {
    /// Something that the control plane does by itself.
    pub(crate) fn own(what: impl Into<String>) -> Self {
        Self { what: what.into(), who: "vamp".to_owned(), why: String::new() }
    }
}

/// All that is wanted, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Where in the history this is.
    pub position: Position,
    /// Current artifacts by kind and name; deleted ones are not in it.
    pub artifacts: BTreeMap<String, Shelf>,
    /// The port of each gateway that has one.
    pub ports: BTreeMap<String, u16>,
    /// Gateways whose port is not the one that the history leads to, in words: something else changed it in the database.
    pub damage: BTreeMap<String, String>,
}

/// The artifacts of one kind by name. The snapshot after a change shares with the one before all that is the same.
pub(crate) type Shelf = OrdMap<String, Arc<Stored>>;

/// A point in the history of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Drawn from the clock when the database was created; a later database has a higher one. Rises when the database
    /// goes on after it was restored from an old copy.
    pub epoch: u64,
    /// The last change.
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
    /// Whether it was written as what may be there already: who waits for an update is told of one that is new, too.
    pub replaces: bool,
}

/// Something about an artifact that is no version of it: where its deployment stands, what it is waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateWrite {
    /// What it belongs to, such as `deployments`; up to 128 bytes.
    pub scope: String,
    /// Its name there, up to 640 bytes.
    pub name: String,
    /// What is kept, text; `None` forgets it.
    pub value: Option<String>,
}

/// One API call, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Where the caller stood when it planned: another writer in between makes it a [`PersistError::Moved`].
    pub expected: Position,
    /// What is written, in order; an artifact occurs once.
    pub writes: Vec<Write>,
    /// The ports that gateways get, or lose (`None`), by it.
    pub ports: BTreeMap<String, Option<u16>>,
    /// What else is kept with it.
    pub states: Vec<StateWrite>,
    /// Events beside those that tell of each write.
    pub events: Vec<NewEvent>,
    /// The revision of the table after the change.
    pub revision: u64,
    /// The content of that table, as a digest.
    pub table: String,
    /// What happened, by whom and why.
    pub cause: Cause,
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
    /// Why, in words.
    pub cause: Cause,
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

/// One line of the history, which is only ever added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredChange {
    /// 1, 2, 3 …
    pub sequence: u64,
    /// When, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// What happened, by whom and why.
    pub cause: Cause,
    /// The revision after it.
    pub revision: u64,
    /// Its hash, over it and all before it.
    pub hash: String,
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

/// Changes that are kept together. Dropped, nothing of them is kept.
#[async_trait::async_trait]
pub(crate) trait Writing: Send {
    /// Adds a change. After a failure nothing else can be done with it but to drop it.
    async fn change(&mut self, change: &Change) -> Result<Committed, PersistError>;
    /// Keeps them, whole, on the disk.
    async fn keep(self: Box<Self>) -> Result<(), PersistError>;
}

/// What keeps the truth. All methods are safe to call from many tasks; writes happen one after the other.
#[async_trait::async_trait]
#[cfg_attr(not(test), expect(dead_code, reason = "deployments keep their states here"))]
pub(crate) trait Persistence: Send + Sync + std::fmt::Debug {
    /// Where the history stands: cheap, to see whether a snapshot is still current.
    async fn position(&self) -> Result<Position, PersistError>;
    /// Everything current, at one moment.
    async fn snapshot(&self) -> Result<Snapshot, PersistError>;
    /// Begins to write changes, one on top of the other. Until they are kept or dropped nobody else writes.
    async fn begin(&self) -> Result<Box<dyn Writing + '_>, PersistError>;
    /// Keeps a change, whole, on the disk, or nothing of it.
    async fn commit(&self, change: &Change) -> Result<Committed, PersistError> {
        let mut writing = self.begin().await?;
        let committed = writing.change(change).await?;
        writing.keep().await?;
        Ok(committed)
    }
    /// Goes on under a higher epoch, with a change, at the same revision: tables that were published from a history
    /// that this database does not have are older from now on.
    async fn begin_epoch(&self, begin: &BeginEpoch) -> Result<Position, PersistError>;
    /// All versions of one artifact, oldest first; empty when it never was.
    async fn history(&self, id: &ArtifactId) -> Result<Vec<Past>, PersistError>;
    /// The newest changes below a number, newest first.
    async fn changes(&self, below: Option<u64>, limit: u32) -> Result<Vec<StoredChange>, PersistError>;
    /// Reads the whole history and says whether it is what was written, and has what others have seen of it.
    async fn audit(&self, seen: &[Head]) -> Result<Audit, PersistError>;
    /// The last change with its hash, to be kept elsewhere.
    async fn head(&self) -> Result<Head, PersistError>;
    /// What is kept in a scope beside artifacts, by name.
    async fn states(&self, scope: &str) -> Result<BTreeMap<String, String>, PersistError>;
    /// Keeps such things without a change.
    async fn keep_states(&self, states: &[StateWrite]) -> Result<(), PersistError>;
    /// Keeps such things if there is of the first now what is expected, `None` for nothing; whether it was so.
    async fn swap_states(&self, expected: Option<&str>, states: &[StateWrite]) -> Result<bool, PersistError>;
    /// Keeps events; answers their numbers.
    async fn publish(&self, events: &[NewEvent]) -> Result<Vec<u64>, PersistError>;
    /// Keeps events together with what is remembered of them: both, or nothing.
    async fn tell(&self, events: &[NewEvent], states: &[StateWrite]) -> Result<(), PersistError>;
    /// Events that a query asks for.
    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PersistError>;
    /// A number over the events that a query asks for; `None` when there is none to count.
    async fn aggregate(&self, query: &EventQuery, aggregator: Aggregator) -> Result<Option<f64>, PersistError>;
    /// The number of the newest event, 0 before the first.
    async fn newest_event(&self) -> Result<u64, PersistError>;
    /// Deletes some of the events that are over their time or their number, oldest first; says how many.
    async fn retire_events(&self, retention: &Retention, now_unix_ms: u64) -> Result<u64, PersistError>;
    /// Forgets what old versions said that follow from others and were written when that was still kept, some of them from a
    /// place on; says where to go on, `None`: that was all.
    async fn thin_history(&self, from: Place) -> Result<Option<Place>, PersistError>;
    /// Keeps the last counts of gateway processes, each in the place of older ones of the same boot.
    async fn keep_counts(&self, counts: &[StoredCounts]) -> Result<(), PersistError>;
    /// The counts that were kept.
    async fn counts(&self) -> Result<Vec<StoredCounts>, PersistError>;
    /// Where it is, without credentials, for messages.
    fn address(&self) -> &str;
    /// Ends it: later calls fail.
    async fn close(&self);
}
