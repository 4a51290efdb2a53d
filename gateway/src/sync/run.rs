//! Does what the machine asks for: one task, in which each request to the store, each compile and each write to disk
//! goes on beside the others.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use vamp_routing::wire::{self, Degradation, Generation, Manifest, Registration};
use vamp_store::{Changes, Entry, Event, Expected, Lease, Position, SharedStore, StoreError, Watch, layout};

use super::keep::{Image, Keeper, KeptError};
use super::lanes::LEASE;
use super::machine::{Action, Found, Identity, Input, LeaseFault, ReadFault, Seen, SyncMachine, TableId};
use super::stock::Stock;
use super::{Course, Held, Serve, SyncSettings, SyncState, SyncStatus};
use crate::logging::chain;

// LIMIT: one request to the store; drivers have shorter ones of their own.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
// LIMIT: what a stop waits for: the lease to be given back, and a write to disk to end.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps the newest table in service, as long as `course` says so; a sender that is gone means [`Course::Leave`].
///
/// The table of the process before, or the one on disk, is in service before the store is asked for anything.
pub(crate) async fn run(
    settings: SyncSettings,
    served: Arc<dyn Serve>,
    status: watch::Sender<SyncStatus>,
    mut course: watch::Receiver<Course>,
) {
    let mut driver = Driver::new(settings, served, status);
    // A stop that comes while the table from disk is applied takes effect here.
    let found = driver.boot().await;
    let mut known = found.degradations.clone();
    let mut machine = SyncMachine::new(driver.now(), rand::random(), driver.identity(), found);
    let mut degradations = driver.served.degradations();
    let mut input = Input::Tick;
    let ends_with = loop {
        let now = *course.borrow_and_update();
        match now {
            Course::Follow | Course::Hold => driver.set_held(now == Course::Hold),
            Course::HandOver | Course::Leave => break now,
        }
        for action in machine.step(driver.now(), input) {
            driver.start(action);
        }
        driver.report(&machine);
        driver.report_held(&machine);
        let due = machine.due().map(|due| driver.started + due);
        input = tokio::select! {
            biased;
            changed = course.wait_for(|course| *course != now) => match changed {
                Ok(_) => Input::Tick,
                Err(_) => break Course::Leave,
            },
            input = driver.next() => input,
            changed = next_degradations(&mut degradations, &known) => changed,
            () = sleep_until(due) => Input::Tick,
        };
        if let Input::Degraded(changed) | Input::Applied(Ok(changed)) = &input {
            known.clone_from(changed);
        }
    };
    let lease = machine.lease().filter(|_| ends_with == Course::Leave);
    driver.finish(lease, machine.registered().map(|last| Registration { leaves: true, ..last.clone() })).await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn next_degradations(degradations: &mut watch::Receiver<Vec<Degradation>>, known: &[Degradation]) -> Input {
    let changed = degradations.wait_for(|degradations| degradations != known).await.ok().map(|changed| changed.clone());
    match changed {
        Some(changed) => Input::Degraded(changed),
        // Whoever serves is gone; so are its reports.
        None => std::future::pending().await,
    }
}

/// What ended, with what the driver itself takes from it.
enum Done {
    Input(Input),
    Read(Result<Manifest, ReadFault>),
    Applied(Arc<Manifest>, Result<Vec<Degradation>, String>),
    Kept(Result<(), String>),
}

/// A watch that is opened or listened to; it comes back with what it said.
type Listening = BoxFuture<'static, (Result<Option<Seen>, String>, Option<Box<dyn Watch>>)>;

struct Driver {
    settings: SyncSettings,
    served: Arc<dyn Serve>,
    status: watch::Sender<SyncStatus>,
    keeper: Keeper,
    stock: Arc<Stock>,
    /// What was read and is to be applied.
    candidate: Option<Arc<Manifest>>,
    /// What is served.
    current: Option<Arc<Manifest>>,
    started: Instant,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    is_keeping: bool,
    /// Whether nothing is begun that changes the table, the files or the registration.
    is_held: bool,
    /// What was asked for meanwhile.
    put_off: Vec<Action>,
    /// How much of that kind is under way.
    changing: usize,
    listening: Option<Listening>,
}

impl Driver {
    fn new(settings: SyncSettings, served: Arc<dyn Serve>, status: watch::Sender<SyncStatus>) -> Self {
        Self {
            keeper: Keeper::new(settings.data_dir.clone(), &settings.namespace),
            settings,
            served,
            status,
            stock: Arc::default(),
            candidate: None,
            current: None,
            started: Instant::now(),
            jobs: FuturesUnordered::new(),
            is_keeping: false,
            is_held: false,
            put_off: Vec::new(),
            changing: 0,
            listening: None,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn identity(&self) -> Identity {
        let SyncSettings { gateway_id, boot, admin_url, version, .. } = self.settings.clone();
        Identity { id: gateway_id, boot, admin: admin_url, version }
    }

    /// Puts the table of the process before into service, or the newest sound one on disk.
    async fn boot(&mut self) -> Found {
        let mut found = Found::default();
        if let Some(content) = self.settings.inherited.take() {
            return self.serve_inherited(content).await;
        }
        let keeper = self.keeper.clone();
        let files = match blocking(move || keeper.files().map_err(|error| chain(&error))).await {
            Ok(files) => files,
            Err(reason) => {
                tracing::warn!("tables kept on disk can't be looked for: {reason}");
                found.problem = Some(reason);
                return found;
            }
        };
        for path in files {
            match self.serve_kept(&path).await {
                Ok((table, degradations)) => {
                    tracing::info!(table = %table.generation, "the table kept on disk is in service");
                    found.served = Some(table);
                    found.degradations = degradations;
                    break;
                }
                Err(reason) => {
                    tracing::warn!("a table kept on disk is refused: {reason}");
                    found.problem.get_or_insert(reason);
                }
            }
        }
        found
    }

    async fn serve_inherited(&mut self, content: Bytes) -> Found {
        let keeper = self.keeper.clone();
        let image = blocking(move || keeper.unpack(content).map_err(|error| chain(&error))).await;
        let served = match image {
            Ok(image) => self.serve(image).await,
            Err(reason) => Err(reason),
        };
        match served {
            Ok((table, degradations)) => {
                tracing::info!(table = %table.generation, "the table of the process before is in service");
                // Whether it is on disk was the other one's to know: it may have failed there.
                Found { served: Some(table), degradations, to_keep: true, problem: None }
            }
            Err(reason) => {
                tracing::error!("the table of the process before can't be served: {reason}");
                Found { problem: Some(reason), ..Found::default() }
            }
        }
    }

    async fn serve_kept(&mut self, path: &Path) -> Result<(TableId, Vec<Degradation>), String> {
        let (keeper, place) = (self.keeper.clone(), path.to_owned());
        let read = blocking(move || match keeper.read(&place) {
            Ok(image) => Ok(image),
            // What can't be read now may be readable for the next start.
            Err(error @ KeptError::Disk { .. }) => Err(chain(&error)),
            Err(error) => Err(set_aside(&keeper, &place, &chain(&error))),
        });
        let image = read.await?;
        match self.serve(image).await {
            Ok(served) => Ok(served),
            Err(reason) => {
                let (keeper, place) = (self.keeper.clone(), path.to_owned());
                let reason = format!("`{}`: {reason}", path.display());
                Err(blocking(move || Ok(set_aside(&keeper, &place, &reason))).await?)
            }
        }
    }

    async fn serve(&mut self, image: Image) -> Result<(TableId, Vec<Degradation>), String> {
        let manifest = Arc::new(self.unpack(image)?);
        let degradations = apply(Arc::clone(&self.served), Arc::clone(&self.stock), Arc::clone(&manifest)).await?;
        let table = TableId { generation: manifest.generation, digest: manifest.digest };
        self.current = Some(manifest);
        Ok((table, degradations))
    }

    fn unpack(&self, image: Image) -> Result<Manifest, String> {
        let Image { generation, digest, gateways } = image;
        let mut entries = Vec::with_capacity(gateways.len());
        for (entry, bytes) in gateways {
            let gateway = wire::decode_gateway(entry.digest, &bytes).map_err(|error| chain(&error))?;
            self.stock.put(entry.digest, gateway, bytes);
            entries.push(entry);
        }
        Ok(Manifest { format: wire::FORMAT, generation, parent: None, digest, entries, pages: Vec::new() })
    }

    /// Puts off what changes the table, the files or the registration, or begins what was put off.
    fn set_held(&mut self, is_held: bool) {
        self.is_held = is_held;
        if !is_held {
            self.settings.held.send_if_modified(|held| held.take().is_some());
            for action in std::mem::take(&mut self.put_off) {
                self.start(action);
            }
        }
    }

    /// Says what there is once nothing of it changes any more.
    fn report_held(&mut self, machine: &SyncMachine) {
        if !self.is_held || self.changing > 0 || self.settings.held.borrow().is_some() {
            return;
        }
        let generation = machine.served().map(|table| table.generation);
        let image = self.current.as_ref().and_then(|manifest| self.stock.image(manifest));
        let table = image.map(|image| self.keeper.pack(&image));
        self.settings.held.send_replace(Some(Held { generation, table }));
    }

    /// Starts what the machine asks for.
    fn start(&mut self, action: Action) {
        let is_change = matches!(action, Action::Apply(_) | Action::Keep | Action::Register(..));
        if is_change && self.is_held {
            self.put_off.push(action);
            return;
        }
        self.changing += usize::from(is_change);
        let store = Arc::clone(&self.settings.store);
        let namespace = self.settings.namespace.clone();
        let job = match action {
            Action::Watch { after } => {
                self.listening = Some(open(store, layout::manifest(&namespace), after).boxed());
                return;
            }
            Action::List => list(store, layout::manifest(&namespace)).boxed(),
            Action::Read(_, bytes) => self.read(store, namespace, bytes),
            Action::Apply(_) => self.apply(),
            Action::Keep => self.keep(),
            Action::Grant => grant(store).boxed(),
            Action::KeepAlive(lease) => keep_alive(store, lease).boxed(),
            Action::Register(lease, registration) => {
                let key = layout::registration(&namespace, &self.settings.gateway_id);
                register(store, key, lease, registration).boxed()
            }
        };
        self.jobs.push(job);
    }

    fn read(&self, store: SharedStore, namespace: String, bytes: Bytes) -> BoxFuture<'static, Done> {
        let stock = Arc::clone(&self.stock);
        async move { Done::Read(stock.fill(store.as_ref(), &namespace, &bytes).await) }.boxed()
    }

    fn apply(&mut self) -> BoxFuture<'static, Done> {
        let Some(manifest) = self.candidate.take() else {
            let answer = Input::Applied(Err("it was not read".to_owned()));
            return std::future::ready(Done::Input(answer)).boxed();
        };
        let (served, stock) = (Arc::clone(&self.served), Arc::clone(&self.stock));
        async move { Done::Applied(Arc::clone(&manifest), apply(served, stock, manifest).await) }.boxed()
    }

    fn keep(&mut self) -> BoxFuture<'static, Done> {
        self.is_keeping = true;
        let image = self.current.as_ref().and_then(|manifest| self.stock.image(manifest));
        let keeper = self.keeper.clone();
        let write = move || {
            let image = image.ok_or_else(|| "a part of the table is not at hand".to_owned())?;
            keeper.write(&image).map_err(|error| chain(&error))
        };
        async move { Done::Kept(blocking(write).await) }.boxed()
    }

    /// What happened next. Nothing is lost when it is dropped.
    async fn next(&mut self) -> Input {
        let listening = async {
            match &mut self.listening {
                Some(listening) => listening.await,
                None => std::future::pending().await,
            }
        };
        let done = async {
            match self.jobs.next().await {
                Some(done) => done,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (said, watch) = listening => {
                let key = layout::manifest(&self.settings.namespace);
                self.listening = watch.map(|watch| listen(watch, key).boxed());
                Input::Watched(said)
            }
            done = done => self.absorb(done),
        }
    }

    fn absorb(&mut self, done: Done) -> Input {
        let is_change =
            matches!(done, Done::Applied(..) | Done::Kept(_) | Done::Input(Input::Registered(..) | Input::Applied(_)));
        self.changing -= usize::from(is_change);
        match done {
            Done::Input(input) => input,
            Done::Read(Ok(manifest)) => {
                self.candidate = Some(Arc::new(manifest));
                Input::Read(Ok(()))
            }
            Done::Read(Err(fault)) => Input::Read(Err(fault)),
            Done::Applied(manifest, answer) => {
                if answer.is_ok() {
                    self.stock.keep_only(&manifest);
                    self.current = Some(manifest);
                } else if let Some(current) = &self.current {
                    self.stock.keep_only(current);
                }
                Input::Applied(answer)
            }
            Done::Kept(answer) => {
                self.is_keeping = false;
                Input::Kept(answer)
            }
        }
    }

    /// Publishes the state inside the process, and logs what has changed about it.
    fn report(&self, machine: &SyncMachine) {
        let (served, kept) = (machine.served(), machine.kept());
        let now = SyncStatus {
            state: machine.state(),
            applied: served.map(|table| table.generation),
            digest: served.map(|table| table.digest),
            kept: kept.map(|table| table.generation),
            acknowledged: machine.acknowledged(),
            last_confirmed: machine.confirmed().map(|confirmed| (self.started + confirmed).into_std()),
            was_confirmed_empty: machine.was_confirmed_empty(),
            refused: machine.refused(),
            problems: machine.problems(),
            fault: machine.fault().map(str::to_owned),
            outcomes: machine.outcomes(),
        };
        log_changes(&self.status.borrow(), &now);
        self.status.send_if_modified(|status| {
            let is_modified = *status != now;
            *status = now;
            is_modified
        });
    }

    /// Gives back the lease, if one is to be, with a last word, and lets a write to disk end.
    async fn finish(mut self, lease: Option<Lease>, last: Option<Registration>) {
        self.listening = None;
        let store = Arc::clone(&self.settings.store);
        let key = layout::registration(&self.settings.namespace, &self.settings.gateway_id);
        let revoke = async move {
            let Some(lease) = lease else { return };
            // Who does not hear it takes this process for one that may serve on, for a while.
            if let Some(last) = last {
                take_leave(&store, &key, &last, lease).await;
            }
            if let Err(error) = store.revoke(lease).await {
                tracing::warn!("the registration stays for {} s: {}", LEASE.as_secs(), chain(&error));
            }
        };
        let kept = async {
            while self.is_keeping {
                let Some(done) = self.jobs.next().await else { break };
                self.is_keeping = !matches!(done, Done::Kept(_));
            }
        };
        let both = futures_util::future::join(revoke, kept);
        if timeout(STOP_PATIENCE, both).await.is_err() {
            tracing::warn!("the store or the disk did not answer within {} s at the stop", STOP_PATIENCE.as_secs());
        }
    }
}

/// Says in the registration that the process stops, if it is its own still: another process may have the same id.
async fn take_leave(store: &SharedStore, key: &str, last: &Registration, lease: Lease) {
    let Ok(Some(found)) = store.get(key).await else { return };
    let is_own = serde_json::from_slice::<Registration>(&found.value).is_ok_and(|found| found.boot == last.boot);
    if let (true, Ok(last)) = (is_own, serde_json::to_vec(last)) {
        drop(store.put(key, last.into(), Expected::Version(found.version), Some(lease)).await);
    }
}

/// What is wrong here; the data plane tells of its gateways itself.
fn own(status: &SyncStatus) -> impl Iterator<Item = &Degradation> {
    status.problems.iter().filter(|problem| problem.gateway.is_none())
}

fn log_changes(before: &SyncStatus, now: &SyncStatus) {
    if let Some(refused) = now.refused.as_ref().filter(|_| now.refused != before.refused) {
        tracing::warn!(table = %refused.generation, "a table is refused: {}", refused.reason);
    }
    for problem in own(now).filter(|problem| !before.problems.contains(*problem)) {
        tracing::warn!("{}", problem.message);
    }
    for problem in own(before).filter(|problem| !now.problems.contains(*problem)) {
        tracing::info!("no longer so: {}", problem.message);
    }
    match (&before.fault, &now.fault) {
        (None, Some(fault)) => tracing::warn!("the store can't be read, what is served stays: {fault}"),
        (Some(_), None) => tracing::info!(state = now.state.word(), "the store can be read again"),
        _ if before.state == SyncState::Starting && now.state != SyncState::Starting => {
            tracing::info!(state = now.state.word(), "the store can be read");
        }
        _ => {}
    }
}

fn set_aside(keeper: &Keeper, path: &Path, reason: &str) -> String {
    match keeper.set_aside(path) {
        Ok(aside) => format!("{reason} (it is now `{}`)", aside.display()),
        Err(error) => format!("{reason} (and stays: {})", chain(&error)),
    }
}

/// Where it may take its time; a panic is an error like others.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(format!("a fault of this program: {error}")))
}

async fn apply(served: Arc<dyn Serve>, stock: Arc<Stock>, manifest: Arc<Manifest>) -> Result<Vec<Degradation>, String> {
    let maker = Arc::clone(&served);
    let table = blocking(move || maker.compile(&manifest, &stock)).await?;
    Ok(served.apply(table).await)
}

/// What the manifest's key holds, in the machine's words.
fn seen(value: &Bytes) -> Seen {
    match wire::decode_manifest(value) {
        Ok(manifest) => {
            let id = TableId { generation: manifest.generation, digest: manifest.digest };
            Seen::Table { id, bytes: value.clone() }
        }
        Err(error) => Seen::Unreadable { generation: number(value), reason: chain(&error) },
    }
}

/// The number of a manifest that this build can't read otherwise: it stays where it is in all formats.
fn number(value: &[u8]) -> Option<Generation> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        generation: Generation,
    }
    serde_json::from_slice(value).ok().map(|Numbered { generation }| generation)
}

async fn patiently<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silence = || StoreError::Unreachable {
        address: "its URL".to_owned(),
        cause: format!("no answer within {} s", CALL_PATIENCE.as_secs()).into(),
    };
    timeout(CALL_PATIENCE, work).await.unwrap_or_else(|_| Err(silence()))
}

async fn list(store: SharedStore, key: String) -> Done {
    let listing = patiently(store.list(&key)).await.map_err(|error| chain(&error));
    Done::Input(Input::Listed(listing.map(|listing| {
        let entry = listing.entries.iter().find(|entry| entry.key == key);
        (entry.map_or(Seen::Nothing, |entry| seen(&entry.value)), listing.position)
    })))
}

async fn open(
    store: SharedStore,
    key: String,
    after: Position,
) -> (Result<Option<Seen>, String>, Option<Box<dyn Watch>>) {
    match patiently(store.watch(&key, after)).await {
        Ok(watch) => listen(watch, key).await,
        Err(error) => (Err(chain(&error)), None),
    }
}

async fn listen(mut watch: Box<dyn Watch>, key: String) -> (Result<Option<Seen>, String>, Option<Box<dyn Watch>>) {
    match watch.next().await {
        Ok(Changes { events, .. }) => {
            let last = events.iter().rfind(|event| event.key() == key).map(|event| match event {
                Event::Put(Entry { value, .. }) => seen(value),
                Event::Deleted { .. } => Seen::Nothing,
            });
            (Ok(last), Some(watch))
        }
        Err(error) => (Err(chain(&error)), None),
    }
}

async fn grant(store: SharedStore) -> Done {
    Done::Input(Input::Granted(patiently(store.grant(LEASE)).await.map_err(|error| lease_fault(&error))))
}

async fn keep_alive(store: SharedStore, lease: Lease) -> Done {
    let answer = patiently(store.keep_alive(lease)).await.map_err(|error| lease_fault(&error));
    Done::Input(Input::KeptAlive(lease, answer))
}

async fn register(store: SharedStore, key: String, lease: Lease, registration: Box<Registration>) -> Done {
    let answer = match serde_json::to_vec(&registration) {
        Ok(value) => patiently(store.put(&key, value.into(), Expected::Anything, Some(lease))).await,
        Err(error) => Err(StoreError::Refused { address: key, cause: error.into() }),
    };
    Done::Input(Input::Registered(lease, answer.map(drop).map_err(|error| lease_fault(&error))))
}

fn lease_fault(error: &StoreError) -> LeaseFault {
    match error {
        StoreError::LeaseEnded => LeaseFault::Ended,
        error => {
            tracing::debug!("the registration is not sure: {}", chain(error));
            LeaseFault::Other
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
