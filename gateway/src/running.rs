//! The gateway as a whole: every part of it started in order, and stopped in order.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vamp_record::access::{Access, AccessError, Tokens};
use vamp_record::document::Documents;
use vamp_record::listener::{Listener, ListenerError};
use vamp_record::split::SplitCounts;
use vamp_record::{ElasticClient, elastic_url::ElasticUrlError};
use vamp_routing::Targets;
use vamp_store::SharedStore;

use crate::admin::{self, AdminState};
use crate::data_dir::{DataDir, DataDirError};
use crate::plane::{DataPlane, PlaneError, PlaneSettings};
use crate::settings::{AdminSettings, Settings, TrafficSettings};
use crate::ship::{self, Recorder, ShipSettings};
use crate::sync::{self, Course, Held, SyncSettings, SyncStatus};
use crate::upgrade::{Before, Heir, Predecessor, TakeOverError, is_supervised};

/// LIMIT: what requests under way get when the process that took over has failed: nobody accepts others meanwhile.
const BEREFT_PATIENCE: Duration = Duration::from_secs(1);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The process before does not hand over.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// The process before serves a table that this one can't.
    #[error(
        "the table of the process before can't be served: its revision is {wanted}, and here it would be {got}; the log says why"
    )]
    Table {
        /// What the process before serves.
        wanted: String,
        /// What this one would.
        got: String,
    },
    /// The data plane did not start.
    #[error("the data plane did not start")]
    Plane(#[from] PlaneError),
    /// The admin listener may not be opened like this.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The token file can't be read.
    #[error("token file `{}` can't be read: check the path and its permissions", path.display())]
    TokenFile {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The admin listener's socket can't be kept for a successor.
    #[error("the admin listener's socket can't be doubled: raise the limit of open files (`ulimit -n`)")]
    AdminSocket(#[source] io::Error),
    /// The admin listener can't be opened.
    #[error(transparent)]
    Admin(#[from] ListenerError),
    /// Elasticsearch can't be used with these settings.
    #[error(transparent)]
    Elasticsearch(#[from] ElasticUrlError),
}

/// LIMIT: what a stop waits for Elasticsearch to take what is queued. Supervisors kill after 30 s or more, and the
/// requests were given their time before.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// A running gateway; [`Running::stop`] ends it in good order.
#[derive(Debug)]
pub struct Running {
    admin: SocketAddr,
    /// A second descriptor of the admin listener's socket, for a successor.
    admin_socket: OwnedFd,
    plane: Arc<DataPlane>,
    drain_timeout: Duration,
    course: watch::Sender<Course>,
    held: watch::Receiver<Option<Held>>,
    flush: watch::Sender<bool>,
    draining: watch::Sender<bool>,
    close: watch::Sender<bool>,
    sync: JoinHandle<()>,
    listener: JoinHandle<()>,
    ship: Option<JoinHandle<()>>,
    data_dir: DataDir,
    id: String,
    boot: String,
    before: watch::Sender<Before>,
}

/// Starts a gateway with these settings on this store. A store that does not answer does not stop it: it serves the
/// last good table.
pub async fn start(settings: Settings, store: SharedStore) -> Result<Running, StartError> {
    start_after(settings, store, None).await
}

/// The same in the place of another process, if there is one: with its sockets and its table, at its word.
pub async fn start_after(
    settings: Settings,
    store: SharedStore,
    before: Option<&mut Predecessor>,
) -> Result<Running, StartError> {
    let Some(before) = before else { return prepare(&settings, store, None) };
    let running = prepare(&settings, store, Some(&mut *before))?;
    running.take_turn(before).await?;
    Ok(running)
}

/// Starts everything; after another process, it waits for its turn then.
fn prepare(
    settings: &Settings,
    store: SharedStore,
    mut before: Option<&mut Predecessor>,
) -> Result<Running, StartError> {
    let data_dir = data_dir(settings, before.as_deref_mut())?;
    let id = data_dir.gateway_id(settings.gateway_id.as_deref())?;
    let boot = format!("{:016x}", rand::random::<u64>());
    let access = access(&settings.admin)?;
    let elastic = settings.records.elasticsearch.as_ref().map(ElasticClient::new).transpose()?;

    let listener = admin_listener(&settings.admin, before.as_deref_mut())?;
    let admin = listener.address();
    let admin_socket = listener.share().map_err(StartError::AdminSocket)?;

    let threads = settings.traffic.threads();
    let records_max = usize::try_from(settings.records.records_max).unwrap_or(usize::MAX);
    let recorder = if elastic.is_some() { Recorder::new(threads, records_max) } else { Recorder::counting(threads) };
    let targets = targets(&settings.traffic, admin, &store);
    let plane = plane_settings(settings, threads, targets);
    let plane = data_plane(plane, &recorder, before.as_deref_mut())?;

    let [draining, flush, close] = std::array::from_fn(|_| watch::Sender::new(false));
    let course = watch::Sender::new(if before.is_some() { Course::Hold } else { Course::Follow });
    let (told_held, held) = watch::channel(None);
    let status = watch::Sender::new(SyncStatus::default());
    let counts_before = watch::Sender::new(Before::default());
    let documents = Documents::new(&settings.namespace, &id, &boot);
    let shipping = elastic.map(|client| ShipSettings { client, documents, flush_timeout: FLUSH_TIMEOUT });
    let ship = shipping.map(|shipping| tokio::spawn(ship::run(shipping, Arc::clone(&recorder), flush.subscribe())));
    let state = AdminState {
        plane: Arc::clone(&plane),
        recorder,
        sync: status.subscribe(),
        draining: draining.subscribe(),
        before: counts_before.subscribe(),
        access,
        id: id.clone(),
        boot: boot.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let sync = tokio::spawn(sync::run(
        SyncSettings {
            store,
            namespace: settings.namespace.clone(),
            gateway_id: id.clone(),
            boot: boot.clone(),
            admin_url: admin_url(&settings.admin, admin),
            data_dir: data_dir.path().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inherited: before.and_then(|before| before.table.take()),
            held: told_held,
        },
        Arc::clone(&plane) as Arc<dyn sync::Serve>,
        status,
        course.subscribe(),
    ));
    let listener = answer_at_its_turn(listener, admin::router(state), course.subscribe(), close.subscribe());
    let listener = tokio::spawn(listener);
    tracing::info!(gateway.id = %id, "the gateway runs, its admin listener is on {admin}");
    Ok(Running {
        admin,
        admin_socket,
        plane,
        drain_timeout: settings.traffic.drain_timeout,
        course,
        held,
        flush,
        draining,
        close,
        sync,
        listener,
        ship,
        data_dir,
        id,
        boot,
        before: counts_before,
    })
}

fn data_dir(settings: &Settings, before: Option<&mut Predecessor>) -> Result<DataDir, DataDirError> {
    match before.and_then(|before| before.lock.take()) {
        Some(lock) => DataDir::take_over(&settings.data_dir, lock),
        None => DataDir::open(&settings.data_dir),
    }
}

fn admin_listener(settings: &AdminSettings, before: Option<&mut Predecessor>) -> Result<Listener, ListenerError> {
    let tls = settings.tls_cert.as_deref().zip(settings.tls_key.as_deref());
    match before.and_then(|before| before.admin.take()) {
        Some(socket) => Listener::take_over(admin::MANNER, socket.into(), settings.admin, tls),
        None => Listener::open(admin::MANNER, settings.admin, tls),
    }
}

fn data_plane(
    settings: PlaneSettings,
    recorder: &Arc<Recorder>,
    before: Option<&mut Predecessor>,
) -> Result<Arc<DataPlane>, PlaneError> {
    match before {
        Some(before) => DataPlane::take_over(settings, Arc::clone(recorder), std::mem::take(&mut before.sockets)),
        None => DataPlane::start(settings, Arc::clone(recorder)),
    }
}

/// Whoever asks before gets its answer from the process that has the socket, too.
async fn answer_at_its_turn(
    listener: Listener,
    router: axum::Router,
    mut course: watch::Receiver<Course>,
    close: watch::Receiver<bool>,
) {
    // A sender that is gone closes the listener, too.
    drop(course.wait_for(|course| *course != Course::Hold).await);
    listener.serve(router, close).await;
}

impl Running {
    /// Where the admin listener answers.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Waits until everything stands here, and then for the word of the process before.
    async fn take_turn(&self, before: &Predecessor) -> Result<(), StartError> {
        let generation = self.until_held().await.generation;
        if generation != before.generation {
            let [wanted, got] =
                [before.generation, generation].map(|table| table.map_or("none".to_owned(), |table| table.to_string()));
            return Err(StartError::Table { wanted, got });
        }
        before.ready().await?;
        self.plane.accept().await;
        self.course.send_replace(Course::Follow);
        before.serving().await;
        Ok(())
    }

    async fn until_held(&self) -> Held {
        let mut held = self.held.clone();
        let held = held.wait_for(Option::is_some).await.map(|held| held.clone());
        // A synchronisation that has ended holds nothing, and changes nothing.
        held.ok().flatten().unwrap_or_default()
    }

    /// Ends it in good order: not ready, gone from the rollout, requests finished, records shipped, listeners closed.
    pub async fn stop(self) {
        self.draining.send_replace(true);
        self.course.send_replace(Course::Leave);
        ended("the synchronisation", self.sync.await);
        self.plane.drain().await;
        self.flush.send_replace(true);
        if let Some(ship) = self.ship {
            ended("the shipper", ship.await);
        }
        self.close.send_replace(true);
        ended("the admin listener", self.listener.await);
    }

    /// Ends it after another process took over: what is open is finished, records are shipped. Once it is `told` to
    /// stop, it waits for no further request. False: the other process failed meanwhile, so nobody serves.
    pub async fn hand_over(mut self, heir: &Heir, told: impl Future<Output = ()>) -> bool {
        let deadline = tokio::time::Instant::now() + self.drain_timeout;
        // First of all: until then, a newcomer may still meet this process and its table.
        let plane = Arc::clone(&self.plane);
        let handed_over = tokio::spawn(async move { plane.hand_over().await });
        self.close.send_replace(true);
        self.course.send_replace(Course::HandOver);
        ended("the synchronisation", (&mut self.sync).await);
        ended("the admin listener", (&mut self.listener).await);
        let hurried = async {
            told.await;
            self.plane.drain().await;
        };
        let finished = async {
            tokio::select! {
                outcome = handed_over => ended("the data plane", outcome),
                () = hurried => {}
            }
            // What the process before this one still counts, the new one hears from here. It began to drain earlier, by
            // the same limit.
            let mut before = self.before.subscribe();
            drop(tokio::time::timeout_at(deadline, before.wait_for(|before| !before.is_open)).await);
        };
        let bereft = async {
            heir.keep_telling(|| self.split_counts()).await;
            if !is_supervised() {
                // Nobody would start another one: what is open here is all that is left.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = finished => {}
            () = bereft => {
                tracing::error!(
                    "the process that took over has failed: this one ends within {BEREFT_PATIENCE:?}, so that another one is started"
                );
                drop(tokio::time::timeout(BEREFT_PATIENCE, self.plane.drain()).await);
            }
        }
        // It may have failed since it was last looked at.
        let is_bereft = is_supervised() && heir.has_failed();
        if !is_bereft {
            heir.tell(&self.split_counts()).await;
        }
        self.flush.send_replace(true);
        if let Some(ship) = self.ship {
            ended("the shipper", ship.await);
        }
        !is_bereft
    }

    /// Leaves table, files, sockets and registration as they are; the table that is served. [`Running::resume`] ends it.
    pub(crate) async fn hold(&self) -> Held {
        self.course.send_replace(Course::Hold);
        self.until_held().await
    }

    /// Goes on after [`Running::hold`] and [`Running::share_sockets`].
    pub(crate) async fn resume(&self) {
        self.plane.keep().await;
        self.course.send_replace(Course::Follow);
    }

    /// Its own counts, then those of the processes before.
    fn split_counts(&self) -> Vec<SplitCounts> {
        let own = SplitCounts { id: self.id.clone(), boot: self.boot.clone(), gateways: self.plane.split_counts() };
        let before = self.before.borrow();
        std::iter::once(own).chain(before.counts.iter().cloned()).collect()
    }

    /// Where the counts of the processes before are shown.
    pub(crate) fn before(&self) -> watch::Sender<Before> {
        self.before.clone()
    }

    /// A second descriptor of every listening socket.
    pub(crate) async fn share_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.plane.share().await
    }

    /// The lock of the data directory.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.data_dir.lock()
    }

    /// The socket of the admin listener.
    pub(crate) fn admin_socket(&self) -> BorrowedFd<'_> {
        self.admin_socket.as_fd()
    }

    /// Client connections that are open.
    pub(crate) fn connections(&self) -> u64 {
        self.plane.connections()
    }

    /// How long requests under way may take at the end.
    pub(crate) fn drain_timeout(&self) -> Duration {
        self.drain_timeout
    }
}

fn ended(part: &str, outcome: Result<(), tokio::task::JoinError>) {
    if let Err(error) = outcome {
        tracing::error!("{part} did not end in good order: {error}");
    }
}

/// Which addresses routes may lead to: not the admin listener of this process, nor its store.
fn targets(settings: &TrafficSettings, admin: SocketAddr, store: &SharedStore) -> Targets {
    // Names in the store's address are not looked up: they may be of many hosts, and change.
    let stores = store.address().split([',', '/', ' ']).filter_map(|part| part.parse().ok());
    Targets { own: stores.chain([admin]).collect(), allowed: settings.allow_target.clone() }
}

fn plane_settings(settings: &Settings, threads: usize, targets: Targets) -> PlaneSettings {
    PlaneSettings {
        bind: settings.traffic.bind.clone(),
        virtual_hosts_port: settings.traffic.virtual_hosts_port,
        threads,
        targets,
        trusted_proxies: settings.traffic.trusted_proxies.clone(),
        proxy_protocol: settings.traffic.proxy_protocol,
        limits: settings.traffic.limits(),
    }
}

/// The rule of the admin listener.
fn access(settings: &AdminSettings) -> Result<Access, StartError> {
    let read = |path: &std::path::PathBuf| {
        let text =
            std::fs::read_to_string(path).map_err(|cause| StartError::TokenFile { path: path.clone(), cause })?;
        Ok::<_, StartError>(Tokens::parse(&text)?)
    };
    let tokens = settings.token_file.as_ref().map(read).transpose()?;
    let has_tls = settings.tls_cert.is_some();
    Ok(Access::for_listener("admin", settings.admin, tokens, has_tls, settings.insecure_http)?)
}

/// Where the control plane finds the admin listener.
fn admin_url(settings: &AdminSettings, bound: SocketAddr) -> String {
    match &settings.admin_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("{}://{bound}", if settings.tls_cert.is_some() { "https" } else { "http" }),
    }
}
