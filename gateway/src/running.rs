//! The gateway as a whole: every part of it started in order, and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vamp_record::access::{Access, AccessError, Tokens};
use vamp_record::document::Documents;
use vamp_record::listener::{Listener, ListenerError};
use vamp_record::{ElasticClient, elastic_url::ElasticUrlError};
use vamp_routing::Targets;
use vamp_store::SharedStore;

use crate::admin::{self, AdminState};
use crate::data_dir::{DataDir, DataDirError};
use crate::plane::{DataPlane, PlaneError, PlaneSettings};
use crate::settings::{AdminSettings, Settings, TrafficSettings};
use crate::ship::{self, Recorder, ShipSettings};
use crate::sync::{self, SyncSettings, SyncStatus};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
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
    plane: Arc<DataPlane>,
    leave: watch::Sender<bool>,
    flush: watch::Sender<bool>,
    draining: watch::Sender<bool>,
    close: watch::Sender<bool>,
    sync: JoinHandle<()>,
    listener: JoinHandle<()>,
    ship: Option<JoinHandle<()>>,
    _data_dir: DataDir,
}

/// Starts a gateway with these settings on this store. A store that does not answer does not stop it: it serves the
/// last good table.
pub async fn start(settings: Settings, store: SharedStore) -> Result<Running, StartError> {
    let data_dir = DataDir::open(&settings.data_dir)?;
    let id = data_dir.gateway_id(settings.gateway_id.as_deref())?;
    let boot = format!("{:016x}", rand::random::<u64>());
    let access = access(&settings.admin)?;
    let elastic = settings.records.elasticsearch.as_ref().map(ElasticClient::new).transpose()?;

    let tls = settings.admin.tls_cert.as_deref().zip(settings.admin.tls_key.as_deref());
    let listener = Listener::open(admin::MANNER, settings.admin.admin, tls)?;
    let admin = listener.address();

    let threads = settings.traffic.threads();
    let records_max = usize::try_from(settings.records.records_max).unwrap_or(usize::MAX);
    let recorder = if elastic.is_some() { Recorder::new(threads, records_max) } else { Recorder::counting(threads) };
    let targets = targets(&settings.traffic, admin, &store);
    let plane = DataPlane::start(plane_settings(&settings, threads, targets), Arc::clone(&recorder))?;

    let [draining, leave, flush, close] = std::array::from_fn(|_| watch::Sender::new(false));
    let status = watch::Sender::new(SyncStatus::default());
    let documents = Documents::new(&settings.namespace, &id, &boot);
    let ship = elastic.map(|client| {
        let shipping = ShipSettings { client, documents, flush_timeout: FLUSH_TIMEOUT };
        tokio::spawn(ship::run(shipping, Arc::clone(&recorder), flush.subscribe()))
    });
    let state = AdminState {
        plane: Arc::clone(&plane),
        recorder,
        sync: status.subscribe(),
        draining: draining.subscribe(),
        access,
        id: id.clone(),
        boot: boot.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let listener = tokio::spawn(listener.serve(admin::router(state), close.subscribe()));
    let sync = tokio::spawn(sync::run(
        SyncSettings {
            store,
            namespace: settings.namespace.clone(),
            gateway_id: id.clone(),
            boot,
            admin_url: admin_url(&settings.admin, admin),
            data_dir: data_dir.path().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        Arc::clone(&plane) as Arc<dyn sync::Serve>,
        status,
        leave.subscribe(),
    ));
    tracing::info!(gateway.id = %id, "the gateway runs, its admin listener is on {admin}");
    Ok(Running { admin, plane, leave, flush, draining, close, sync, listener, ship, _data_dir: data_dir })
}

impl Running {
    /// Where the admin listener answers.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Ends it in good order: not ready, gone from the rollout, requests finished, records shipped, listeners closed.
    pub async fn stop(self) {
        self.draining.send_replace(true);
        self.leave.send_replace(true);
        ended("the synchronisation", self.sync.await);
        self.plane.drain().await;
        self.flush.send_replace(true);
        if let Some(ship) = self.ship {
            ended("the shipper", ship.await);
        }
        self.close.send_replace(true);
        ended("the admin listener", self.listener.await);
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
