//! The in-process store: the embedded default of `vamp dev`, and the one that tests can break at will.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{
    Changes, Entry, Event, Expected, Lease, Listing, Position, SharedStore, Store, StoreError, Version, Watch, is_under,
};

const ADDRESS: &str = "memory:";

// LIMIT: as with etcd, so that what works embedded works there too.
const VALUE_BYTES_MAX: usize = 1 << 20;
// LIMIT: a watch that is further behind lists again; more would only keep dead values in memory.
const HISTORY_EVENTS_MAX: usize = 10_000;
// LIMIT: values in the history, so that large ones do not add up to HISTORY_EVENTS_MAX mebibytes.
const HISTORY_BYTES_MAX: usize = 64 << 20;

/// A new, empty store and the handle that breaks it.
pub fn open() -> (SharedStore, Handle) {
    open_with(VALUE_BYTES_MAX)
}

/// As [`open`], with another value limit.
pub fn open_with(value_bytes_max: usize) -> (SharedStore, Handle) {
    let memory = Arc::new(Memory { state: Mutex::default(), changed: Notify::new(), value_bytes_max });
    (Arc::new(Arc::clone(&memory)), Handle { memory })
}

/// Breaks an in-process store as networks and operators do.
#[derive(Debug, Clone)]
pub struct Handle {
    memory: Arc<Memory>,
}

/// All keys of an in-process store at one moment, to put back later.
#[derive(Debug, Clone)]
pub struct Backup {
    revision: u64,
    keys: BTreeMap<String, Stored>,
}

impl Handle {
    /// Ends all watches, as a lost connection does.
    pub fn cut(&self) {
        self.memory.lock().cuts += 1;
        self.memory.changed.notify_waiters();
    }

    /// From now on no request is answered, and all watches end.
    pub fn refuse(&self) {
        self.memory.lock().is_refusing = true;
        self.cut();
    }

    /// Requests are answered again.
    pub fn answer(&self) {
        self.memory.lock().is_refusing = false;
    }

    /// Forgets the history: watches that are behind, or come back, meet [`StoreError::Compacted`].
    pub fn compact(&self) {
        let mut state = self.memory.lock();
        state.compacted = state.revision;
        state.history.clear();
        state.history_bytes = 0;
    }

    /// Ends all leases at once, as a store does that was away for long.
    pub fn end_leases(&self) {
        let mut state = self.memory.lock();
        let leases: Vec<i64> = state.leases.keys().copied().collect();
        for lease in leases {
            state.end_lease(lease);
        }
        drop(state);
        self.memory.changed.notify_waiters();
    }

    /// Takes a copy of all keys.
    pub fn back_up(&self) -> Backup {
        let state = self.memory.lock();
        Backup { revision: state.revision, keys: state.keys.clone() }
    }

    /// Puts an old copy in place of everything: history, leases and watches are gone.
    pub fn restore(&self, backup: Backup) {
        let mut state = self.memory.lock();
        let cuts = state.cuts + 1;
        let next_lease = state.next_lease;
        *state = State {
            revision: backup.revision,
            compacted: backup.revision,
            keys: backup.keys,
            cuts,
            next_lease,
            is_refusing: state.is_refusing,
            ..State::default()
        };
        drop(state);
        self.memory.changed.notify_waiters();
    }
}

#[derive(Debug)]
struct Memory {
    state: Mutex<State>,
    changed: Notify,
    value_bytes_max: usize,
}

#[derive(Debug, Clone)]
struct Stored {
    value: Bytes,
    version: Version,
    lease: Option<i64>,
}

#[derive(Debug)]
struct LeaseState {
    time_to_live: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct State {
    /// Rises with each change.
    revision: u64,
    keys: BTreeMap<String, Stored>,
    history: VecDeque<(u64, Event)>,
    history_bytes: usize,
    /// The history has everything after this revision.
    compacted: u64,
    leases: HashMap<i64, LeaseState>,
    next_lease: i64,
    /// Rises when watches must end.
    cuts: u64,
    is_refusing: bool,
}

impl State {
    fn record(&mut self, event: Event) {
        self.history_bytes += event_bytes(&event);
        self.history.push_back((self.revision, event));
        while self.history.len() > HISTORY_EVENTS_MAX || self.history_bytes > HISTORY_BYTES_MAX {
            let Some((revision, event)) = self.history.pop_front() else { return };
            self.history_bytes = self.history_bytes.saturating_sub(event_bytes(&event));
            self.compacted = revision;
        }
    }

    fn matches(&self, key: &str, expected: Expected) -> Result<(), StoreError> {
        let found = self.keys.get(key).map(|stored| stored.version);
        let is_expected = match expected {
            Expected::Anything => true,
            Expected::Absent => found.is_none(),
            Expected::Version(version) => found == Some(version),
        };
        if is_expected { Ok(()) } else { Err(StoreError::Conflict { key: key.to_owned() }) }
    }

    fn put(&mut self, key: &str, value: Bytes, lease: Option<Lease>) -> Result<Version, StoreError> {
        if let Some(lease) = lease {
            self.leases.get_mut(&lease.0).ok_or(StoreError::LeaseEnded)?.keys.insert(key.to_owned());
        }
        self.revision += 1;
        let version = Version(self.revision);
        let stored = Stored { value: value.clone(), version, lease: lease.map(|lease| lease.0) };
        let before = self.keys.insert(key.to_owned(), stored).and_then(|stored| stored.lease);
        if before != lease.map(|lease| lease.0) {
            self.detach(before, key);
        }
        self.record(Event::Put(Entry { key: key.to_owned(), value, version }));
        Ok(version)
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some(stored) = self.keys.remove(key) else { return false };
        self.detach(stored.lease, key);
        self.revision += 1;
        self.record(Event::Deleted { key: key.to_owned() });
        true
    }

    fn detach(&mut self, lease: Option<i64>, key: &str) {
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.remove(key);
        }
    }

    fn end_lease(&mut self, lease: i64) {
        let Some(ended) = self.leases.remove(&lease) else { return };
        for key in ended.keys {
            self.remove(&key);
        }
    }

    /// Ends what is due; when the next lease is.
    fn expire(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let due: Vec<i64> =
            self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(lease, _)| *lease).collect();
        for lease in due {
            self.end_lease(lease);
        }
        self.leases.values().map(|lease| lease.ends).min()
    }
}

fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Put(entry) => entry.key.len() + entry.value.len(),
        Event::Deleted { key } => key.len(),
    }
}

fn entry((key, stored): (&String, &Stored)) -> Entry {
    Entry { key: key.clone(), value: stored.value.clone(), version: stored.version }
}

fn unreachable(reason: &'static str) -> StoreError {
    StoreError::Unreachable { address: ADDRESS.to_owned(), cause: reason.into() }
}

impl Memory {
    /// A panic elsewhere leaves the state whole: each change is made in one piece, without a call that may panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as a request finds it.
    fn request(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.lock();
        state.expire();
        if state.is_refusing { Err(unreachable("it was told to refuse")) } else { Ok(state) }
    }

    fn changed<T>(&self, result: T) -> T {
        self.changed.notify_waiters();
        result
    }
}

#[async_trait::async_trait]
impl Store for Arc<Memory> {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.request()?.keys.get_key_value(key).map(entry))
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        lease: Option<Lease>,
    ) -> Result<Version, StoreError> {
        if value.len() > self.value_bytes_max {
            let (bytes, limit_bytes) = (value.len(), self.value_bytes_max);
            return Err(StoreError::TooLarge { key: key.to_owned(), bytes, limit_bytes });
        }
        let mut state = self.request()?;
        state.matches(key, expected)?;
        let result = state.put(key, value, lease);
        drop(state);
        self.changed(result)
    }

    async fn delete(&self, key: &str, expected: Expected) -> Result<bool, StoreError> {
        let mut state = self.request()?;
        state.matches(key, expected)?;
        let result = state.remove(key);
        drop(state);
        self.changed(Ok(result))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let state = self.request()?;
        let entries = state.keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let entries = entries.filter(|(key, _)| is_under(prefix, key)).map(entry).collect();
        Ok(Listing { entries, position: Position(state.revision) })
    }

    async fn list_keys(&self, prefix: &str) -> Result<Vec<(String, Version)>, StoreError> {
        Ok(self.list(prefix).await?.entries.into_iter().map(|entry| (entry.key, entry.version)).collect())
    }

    async fn watch(&self, prefix: &str, after: Position) -> Result<Box<dyn Watch>, StoreError> {
        let state = self.request()?;
        // A position from the future belongs to a history that was replaced by an older copy.
        if after.0 < state.compacted || after.0 > state.revision {
            return Err(StoreError::Compacted { from: after });
        }
        let cuts = state.cuts;
        drop(state);
        Ok(Box::new(MemoryWatch { memory: Arc::clone(self), prefix: prefix.to_owned(), after: after.0, cuts }))
    }

    async fn grant(&self, time_to_live: Duration) -> Result<Lease, StoreError> {
        let mut state = self.request()?;
        state.next_lease += 1;
        let lease = state.next_lease;
        let ends = Instant::now() + time_to_live;
        state.leases.insert(lease, LeaseState { time_to_live, ends, keys: BTreeSet::new() });
        drop(state);
        self.changed(Ok(Lease(lease)))
    }

    async fn keep_alive(&self, lease: Lease) -> Result<(), StoreError> {
        let mut state = self.request()?;
        let lease = state.leases.get_mut(&lease.0).ok_or(StoreError::LeaseEnded)?;
        lease.ends = Instant::now() + lease.time_to_live;
        Ok(())
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        self.request()?.end_lease(lease.0);
        self.changed(Ok(()))
    }

    fn max_value_bytes(&self) -> usize {
        self.value_bytes_max
    }

    fn address(&self) -> &str {
        ADDRESS
    }
}

struct MemoryWatch {
    memory: Arc<Memory>,
    prefix: String,
    after: u64,
    cuts: u64,
}

impl MemoryWatch {
    /// What has happened, or until when nothing can happen by itself.
    fn look(&mut self) -> Result<Result<Changes, Option<Instant>>, StoreError> {
        let mut state = self.memory.lock();
        let next_expiry = state.expire();
        if state.cuts != self.cuts {
            return Err(unreachable("the watch was cut"));
        }
        if self.after < state.compacted {
            return Err(StoreError::Compacted { from: Position(self.after) });
        }
        let new = state.history.partition_point(|(revision, _)| *revision <= self.after);
        let events = state.history.range(new..).map(|(_, event)| event);
        let events: Vec<Event> = events.filter(|event| is_under(&self.prefix, event.key())).cloned().collect();
        self.after = state.revision;
        Ok(if events.is_empty() { Err(next_expiry) } else { Ok(Changes { events, position: Position(self.after) }) })
    }
}

#[async_trait::async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            let memory = Arc::clone(&self.memory);
            let mut changed = std::pin::pin!(memory.changed.notified());
            // Registered before the look, so that a change between look and wait wakes it.
            changed.as_mut().enable();
            let next_expiry = match self.look()? {
                Ok(seen) => return Ok(seen),
                Err(next_expiry) => next_expiry,
            };
            match next_expiry {
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }
}
