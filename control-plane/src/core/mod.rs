//! The half of the control plane without HTTP: one way for every change, and the state that the API shows.
//!
//! A change reads what is stored, applies the writes, plans the table, compiles it as the gateways will, and keeps
//! everything in one transaction; then it wakes the publisher, which brings the table into the store. Writers take
//! turns; a writer of another process that was faster makes the change be planned anew.

mod artifacts;
mod change;
mod differences;
mod draft;
mod inert;
mod request;
mod runs;
mod shared;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod thin;
mod workflows;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vamp_model::{Artifact, Blueprint, Deployment, Kind};
use vamp_record::ElasticClient;
use vamp_routing::wire::Generation;
use vamp_routing::{Draws, Entry, Explanation, LevelRef, PlainHead};
use vamp_store::SharedStore;

use crate::act;
use crate::events;
use crate::persist::{
    Aggregator, ArtifactId, Audit, Cause, EventQuery, Head, NewEvent, Past, PersistError, Persistence, Position,
    Retention, Snapshot, StoredChange, StoredEvent,
};
use crate::plan::{PlanSettings, Warning};
use crate::publish::{self, StoreStatus};
use crate::rollout::{self, Rollout};
use crate::samples;
use crate::split::{self, AskError, AskSettings, Split, SplitError};

pub(crate) use shared::{Current, Shared, now_unix_ms};

pub(crate) use runs::{Found, Judgement, Objection, OrderKey, Runs, Unseen};

pub(crate) use request::{ChangeError, ChangeRequest, Changed, InUse, Mode, Outcome, Premise, WriteRequest};

/// Settings of the core.
#[derive(Debug, Clone)]
pub(crate) struct CoreSettings {
    /// The namespace below the store's prefix.
    pub namespace: String,
    /// What the planner needs to know.
    pub plan: PlanSettings,
    /// How gateways are asked for their counts.
    pub ask: AskSettings,
    /// How long events are kept.
    pub events: Retention,
    /// Where they are kept too.
    pub elastic: Option<ElasticClient>,
    /// Who says what can be run here; `None`: nobody is asked.
    pub runs: Option<Arc<dyn Runs>>,
}

/// Why the core does not start.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The database can't be read.
    #[error("the control plane can't read its database")]
    Persist(#[from] PersistError),
    /// The gateways can't be asked with these settings.
    #[error("the control plane can't ask gateways for their counts")]
    Ask(#[from] AskError),
}

/// What the core knows of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    /// Where the database stands.
    pub position: Position,
    /// Where the database is, without credentials.
    pub database: String,
    /// The store.
    pub store: StoreStatus,
    /// Whether this control plane acts on what is deployed.
    pub acts: bool,
    /// Events that Elasticsearch refused for good; `None`: none are sent there.
    pub events_refused: Option<u64>,
    /// What is wrong with what is stored: why no table follows from it.
    pub problems: Vec<String>,
    /// What works, but most likely not as meant.
    pub warnings: Vec<Warning>,
}

/// The version of an artifact that is to become the newest again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreRequest {
    /// Kind of the artifact.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The version whose content is wanted.
    pub version: u64,
    /// The version that must be there now (`If-Match`); `None`: any.
    pub expected: Option<u64>,
    /// Everything is checked, nothing is kept.
    pub validate_only: bool,
    /// What happened, by whom and why.
    pub cause: Cause,
}

/// The half of the control plane without HTTP.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
}

/// The core's work in the background; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Ends the work in the background and waits until it has ended: counts that were seen are kept.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.running) {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!("a part of the control plane ended by a fault of its own: {error}");
            }
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

impl Core {
    /// Reads the database and starts the work in the background. A store that does not answer does not stop it.
    pub(crate) async fn start(
        persistence: Arc<dyn Persistence>,
        store: SharedStore,
        settings: CoreSettings,
    ) -> Result<(Arc<Self>, Tasks), CoreError> {
        let elastic = settings.elastic.clone();
        let shared = Arc::new(Shared::open(persistence, store, settings).await?);
        shared.acting.step(shared.persistence.as_ref()).await?;
        let (stop, stopped) = watch::channel(false);
        let mut running = vec![
            tokio::spawn(publish::run(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(publish::guard(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(rollout::follow(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(split::poll(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(samples::run(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(events::keep(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(events::tell(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(act::run(Arc::clone(&shared), stopped.clone())),
            tokio::spawn(thin::run(Arc::clone(&shared), stopped.clone())),
        ];
        running.extend(elastic.map(|client| tokio::spawn(events::ship(Arc::clone(&shared), client, stopped))));
        Ok((Arc::new(Self { shared }), Tasks { stop, running }))
    }

    /// Makes a change: all of it, or nothing. It is finished even when the caller no longer waits for it.
    pub(crate) async fn change(&self, request: ChangeRequest) -> Result<Changed, ChangeError> {
        self.change_and_tell(request, Vec::new()).await
    }

    /// As [`Core::change`], with events that are kept if and only if the change is.
    pub(crate) async fn change_and_tell(
        &self,
        request: ChangeRequest,
        events: Vec<NewEvent>,
    ) -> Result<Changed, ChangeError> {
        let shared = Arc::clone(&self.shared);
        let work = async move { change::change(&shared, request, events).await };
        tokio::spawn(work).await.map_err(|_| ChangeError::Stopped)?
    }

    /// Makes an old version of an artifact the newest again, by a new change.
    pub(crate) async fn restore(&self, request: RestoreRequest) -> Result<Changed, ChangeError> {
        let artifact = change::old_version(&self.shared, &request).await?;
        let writes = vec![WriteRequest::replace(artifact, request.expected)];
        let RestoreRequest { validate_only, cause, .. } = request;
        let request = ChangeRequest { writes, deploys: Vec::new(), premises: Vec::new(), validate_only, cause };
        self.change(request).await
    }

    /// One artifact as it is now, if it is.
    pub(crate) async fn artifact(&self, kind: Kind, name: &str) -> Result<Option<Artifact>, PersistError> {
        Ok(self.shared.refresh().await?.artifact(kind, name).cloned())
    }

    /// A blueprint from which the same can be deployed, with what its gateways say now.
    pub(crate) async fn export(&self, deployment: &Deployment) -> Result<Blueprint, PersistError> {
        Ok(self.shared.refresh().await?.export(deployment))
    }

    /// Everything that is stored, at this moment.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, PersistError> {
        Ok(Arc::clone(&self.shared.refresh().await?.snapshot))
    }

    /// All versions of one artifact, oldest first; empty when it never was.
    pub(crate) async fn history(&self, kind: Kind, name: &str) -> Result<Vec<Past>, PersistError> {
        self.shared.persistence.history(&ArtifactId { kind: kind.plural(), name: name.to_owned() }).await
    }

    /// The newest changes below a number, newest first.
    pub(crate) async fn changes(&self, below: Option<u64>, limit: u32) -> Result<Vec<StoredChange>, PersistError> {
        self.shared.persistence.changes(below, limit).await
    }

    /// Reads the whole history and says whether it is what was written.
    pub(crate) async fn audit(&self, seen: &[Head]) -> Result<Audit, PersistError> {
        self.shared.persistence.audit(seen).await
    }

    /// Keeps events; answers their numbers.
    pub(crate) async fn publish(&self, events: &[NewEvent]) -> Result<Vec<u64>, PersistError> {
        let numbers = self.shared.persistence.publish(events).await?;
        self.shared.event_kept.notify_one();
        Ok(numbers)
    }

    /// Events that a query asks for.
    pub(crate) async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PersistError> {
        self.shared.persistence.events(query).await
    }

    /// A number over the events that a query asks for.
    pub(crate) async fn aggregate(&self, query: &EventQuery, how: Aggregator) -> Result<Option<f64>, PersistError> {
        self.shared.persistence.aggregate(query, how).await
    }

    /// The number of the newest event, and a bell for those after it.
    pub(crate) async fn follow_events(&self) -> Result<(u64, watch::Receiver<u64>), PersistError> {
        let newest = self.shared.newest_event.subscribe();
        Ok((self.shared.persistence.newest_event().await?, newest))
    }

    /// How far the wanted table has come.
    pub(crate) fn rollout(&self) -> Rollout {
        rollout::now(&self.shared)
    }

    /// Waits until the table is published and every gateway process that announced itself at that moment serves it, or
    /// until the time is over.
    pub(crate) async fn wait_applied(&self, generation: Generation, timeout: Duration) -> Rollout {
        rollout::wait_applied(&self.shared, generation, timeout).await
    }

    /// Wanted and delivered shares of a gateway, asked of all gateway processes now.
    pub(crate) async fn split(&self, gateway: &str) -> Result<Split, SplitError> {
        split::split(&self.shared, gateway).await
    }

    /// What the gateway would decide about such a request, and why. No ticket is taken: where one decides, it is the
    /// first of a new account.
    pub(crate) async fn explain(&self, gateway: &str, head: &PlainHead) -> Result<Explanation, SplitError> {
        let current = self.shared.refresh().await?;
        let table = &current.planned.as_ref().map_err(|_| SplitError::NoTable)?.table;
        let unknown = || SplitError::UnknownGateway { gateway: gateway.to_owned() };
        let index = table.compiled.find(gateway).ok_or_else(unknown)?;
        Ok(table.compiled.explain(Entry::Gateway(index), head, &mut FirstTicket))
    }

    /// What the core knows of itself.
    pub(crate) fn status(&self) -> Status {
        let current = self.shared.current();
        let (mut problems, warnings) = match &current.planned {
            Ok(planned) => (Vec::new(), planned.warnings.clone()),
            Err(problems) => (problems.clone(), Vec::new()),
        };
        problems.extend(self.shared.acting.trouble());
        let refused = self.shared.events_refused.load(Ordering::Relaxed);
        Status {
            position: current.snapshot.position.clone(),
            database: self.shared.persistence.address().to_owned(),
            store: self.shared.store_status.borrow().clone(),
            acts: self.shared.acting.is_so(),
            events_refused: self.shared.settings.elastic.as_ref().map(|_| refused),
            problems,
            warnings,
        }
    }
}

/// Peeks: the control plane has no account of its own.
struct FirstTicket;

impl Draws for FirstTicket {
    fn draw(&mut self, _at: LevelRef) -> u64 {
        0
    }
}
