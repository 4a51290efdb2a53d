//! The proxies that are compared. Each does the same work with the same means: one thread, kept connections to the
//! origins, `X-Forwarded-For`, and on one port weights, a condition and a record for each request.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod traefik;
mod vamp;

pub(crate) use haproxy::configuration as haproxy_configuration;
pub(crate) use vamp::routes as vamp_routes;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::Failure;
use crate::load::{Target, counted};
use crate::process::{Process, START_TIMEOUT, await_listening, free_port};
use crate::workload::Site;

/// The core of the proxies, and that of load, origins and sinks.
pub(crate) const PROXY_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;

/// Keeps this program, and whatever it starts from now on and does not pin elsewhere, off the proxies' core.
pub(crate) fn leave_proxy_core() -> Result<(), Failure> {
    let (core, own) = (LOAD_CORE.to_string(), std::process::id().to_string());
    let status = Command::new("taskset").args(["-a", "-c", "-p", &core, &own]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("`taskset` could not pin the load to core {core}").into()) }
}

/// A proxy that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Vamp,
    Haproxy,
    Nginx,
    Envoy,
    Traefik,
    Caddy,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vamp => "vamp",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
        }
    }
}

/// What stands behind the proxies.
pub(crate) struct Stage {
    origins: [(Site, SocketAddr); 4],
    /// The second version of the service behind the site of the Vamp workload.
    canary: SocketAddr,
    /// Takes records: bulk requests on TCP, syslog on UDP.
    sink: SocketAddr,
    directory: PathBuf,
    _processes: Vec<Process>,
}

impl Stage {
    /// Starts origins and sink.
    pub(crate) fn start(directory: &Path) -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let own = own.to_str().ok_or("the path of this program is not UTF-8")?.to_owned();
        let mut processes = Vec::new();
        let mut run = |words: &[&str]| -> Result<SocketAddr, Failure> {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let listen = address.to_string();
            let command: Vec<&str> =
                [own.as_str()].into_iter().chain(words.iter().copied()).chain(["--listen", &listen]).collect();
            processes.push(Process::start(LOAD_CORE, &command)?);
            await_listening("an origin", address.port())?;
            Ok(address)
        };
        let mut origin = |site: Site| run(&["origin", "--bytes", &site.bytes().to_string()]);
        let [small, medium, large, vamp] = Site::ALL;
        let origins =
            [(small, origin(small)?), (medium, origin(medium)?), (large, origin(large)?), (vamp, origin(vamp)?)];
        let canary = origin(vamp)?;
        let sink = run(&["sink"])?;
        Ok(Self { origins, canary, sink, directory: directory.to_owned(), _processes: processes })
    }

    /// The origin of a site.
    pub(crate) fn origin(&self, site: Site) -> SocketAddr {
        self.origins.iter().find(|(of, _)| *of == site).map_or(self.canary, |(_, address)| *address)
    }

    /// Where records go.
    pub(crate) fn sink(&self) -> SocketAddr {
        self.sink
    }

    /// Writes a file below the stage's directory; tells its path.
    fn write(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.directory.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().ok_or("the temporary directory is not UTF-8")?.to_owned())
    }
}

/// Ports of one proxy, in the order of [`Site::ALL`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports([u16; 4]);

impl Ports {
    fn free() -> Result<Self, Failure> {
        Ok(Self([free_port()?, free_port()?, free_port()?, free_port()?]))
    }

    /// A port of its own for one site, and some for the others.
    pub(crate) fn only(site: Site, port: u16) -> Result<Self, Failure> {
        let mut ports = Self::free()?;
        let of_site = Site::ALL.into_iter().zip(&mut ports.0).filter(|(of, _)| *of == site);
        of_site.for_each(|(_, place)| *place = port);
        Ok(ports)
    }

    pub(crate) fn of(self, site: Site) -> u16 {
        Site::ALL.into_iter().zip(self.0).find(|(of, _)| *of == site).map_or(0, |(_, port)| port)
    }
}

/// A proxy that runs.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    pub(crate) ports: Ports,
    running: Running,
}

enum Running {
    One(Process),
    /// Without records, and with them.
    Two {
        plain: Box<vamp::Instance>,
        records: Box<vamp::Instance>,
    },
}

impl Peer {
    /// Starts a proxy and sees that each of its sites answers right.
    pub(crate) fn start(kind: Kind, stage: &Stage) -> Result<Self, Failure> {
        let ports = Ports::free()?;
        let (version, running) = match kind {
            Kind::Vamp => vamp::start(stage, ports)?,
            Kind::Haproxy => haproxy::start(stage, ports)?,
            Kind::Nginx => nginx::start(stage, ports)?,
            Kind::Envoy => envoy::start(stage, ports)?,
            Kind::Traefik => traefik::start(stage, ports)?,
            Kind::Caddy => caddy::start(stage, ports)?,
        };
        let peer = Self { kind, version, ports, running };
        for site in Site::ALL {
            await_listening(kind.name(), ports.of(site))?;
            // Some listen before they know their routes.
            let deadline = Instant::now() + START_TIMEOUT;
            while let Err(failure) = counted(peer.target(site), 1, 10) {
                if Instant::now() > deadline {
                    return Err(failure);
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        Ok(peer)
    }

    /// Whether what was measured was done, as far as the proxy can tell.
    pub(crate) fn check(&self, stage: &Stage) -> Result<(), Failure> {
        match &self.running {
            Running::Two { records, .. } => records.check(stage),
            Running::One(_) => Ok(()),
        }
    }

    pub(crate) fn target(&self, site: Site) -> Target<'static> {
        Target { name: self.kind.name(), port: self.ports.of(site), bytes: site.bytes() }
    }

    /// The process that serves a site.
    pub(crate) fn process(&self, site: Site) -> &Process {
        match &self.running {
            Running::One(process) => process,
            Running::Two { records, .. } if site == Site::Vamp => records.process(),
            Running::Two { plain, .. } => plain.process(),
        }
    }
}

/// The first line that a program prints about its version.
fn version(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("`{program}` did not start ({error}): install it, or see bench/peers"))?;
    // nginx tells it on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit())).unwrap_or_default();
    // Some name themselves by their path.
    Ok(line.trim().strip_prefix(program).unwrap_or(line).trim().to_owned())
}

/// A program that `bench/peers` fetched.
fn fetched(name: &str) -> Result<String, Failure> {
    let cache = std::env::var_os("VAMP_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/vamp-tests")));
    let path = cache.ok_or("neither VAMP_TEST_CACHE nor HOME is set")?.join("peers").join(name);
    if !path.exists() {
        return Err(format!("{} is not there: `bench/peers {name}` fetches it", path.display()).into());
    }
    Ok(path.to_str().ok_or("the cache's path is not UTF-8")?.to_owned())
}
