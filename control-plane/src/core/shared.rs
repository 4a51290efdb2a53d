//! What all parts of the core look at: the database, and what is known of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use tokio::sync::{Mutex, Notify, mpsc, watch};
use vamp_model::{Artifact, Blueprint, Deployment, Kind};
use vamp_routing::wire::Generation;
use vamp_store::SharedStore;

use super::artifacts::Artifacts;
use super::change::Waiting;
use super::draft::{Draft, unsound_ports};
use super::table::{Former, Planned, derive};
use super::{CoreError, CoreSettings};
use crate::act::Acting;
use crate::deploy::{self, Known};
use crate::persist::{NewEvent, PersistError, Persistence, Snapshot, StateWrite, Stored};
use crate::plan::Finding;
use crate::publish::StoreStatus;
use crate::rollout::Fleet;
use crate::samples::Samples;
use crate::split::{Asker, Counts};

/// LIMIT: how often the start is tried anew because another control plane writes into the same database meanwhile.
const START_TRIES_MAX: u32 = 10;

/// LIMIT: changes that wait for their turn in order; more wait to get in. Each holds its request.
const WAITING_MAX: usize = 256;

/// What is stored at one moment, and the table that follows.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(super) artifacts: Artifacts,
    /// Or why none follows, in words.
    pub(crate) planned: Result<Planned, Vec<String>>,
}

impl Current {
    /// The table that is wanted.
    pub(crate) fn generation(&self) -> Generation {
        Generation { epoch: self.snapshot.position.epoch, revision: self.snapshot.position.revision }
    }

    /// It as what comes after it takes over from it.
    pub(super) fn former(&self) -> Option<Former<'_>> {
        self.planned.as_ref().ok().map(|planned| Former { artifacts: &self.artifacts, planned })
    }

    /// An artifact as it was read.
    pub(crate) fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        self.artifacts.get(kind, name).map(Arc::as_ref)
    }

    /// What is stored and can't be read.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.artifacts.unreadable()
    }

    /// All artifacts of a kind, by name.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Artifact> {
        self.artifacts.all(kind)
    }

    /// An artifact as it is stored.
    pub(crate) fn stored(&self, kind: Kind, name: &str) -> Option<&Stored> {
        self.snapshot.artifacts.get(kind.plural())?.get(name).map(Arc::as_ref)
    }

    /// The blueprint from which a deployment could be made anew.
    pub(crate) fn export(&self, deployment: &Deployment) -> Blueprint {
        deploy::export(deployment, &self.artifacts)
    }

    /// When what decides the shares of a gateway was last written: itself, or a stored route of it.
    pub(crate) fn written_unix_ms(&self, gateway: &str) -> u64 {
        let Some(artifact) = self.artifacts.get(Kind::Gateway, gateway) else { return 0 };
        let routes = vamp_model::references(artifact).into_iter().filter(|found| found.kind == Kind::Route);
        let routes = routes.filter_map(|route| self.stored(Kind::Route, &route.name));
        let written = self.stored(Kind::Gateway, gateway).into_iter().chain(routes).map(|stored| stored.at_unix_ms);
        written.max().unwrap_or_default()
    }
}

impl Known for Current {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        Current::artifact(self, kind, name)
    }

    fn gateway_names(&self) -> Vec<&str> {
        self.artifacts.gateway_names()
    }

    fn gateway_names_of(&self, deployment: &str) -> Vec<&str> {
        self.artifacts.gateway_names_of(deployment)
    }
}

/// What all parts of the core look at.
pub(crate) struct Shared {
    pub(crate) persistence: Arc<dyn Persistence>,
    pub(crate) store: SharedStore,
    pub(crate) settings: Arc<CoreSettings>,
    /// Held by who replaces what is current, with the changes that are to be made next.
    pub(super) turn: Mutex<mpsc::Receiver<Waiting>>,
    /// Where changes wait for their turn.
    pub(super) waiting: mpsc::Sender<Waiting>,
    current: watch::Sender<Arc<Current>>,
    /// Rings when something changed in the database.
    pub(crate) changed: Notify,
    /// Rings when the manifest in the store is not the wanted one.
    pub(crate) suspect: Notify,
    pub(crate) store_status: watch::Sender<StoreStatus>,
    pub(crate) fleet: watch::Sender<Fleet>,
    pub(crate) asker: Asker,
    pub(crate) counts: Counts,
    /// What the gateways counted lately, second after second.
    pub(crate) samples: Samples,
    /// Whether this control plane acts on what is deployed, or leaves that to another one.
    pub(crate) acting: Acting,
    /// Whether each service that can be started takes requests, or another control plane sees to that.
    pub(crate) stands: watch::Sender<bool>,
    /// Rings when this process kept an event.
    pub(crate) event_kept: Notify,
    /// Events that Elasticsearch refused for good, as far as they were sent.
    pub(crate) events_refused: AtomicU64,
    /// The newest event, as long as somebody follows.
    pub(crate) newest_event: watch::Sender<u64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wanted = self.current().generation();
        f.debug_struct("Shared").field("wanted", &wanted).field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes note of [`Shared::stands`]; who waits for it to be so goes on.
    pub(crate) fn note_stands(&self, stands: bool) {
        let is_news = self.stands.send_replace(stands) != stands;
        if is_news && stands {
            self.changed.notify_one();
        }
    }

    /// Reads the database. A table that is another one under the settings of this start becomes a new revision.
    pub(super) async fn open(
        persistence: Arc<dyn Persistence>,
        store: SharedStore,
        settings: CoreSettings,
    ) -> Result<Self, CoreError> {
        let asker = Asker::new(&settings.ask)?;
        let settings = Arc::new(settings);
        let current = open_current(&persistence, &settings).await?;
        if let Err(problems) = &current.planned {
            tracing::error!("no table follows from what is stored, the published one is kept: {}", problems.join("; "));
        }
        for warning in current.planned.iter().flat_map(|planned| &planned.warnings) {
            tracing::warn!("{}", warning.message);
        }
        let counts = Counts::load(persistence.counts().await?);
        let (waiting, turn) = mpsc::channel(WAITING_MAX);
        let store_status = watch::Sender::new(StoreStatus::starting(store.address()));
        Ok(Self {
            persistence,
            store,
            settings,
            turn: Mutex::new(turn),
            waiting,
            current: watch::Sender::new(Arc::new(current)),
            changed: Notify::new(),
            suspect: Notify::new(),
            store_status,
            stands: watch::Sender::new(false),
            fleet: watch::Sender::default(),
            asker,
            counts,
            samples: Samples::new(now_unix_ms()),
            acting: Acting::default(),
            event_kept: Notify::new(),
            events_refused: AtomicU64::new(0),
            newest_event: watch::Sender::new(0),
        })
    }

    /// What is current as far as this process knows.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }

    /// Changes whenever something in the database does.
    pub(crate) fn watch_current(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// What is current in the database, which another process may have changed.
    pub(crate) async fn refresh(&self) -> Result<Arc<Current>, PersistError> {
        let current = self.current();
        if self.persistence.position().await? == current.snapshot.position {
            return Ok(current);
        }
        let _turn = self.turn.lock().await;
        self.refresh_in_turn().await
    }

    /// As [`Shared::refresh`], for who has the turn.
    pub(super) async fn refresh_in_turn(&self) -> Result<Arc<Current>, PersistError> {
        let current = self.current();
        if self.persistence.position().await? == current.snapshot.position {
            return Ok(current);
        }
        let mut read = read(&self.persistence, &self.settings, Some(current)).await?;
        // Only a start makes a revision of its settings: two control planes with other settings would never end.
        if read.planned.as_ref().is_ok_and(|planned| Draft::of_settings(&read, planned, 0).is_some()) {
            let problem = "another control plane with other settings or of another version wrote into the same database: \
                           start both with the same ones";
            read.planned = Err(vec![problem.to_owned()]);
        }
        let current = Arc::new(read);
        self.install(Arc::clone(&current));
        Ok(current)
    }

    /// Keeps events together with what is remembered of them.
    pub(crate) async fn tell(&self, events: &[NewEvent], states: &[StateWrite]) -> Result<(), PersistError> {
        self.persistence.tell(events, states).await?;
        self.event_kept.notify_one();
        Ok(())
    }

    /// Replaces what is current, for who has the turn.
    pub(super) fn install(&self, current: Arc<Current>) {
        self.current.send_replace(current);
        self.changed.notify_one();
        self.event_kept.notify_one();
    }
}

async fn open_current(
    persistence: &Arc<dyn Persistence>,
    settings: &Arc<CoreSettings>,
) -> Result<Current, PersistError> {
    let mut tries = 0;
    loop {
        let mut current = read(persistence, settings, None).await?;
        let change =
            current.planned.as_ref().ok().and_then(|planned| Draft::of_settings(&current, planned, now_unix_ms()));
        let Some(change) = change else { return Ok(current) };
        match persistence.commit(&change).await {
            Ok(committed) => {
                let mut snapshot = Snapshot::clone(&current.snapshot);
                snapshot.position = committed.position;
                if let Ok(planned) = &current.planned {
                    snapshot.ports.clone_from(&planned.ports);
                }
                current.snapshot = Arc::new(snapshot);
                return Ok(current);
            }
            Err(PersistError::Moved { .. }) if tries < START_TRIES_MAX => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Reads everything and plans it, off the threads that serve requests.
async fn read(
    persistence: &Arc<dyn Persistence>,
    settings: &Arc<CoreSettings>,
    former: Option<Arc<Current>>,
) -> Result<Current, PersistError> {
    let snapshot = persistence.snapshot().await?;
    let settings = Arc::clone(settings);
    let work = move || {
        let known = former.as_ref().map(|former| (former.snapshot.as_ref(), &former.artifacts));
        let artifacts = Artifacts::read(&snapshot, known);
        let former = former.as_ref().and_then(|former| former.former());
        let unsound = unsound_ports(&snapshot, &BTreeSet::new());
        let planned =
            if unsound.is_empty() { derive(&artifacts, &snapshot.ports, &settings.plan, former) } else { Err(unsound) };
        let planned = planned.map_err(|findings| findings.iter().map(in_words).collect());
        Current { snapshot: Arc::new(snapshot), artifacts, planned }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(read) => Ok(read),
        Err(fault) => {
            let what = format!("artifacts on which this build fails ({fault})");
            Err(PersistError::Damaged { address: persistence.address().to_owned(), what })
        }
    }
}

fn in_words(finding: &Finding) -> String {
    format!("{} `{}`: {}", finding.kind, finding.name, finding.violation)
}

/// Now, milliseconds since 1970 (UTC).
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
