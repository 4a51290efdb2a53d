//! From a deployment to what its platforms are to run: an order for each service, of which each instance is a copy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use vamp_model::{Artifact, Breed, Cluster, Deployment, Kind, Service};

use super::machine::{ServiceName, Wanted};
use crate::core::Current;
use crate::deploy::{self, Index, Values, health_checks, size_of};
use crate::platform::health::{HealthCheck, Probe};
use crate::platform::{
    Deployable, Environment, HostPort, Instance, InstanceId, InstanceSpec, Labels, PortSpec, Reach, Restart, SpecError,
};

/// Labels by which instances are known again.
const DEPLOYMENT: &str = "io.vamp.deployment";
const CLUSTER: &str = "io.vamp.cluster";
const SERVICE: &str = "io.vamp.service";
const TEMPLATE: &str = "io.vamp.template";
const NUMBER: &str = "io.vamp.number";

/// What is taken for the type of a deployable that names none.
const DEFAULT_TYPE: &str = "container/docker";

/// LIMIT: characters of the service's name in an id, so that the whole of it fits into 63.
const SLUG_CHARACTERS_MAX: usize = 32;

/// One service, as its platform is to run it.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// What the machine needs to know.
    pub wanted: Wanted,
    /// Which platform: the type of its deployable.
    pub kind: String,
    /// What runs; or why that can't be said, in words.
    pub spec: Result<InstanceSpec, String>,
    /// How its instances are checked.
    pub checks: Vec<HealthCheck>,
    /// The ports that must be open before an instance takes requests.
    pub ports: Vec<String>,
}

/// Where the gateways are.
struct Gateways<'c> {
    host: &'c str,
    ports: &'c BTreeMap<String, u16>,
}

impl Values for Gateways<'_> {
    fn gateway_host(&self) -> &str {
        self.host
    }

    fn gateway_port(&self, gateway: &str) -> Option<u16> {
        self.ports.get(gateway).copied()
    }
}

/// All services of all deployments.
pub(super) fn orders(current: &Current, gateway_host: &str) -> Vec<Order> {
    let gateways = Gateways { host: gateway_host, ports: &current.snapshot.ports };
    let mut orders = Vec::new();
    for artifact in current.all(Kind::Deployment) {
        let Artifact::Deployment(deployment) = artifact else { continue };
        orders.extend(of(deployment, &gateways));
    }
    orders
}

/// All services of one deployment, with gateways on these ports.
pub(super) fn orders_of(deployment: &Deployment, gateway_host: &str, ports: &BTreeMap<String, u16>) -> Vec<Order> {
    of(deployment, &Gateways { host: gateway_host, ports })
}

fn of(deployment: &Deployment, gateways: &Gateways<'_>) -> Vec<Order> {
    let mut orders = Vec::new();
    let index = Index::of(deployment);
    for cluster in &deployment.body.clusters {
        for service in &cluster.services {
            let Some(breed) = deploy::breed(service) else { continue };
            orders.push(order(&index, cluster, service, breed, gateways));
        }
    }
    orders
}

fn order(index: &Index<'_>, cluster: &Cluster, service: &Service, breed: &Breed, values: &dyn Values) -> Order {
    let name = ServiceName {
        deployment: index.deployment.name.clone(),
        cluster: cluster.name.clone(),
        service: breed.name.clone(),
    };
    let kind = kind_of(breed);
    let spec = spec(index, cluster, service, breed, &kind, values);
    let template = spec.as_ref().map(|spec| spec.digest().chars().take(16).collect()).unwrap_or_default();
    let mut checks: Vec<HealthCheck> = health_checks(cluster, service, breed).into_iter().map(check).collect();
    if checks.is_empty() {
        checks = breed.ports.iter().map(|port| open_port(&port.name)).collect();
    }
    Order {
        wanted: Wanted { name, template, count: size_of(service).instances, needs: needs(index, breed) },
        kind,
        spec,
        checks,
        ports: breed.ports.iter().map(|port| port.name.clone()).collect(),
    }
}

/// The type of what a breed deploys, by which its platform is found.
pub(crate) fn kind_of(breed: &Breed) -> String {
    breed.deployable.kind.clone().unwrap_or_else(|| DEFAULT_TYPE.to_owned())
}

/// The clusters of what a breed depends on.
fn needs(index: &Index<'_>, breed: &Breed) -> Vec<String> {
    let clusters = breed.dependencies.iter().filter_map(|(_, dependency)| index.depended_on(dependency.name()));
    clusters.map(str::to_owned).collect()
}

/// The order, of which every instance is a copy with its own id and number.
fn spec(
    index: &Index<'_>,
    cluster: &Cluster,
    service: &Service,
    breed: &Breed,
    kind: &str,
    values: &dyn Values,
) -> Result<InstanceSpec, String> {
    let environment = index.environment(cluster, breed, values).map_err(|unresolved| unresolved.why)?;
    let definition = &breed.deployable.definition;
    let (deployable, driver) = match kind {
        "command" => (Deployable::command_line(definition), "process"),
        "container/docker" => (Deployable::Docker { image: definition.clone(), command: Vec::new() }, "docker"),
        other => {
            return Err(format!("deployables of the type `{other}` can't be run: use command or container/docker"));
        }
    };
    let network = service.network.as_deref().or(cluster.network.as_deref());
    let (reach, networks) = match network.map(str::to_ascii_uppercase).as_deref() {
        Some("HOST") => (Reach::Host, vec!["host".to_owned()]),
        None | Some("BRIDGE") => (Reach::Host, Vec::new()),
        Some("USER") => (Reach::OwnAddress, Vec::new()),
        Some(_) => (Reach::Host, network.map(str::to_owned).into_iter().collect()),
    };
    let size = size_of(service);
    let arguments = breed.arguments.iter().chain(&service.arguments);
    Ok(InstanceSpec {
        id: "template".parse().map_err(|error: SpecError| error.to_string())?,
        labels: Labels::new(),
        deployable,
        environment: Environment(environment),
        ports: breed
            .ports
            .iter()
            // A program of the host learns its port when it is started; the number in the breed does not matter then.
            .map(|port| PortSpec {
                name: port.name.clone(),
                container: if driver == "process" { port.number.max(1) } else { port.number },
                host: HostPort::Any,
            })
            .collect(),
        reach,
        cpu_milli: Some(size.cpu.0).filter(|cpu| *cpu > 0),
        memory_bytes: Some(size.memory.0).filter(|memory| *memory > 0),
        networks,
        restart: Restart::Always,
        arguments: arguments.map(|argument| (argument.key.clone(), argument.value.clone())).collect(),
        dialect: dialect(index.deployment, cluster, service, driver),
    })
}

/// What is said to the driver, in its own words, at the nearest place.
fn dialect(deployment: &Deployment, cluster: &Cluster, service: &Service, driver: &str) -> Map<String, Value> {
    let said = [&service.dialects, &cluster.dialects, &deployment.body.dialects];
    let nearest = said.into_iter().find_map(|dialects| dialects.get(driver));
    nearest.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What is asked where nobody says how: whether the port takes connections. Else an instance would get requests before it
/// can take them, and the one before it would be gone.
fn open_port(port: &str) -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp { port: port.to_owned() },
        initial_delay: Duration::ZERO,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 1,
    }
}

fn check(check: &vamp_model::HealthCheck) -> HealthCheck {
    let seconds = |time: vamp_model::unit::Seconds| Duration::from_secs(time.0.into());
    HealthCheck {
        probe: match &check.probe {
            vamp_model::Probe::Http { port, path, tls } => {
                Probe::Http { port: port.clone(), path: path.clone(), is_tls: *tls }
            }
            vamp_model::Probe::Tcp { port } => Probe::Tcp { port: port.clone() },
            vamp_model::Probe::Command(command) => {
                Probe::Command { command: vec!["/bin/sh".to_owned(), "-c".to_owned(), command.clone()] }
            }
        },
        initial_delay: seconds(check.initial_delay),
        interval: seconds(check.interval),
        timeout: seconds(check.timeout),
        failures: check.failures.max(1),
        successes: check.successes,
    }
}

impl Order {
    /// One instance of it.
    pub(super) fn instance(&self, number: u32) -> Result<InstanceSpec, String> {
        let mut spec = self.spec.clone()?;
        spec.id = self.id(number)?;
        spec.labels = labels(&self.wanted.name, &self.wanted.template, number);
        Ok(spec)
    }

    /// The same instance has the same id, whoever orders it.
    fn id(&self, number: u32) -> Result<InstanceId, String> {
        let name = &self.wanted.name;
        let readable = format!("{}-{}", name.deployment, name.service).to_ascii_lowercase();
        let fit = |letter: char| if letter.is_ascii_lowercase() || letter.is_ascii_digit() { letter } else { '-' };
        let slug: String = readable.chars().map(fit).take(SLUG_CHARACTERS_MAX).collect();
        let whole = format!("{name}\n{}", self.wanted.template);
        let hash = Sha256::digest(whole.as_bytes())
            .iter()
            .take(5)
            .fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        format!("{}-{hash}-{number}", slug.trim_matches('-')).parse().map_err(|error: SpecError| error.to_string())
    }
}

/// By which an instance is known again.
pub(super) fn labels(name: &ServiceName, template: &str, number: u32) -> Labels {
    Labels::from([
        (DEPLOYMENT.to_owned(), name.deployment.clone()),
        (CLUSTER.to_owned(), name.cluster.clone()),
        (SERVICE.to_owned(), name.service.clone()),
        (TEMPLATE.to_owned(), template.to_owned()),
        (NUMBER.to_owned(), number.to_string()),
    ])
}

/// Whose instance it is, by which order, and its number; `None`: it was not ordered here.
pub(super) fn known_by(instance: &Instance) -> Option<(ServiceName, String, u32)> {
    let label = |name: &str| instance.labels.get(name).cloned();
    let name = ServiceName { deployment: label(DEPLOYMENT)?, cluster: label(CLUSTER)?, service: label(SERVICE)? };
    Some((name, label(TEMPLATE)?, label(NUMBER)?.parse().ok()?))
}
