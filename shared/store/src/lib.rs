//! One key-value contract (get, compare-and-put, guarded delete, list, watch with resume, lease), one driver per
//! product, one conformance suite that all of them pass.

pub mod layout;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// When a key was last written: comparable for one key only, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A point in the store's history from which a watch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A lease; keys put under it vanish when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease(pub i64);

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, relative to the store's prefix.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// When it was last written.
    pub version: Version,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Anything,
    /// No such key.
    Absent,
    /// The key at this version.
    Version(Version),
}

/// All keys below a prefix at one moment.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Sorted by key.
    pub entries: Vec<Entry>,
    /// A watch from here misses nothing that came after.
    pub position: Position,
}

/// One change below a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key was written.
    Put(Entry),
    /// A key was deleted, or its lease ended.
    Deleted {
        /// The key.
        key: String,
    },
}

/// Changes that arrived together, in order.
#[derive(Debug, Clone)]
pub struct Changes {
    /// In the store's order.
    pub events: Vec<Event>,
    /// To resume after these.
    pub position: Position,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer was first.
    #[error("key `{key}` was changed by another writer: read it again before you write")]
    Conflict {
        /// The key.
        key: String,
    },
    /// The history from the asked position is gone.
    #[error("the store no longer has its history from position {}: list again and watch from there", .from.0)]
    Compacted {
        /// The asked position.
        from: Position,
    },
    /// The value is larger than the store takes.
    #[error("value of `{key}` has {bytes} bytes, the store takes {limit_bytes}: write it in parts")]
    TooLarge {
        /// The key.
        key: String,
        /// Its size.
        bytes: usize,
        /// The driver's limit.
        limit_bytes: usize,
    },
    /// The lease has ended.
    #[error("the lease has ended: take a new one and write again")]
    LeaseEnded,
    /// The store refuses who we are.
    #[error("the store refuses access: check user, password and certificates")]
    Denied {
        /// What it said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store can't be asked now; nothing is known about the outcome.
    #[error("the store at {address} does not answer")]
    Unreachable {
        /// Where it should be, without credentials.
        address: String,
        /// What happened.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Changes below a prefix, in order, without gaps.
#[async_trait::async_trait]
pub trait Watch: Send {
    /// The next changes. An error ends the watch; resume with the last position, or list again after [`StoreError::Compacted`].
    async fn next(&mut self) -> Result<Changes, StoreError>;
}

/// The contract. Keys are relative (`default/table/manifest`), the driver puts its prefix before them.
#[async_trait::async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The newest value of a key (linearizable).
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;
    /// Writes a key if what is there is what was expected.
    async fn put(&self, key: &str, value: Bytes, expected: Expected, lease: Option<Lease>) -> Result<Version, StoreError>;
    /// Deletes a key if what is there is what was expected; whether there was one.
    async fn delete(&self, key: &str, expected: Expected) -> Result<bool, StoreError>;
    /// All keys below a prefix.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;
    /// Changes below a prefix after a position.
    async fn watch(&self, prefix: &str, after: Position) -> Result<Box<dyn Watch>, StoreError>;
    /// Takes a lease.
    async fn grant(&self, time_to_live: Duration) -> Result<Lease, StoreError>;
    /// Keeps a lease for another time to live.
    async fn keep_alive(&self, lease: Lease) -> Result<(), StoreError>;
    /// Ends a lease and deletes its keys.
    async fn revoke(&self, lease: Lease) -> Result<(), StoreError>;
    /// LIMIT of this driver: the largest value it takes.
    fn max_value_bytes(&self) -> usize;
    /// Where it is, without credentials, for messages.
    fn address(&self) -> &str;
}

/// A store that many parts of a program share.
pub type SharedStore = Arc<dyn Store>;
