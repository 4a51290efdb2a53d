//! Every setting of the gateway, read at one place. A setting is a flag, an environment variable and a line of the
//! settings file at once; `docs/reference/settings.md` is made from this file.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use vamp_record::ElasticUrl;
use vamp_store::StoreUrl;
use vamp_store::layout::name;

use crate::limits::Limits;

/// Settings of one gateway process.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where routing tables come from: `etcd://HOST:PORT[,HOST:PORT]/PREFIX[?ca=F&cert=F&key=F&user=U&password-file=F]`; the password may also stand in `VAMP_STORE_PASSWORD`
    #[arg(long, env = "VAMP_STORE", value_name = "URL")]
    pub store: StoreUrl,
    /// Namespace below the store's prefix: 1 to 64 letters, digits, `-`, `_` or `.`
    #[arg(long, env = "VAMP_NAMESPACE", value_name = "NAME", default_value = "default", value_parser = name)]
    pub namespace: String,
    /// Name of this process among the gateways, stable over restarts; without it one is made and kept in the data directory
    #[arg(long, env = "VAMP_GATEWAY_ID", value_name = "NAME", value_parser = name)]
    pub gateway_id: Option<String>,
    /// Directory for the last good table and the gateway's id; made if missing, readable by its owner only
    #[arg(long, env = "VAMP_DATA_DIR", value_name = "DIR", default_value = "vamp-gateway-data")]
    pub data_dir: PathBuf,
    /// Traffic
    #[command(flatten)]
    pub traffic: TrafficSettings,
    /// Admin listener
    #[command(flatten)]
    pub admin: AdminSettings,
    /// Records
    #[command(flatten)]
    pub records: RecordSettings,
}

/// Where requests come from, and the time-outs and bounds of each.
#[derive(Debug, Clone, clap::Args)]
pub struct TrafficSettings {
    /// Addresses on which gateways listen, separated by commas; without any: all, IPv4 and IPv6
    #[arg(long, env = "VAMP_BIND", value_name = "IP", value_delimiter = ',')]
    pub bind: Vec<IpAddr>,
    /// Port that the gateways' virtual hosts share, 1 to 65535; without it they are not served
    #[arg(long, env = "VAMP_VIRTUAL_HOSTS_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub virtual_hosts_port: Option<u16>,
    /// Threads that serve requests, 1 to 256; without it: one for each core
    #[arg(long, env = "VAMP_THREADS", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Proxies in front of this one, as networks separated by commas: what they say of the client in X-Forwarded-For and Forwarded is believed and appended to
    #[arg(long, env = "VAMP_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Each client connection must come from --trusted-proxies and begin with a PROXY header (version 1 or 2), whose source is the client; else 400, or on the port of a TCP gateway the end
    #[arg(long, env = "VAMP_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub proxy_protocol: bool,
    /// Addresses that routes may lead to although they would be refused (what names resolve to in link-local networks and metadata services, this process's admin listener, its store), as networks separated by commas
    #[arg(long, env = "VAMP_ALLOW_TARGET", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub allow_target: Vec<IpNet>,
    /// Longest time from a connection's (or the next request's) first byte to the end of the head; then 408
    #[arg(long, env = "VAMP_HEAD_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub head_timeout: Duration,
    /// Longest pause in a request's body; then 408
    #[arg(long, env = "VAMP_BODY_IDLE_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub body_idle_timeout: Duration,
    /// Longest time that a connection is kept open between requests
    #[arg(long, env = "VAMP_KEEP_ALIVE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub keep_alive_timeout: Duration,
    /// Longest time to connect to an endpoint; then another endpoint, at last 504
    #[arg(long, env = "VAMP_CONNECT_TIMEOUT", value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// Longest time from a whole request to the head of its answer; then 504
    #[arg(long, env = "VAMP_RESPONSE_HEAD_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub response_head_timeout: Duration,
    /// Longest pause in an answer's body, and the time in which a slow client must take 16 KiB more of it; then both connections are cut
    #[arg(long, env = "VAMP_RESPONSE_IDLE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub response_idle_timeout: Duration,
    /// Longest pause in a tunnel (WebSocket) or in a connection of a TCP gateway; then both sides are cut
    #[arg(long, env = "VAMP_TUNNEL_IDLE_TIMEOUT", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub tunnel_idle_timeout: Duration,
    /// Longest time that requests under way, tunnels and connections of TCP gateways may take once their gateway is deleted or the process is told to stop
    #[arg(long, env = "VAMP_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Largest request body in bytes; then 413. Without it: no limit
    #[arg(long, env = "VAMP_BODY_BYTES_MAX", value_name = "BYTES")]
    pub body_bytes_max: Option<u64>,
    /// Bytes of a request's body that a client must bring each second, on average and after 10 seconds; then 408. 0 for no such limit
    #[arg(long, env = "VAMP_BODY_BYTES_PER_SECOND_MIN", value_name = "BYTES", default_value_t = 240)]
    pub body_bytes_per_second_min: u32,
    /// Client connections at the same time, 1 to 10000000; one more closes the one that waits for a request for longest (of its thread; of another where that has none), or is answered 503 (on the port of a TCP gateway: closed). Without it: as many as open files (two each) and memory (64 KiB each) have room for, up to 65536
    #[arg(long, env = "VAMP_CONNECTIONS_MAX", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections_max: Option<u32>,
    /// Client connections at the same time from one address that is not in --trusted-proxies; one more is answered 503, or closed. Without it: no limit
    #[arg(long, env = "VAMP_CONNECTIONS_PER_CLIENT_MAX", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub connections_per_client_max: Option<u32>,
    /// Resident memory of the process in bytes; where less than a tenth (at least 16 MiB, at most a quarter) is left of it, of the control group's limit, or of `ulimit -v` and `-d`, or a twentieth (32 MiB to 1 GiB) of the host's memory when this process has more than that and a quarter of what is used there, new clients are answered 503, and with half of that left all requests. Without it: those of the system only
    #[arg(long, env = "VAMP_MEMORY_BYTES_MAX", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub memory_bytes_max: Option<u64>,
}

/// Who may ask the gateway what it does.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminSettings {
    /// Address of the admin listener: health, metrics, table, splits, explain
    #[arg(long, env = "VAMP_ADMIN", value_name = "IP:PORT", default_value = "127.0.0.1:1988")]
    pub admin: SocketAddr,
    /// Address under which the control plane reaches the admin listener; without it: made from --admin
    #[arg(long, env = "VAMP_ADMIN_URL", value_name = "URL")]
    pub admin_url: Option<url::Url>,
    /// File with one token per line; who has one may use the admin listener. Needed unless it is on a loopback address
    #[arg(long, env = "VAMP_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// TLS certificate chain of the admin listener (PEM)
    #[arg(long, env = "VAMP_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM)
    #[arg(long, env = "VAMP_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Takes tokens over plain HTTP on an address that is not loopback
    #[arg(long, env = "VAMP_INSECURE_HTTP")]
    pub insecure_http: bool,
}

/// Where the record of each request goes.
#[derive(Debug, Clone, clap::Args)]
pub struct RecordSettings {
    /// Elasticsearch or OpenSearch that gets one document per request: `http[s]://[USER@]HOST:PORT[?ca=F&password-file=F&api-key-file=F]`; secrets may also stand in `VAMP_ELASTICSEARCH_PASSWORD` or `VAMP_ELASTICSEARCH_API_KEY`. Without it records are only counted
    #[arg(long, env = "VAMP_ELASTICSEARCH", value_name = "URL")]
    pub elasticsearch: Option<ElasticUrl>,
    /// Records that may wait to be shipped, 1 to 10000000, about 500 bytes each; more are dropped and counted
    #[arg(long, env = "VAMP_RECORDS_MAX", value_name = "COUNT", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub records_max: u32,
}

impl TrafficSettings {
    /// The time-outs and bounds for the engine.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            head_timeout: self.head_timeout,
            body_idle_timeout: self.body_idle_timeout,
            keep_alive_timeout: self.keep_alive_timeout,
            connect_timeout: self.connect_timeout,
            response_head_timeout: self.response_head_timeout,
            response_idle_timeout: self.response_idle_timeout,
            tunnel_idle_timeout: self.tunnel_idle_timeout,
            drain_timeout: self.drain_timeout,
            body_bytes_max: self.body_bytes_max,
            body_bytes_per_second_min: self.body_bytes_per_second_min,
            connections_max: self.connections_max.map(whole),
            connections_per_client_max: self.connections_per_client_max.map(whole),
            memory_bytes_max: self.memory_bytes_max,
            ..Limits::default()
        }
    }

    /// Threads that serve requests.
    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(cores, usize::from)
    }
}

fn whole(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A time as flags write it: `500ms`, `10s`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refused =
        || "write a time above zero with its unit, as in `500ms`, `10s`, `2m` or `1h`, up to 24 hours".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    let time = Duration::try_from(time).map_err(|_| refused())?;
    // LIMIT: a day. What is longer is a mistake in the unit.
    if time.is_zero() || time > Duration::from_hours(24) { Err(refused()) } else { Ok(time) }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = |_| text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(one).map_err(|_| "write a network as in `10.0.0.0/8`, or one address".to_owned())
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
        let all = ["vamp-gateway", "--store", "etcd://127.0.0.1:2379/vamp"].iter().chain(arguments);
        Program::try_parse_from(all).map(|program| program.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_engine() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.traffic.limits(), Limits::default());
        assert_eq!(settings.admin.admin.to_string(), "127.0.0.1:1988");
        assert!(settings.traffic.bind.is_empty());
    }

    #[test]
    fn lists_and_times_are_read() {
        let settings = parse(&[
            "--bind",
            "127.0.0.1,::1",
            "--trusted-proxies",
            "10.0.0.0/8,192.0.2.1",
            "--head-timeout",
            "1500ms",
        ])
        .unwrap();
        assert_eq!(settings.traffic.bind.len(), 2);
        assert_eq!(settings.traffic.trusted_proxies[1].to_string(), "192.0.2.1/32");
        assert_eq!(settings.traffic.limits().head_timeout, Duration::from_millis(1500));
    }

    #[track_caller]
    fn refused(arguments: &[&str], mend: &str) {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(mend), "{error}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_with_its_mend() {
        refused(&["--head-timeout", "10"], "with its unit");
        refused(&["--head-timeout", "0s"], "above zero");
        refused(&["--drain-timeout", "10000h"], "up to 24 hours");
        refused(&["--trusted-proxies", "10.0.0.0/33"], "write a network");
        refused(&["--gateway-id", "a/b"], "letters, digits");
        refused(&["--threads", "0"], "1..=256");
        refused(&["--tls-cert", "f"], "--tls-key");
        refused(&["--proxy-protocol"], "--trusted-proxies");
    }

    #[test]
    fn a_secret_in_an_address_is_not_repeated() {
        let error = parse(&["--elasticsearch", "http://u:hunter2@127.0.0.1:9200"]).unwrap_err();
        assert!(error.contains("VAMP_ELASTICSEARCH_PASSWORD"), "{error}");
    }
}
