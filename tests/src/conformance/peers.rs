//! The proxies that the set is run against for comparison: each with its defaults and the least configuration that sends
//! everything to one origin, on a port of its own. `bench/peers` fetches them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vamp_routing::wire::{self, Balance, Endpoint, Generation, Route, Share, Sticky, Target};
use vamp_store::tables::{Publishable, Publisher};

use crate::process::Process;
use crate::{eventually, free_port};

/// LIMIT: a proxy that is not ready by then does not work.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A proxy, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "they are names")]
pub enum Kind {
    Vamp,
    Haproxy,
    Nginx,
    Envoy,
    Traefik,
    Caddy,
}

/// A proxy that runs; dropped, it ends.
#[derive(Debug)]
pub struct Peer {
    /// Its name with its version.
    pub title: String,
    /// Where it listens.
    pub address: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Here(vamp_gateway::Running),
    There(Process),
}

/// The gateway's settings by their flags.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Embedded<Settings: Args> {
    #[command(flatten)]
    settings: Settings,
}

impl Peer {
    /// Starts one that sends everything to `origin`; its files are below `folder`.
    pub async fn start(kind: Kind, origin: SocketAddr, folder: &Path) -> Self {
        let folder = folder.join(format!("{kind:?}"));
        std::fs::create_dir_all(&folder).expect("a folder for the proxy's files");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        if kind == Kind::Vamp {
            return Self::start_here(address, origin, &folder).await;
        }
        let (name, program, arguments) = command(kind, address, origin, &folder);
        let title = format!("{name} {}", version(kind, &program));
        let environment = [("HOME", &folder), ("XDG_DATA_HOME", &folder), ("XDG_CONFIG_HOME", &folder)];
        let process = Process::spawn(&program, arguments, environment, &folder.join("log"));
        // Some listen before they know their routes. That the origin is not there yet is answered otherwise.
        eventually(START_DEADLINE, &format!("{title} sends requests to its origin"), async || {
            status(address).await.filter(|status| *status != 404)
        })
        .await;
        Self { title, address, running: Running::There(process) }
    }

    async fn start_here(address: SocketAddr, origin: SocketAddr, folder: &Path) -> Self {
        let store = vamp_store::memory();
        let value = wire::encode_gateway(&gateway(address.port(), origin));
        let published = [Publishable { name: "all", value: &value }];
        let generation = Generation { epoch: 1, revision: 1 };
        Publisher::new(store.clone(), "default").publish(generation, None, &published).await.expect("a table");
        let data_dir = format!("--data-dir={}", folder.display());
        let flags = ["--store=memory:", "--gateway-id=g1", "--bind=127.0.0.1", "--admin=127.0.0.1:0", &data_dir];
        let settings = Embedded::<vamp_gateway::Settings>::try_parse_from(flags).expect("good settings").settings;
        let running = vamp_gateway::start(settings, store).await.expect("the gateway starts");
        eventually(START_DEADLINE, "the gateway listens", async || TcpStream::connect(address).await.ok()).await;
        Self { title: "vamp-gateway".to_owned(), address, running: Running::Here(running) }
    }

    /// Ends it.
    pub async fn stop(self) {
        match self.running {
            Running::Here(running) => running.stop().await,
            Running::There(mut process) => process.kill().await,
        }
    }
}

fn gateway(port: u16, origin: SocketAddr) -> wire::Gateway {
    let endpoint = Endpoint { name: "origin".to_owned(), lookup: "c3".to_owned(), address: origin.to_string() };
    let route = Route {
        name: "origin".to_owned(),
        lookup: "b2".to_owned(),
        weight: Share::WHOLE,
        condition: None,
        condition_strength: Share::WHOLE,
        balance: Balance::default(),
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![endpoint]),
    };
    wire::Gateway {
        name: "all".to_owned(),
        lookup: "a1".to_owned(),
        port: Some(port),
        virtual_hosts: Vec::new(),
        sticky: Sticky::default(),
        tcp: None,
        routes: vec![route],
    }
}

/// Name, program and arguments of a peer, whose configuration is written.
fn command(kind: Kind, at: SocketAddr, origin: SocketAddr, folder: &Path) -> (&'static str, PathBuf, Vec<String>) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the proxy's configuration is written");
        path.display().to_string()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match kind {
        Kind::Vamp => unreachable!("it runs in this process"),
        Kind::Haproxy => {
            let path = write("haproxy.cfg", &haproxy(at, origin));
            ("HAProxy", "haproxy".into(), words(&["-db", "-f", &path]))
        }
        Kind::Nginx => {
            let path = write("nginx.conf", &nginx(at, origin));
            ("nginx", "nginx".into(), words(&["-e", "stderr", "-p", &folder.display().to_string(), "-c", &path]))
        }
        Kind::Envoy => {
            let path = write("envoy.json", &envoy(at, origin).to_string());
            ("Envoy", fetched("envoy"), words(&["-c", &path, "--concurrency", "1", "--disable-hot-restart"]))
        }
        Kind::Traefik => {
            let routes = write("routes.yml", &traefik_routes(origin));
            let path = write("traefik.yml", &traefik(at, &routes));
            ("Traefik", fetched("traefik"), words(&[&format!("--configFile={path}")]))
        }
        Kind::Caddy => {
            let path = write("Caddyfile", &caddy(at, origin));
            ("Caddy", fetched("caddy"), words(&["run", "--adapter", "caddyfile", "--config", &path]))
        }
    }
}

fn haproxy(at: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "defaults\n  mode http\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n\
         frontend front\n  bind {at}\n  default_backend back\nbackend back\n  server origin {origin}\n"
    )
}

/// With HTTP/1.1 towards the origin and the client's host, neither of which is nginx's default: all others do so.
fn nginx(at: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n  \
         access_log off;\n  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; \
         scgi_temp_path t5;\n  server {{ listen {at}; location / {{ proxy_http_version 1.1; proxy_set_header Host $host; proxy_pass http://{origin}; }} }}\n}}\n"
    )
}

/// With HTTP/1.0 clients let in, which is not Envoy's default: all others let them in.
fn envoy(at: SocketAddr, origin: SocketAddr) -> serde_json::Value {
    let address = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "http_protocol_options": { "accept_http_10": true, "default_host_for_http_10": "local" },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "route": { "cluster": "origin" } },
        ] }] },
    });
    let filter = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    let listener = json!({ "address": address(at), "filter_chains": [{ "filters": [filter] }] });
    let cluster = json!({
        "name": "origin", "type": "STATIC",
        "load_assignment": {
            "cluster_name": "origin",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(origin) } }] }],
        },
    });
    json!({ "static_resources": { "listeners": [listener], "clusters": [cluster] } })
}

fn traefik(at: SocketAddr, routes: &str) -> String {
    format!("entryPoints:\n  all:\n    address: \"{at}\"\nproviders:\n  file:\n    filename: {routes}\n")
}

fn traefik_routes(origin: SocketAddr) -> String {
    format!(
        "http:\n  routers:\n    all: {{ rule: \"PathPrefix(`/`)\", service: origin }}\n  services:\n    origin:\n      \
         loadBalancer:\n        servers: [{{ url: \"http://{origin}\" }}]\n"
    )
}

fn caddy(at: SocketAddr, origin: SocketAddr) -> String {
    let (ip, port) = (at.ip(), at.port());
    format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n}}\nhttp://:{port} {{\n  bind {ip}\n  reverse_proxy {origin}\n}}\n"
    )
}

/// A program that `bench/peers` fetched.
fn fetched(name: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/vamp-tests"));
    let cache = std::env::var_os("VAMP_TEST_CACHE").map(PathBuf::from).or_else(home).expect("HOME is set");
    cache.join("peers").join(name)
}

/// The first number with dots that a program prints about its version.
fn version(kind: Kind, program: &Path) -> String {
    let argument = match kind {
        Kind::Haproxy | Kind::Nginx => "-v",
        Kind::Envoy => "--version",
        _ => "version",
    };
    let output = Command::new(program).arg(argument).output();
    let output =
        output.unwrap_or_else(|error| panic!("`{}` does not start: {error}: run bench/peers", program.display()));
    // nginx tells it on standard error.
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|number| number.trim_matches('.'));
    numbers.find(|number| number.contains('.')).unwrap_or("of unknown version").to_owned()
}

/// The status of the answer to a plain request, if there is one.
async fn status(address: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    read.ok()?.ok()?;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
