//! Events: what happened, for people and workflows. They are kept for a while, unlike changes, which are kept for ever.

use std::collections::BTreeSet;

use serde_json::Value;

/// Something that happened, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEvent {
    /// Its type, such as `event` or `archive`.
    pub kind: String,
    /// What it is about: `deployments:shop`. With each `a:b` stands `a`.
    pub tags: BTreeSet<String>,
    /// What there is to say, JSON.
    pub value: Option<Value>,
    /// When, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

impl NewEvent {
    /// An event; with each tag `a:b` it gets the tag `a`.
    pub(crate) fn new<T: Into<String>>(kind: &str, tags: impl IntoIterator<Item = T>, at_unix_ms: u64) -> Self {
        let mut all = BTreeSet::new();
        for tag in tags {
            let tag: String = tag.into();
            all.extend(tag.split_once(':').map(|(group, _)| group.to_owned()).filter(|group| !group.is_empty()));
            all.insert(tag);
        }
        Self { kind: kind.to_owned(), tags: all, value: None, at_unix_ms }
    }
}

/// An event that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredEvent {
    /// 1, 2, 3 …, in the order in which they were kept.
    pub id: u64,
    /// Its type.
    pub kind: String,
    /// Sorted.
    pub tags: Vec<String>,
    /// What there is to say, JSON; null when nothing.
    pub value: Value,
    /// When, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventQuery {
    /// An event has all of these.
    pub tags: Vec<String>,
    /// An event is of this type.
    pub kind: Option<String>,
    /// First moment, milliseconds since 1970 (UTC).
    pub from_unix_ms: Option<u64>,
    /// First moment that is too late.
    pub until_unix_ms: Option<u64>,
    /// Those kept after this one, oldest first; without it: newest first by their own time.
    pub after_id: Option<u64>,
    /// How many are passed over.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

/// How events become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregator {
    /// How many there are, with any value.
    Count,
    /// The mean of the values that are numbers.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// All together.
    Sum,
}

/// How long events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Milliseconds.
    pub age_max_ms: u64,
    /// How many.
    pub count_max: u64,
}
