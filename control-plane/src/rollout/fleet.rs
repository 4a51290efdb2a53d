//! The gateway processes that announce themselves in the store, followed by list and watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use vamp_routing::wire::Registration;
use vamp_store::{Entry, Event, StoreError, layout};

use crate::backoff::Backoff;
use crate::core::Shared;

const TRY_AGAIN: Duration = Duration::from_millis(50);
/// LIMIT: a store that is back is listed within this time.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(2);
/// LIMIT: gateway processes that are followed; what a registration takes in memory times this stays below a few
/// mebibytes. More are not seen, and said so in the log.
const GATEWAYS_MAX: usize = 10_000;
/// LIMIT: how long a gateway process is taken for one that serves on, whose registration ended without a word: it may be cut
/// off from the store, or the store was away for longer than its lease.
const LOST_PATIENCE: Duration = Duration::from_mins(1);

/// The gateway processes, as the store said last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    /// By key in the store.
    pub(crate) gateways: BTreeMap<String, Registered>,
    /// The store tells changes at this moment. When it does not, all of this is as last known.
    pub(crate) is_current: bool,
    /// Those whose registration ended without a word, by key in the store, with what it was, and when that was seen.
    lost: BTreeMap<String, (Registered, Instant)>,
}

/// What a gateway process says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Registered {
    /// As it wrote it.
    Readable(Arc<Registration>),
    /// It wrote what this build does not read.
    Unreadable {
        /// Its id, from the key.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

impl Fleet {
    /// Those that can be asked and understood.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.gateways.values().filter_map(|registered| match registered {
            Registered::Readable(registration) => Some(registration),
            Registered::Unreadable { .. } => None,
        })
    }

    /// Those that may serve on though they are not registered, as they were.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &Registered> {
        let lost = self.lost.values().filter(|(_, since)| since.elapsed() < LOST_PATIENCE);
        lost.map(|(registered, _)| registered)
    }

    /// What is registered now takes the place of what was.
    fn replace(&mut self, next: Self) {
        let former = std::mem::replace(self, next);
        self.lost = former.lost;
        self.lost.retain(|key, _| !self.gateways.contains_key(key));
        for (key, registered) in former.gateways {
            if !self.gateways.contains_key(&key) {
                self.note_end(key, registered);
            }
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(registered) = self.gateways.remove(key) {
            self.note_end(key.to_owned(), registered);
        }
    }

    fn note_end(&mut self, key: String, registered: Registered) {
        self.lost.retain(|_, (_, since)| since.elapsed() < LOST_PATIENCE);
        let leaves = matches!(&registered, Registered::Readable(registration) if registration.leaves);
        if !leaves && self.lost.len() < GATEWAYS_MAX {
            tracing::warn!("a gateway process is not registered any more, and may serve on unseen: {key}");
            self.lost.insert(key, (registered, Instant::now()));
        }
    }

    fn put(&mut self, root: &str, entry: &Entry) {
        if self.gateways.len() >= GATEWAYS_MAX && !self.gateways.contains_key(&entry.key) {
            tracing::error!("more than {GATEWAYS_MAX} gateway processes announce themselves: the rest is not followed");
            return;
        }
        let registered = match serde_json::from_slice::<Registration>(&entry.value) {
            Ok(registration) => Registered::Readable(Arc::new(registration)),
            Err(error) => {
                let id = entry.key.strip_prefix(root).unwrap_or(&entry.key).to_owned();
                let reason = format!("its registration can't be read ({error}): update the older of the two programs");
                Registered::Unreadable { id, reason }
            }
        };
        self.lost.remove(&entry.key);
        self.gateways.insert(entry.key.clone(), registered);
    }
}

/// Follows until it is stopped.
pub(crate) async fn follow(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
    let work = async {
        loop {
            let result = follow_once(&shared, &mut backoff).await;
            // Whoever was there still is, as far as anybody knows.
            shared.fleet.send_if_modified(|fleet| std::mem::replace(&mut fleet.is_current, false));
            match result {
                // The history is gone, the store is there: list at once.
                Err(StoreError::Compacted { .. }) => {}
                Ok(()) | Err(_) => backoff.wait().await,
            }
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

async fn follow_once(shared: &Shared, backoff: &mut Backoff) -> Result<(), StoreError> {
    let root = layout::registrations(&shared.settings.namespace);
    let listing = shared.store.list(&root).await?;
    let mut watch = shared.store.watch(&root, listing.position).await?;
    let mut fleet = Fleet { is_current: true, ..Fleet::default() };
    listing.entries.iter().for_each(|entry| fleet.put(&root, entry));
    shared.fleet.send_modify(|present| present.replace(fleet));
    backoff.reset();
    loop {
        let changes = watch.next().await?;
        if changes.events.is_empty() {
            continue;
        }
        shared.fleet.send_modify(|fleet| {
            for event in &changes.events {
                match event {
                    Event::Put(entry) => fleet.put(&root, entry),
                    Event::Deleted { key } => fleet.remove(key),
                }
            }
        });
    }
}
