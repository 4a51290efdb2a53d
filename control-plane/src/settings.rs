//! Every setting of the control plane, read at one place. A setting is a flag, an environment variable and a line of
//! the settings file at once; `docs/reference/settings.md` is made from this file.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use vamp_record::ElasticUrl;
use vamp_store::StoreUrl;
use vamp_store::layout::name;

use crate::platform::docker::EngineAddress;
use crate::platform::process::Grouping;

/// Settings of one control plane.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Address of the REST API. Any address but a loopback one needs --token-file, and --tls-cert with --tls-key or --insecure-http
    #[arg(long, env = "VAMP_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where routing tables are published: `etcd://HOST:PORT[,HOST:PORT]/PREFIX[?ca=F&cert=F&key=F&user=U&password-file=F]`; the password may also stand in `VAMP_STORE_PASSWORD`
    #[arg(long, env = "VAMP_STORE", value_name = "URL")]
    pub store: StoreUrl,
    /// Database that keeps every version of every artifact: `sqlite:PATH` (made if missing, readable by its owner only), `mysql://USER@HOST:PORT/NAME` for MySQL and MariaDB, or `postgres://USER@HOST:PORT/NAME`, the last two with `?password-file=F&socket=F&ca=F&cert=F&key=F&tls=on|off`; the password may also stand in `VAMP_DATABASE_PASSWORD`. TLS is on unless the server is on this machine
    #[arg(long, env = "VAMP_DATABASE", value_name = "URL", default_value = "sqlite:vamp.db")]
    pub database: String,
    /// Namespace below the store's prefix: 1 to 64 letters, digits, `-`, `_` or `.`
    #[arg(long, env = "VAMP_NAMESPACE", value_name = "NAME", default_value = "default", value_parser = name)]
    pub namespace: String,
    /// Planning
    #[command(flatten)]
    pub plan: TableSettings,
    /// Platforms
    #[command(flatten)]
    pub platforms: PlatformSettings,
    /// Access
    #[command(flatten)]
    pub access: AccessSettings,
    /// Gateways
    #[command(flatten)]
    pub gateways: GatewaySettings,
    /// Events
    #[command(flatten)]
    pub events: EventSettings,
}

/// What a routing table may hold.
#[derive(Debug, Clone, clap::Args)]
pub struct TableSettings {
    /// Ports for gateways that do not name one, first and last, 1 to 65535; best outside the ephemeral ports of the gateways' hosts
    #[arg(long, env = "VAMP_PORT_RANGE", value_name = "FIRST-LAST", default_value = "20000-29999", value_parser = port_range)]
    pub port_range: PortRange,
    /// Port that the gateways' virtual hosts share (their --virtual-hosts-port): no gateway gets it as its own
    #[arg(long, env = "VAMP_VIRTUAL_HOSTS_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub virtual_hosts_port: Option<u16>,
    /// Suffix of the host name that each gateway gets by itself, as in `shop.vamp`; empty: it gets none
    #[arg(long, env = "VAMP_VIRTUAL_HOSTS_SUFFIX", value_name = "SUFFIX", default_value = "vamp", value_parser = suffix)]
    pub virtual_hosts_suffix: String,
    /// Targets that routes may have although they would be refused (link-local and metadata addresses, the product's own listeners), as networks separated by commas
    #[arg(long, env = "VAMP_ALLOW_TARGET", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub allow_target: Vec<IpNet>,
    /// Ports that no gateway gets, separated by commas: those of other listeners on the gateways' hosts, 1988 (their admin listener) among them
    #[arg(long, env = "VAMP_RESERVED_PORTS", value_name = "PORT", value_delimiter = ',', default_value = "1988", value_parser = clap::value_parser!(u16).range(1..))]
    pub reserved_ports: Vec<u16>,
}

/// Where deployed services run.
#[derive(Debug, Clone, clap::Args)]
pub struct PlatformSettings {
    /// Directory for services of the type `command`, which run as programs of this host; made if missing. Without it nobody can have programs run here
    #[arg(long, env = "VAMP_PROCESS_DIR", value_name = "DIR")]
    pub process_dir: Option<PathBuf>,
    /// Control group below which those services get groups of their own, with their limits of processors and memory: a path as in `/proc/self/cgroup`, made if missing, or `off`. Without it: the group of this program (version 1), or the one that was delegated to it (version 2, `Delegate=` and `DelegateSubgroup=` of systemd)
    #[arg(long, env = "VAMP_PROCESS_CGROUP", value_name = "PATH", requires = "process_dir")]
    pub process_cgroup: Option<Grouping>,
    /// Docker engine for services of the type `container/docker`: `unix:///PATH`, or `tcp://127.0.0.1:PORT` for a tunnel or a proxy before its socket. Whoever may deploy containers can do on its host what this program can. Without it nobody can have containers run here
    #[arg(long, env = "VAMP_DOCKER_HOST", value_name = "ADDRESS")]
    pub docker_host: Option<EngineAddress>,
    /// Credentials of registries from which that engine gets images: a `config.json` of Docker whose `auths` have them; read anew for each image
    #[arg(long, env = "VAMP_DOCKER_CONFIG", value_name = "FILE", requires = "docker_host")]
    pub docker_config: Option<PathBuf>,
    /// Lets containers have the host: its network, paths and devices, `privileged` and added capabilities. Whoever may deploy is root there then
    #[arg(long, env = "VAMP_DOCKER_ALLOW_HOST_ACCESS", requires = "docker_host")]
    pub docker_allow_host_access: bool,
    /// Address of this host at which gateways reach instances; ports of containers are published there
    #[arg(long, env = "VAMP_INSTANCE_HOST", value_name = "IP", default_value = "127.0.0.1", value_parser = one_address)]
    pub instance_host: IpAddr,
    /// Ports for instances, first and last, 1 to 65535; best outside the ephemeral ports of this host
    #[arg(long, env = "VAMP_INSTANCE_PORTS", value_name = "FIRST-LAST", default_value = "30000-31999", value_parser = port_range)]
    pub instance_ports: PortRange,
    /// Host at which services reach the gateways before each other: what `$cluster.host` stands for. Containers find this host as `host.docker.internal`
    #[arg(long, env = "VAMP_GATEWAY_HOST", value_name = "HOST", default_value = "127.0.0.1")]
    pub gateway_host: String,
    /// How long the checks of an instance that was ready fail until another one takes its place, 1s to 24h; 0s: none ever does
    #[arg(long, env = "VAMP_REPLACE_FAILING_AFTER", value_name = "TIME", default_value = "60s", value_parser = replace_after)]
    pub replace_failing_after: Duration,
}

/// Who may use the REST API.
#[derive(Debug, Clone, clap::Args)]
pub struct AccessSettings {
    /// File with one token per line; who has one may use the API. Needed unless it is on a loopback address
    #[arg(long, env = "VAMP_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// TLS certificate chain of the API (PEM)
    #[arg(long, env = "VAMP_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM)
    #[arg(long, env = "VAMP_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Takes tokens over plain HTTP on an address that is not loopback
    #[arg(long, env = "VAMP_INSECURE_HTTP")]
    pub insecure_http: bool,
}

/// How the control plane asks gateways for their counts.
#[derive(Debug, Clone, clap::Args)]
pub struct GatewaySettings {
    /// File whose first token the control plane sends to the admin listeners of gateways
    #[arg(long, env = "VAMP_GATEWAY_TOKEN_FILE", value_name = "FILE")]
    pub gateway_token_file: Option<PathBuf>,
    /// Certificate authority of the gateways' admin listeners (PEM), beside those that the system trusts
    #[arg(long, env = "VAMP_GATEWAY_CA", value_name = "FILE")]
    pub gateway_ca: Option<PathBuf>,
}

/// How long events are kept. Changes are kept for ever.
#[derive(Debug, Clone, clap::Args)]
pub struct EventSettings {
    /// How long an event is kept, up to 87600h
    #[arg(long, env = "VAMP_EVENTS_MAX_AGE", value_name = "TIME", default_value = "720h", value_parser = age)]
    pub events_max_age: Duration,
    /// How many events are kept, 1 to 100000000; the oldest go first
    #[arg(long, env = "VAMP_EVENTS_MAX_COUNT", value_name = "COUNT", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub events_max_count: u64,
    /// Elasticsearch or OpenSearch that gets every event too, in indices `vamp-pulse-NAMESPACE-YEAR-MONTH`: `http[s]://[USER@]HOST:PORT[?ca=F&password-file=F&api-key-file=F]`; secrets may also stand in `VAMP_ELASTICSEARCH_PASSWORD` or `VAMP_ELASTICSEARCH_API_KEY`
    #[arg(long, env = "VAMP_EVENTS_ELASTICSEARCH", value_name = "URL")]
    pub events_elasticsearch: Option<ElasticUrl>,
}

/// A time with its unit, from a second to ten years.
fn age(text: &str) -> Result<Duration, String> {
    time(text)
        .filter(|time| (Duration::from_secs(1)..=Duration::from_hours(87_600)).contains(time))
        .ok_or_else(|| "write a time with its unit, as in `720h`, up to 87600h".to_owned())
}

fn replace_after(text: &str) -> Result<Duration, String> {
    time(text)
        .filter(|time| time.is_zero() || (Duration::from_secs(1)..=Duration::from_hours(24)).contains(time))
        .ok_or_else(|| "write a time with its unit, as in `60s`, from 1s to 24h, or `0s`".to_owned())
}

fn time(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok())
}

/// A range of ports, first and last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

fn port_range(text: &str) -> Result<PortRange, String> {
    let refused = || "write first and last port, as in `20000-29999`".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(refused)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange(first..=last)),
        _ => Err(refused()),
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = |_| text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(one).map_err(|_| "write a network as in `169.254.0.0/16`, or one address".to_owned())
}

/// An address at which somebody can be reached.
fn one_address(text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified());
    address.ok_or_else(|| "write one address of this host, as in `127.0.0.1`: all of them are no address".to_owned())
}

/// Labels of a host name, or nothing.
fn suffix(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.is_empty() || (text.len() <= 190 && text.split('.').all(is_label)) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write the end of a host name without a dot before it, as in `vamp` or `apps.example.org`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let all = ["vamp", "--store", "etcd://127.0.0.1:2379/vamp"].iter().chain(arguments);
        Program::try_parse_from(all).map(|program| program.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_planner() {
        let settings = parse(&[]).unwrap();
        let plan = crate::plan::PlanSettings::default();
        assert_eq!(settings.plan.port_range.0, plan.port_range);
        assert_eq!(Some(settings.plan.virtual_hosts_suffix), plan.virtual_hosts_suffix);
        assert!(settings.listen.ip().is_loopback());
    }

    #[test]
    fn lists_and_ranges_are_read() {
        let settings = parse(&[
            "--port-range",
            "100-100",
            "--allow-target",
            "169.254.0.0/16,fe80::1",
            "--virtual-hosts-suffix",
            "",
        ])
        .unwrap();
        assert_eq!(settings.plan.port_range, PortRange(100..=100));
        assert_eq!(settings.plan.allow_target[1].to_string(), "fe80::1/128");
        assert_eq!(settings.plan.virtual_hosts_suffix, "");
    }

    #[track_caller]
    fn refused(arguments: &[&str], mend: &str) {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(mend), "{error}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_with_its_mend() {
        refused(&["--port-range", "20000"], "`20000-29999`");
        refused(&["--port-range", "30000-20000"], "`20000-29999`");
        refused(&["--port-range", "0-9"], "`20000-29999`");
        refused(&["--namespace", "a/b"], "letters, digits");
        refused(&["--virtual-hosts-suffix", ".vamp"], "without a dot");
        refused(&["--allow-target", "somewhere"], "write a network");
        refused(&["--tls-cert", "f"], "--tls-key");
        refused(&["--docker-host", "/run/docker.sock"], "`unix:///PATH`");
        refused(&["--docker-host", "tcp://192.0.2.1:2375"], "root on its host");
        refused(&["--docker-allow-host-access"], "--docker-host");
        refused(&["--process-dir", "d", "--process-cgroup", "vamp"], "`/vamp`");
        refused(&["--instance-host", "0.0.0.0"], "one address of this host");
    }
}
