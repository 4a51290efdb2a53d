//! Tells when gateways are there and when they are gone: `deployed` as soon as every gateway process that is alive serves
//! it, `undeployed` as soon as none does any more. What was told is kept, so that nothing is told twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use vamp_routing::wire::Generation;

use crate::causes::with_causes;
use crate::core::{Shared, now_unix_ms};
use crate::persist::{NewEvent, PersistError, StateWrite};
use crate::rollout::{self, Rollout};

/// Where it is kept which gateways were told of.
const SCOPE: &str = "gateways";

/// LIMIT: events of one transaction; the others are in the next.
const EVENTS_MAX: usize = 256;

/// How soon it is tried again when the database does not answer.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Tells until it is stopped.
pub(crate) async fn tell(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut signals = Signals {
        current: shared.watch_current(),
        fleet: shared.fleet.subscribe(),
        store: shared.store_status.subscribe(),
        turns: shared.acting.turns(),
    };
    let work = async {
        let mut told = None;
        loop {
            // Of several control planes one tells.
            if !shared.acting.is_so() {
                told = None;
                signals.any().await;
                continue;
            }
            let looked = look(&shared, &mut told).await;
            if let Err(error) = &looked {
                tracing::warn!(cause = %with_causes(error), "which gateways are deployed is told later");
            }
            match looked {
                Ok(true) => {}
                Ok(false) => signals.any().await,
                Err(_) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

/// What says that it is worth to look again.
struct Signals {
    current: watch::Receiver<Arc<crate::core::Current>>,
    fleet: watch::Receiver<rollout::Fleet>,
    store: watch::Receiver<crate::publish::StoreStatus>,
    turns: watch::Receiver<bool>,
}

impl Signals {
    #[expect(clippy::disallowed_methods, reason = "what changed does not matter: everything is looked at again")]
    async fn any(&mut self) {
        tokio::select! {
            _ = self.current.changed() => {}
            _ = self.fleet.changed() => {}
            _ = self.store.changed() => {}
            _ = self.turns.changed() => {}
        }
    }
}

/// What was told, as far as this process knows.
struct Told {
    gateways: BTreeSet<String>,
    /// The table of which everything was told.
    settled: Option<Generation>,
}

/// Tells some of what changed; says whether there may be more.
async fn look(shared: &Shared, told: &mut Option<Told>) -> Result<bool, PersistError> {
    let current = shared.current();
    let (Ok(planned), generation) = (&current.planned, current.generation()) else { return Ok(false) };
    if told.as_ref().is_some_and(|told| told.settled == Some(generation)) {
        return Ok(false);
    }
    let rollout = rollout::now(shared);
    if rollout.revision != generation.revision || rollout.unknown || !rollout.is_complete() {
        return Ok(false);
    }
    let table = &planned.table.compiled;
    let names: BTreeSet<&str> = table.gateways().iter().map(|gateway| gateway.wire.name.as_str()).collect();
    let has_news = |told: &BTreeSet<String>| !news(&names, told, &rollout).is_empty();
    if told.as_ref().is_none_or(|told| has_news(&told.gateways)) {
        // Another control plane on this database may have told it.
        let kept = shared.persistence.states(SCOPE).await?.into_keys().collect();
        let told = told.insert(Told { gateways: kept, settled: None });
        let news = news(&names, &told.gateways, &rollout);
        let some: Vec<_> = news.into_iter().take(EVENTS_MAX).collect();
        if !some.is_empty() {
            keep(shared, &some, rollout.revision).await?;
            for (name, is_there) in some {
                if is_there {
                    told.gateways.insert(name)
                } else {
                    told.gateways.remove(&name)
                };
            }
            return Ok(true);
        }
    }
    let is_all = names.iter().all(|name| told.as_ref().is_some_and(|told| told.gateways.contains(*name)));
    if let Some(told) = told.as_mut().filter(|_| is_all) {
        told.settled = Some(generation);
    }
    Ok(false)
}

/// The gateways that came, or went, since it was told. Nobody serves a gateway while no process is there, and none that
/// has a problem with it does.
fn news(names: &BTreeSet<&str>, told: &BTreeSet<String>, rollout: &Rollout) -> Vec<(String, bool)> {
    let problems = rollout.gateways.iter().flat_map(|process| &process.problems);
    let faulty: BTreeSet<&str> = problems.filter_map(|problem| problem.gateway.as_deref()).collect();
    let is_served = |name: &&&str| rollout.of > 0 && !faulty.contains(**name);
    let come = names.iter().filter(|name| !told.contains(**name)).filter(is_served);
    let gone = told.iter().filter(|name| !names.contains(name.as_str())).map(|name| (name.clone(), false));
    gone.chain(come.map(|name| ((*name).to_owned(), true))).collect()
}

async fn keep(shared: &Shared, news: &[(String, bool)], revision: u64) -> Result<(), PersistError> {
    let event = |(name, is_there): &(String, bool)| {
        let tags = [format!("gateways:{name}"), if *is_there { "deployed" } else { "undeployed" }.to_owned()];
        NewEvent { value: Some(json!({"revision": revision})), ..NewEvent::new("event", tags, now_unix_ms()) }
    };
    let state = |(name, is_there): &(String, bool)| StateWrite {
        scope: SCOPE.to_owned(),
        name: name.clone(),
        value: is_there.then(|| revision.to_string()),
    };
    let events: Vec<_> = news.iter().map(event).collect();
    let states: Vec<_> = news.iter().map(state).collect();
    shared.tell(&events, &states).await
}
