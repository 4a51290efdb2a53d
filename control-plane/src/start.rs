//! From settings to a control plane that answers, and back.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vamp_record::ElasticClient;
use vamp_record::access::{Access, AccessError, Tokens};
use vamp_record::elastic_url::ElasticUrlError;
use vamp_record::listener::{Listener, ListenerError};
use vamp_store::SharedStore;

use crate::api::{self, About, Api};
use crate::core::{Core, CoreError, CoreSettings, Runs, Tasks};
use crate::persist::{Database, PersistError, Persistence, Retention};
use crate::plan::PlanSettings;
use crate::platform::PlatformError;
use crate::platform::docker::{CredentialsError, CredentialsFile, DockerPlatform, DockerSettings};
use crate::platform::process::{ProcessPlatform, ProcessSettings};
use crate::reconcile::{self, Platforms, States};
use crate::settings::{AccessSettings, GatewaySettings, PlatformSettings, Settings};
use crate::sla;
use crate::split::AskSettings;

/// What instances get to end by themselves when everything ends.
const INSTANCES_GRACE: Duration = Duration::from_secs(5);

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file that a setting names can't be read.
    #[error("{setting} `{}` can't be read: check the path and its permissions", path.display())]
    File {
        /// The flag.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A token file gives nobody access, or anybody.
    #[error("{setting} `{}` is refused", path.display())]
    Tokens {
        /// The flag.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: AccessError,
    },
    /// The API may not be opened like this.
    #[error("the API may not be opened like this")]
    Access(#[source] AccessError),
    /// The listener does not open.
    #[error(transparent)]
    Listen(#[from] ListenerError),
    /// The database does not open.
    #[error("the control plane does not start without its database")]
    Database(#[source] PersistError),
    /// The core does not start.
    #[error("the control plane does not start")]
    Core(#[source] CoreError),
    /// Where events go can't be used.
    #[error("--events-elasticsearch can't be used")]
    Elastic(#[source] ElasticUrlError),
    /// A platform can't be used.
    #[error("services can't be run in --process-dir")]
    Platform(#[from] PlatformError),
    /// Credentials of registries can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Instances can't be checked.
    #[error("the health of instances can't be asked for")]
    Health(#[source] reqwest::Error),
}

/// A control plane that answers.
#[derive(Debug)]
pub struct Running {
    /// Where its API listens.
    pub address: SocketAddr,
    serving: JoinHandle<()>,
    reconciling: JoinHandle<()>,
    promising: JoinHandle<()>,
    platforms: Platforms,
    tasks: Tasks,
    stopping: watch::Sender<bool>,
    persistence: Arc<dyn Persistence>,
}

/// Starts a control plane. A store that does not answer does not stop it: changes are kept, and published when it does.
pub async fn start(settings: Settings, store: SharedStore) -> Result<Running, StartError> {
    let access = access(settings.listen, &settings.access)?;
    let tls = settings.access.tls_cert.as_deref().zip(settings.access.tls_key.as_deref());
    let listener = Listener::open(api::MANNER, settings.listen, tls)?;
    let address = listener.address();
    let ask = ask_settings(&settings.gateways)?;
    let started = jiff::Timestamp::now();
    let now_unix_ms = u64::try_from(started.as_millisecond()).unwrap_or_default();
    let database = Database::open(&settings.database, now_unix_ms).await.map_err(StartError::Database)?;
    let persistence: Arc<dyn Persistence> = Arc::new(database);
    let plan = plan_settings(&settings, address, &store);
    let events = Retention {
        age_max_ms: u64::try_from(settings.events.events_max_age.as_millis()).unwrap_or(u64::MAX),
        count_max: settings.events.events_max_count,
    };
    let elastic = settings.events.events_elasticsearch.as_ref().map(ElasticClient::new).transpose();
    let elastic = elastic.map_err(StartError::Elastic)?;
    let platforms = platforms(&settings.platforms, &settings.namespace)?;
    let runs: Option<Arc<dyn Runs>> = Some(Arc::new(platforms.clone()));
    let core_settings = CoreSettings { namespace: settings.namespace.clone(), plan, ask, events, elastic, runs };
    let core = Core::start(persistence.clone(), store, core_settings).await;
    let (core, tasks) = core.map_err(StartError::Core)?;
    let (stopping, stopped) = watch::channel(false);
    let (states, told) = watch::channel(States::new());
    let reconciling = reconcile::run(core.clone(), platforms.clone(), states, stopped.clone());
    let reconciling = tokio::spawn(reconciling);
    let promising = tokio::spawn(sla::run(core.clone(), platforms.clone(), told.clone(), stopped.clone()));
    let about = About { namespace: settings.namespace, started };
    let api = Arc::new(Api::new(core, (told, platforms.clone()), access, about, stopped.clone()));
    let serving = tokio::spawn(listener.serve(api::router(api), stopped));
    tracing::info!(%address, "the API listens");
    Ok(Running { address, serving, reconciling, promising, platforms, tasks, stopping, persistence })
}

impl Running {
    /// The same, and asks every instance that runs to end, for who does not want to leave anything behind.
    pub async fn stop_with_instances(self) {
        let platforms = self.platforms.clone();
        self.stop().await;
        platforms.stop_all(INSTANCES_GRACE).await;
    }

    /// Takes no more requests, lets those under way end, and closes the database.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        if let Err(error) = self.serving.await {
            tracing::error!("the listener of the API did not end in good order: {error}");
        }
        if let Err(error) = self.reconciling.await {
            tracing::error!("the work on deployments did not end in good order: {error}");
        }
        if let Err(error) = self.promising.await {
            tracing::error!("the work on promises did not end in good order: {error}");
        }
        self.tasks.stop().await;
        self.persistence.close().await;
    }
}

fn platforms(settings: &PlatformSettings, namespace: &str) -> Result<Platforms, StartError> {
    let mut platforms = Platforms::new(settings.gateway_host.clone());
    platforms.replace_failing_after = settings.replace_failing_after;
    if let Some(folder) = &settings.process_dir {
        // Supervisors have a working directory of their own.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        let mut process = ProcessSettings::new(folder);
        process.host = settings.instance_host;
        process.groups = settings.process_cgroup.clone().unwrap_or_default();
        process.port_range = settings.instance_ports.0.clone();
        let platform = ProcessPlatform::open(process)?;
        platforms.add("command", Arc::new(platform)).map_err(StartError::Health)?;
    }
    if let Some(address) = &settings.docker_host {
        let mut docker = DockerSettings::new(address.clone(), namespace.to_owned());
        docker.publish = settings.instance_host;
        docker.port_range = settings.instance_ports.0.clone();
        docker.credentials = settings.docker_config.clone().map(CredentialsFile::open).transpose()?;
        docker.allows_host_access = settings.docker_allow_host_access;
        // An engine that is away makes its services unknown, and stops nobody.
        platforms.add("container/docker", Arc::new(DockerPlatform::open(docker))).map_err(StartError::Health)?;
    }
    Ok(platforms)
}

fn access(address: SocketAddr, settings: &AccessSettings) -> Result<Access, StartError> {
    let tokens = match &settings.token_file {
        Some(path) => Some(read_tokens("--token-file", path)?.1),
        None => None,
    };
    let has_tls = settings.tls_cert.is_some();
    Access::for_listener("API", address, tokens, has_tls, settings.insecure_http).map_err(StartError::Access)
}

fn read_tokens(setting: &'static str, path: &Path) -> Result<(String, Tokens), StartError> {
    let text = read(setting, path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
    let tokens = Tokens::parse(&text).map_err(|cause| StartError::Tokens { setting, path: path.to_owned(), cause })?;
    Ok((text, tokens))
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|cause| StartError::File { setting, path: path.to_owned(), cause })
}

fn ask_settings(settings: &GatewaySettings) -> Result<AskSettings, StartError> {
    let mut ask = AskSettings::default();
    if let Some(path) = &settings.gateway_token_file {
        let (text, _) = read_tokens("--gateway-token-file", path)?;
        let mut lines = text.lines().map(str::trim);
        ask.token = lines.find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned);
    }
    if let Some(path) = &settings.gateway_ca {
        ask.ca_pem = Some(read("--gateway-ca", path)?);
    }
    Ok(ask)
}

fn plan_settings(settings: &Settings, address: SocketAddr, store: &SharedStore) -> PlanSettings {
    let table = &settings.plan;
    let mut reserved_ports = table.reserved_ports.clone();
    reserved_ports.extend(table.virtual_hosts_port);
    let suffix = &table.virtual_hosts_suffix;
    let mut own_addresses = vec![address];
    own_addresses.extend(addresses_in(store.address()));
    PlanSettings {
        port_range: table.port_range.0.clone(),
        ephemeral_ports: ephemeral_ports(),
        reserved_ports,
        virtual_hosts_suffix: (!suffix.is_empty()).then(|| suffix.clone()),
        own_addresses,
        allowed_targets: table.allow_target.clone(),
    }
}

/// The addresses in the text that says where the store is; names are left to the gateways.
fn addresses_in(text: &str) -> impl Iterator<Item = SocketAddr> {
    text.split([',', '/', ' ']).filter_map(|part| part.parse().ok())
}

/// What this host's kernel hands out for outgoing connections, where that is known.
fn ephemeral_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_store_are_found_where_they_are_addresses() {
        let found: Vec<_> = addresses_in("etcd://127.0.0.1:2379,db:2379,[::1]:2379/vamp").collect();
        assert_eq!(found, ["127.0.0.1:2379".parse().unwrap(), "[::1]:2379".parse().unwrap()]);
    }
}
