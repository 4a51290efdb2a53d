//! Events on their way: who follows them is woken when there is a new one, whichever control plane on this database kept
//! it, and those that are over their time go.

mod elastic;
mod gateways;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::causes::with_causes;
use crate::core::{Shared, now_unix_ms};

pub(crate) use elastic::ship;
pub(crate) use gateways::tell;

/// LIMIT: an event that another control plane kept is seen this late. One of this process is seen at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events that are over their time are looked for this often.
const RETIRE_EVERY: Duration = Duration::from_mins(1);

/// Watches and retires until it is stopped.
pub(crate) async fn keep(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let work = async {
        let mut retired = Instant::now();
        loop {
            tokio::select! {
                () = shared.event_kept.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            look(&shared).await;
            if retired.elapsed() >= RETIRE_EVERY {
                retire(&shared).await;
                retired = Instant::now();
            }
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

/// Nobody looks for news that nobody waits for.
async fn look(shared: &Shared) {
    if shared.newest_event.receiver_count() == 0 {
        return;
    }
    // A database that is away is reported by who needs it; here it only means to come back later.
    if let Ok(newest) = shared.persistence.newest_event().await {
        shared.newest_event.send_if_modified(|known| std::mem::replace(known, newest) != newest);
    }
}

async fn retire(shared: &Shared) {
    loop {
        match shared.persistence.retire_events(&shared.settings.events, now_unix_ms()).await {
            Ok(0) => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                tracing::warn!("events that are over their time stay: {}", with_causes(&error));
                return;
            }
        }
    }
}
