//! One key-value contract (get, compare-and-put, guarded delete, list, watch with resume, lease), one driver per
//! product, one conformance suite that all of them pass.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod etcd;
pub mod layout;
pub mod memory;
pub mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod url;
pub mod values;

pub use crate::url::{StoreUrl, StoreUrlError};

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

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted { key } => key,
        }
    }
}

/// Changes that arrived together, in order.
#[derive(Debug, Clone)]
pub struct Changes {
    /// In the store's order; empty when the store only says how far its history has come.
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
    /// The store answers, and will not do it.
    #[error("the store at {address} refuses the request: look at its own log and alarms")]
    Refused {
        /// Where it is, without credentials.
        address: String,
        /// What it said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting with which the store can't be used.
    #[error("store setting `{setting}`: {reason}")]
    BadSetting {
        /// Its name in the store's URL, or the environment variable.
        setting: &'static str,
        /// What is wrong and how to mend it.
        reason: String,
    },
}

/// Changes below a prefix, in order, without gaps.
#[async_trait::async_trait]
pub trait Watch: Send {
    /// The next changes; nothing is lost when the future is dropped. An error ends the watch; resume with the last position, or list again after [`StoreError::Compacted`].
    async fn next(&mut self) -> Result<Changes, StoreError>;
}

/// The contract. Keys are relative (`default/table/manifest`), the driver puts its prefix before them.
#[async_trait::async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// The newest value of a key (linearizable).
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;
    /// Writes a key if what is there is what was expected.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        lease: Option<Lease>,
    ) -> Result<Version, StoreError>;
    /// Deletes a key if what is there is what was expected; whether there was one.
    async fn delete(&self, key: &str, expected: Expected) -> Result<bool, StoreError>;
    /// The key that is the prefix itself and all keys below it: `a/b` has `a/b` and `a/b/c`, never `a/bc`.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;
    /// As [`Store::list`], without the values.
    async fn list_keys(&self, prefix: &str) -> Result<Vec<(String, Version)>, StoreError>;
    /// Changes of the key that is the prefix itself and of all keys below it, after a position.
    async fn watch(&self, prefix: &str, after: Position) -> Result<Box<dyn Watch>, StoreError>;
    /// Takes a lease.
    async fn grant(&self, time_to_live: Duration) -> Result<Lease, StoreError>;
    /// Keeps a lease for another time to live.
    async fn keep_alive(&self, lease: Lease) -> Result<(), StoreError>;
    /// Ends a lease and deletes its keys; one that has ended already is no error.
    async fn revoke(&self, lease: Lease) -> Result<(), StoreError>;
    /// LIMIT of this driver: the largest value it takes.
    fn max_value_bytes(&self) -> usize;
    /// Where it is, without credentials, for messages.
    fn address(&self) -> &str;
}

/// A store that many parts of a program share.
pub type SharedStore = Arc<dyn Store>;

/// An in-process store, empty at start and gone at the end of the process.
pub fn memory() -> SharedStore {
    memory::open().0
}

/// The store that a URL names. Only its settings are checked here: a store that is down is met at the first request,
/// so that a gateway starts without it.
pub fn connect(url: &StoreUrl) -> Result<SharedStore, StoreError> {
    match &url.0 {
        url::Product::Memory => Ok(memory()),
        url::Product::Etcd(url) => Ok(Arc::new(etcd::Etcd::new(url)?)),
    }
}

/// Whether a key is `prefix` or stands below it.
fn is_under(prefix: &str, key: &str) -> bool {
    match key.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_under;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        assert!(is_under("a/b", "a/b"));
        assert!(is_under("a/b", "a/b/c"));
        assert!(is_under("a/b/", "a/b/c"));
        assert!(is_under("", "a/b/c"));
        assert!(!is_under("a/b", "a/bc"));
        assert!(!is_under("a/b/", "a/b"));
        assert!(!is_under("a/b", "a"));
    }
}
