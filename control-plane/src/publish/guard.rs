//! Watches the manifest in the store, and rings when it is not the wanted one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vamp_routing::wire;
use vamp_store::{Event, StoreError, layout};

use crate::backoff::Backoff;
use crate::core::Shared;

const TRY_AGAIN: Duration = Duration::from_millis(50);
/// LIMIT: a store that is back is looked at within this time.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(2);

/// Watches until it is stopped.
pub(crate) async fn guard(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
    let work = async {
        loop {
            // The publisher reports a store that is away; here it only means to come back later.
            if watch_once(&shared, &mut backoff).await.is_err() {
                backoff.wait().await;
            }
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

/// Lists, then follows, until the watch ends.
async fn watch_once(shared: &Shared, backoff: &mut Backoff) -> Result<(), StoreError> {
    let key = layout::manifest(&shared.settings.namespace);
    let listing = shared.store.list(&key).await?;
    let found = listing.entries.iter().find(|entry| entry.key == key);
    if !is_wanted(shared, found.map(|entry| entry.value.as_ref())) {
        shared.suspect.notify_one();
    }
    let mut watch = shared.store.watch(&key, listing.position).await?;
    backoff.reset();
    loop {
        let changes = watch.next().await?;
        let Some(last) = changes.events.iter().rev().find(|event| event.key() == key) else { continue };
        let value = match last {
            Event::Put(entry) => Some(entry.value.as_ref()),
            Event::Deleted { .. } => None,
        };
        if !is_wanted(shared, value) {
            shared.suspect.notify_one();
        }
    }
}

/// Our own publications come by here too: the wanted table is no news.
fn is_wanted(shared: &Shared, manifest: Option<&[u8]>) -> bool {
    let current = shared.current();
    let Ok(planned) = &current.planned else { return true };
    match manifest.map(wire::decode_manifest) {
        None => current.generation().revision == 0,
        Some(Ok(manifest)) => manifest.generation == current.generation() && manifest.digest == planned.table.digest,
        Some(Err(_)) => false,
    }
}
