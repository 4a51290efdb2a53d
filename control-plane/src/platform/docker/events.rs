//! Hints from the engine's events. None of them carries data: everything is looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::container::NAMESPACE;
use super::engine::{Engine, Failure};
use crate::causes::with_causes;

/// From the first failure to the next question, and from any; the time doubles in between.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LIMIT: Duration = Duration::from_secs(10);

/// Listens to the events of a namespace for ever.
pub(super) async fn listen(engine: Arc<Engine>, namespace: String, hints: watch::Sender<u64>) {
    let mut backoff = BACKOFF_FIRST;
    let mut is_told = false;
    loop {
        match follow(&engine, &namespace, &hints, &mut is_told).await {
            Ok(()) => backoff = BACKOFF_FIRST,
            Err(failure) if !std::mem::replace(&mut is_told, true) => {
                let error = with_causes(&engine.error("tell its events", failure));
                tracing::warn!("{error}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_LIMIT);
    }
}

/// Tells of every event until they end.
async fn follow(
    engine: &Engine,
    namespace: &str,
    hints: &watch::Sender<u64>,
    is_told: &mut bool,
) -> Result<(), Failure> {
    let told = engine.look(bollard::Docker::info).await?;
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{NAMESPACE}={namespace}")]),
    ]);
    let options = EventsOptions { since: None, until: None, filters: Some(filters) };
    let mut events = engine.streams().await?.events(Some(options)).boxed();
    if std::mem::take(is_told) {
        tracing::info!("{} answers again", engine.name());
    } else {
        warn(engine, &told);
    }
    // Something may have happened before anybody listened.
    hint(hints);
    while let Some(event) = events.next().await {
        event?;
        hint(hints);
    }
    engine.forget();
    Ok(())
}

/// Says that it is worth to look again.
pub(super) fn hint(hints: &watch::Sender<u64>) {
    hints.send_modify(|hint| *hint = hint.wrapping_add(1));
}

/// Says what of an order the engine will not keep.
fn warn(engine: &Engine, told: &bollard::models::SystemInfo) {
    let lacks = [(told.memory_limit, "memory"), (told.cpu_cfs_quota, "processors"), (told.pids_limit, "processes")];
    for (_, what) in lacks.iter().filter(|(has, _)| *has == Some(false)) {
        tracing::warn!("{} does not limit {what}: the kernel of its host has no control group for that", engine.name());
    }
}
