//! What every driver must do, as one suite. It runs on the in-process store and on each real product.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: what does not hold must stop it"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::testing::eventually;
use crate::{Changes, Event, Expected, Lease, Position, SharedStore, StoreError, Version, Watch};

const DEADLINE: Duration = Duration::from_secs(20);

/// A store under test, and what its network and its operator can do to it.
#[async_trait::async_trait]
pub trait Subject: Send + Sync {
    /// A connection to it.
    fn store(&self) -> SharedStore;
    /// Ends all connections; requests work again when this returns.
    async fn cut(&mut self);
    /// Makes it forget its history.
    async fn compact(&mut self);
}

/// Runs the whole suite; the subject must be empty.
///
/// # Panics
/// When the store breaks the contract.
pub async fn conformance(subject: &mut dyn Subject) {
    let store = subject.store();
    reads_what_was_written(&store).await;
    writes_only_over_what_was_expected(&store).await;
    deletes_only_what_was_expected(&store).await;
    loses_no_update_of_many_writers(&store).await;
    keeps_prefixes_apart(&store).await;
    takes_values_up_to_its_limit(&store).await;
    lists_many_keys_whole_and_sorted(&store).await;
    watches_from_a_list_without_a_gap(&store).await;
    ends_a_lease_and_tells_the_watchers(&store).await;
    keeps_a_lease_alive(&store).await;
    refuses_an_ended_lease(&store).await;
    resumes_a_watch_after_a_cut(subject).await;
    says_that_history_is_gone(subject).await;
}

async fn put(store: &SharedStore, key: &str, value: &str) -> Version {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.put(key, value, Expected::Anything, None).await.expect("a write")
}

async fn reads_what_was_written(store: &SharedStore) {
    assert_eq!(store.get("read/absent").await.unwrap(), None);
    let binary: Vec<u8> = (0..=255).chain([0, 0xff, 0xc3, 0x28]).collect();
    for value in [Bytes::new(), Bytes::from(binary), Bytes::from_static(b"text")] {
        let version = store.put("read/key", value.clone(), Expected::Anything, None).await.unwrap();
        let entry = store.get("read/key").await.unwrap().expect("what was written");
        assert_eq!((entry.key.as_str(), entry.value, entry.version), ("read/key", value, version));
        assert_ne!(version.0, 0);
    }
}

async fn writes_only_over_what_was_expected(store: &SharedStore) {
    let write = async |expected| store.put("guard/key", Bytes::from_static(b"x"), expected, None).await;
    let is_conflict = |result: Result<Version, StoreError>| match result {
        Err(StoreError::Conflict { key }) => assert_eq!(key, "guard/key"),
        other => panic!("expected a conflict, got {other:?}"),
    };
    is_conflict(write(Expected::Version(Version(1))).await);
    let first = write(Expected::Absent).await.unwrap();
    is_conflict(write(Expected::Absent).await);
    let second = write(Expected::Version(first)).await.unwrap();
    assert!(second > first);
    is_conflict(write(Expected::Version(first)).await);
    assert_eq!(store.get("guard/key").await.unwrap().unwrap().version, second);
}

async fn deletes_only_what_was_expected(store: &SharedStore) {
    assert!(!store.delete("delete/key", Expected::Anything).await.unwrap());
    let old = put(store, "delete/key", "1").await;
    let new = put(store, "delete/key", "2").await;
    assert!(matches!(store.delete("delete/key", Expected::Version(old)).await, Err(StoreError::Conflict { .. })));
    assert!(store.delete("delete/key", Expected::Version(new)).await.unwrap());
    assert_eq!(store.get("delete/key").await.unwrap(), None);
    assert!(matches!(store.delete("delete/key", Expected::Version(new)).await, Err(StoreError::Conflict { .. })));
    // A key that comes back is not taken for the one that was there.
    let back = put(store, "delete/key", "2").await;
    assert_ne!(back, new);
    assert!(store.delete("delete/key", Expected::Anything).await.unwrap());
}

async fn loses_no_update_of_many_writers(store: &SharedStore) {
    const WRITERS: usize = 16;
    const INCREMENTS: usize = 25;
    put(store, "race/counter", "0").await;
    let increment = async |store: SharedStore| {
        for _ in 0..INCREMENTS {
            loop {
                let entry = store.get("race/counter").await.unwrap().unwrap();
                let count: usize = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let value = Bytes::from((count + 1).to_string());
                match store.put("race/counter", value, Expected::Version(entry.version), None).await {
                    Ok(_) => break,
                    Err(StoreError::Conflict { .. }) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    };
    futures_util::future::join_all((0..WRITERS).map(|_| increment(store.clone()))).await;
    let entry = store.get("race/counter").await.unwrap().unwrap();
    assert_eq!(entry.value, (WRITERS * INCREMENTS).to_string());
}

async fn keeps_prefixes_apart(store: &SharedStore) {
    for key in ["apart/b", "apart/b/c", "apart/b/c/d", "apart/bc", "apart/b-c", "apart/b0", "apart/a"] {
        put(store, key, key).await;
    }
    let keys = async |prefix| {
        let listing = store.list(prefix).await.unwrap();
        let keys: Vec<String> = listing.entries.into_iter().map(|entry| entry.key).collect();
        let without_values = store.list_keys(prefix).await.unwrap();
        assert_eq!(keys, without_values.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
        keys
    };
    assert_eq!(keys("apart/b").await, ["apart/b", "apart/b/c", "apart/b/c/d"]);
    assert_eq!(keys("apart/b/").await, ["apart/b/c", "apart/b/c/d"]);
    assert_eq!(keys("apart/bc").await, ["apart/bc"]);
    assert_eq!(keys("apart").await.len(), 7);
    assert!(keys("apart/x").await.is_empty());
    assert!(keys("").await.len() >= 7);
}

async fn takes_values_up_to_its_limit(store: &SharedStore) {
    let limit = store.max_value_bytes();
    let largest = Bytes::from(vec![0xa5; limit]);
    store.put("size/key", largest.clone(), Expected::Absent, None).await.unwrap();
    assert_eq!(store.get("size/key").await.unwrap().unwrap().value, largest);
    let error = store.put("size/key", Bytes::from(vec![0; limit + 1]), Expected::Anything, None).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooLarge { bytes, limit_bytes, .. } if bytes == limit + 1 && limit_bytes == limit)
    );
    for part in 0..40 {
        store.put(&format!("size/many/{part}"), largest.clone(), Expected::Absent, None).await.unwrap();
    }
    assert_eq!(store.list("size/many").await.unwrap().entries.len(), 40, "more than one answer can hold");
    for (key, _) in store.list_keys("size").await.unwrap() {
        store.delete(&key, Expected::Anything).await.unwrap();
    }
}

async fn lists_many_keys_whole_and_sorted(store: &SharedStore) {
    const KEYS: usize = 3_000;
    let writes = (0..KEYS).map(async |index| put(store, &format!("many/{index:05}"), &"v".repeat(index % 300)).await);
    futures_util::StreamExt::collect::<Vec<_>>(futures_util::StreamExt::buffer_unordered(
        futures_util::stream::iter(writes),
        64,
    ))
    .await;
    let entries = store.list("many").await.unwrap().entries;
    let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(keys, (0..KEYS).map(|index| format!("many/{index:05}")).collect::<Vec<_>>());
    assert!(entries.iter().enumerate().all(|(index, entry)| entry.value.len() == index % 300));
    assert_eq!(store.list_keys("many").await.unwrap().len(), KEYS);
}

/// What a reader that lists and then watches knows.
struct Mirror {
    keys: BTreeMap<String, Bytes>,
    position: Position,
}

impl Mirror {
    async fn list(store: &SharedStore, prefix: &str) -> Self {
        let listing = store.list(prefix).await.unwrap();
        let keys = listing.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Self { keys, position: listing.position }
    }

    fn apply(&mut self, changes: Changes) {
        assert!(changes.position >= self.position, "a position never goes back");
        self.position = changes.position;
        for event in changes.events {
            match event {
                Event::Put(entry) => drop(self.keys.insert(entry.key, entry.value)),
                Event::Deleted { key } => assert!(self.keys.remove(&key).is_some(), "`{key}` was deleted twice"),
            }
        }
    }
}

async fn next(watch: &mut Box<dyn Watch>) -> Result<Changes, StoreError> {
    tokio::time::timeout(DEADLINE, watch.next()).await.expect("changes in time")
}

async fn watches_from_a_list_without_a_gap(store: &SharedStore) {
    const CHANGES: usize = 400;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for index in 0..CHANGES {
                put(&store, &format!("watch/{}", index % 7), &index.to_string()).await;
                put(&store, &format!("watched-not/{}", index % 7), "other").await;
                if index % 3 == 0 {
                    store.delete(&format!("watch/{}", index % 7), Expected::Anything).await.unwrap();
                }
            }
            put(&store, "watch/end", "end").await;
        }
    });
    eventually("some changes are made before the list", DEADLINE, async || {
        !store.list("watch").await.unwrap().entries.is_empty()
    })
    .await;
    let mut mirror = Mirror::list(store, "watch").await;
    let mut watch = store.watch("watch", mirror.position).await.unwrap();
    while !mirror.keys.contains_key("watch/end") {
        let changes = next(&mut watch).await.unwrap();
        assert!(changes.events.iter().all(|event| event.key().starts_with("watch/")));
        mirror.apply(changes);
    }
    writer.await.unwrap();
    assert_eq!(mirror.keys, Mirror::list(store, "watch").await.keys);
}

/// Writes `lease/key` under a lease that is about to end, and `lease/stays` without it at last; where both are there.
async fn leased(store: &SharedStore) -> Position {
    for _ in 0..10 {
        let lease = store.grant(Duration::from_secs(3)).await.unwrap();
        let mut has_ended = false;
        for key in ["lease/key", "lease/stays"] {
            match store.put(key, Bytes::from_static(b"x"), Expected::Anything, Some(lease)).await {
                Ok(_) => {}
                Err(StoreError::LeaseEnded) => has_ended = true,
                Err(error) => panic!("{key}: {error:?}"),
            }
        }
        // Written without the lease, a key outlives it.
        put(store, "lease/stays", "y").await;
        let listing = store.list("lease").await.unwrap();
        if !has_ended && listing.entries.len() == 2 {
            return listing.position;
        }
        // A machine that stalled let the lease end meanwhile.
    }
    panic!("a lease of 3 s never lives for three writes");
}

async fn ends_a_lease_and_tells_the_watchers(store: &SharedStore) {
    let position = leased(store).await;
    let mut watch = store.watch("lease", position).await.unwrap();
    let event = loop {
        if let Some(event) = next(&mut watch).await.unwrap().events.pop() {
            break event;
        }
    };
    assert_eq!(event, Event::Deleted { key: "lease/key".to_owned() });
    assert_eq!(store.get("lease/key").await.unwrap(), None);
    assert!(store.get("lease/stays").await.unwrap().is_some());
}

async fn keeps_a_lease_alive(store: &SharedStore) {
    let put_under = async |key: &str, lease: Lease| {
        store.put(key, Bytes::from_static(b"x"), Expected::Absent, Some(lease)).await.unwrap();
    };
    // Long enough to be kept by a machine that stalls.
    let kept = store.grant(Duration::from_secs(5)).await.unwrap();
    let left = store.grant(Duration::from_secs(5)).await.unwrap();
    put_under("alive/kept", kept).await;
    put_under("alive/left", left).await;
    eventually("the lease that is left ends", DEADLINE, async || {
        store.keep_alive(kept).await.unwrap();
        store.get("alive/left").await.unwrap().is_none()
    })
    .await;
    assert!(store.get("alive/kept").await.unwrap().is_some());
    store.revoke(kept).await.unwrap();
    assert_eq!(store.get("alive/kept").await.unwrap(), None);
}

async fn refuses_an_ended_lease(store: &SharedStore) {
    let lease = store.grant(Duration::from_mins(1)).await.unwrap();
    store.revoke(lease).await.unwrap();
    store.revoke(lease).await.expect("a lease that has ended can be revoked");
    assert!(matches!(store.keep_alive(lease).await, Err(StoreError::LeaseEnded)));
    let result = store.put("ended/key", Bytes::new(), Expected::Anything, Some(lease)).await;
    assert!(matches!(result, Err(StoreError::LeaseEnded)), "{result:?}");
    assert_eq!(store.get("ended/key").await.unwrap(), None);
}

async fn resumes_a_watch_after_a_cut(subject: &mut dyn Subject) {
    let store = subject.store();
    put(&store, "resume/1", "1").await;
    let mut mirror = Mirror::list(&store, "resume").await;
    let mut watch = store.watch("resume", mirror.position).await.unwrap();
    put(&store, "resume/2", "2").await;
    while !mirror.keys.contains_key("resume/2") {
        mirror.apply(next(&mut watch).await.unwrap());
    }
    subject.cut().await;
    let error = loop {
        match next(&mut watch).await {
            Ok(changes) => assert!(changes.events.is_empty(), "nothing has changed"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    put(&store, "resume/3", "3").await;
    store.delete("resume/1", Expected::Anything).await.unwrap();
    put(&store, "resume/4", "4").await;
    let mut watch = store.watch("resume", mirror.position).await.unwrap();
    while !mirror.keys.contains_key("resume/4") {
        mirror.apply(next(&mut watch).await.unwrap());
    }
    assert_eq!(mirror.keys.keys().collect::<Vec<_>>(), ["resume/2", "resume/3", "resume/4"]);
}

async fn says_that_history_is_gone(subject: &mut dyn Subject) {
    let store = subject.store();
    let before = Mirror::list(&store, "gone").await.position;
    put(&store, "gone/1", "1").await;
    put(&store, "gone/2", "2").await;
    subject.compact().await;
    let error = match store.watch("gone", before).await {
        Ok(mut watch) => next(&mut watch).await.expect_err("the history is gone"),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Compacted { from } if from == before), "{error:?}");
    // A list gives a position that works.
    let mut mirror = Mirror::list(&store, "gone").await;
    let mut watch = store.watch("gone", mirror.position).await.unwrap();
    put(&store, "gone/3", "3").await;
    while mirror.keys.len() < 3 {
        mirror.apply(next(&mut watch).await.unwrap());
    }
    // A position that the store has not reached belongs to another history.
    let future = Position(mirror.position.0 + 1_000);
    let error = store.watch("gone", future).await.err().expect("a position from the future");
    assert!(matches!(error, StoreError::Compacted { .. }), "{error:?}");
}
