//! From an order to a container, and from what the engine tells of it to an instance. No I/O.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, DeviceMapping, HostConfig, HostConfigLogConfig, NetworkSettings, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};
use serde::{Deserialize, Serialize};

use super::options::{HOST_NETWORK, Options};
use crate::platform::{Exit, Instance, InstanceId, InstanceSpec, Labels, Reach, Restart, State};

/// Labels that the driver sets itself.
pub(super) const NAMESPACE: &str = "io.vamp.platform.namespace";
const ID: &str = "io.vamp.platform.id";
const DIGEST: &str = "io.vamp.platform.digest";
const PORTS: &str = "io.vamp.platform.ports";
const ORDERED: &str = "io.vamp.platform.labels";

/// LIMIT: what a container writes is kept in so many files of so many bytes.
const LOG_FILES: &str = "4";
const LOG_BYTES_MAX: &str = "4m";
/// LIMIT: the least part of a processor, in thousandths, that the engine can give.
const CPU_MILLI_MIN: u32 = 10;
/// What a container that was killed, by SIGKILL or for its memory, gives as its exit code.
const KILLED: i64 = 137;
/// By this name a container finds its host, where gateways listen.
const HOST_NAME: &str = "host.docker.internal:host-gateway";

/// Where one port is: in the container, and on the host if it is published there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) container: u16,
    pub(super) host: Option<u16>,
}

/// The ports of a container by their names.
pub(super) type Places = BTreeMap<String, Place>;

/// The name of a container: that of its instance, with the namespace. An id has no dot, so that no two are called alike.
pub(super) fn name(namespace: &str, id: &InstanceId) -> String {
    format!("vamp.{namespace}.{id}")
}

/// Where the ports of an order are, when these ports of the host were chosen for it.
pub(super) fn places(spec: &InstanceSpec, options: &Options, chosen: &BTreeMap<String, u16>) -> Places {
    let is_on_host = is_on_host(options);
    let place = |port: &crate::platform::PortSpec| {
        let host = chosen.get(&port.name).copied();
        Place { container: host.filter(|_| is_on_host).unwrap_or(port.container), host }
    };
    spec.ports.iter().map(|port| (port.name.clone(), place(port))).collect()
}

/// Whether ports of the host are wanted.
pub(super) fn needs_host_ports(spec: &InstanceSpec, options: &Options) -> bool {
    spec.reach == Reach::Host || is_on_host(options)
}

fn is_on_host(options: &Options) -> bool {
    options.networks.iter().any(|network| network == HOST_NETWORK)
}

/// What the engine is asked to make.
pub(super) fn body(
    spec: &InstanceSpec,
    (image, command): (&str, &[String]),
    options: &Options,
    namespace: &str,
    publish: IpAddr,
    places: &Places,
) -> ContainerCreateBody {
    let ports = || places.values().filter(|_| !is_on_host(options));
    let said = Some(command.to_vec()).filter(|command| !command.is_empty());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: said.or_else(|| options.command.clone()),
        entrypoint: options.entrypoint.clone(),
        env: Some(environment(spec, places)),
        labels: Some(labels(spec, options, namespace, places)),
        exposed_ports: Some(ports().map(|place| format!("{}/tcp", place.container)).collect()),
        user: options.user.clone(),
        working_dir: options.working_directory.clone(),
        hostname: options.hostname.clone(),
        stop_signal: options.stop_signal.clone(),
        host_config: Some(host_config(spec, options, publish, ports())),
        ..ContainerCreateBody::default()
    }
}

fn host_config<'p>(
    spec: &InstanceSpec,
    options: &Options,
    publish: IpAddr,
    ports: impl Iterator<Item = &'p Place>,
) -> HostConfig {
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    let mut hosts = options.hosts.clone();
    if !is_on_host(options) {
        hosts.push(HOST_NAME.to_owned());
    }
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for place in ports {
        let Some(host) = place.host else { continue };
        let binding = PortBinding { host_ip: Some(publish.to_string()), host_port: Some(host.to_string()) };
        let all = bindings.entry(format!("{}/tcp", place.container)).or_default();
        all.get_or_insert_default().push(binding);
    }
    let memory = spec.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let restart = match spec.restart {
        // Not `always`: that would start again what was stopped on purpose when the engine comes back.
        Restart::Always => RestartPolicyNameEnum::UNLESS_STOPPED,
        Restart::Never => RestartPolicyNameEnum::NO,
    };
    HostConfig {
        nano_cpus: spec.cpu_milli.map(|milli| i64::from(milli.max(CPU_MILLI_MIN)) * 1_000_000),
        memory,
        // The same: no memory on disk beside it, which would only make the end slow.
        memory_swap: memory,
        pids_limit: Some(options.pids_max),
        network_mode: Some(options.networks.first().cloned().unwrap_or_else(|| "bridge".to_owned())),
        port_bindings: Some(bindings),
        restart_policy: Some(RestartPolicy { name: Some(restart), maximum_retry_count: None }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_BYTES_MAX.to_owned()),
                ("max-file".to_owned(), LOG_FILES.to_owned()),
            ])),
        }),
        extra_hosts: some(&hosts),
        init: Some(options.has_init),
        readonly_rootfs: Some(options.is_read_only),
        privileged: Some(options.is_privileged),
        shm_size: options.shared_memory_bytes,
        cap_add: some(&options.added_capabilities),
        cap_drop: some(&options.dropped_capabilities),
        security_opt: some(&options.security),
        dns: some(&options.name_servers),
        binds: some(&options.volumes),
        tmpfs: Some(options.temporary.clone().into_iter().collect()),
        devices: Some(options.devices.iter().map(|text| device(text)).collect()),
        ..HostConfig::default()
    }
}

fn device(text: &str) -> DeviceMapping {
    let mut parts = text.splitn(3, ':').map(str::to_owned);
    let on_host = parts.next();
    DeviceMapping {
        path_in_container: parts.next().or_else(|| on_host.clone()),
        path_on_host: on_host,
        cgroup_permissions: Some(parts.next().unwrap_or_else(|| "rwm".to_owned())),
    }
}

fn environment(spec: &InstanceSpec, places: &Places) -> Vec<String> {
    let mut variables = BTreeMap::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let Some(number) = places.get(&port.name).map(|place| place.container.to_string()) else { continue };
        if index == 0 {
            variables.insert("PORT".to_owned(), number.clone());
        }
        variables.insert(port.variable(), number);
    }
    variables.extend(spec.environment.0.clone());
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn labels(spec: &InstanceSpec, options: &Options, namespace: &str, places: &Places) -> HashMap<String, String> {
    let text = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    let mut labels: HashMap<String, String> = options.labels.clone().into_iter().collect();
    labels.extend(spec.labels.clone());
    labels.extend([
        (NAMESPACE.to_owned(), namespace.to_owned()),
        (ID.to_owned(), spec.id.to_string()),
        (DIGEST.to_owned(), spec.digest()),
        (PORTS.to_owned(), text(serde_json::to_string(places))),
        (ORDERED.to_owned(), text(serde_json::to_string(&spec.labels.keys().collect::<Vec<_>>()))),
    ]);
    labels
}

/// What the labels of one of our containers say.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) id: InstanceId,
    pub(super) digest: String,
    pub(super) labels: Labels,
    pub(super) places: Places,
}

impl Own {
    /// Reads them; `None`: the container is not one of this namespace.
    pub(super) fn read(labels: &HashMap<String, String>, namespace: &str) -> Option<Self> {
        if labels.get(NAMESPACE)? != namespace {
            return None;
        }
        // The engine adds the labels of the image.
        let ordered: Vec<String> = serde_json::from_str(labels.get(ORDERED)?).ok()?;
        let value = |name: String| labels.get(&name).cloned().map(|value| (name, value));
        Some(Self {
            id: labels.get(ID)?.parse().ok()?,
            digest: labels.get(DIGEST)?.clone(),
            labels: ordered.into_iter().filter_map(value).collect(),
            places: serde_json::from_str(labels.get(PORTS)?).ok()?,
        })
    }
}

/// One of our containers, as the engine tells of it.
pub(super) fn instance(told: &ContainerInspectResponse, own: Own, publish: IpAddr) -> Instance {
    let state = told.state.clone().unwrap_or_default();
    let is_published = own.places.values().any(|place| place.host.is_some());
    let address = address(told).filter(|_| !is_published);
    let is_running = state.status == Some(ContainerStateStatusEnum::RUNNING);
    // Without an address of its own nothing of it can be reached yet.
    let is_reached = is_published || (is_running && address.is_some());
    let ports = own.places.into_iter().filter(|_| is_reached);
    Instance {
        id: own.id,
        labels: own.labels,
        digest: own.digest,
        host: address.unwrap_or_else(|| publish.to_string()),
        ports: ports.map(|(name, place)| (name, place.host.unwrap_or(place.container))).collect(),
        started_at_unix_ms: state.started_at.as_deref().and_then(unix_ms),
        restarts: told.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        state: self::state(&state),
        warnings: Vec::new(),
    }
}

/// As much as the list of containers tells of one of them.
pub(super) fn listed(summary: &ContainerSummary) -> ContainerInspectResponse {
    use {ContainerStateStatusEnum as Told, ContainerSummaryStateEnum as Listed};
    let status = summary.state.map(|state| match state {
        Listed::EMPTY => Told::EMPTY,
        Listed::CREATED => Told::CREATED,
        Listed::RUNNING => Told::RUNNING,
        Listed::PAUSED => Told::PAUSED,
        Listed::RESTARTING => Told::RESTARTING,
        Listed::EXITED => Told::EXITED,
        Listed::REMOVING => Told::REMOVING,
        Listed::DEAD => Told::DEAD,
        Listed::STOPPING => Told::STOPPING,
    });
    let networks = summary.network_settings.as_ref().and_then(|settings| settings.networks.clone());
    ContainerInspectResponse {
        id: summary.id.clone(),
        state: Some(ContainerState { status, ..ContainerState::default() }),
        network_settings: Some(NetworkSettings { networks, ..NetworkSettings::default() }),
        ..ContainerInspectResponse::default()
    }
}

/// Its address in the first of its networks, by their names, that gives it one.
fn address(told: &ContainerInspectResponse) -> Option<String> {
    let networks = told.network_settings.as_ref()?.networks.as_ref()?;
    let mut names: Vec<_> = networks.keys().collect();
    names.sort();
    let mut addresses = names.into_iter().filter_map(|name| networks.get(name)?.ip_address.clone());
    addresses.find(|address| !address.is_empty())
}

/// Whether a container was never started.
pub(super) fn is_only_made(told: &ContainerInspectResponse) -> bool {
    let status = told.state.as_ref().and_then(|state| state.status);
    status == Some(ContainerStateStatusEnum::CREATED)
}

/// What a container does, in the words of all platforms.
pub(super) fn state(state: &ContainerState) -> State {
    use ContainerStateStatusEnum as Status;
    match state.status {
        Some(Status::RUNNING) => State::Running,
        Some(Status::RESTARTING) => State::Restarting(exit(state)),
        Some(Status::EXITED | Status::DEAD | Status::REMOVING | Status::STOPPING) => State::Exited(exit(state)),
        // It could not be started.
        Some(Status::CREATED) if state.error.as_ref().is_some_and(|error| !error.is_empty()) => {
            State::Exited(exit(state))
        }
        Some(Status::CREATED | Status::PAUSED | Status::EMPTY) | None => State::Starting,
    }
}

fn exit(state: &ContainerState) -> Exit {
    Exit {
        code: state.exit_code.and_then(|code| i32::try_from(code).ok()),
        signal: None,
        // The engine says so too when only a child of what runs in it was killed.
        is_out_of_memory: state.oom_killed == Some(true) && state.exit_code == Some(KILLED),
        at_unix_ms: state.finished_at.as_deref().and_then(unix_ms).unwrap_or_default(),
    }
}

/// A time as the engine writes it; the year 1 stands for none.
fn unix_ms(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::platform::{Deployable, Environment, HostPort, PortSpec};

    pub(in crate::platform::docker) fn spec() -> InstanceSpec {
        InstanceSpec {
            labels: Labels::from([("io.vamp.service".to_owned(), "web:1".to_owned())]),
            deployable: Deployable::Docker { image: "demo:1".to_owned(), command: Vec::new() },
            environment: Environment(BTreeMap::from([("KEY".to_owned(), "a=b".to_owned())])),
            ports: vec![PortSpec { name: "web".to_owned(), container: 8080, host: HostPort::Any }],
            cpu_milli: Some(1),
            memory_bytes: Some(64 << 20),
            ..InstanceSpec::bare("shop-0", "")
        }
    }

    fn made(spec: &InstanceSpec, host: Option<u16>) -> ContainerCreateBody {
        let options = super::super::options::read(spec, true).unwrap();
        let chosen = host.map(|port| ("web".to_owned(), port)).into_iter().collect();
        let places = places(spec, &options, &chosen);
        body(spec, ("demo:1", &[]), &options, "default", "127.0.0.1".parse().unwrap(), &places)
    }

    fn told(body: &ContainerCreateBody, state: ContainerState) -> Instance {
        let own = Own::read(body.labels.as_ref().unwrap(), "default").unwrap();
        let told = ContainerInspectResponse { state: Some(state), ..ContainerInspectResponse::default() };
        instance(&told, own, "127.0.0.1".parse().unwrap())
    }

    fn in_state(status: ContainerStateStatusEnum, code: i64, oom: bool, error: &str) -> ContainerState {
        ContainerState {
            status: Some(status),
            exit_code: Some(code),
            oom_killed: Some(oom),
            error: Some(error.to_owned()),
            started_at: Some("0001-01-01T00:00:00Z".to_owned()),
            finished_at: Some("1970-01-01T00:00:01.5Z".to_owned()),
            ..ContainerState::default()
        }
    }

    #[test]
    fn an_order_is_read_again_from_its_container() {
        let mut body = made(&spec(), Some(30_001));
        body.labels.as_mut().unwrap().insert("of-the-image".to_owned(), "1".to_owned());
        let instance = told(&body, in_state(ContainerStateStatusEnum::RUNNING, 0, false, ""));
        assert_eq!((instance.labels, instance.digest), (spec().labels, spec().digest()));
        assert_eq!(
            (instance.id.as_str(), instance.ports["web"], instance.host.as_str()),
            ("shop-0", 30_001, "127.0.0.1")
        );
        assert_eq!((instance.state, instance.started_at_unix_ms), (State::Running, None));
        assert_eq!(body.env.unwrap(), ["KEY=a=b", "PORT=8080", "PORT_WEB=8080"]);
        let host = body.host_config.unwrap();
        let binding = host.port_bindings.unwrap()["8080/tcp"].clone().unwrap();
        assert_eq!(
            (binding[0].host_ip.as_deref(), binding[0].host_port.as_deref()),
            (Some("127.0.0.1"), Some("30001"))
        );
        assert_eq!((host.nano_cpus, host.memory, host.memory_swap), (Some(10_000_000), Some(64 << 20), Some(64 << 20)));
        assert_eq!((host.network_mode.as_deref(), host.privileged), (Some("bridge"), Some(false)));
    }

    #[test]
    fn on_the_network_of_the_host_the_port_is_told_to_what_listens_there() {
        let mut spec = spec();
        spec.networks = vec!["host".to_owned()];
        let body = made(&spec, Some(30_002));
        assert_eq!(told(&body, in_state(ContainerStateStatusEnum::RUNNING, 0, false, "")).ports["web"], 30_002);
        assert!(body.env.unwrap().contains(&"PORT=30002".to_owned()));
        let host = body.host_config.unwrap();
        assert!(host.port_bindings.unwrap().is_empty() && host.network_mode.as_deref() == Some("host"));
    }

    #[test]
    fn containers_of_others_are_not_read() {
        let mut labels = made(&spec(), None).labels.unwrap();
        assert!(Own::read(&labels, "another").is_none());
        labels.remove(DIGEST);
        assert!(Own::read(&labels, "default").is_none());
        assert!(Own::read(&HashMap::new(), "default").is_none());
    }

    #[test]
    fn an_end_is_told_as_it_was() {
        use ContainerStateStatusEnum as Status;
        let exit = |status, code, oom, error: &str| match told(&made(&spec(), None), in_state(status, code, oom, error))
            .state
        {
            State::Exited(exit) | State::Restarting(exit) => (exit.code, exit.is_out_of_memory, exit.at_unix_ms),
            other => panic!("{other:?}"),
        };
        assert_eq!(exit(Status::EXITED, 3, false, ""), (Some(3), false, 1_500));
        assert_eq!(exit(Status::RESTARTING, 137, true, ""), (Some(137), true, 1_500));
        assert_eq!(exit(Status::EXITED, 0, true, ""), (Some(0), false, 1_500));
        assert_eq!(exit(Status::CREATED, 127, false, "no such file"), (Some(127), false, 1_500));
        let starts = told(&made(&spec(), None), in_state(Status::CREATED, 0, false, ""));
        assert_eq!((starts.state, starts.ports.len()), (State::Starting, 0));
        let is_only_made = |status| {
            let state = Some(in_state(status, 0, false, ""));
            super::is_only_made(&ContainerInspectResponse { state, ..ContainerInspectResponse::default() })
        };
        assert!(is_only_made(Status::CREATED) && !is_only_made(Status::PAUSED) && !is_only_made(Status::EXITED));
    }
}
