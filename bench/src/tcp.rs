//! TCP gateways beside HAProxy's `mode tcp`, both with a record of each connection: CPU for a connection, for an exchange
//! of small messages, and for what passes in large transfers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rand::seq::SliceRandom;
use serde_json::json;

use self::load::Work;
use crate::Failure;
use crate::peers::{LOAD_CORE, PROXY_CORE, Stage, leave_proxy_core};
use crate::process::{Process, await_listening, free_port};
use crate::product::{GatewayRun, Product};
use crate::report::{self, is_too_noisy};
use crate::statistics::{quantile, spread};

pub(crate) mod load;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every proxy once at every work. One more is made before, to warm up.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load for each proxy in each round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// The work; without it, all of it.
    #[arg(long, value_enum, value_delimiter = ',')]
    work: Vec<Work>,
    /// Folder for raw runs and summary.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

/// A proxy that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Haproxy,
    /// With `option splice-auto`.
    HaproxySplice,
    Vamp,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Haproxy, Self::HaproxySplice, Self::Vamp];

    fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy, splice-auto",
            Self::Vamp => "vamp",
        }
    }
}

/// A proxy that runs, with one port for each work.
struct Peer {
    kind: Kind,
    ports: Ports,
    running: Running,
}

enum Running {
    One(Process),
    Product(Box<Product>),
}

impl Peer {
    fn start(kind: Kind, origins: &[(Work, u16)], stage: &Stage, directory: &Path) -> Result<Self, Failure> {
        let ports = origins.iter().map(|(work, _)| Ok((*work, free_port()?))).collect::<Result<Vec<_>, Failure>>()?;
        let pairs = ports.iter().zip(origins).map(|((_, port), (_, origin))| (*port, *origin));
        let running = match kind {
            Kind::Vamp => Running::Product(Box::new(vamp(GatewayRun::pinned(PROXY_CORE), pairs, stage, directory)?)),
            Kind::Haproxy | Kind::HaproxySplice => {
                let configuration = haproxy_configuration(kind == Kind::HaproxySplice, pairs, stage, directory)?;
                Running::One(Process::start(PROXY_CORE, &["haproxy", "-db", "-f", &configuration])?)
            }
        };
        for (_, port) in &ports {
            await_listening(kind.name(), *port)?;
        }
        Ok(Self { kind, ports, running })
    }

    fn process(&self) -> &Process {
        match &self.running {
            Running::One(process) => process,
            Running::Product(product) => product.gateway(),
        }
    }

    fn port(&self, work: Work) -> u16 {
        self.ports.iter().find(|(of, _)| *of == work).map_or(0, |(_, port)| *port)
    }
}

/// The product with a TCP gateway for each pair of its port and the origin's.
pub(crate) fn vamp(
    mut run: GatewayRun,
    pairs: impl Iterator<Item = (u16, u16)>,
    stage: &Stage,
    directory: &Path,
) -> Result<Product, Failure> {
    run.arguments.extend(["--elasticsearch".to_owned(), format!("http://{}", stage.sink())]);
    let product = Product::start(&run, directory)?;
    for (port, origin) in pairs {
        let name = format!("bench-{port}");
        let routes = json!({ format!("[127.0.0.1:{origin}]"): { "weight": "100%" } });
        let document = json!({ "name": name, "port": format!("{port}/tcp"), "routes": routes });
        product.put_gateway(&name, &document)?;
    }
    Ok(product)
}

/// Writes HAProxy's configuration for the same, and tells its path.
pub(crate) fn haproxy_configuration(
    splices: bool,
    pairs: impl Iterator<Item = (u16, u16)>,
    stage: &Stage,
    directory: &Path,
) -> Result<String, Failure> {
    let splice = if splices { "  option splice-auto\n" } else { "" };
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 2000\n\
         defaults\n  mode tcp\n  log {} local0\n  option tcplog\n{splice}  timeout connect 3s\n  timeout client 60s\n  \
         timeout server 60s\n",
        stage.sink()
    );
    for (port, origin) in pairs {
        text.push_str(&format!(
            "frontend front{port}\n  bind 127.0.0.1:{port}\n  default_backend back{port}\n\
             backend back{port}\n  server origin 127.0.0.1:{origin}\n"
        ));
    }
    let path = directory.join(if splices { "splice.cfg" } else { "plain.cfg" });
    std::fs::write(&path, text)?;
    Ok(path.to_str().ok_or("the temporary directory is not UTF-8")?.to_owned())
}

/// What one proxy needed in one slice of time.
struct Slice {
    round: usize,
    kind: Kind,
    work: Work,
    /// CPU microseconds for each unit of the work.
    cpu_us: f64,
}

impl Slice {
    fn raw(&self) -> serde_json::Value {
        json!({ "round": self.round, "peer": self.kind.name(), "work": self.work.word(), "cpu_us": self.cpu_us })
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    leave_proxy_core()?;
    let directory = tempfile::tempdir()?;
    let stage = Stage::start(directory.path())?;
    let chosen = if options.work.is_empty() { Work::value_variants() } else { &*options.work };
    let (origins, _running) = origins(chosen)?;
    let start = |kind| Peer::start(kind, &origins, &stage, directory.path());
    let mut peers = Kind::ALL.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let mut slices = Vec::new();
    for round in 0..=options.rounds {
        println!("round {round} of {}", options.rounds);
        for work in chosen {
            peers.shuffle(&mut rand::rng());
            for peer in &peers {
                let slice = measure(peer, *work, options.seconds, round)?;
                // The first round only warms up.
                if round > 0 {
                    slices.push(slice);
                }
            }
        }
    }
    let summary = table(&slices, chosen, options);
    println!("\n{summary}");
    let raw: Vec<_> = slices.iter().map(Slice::raw).collect();
    let raw = json!({ "rounds": options.rounds, "seconds": options.seconds, "slices": raw });
    println!("raw runs and table: {}", report::keep(&options.results, "tcp", &summary, &raw)?.display());
    Ok(())
}

/// A port for each work.
pub(crate) type Ports = Vec<(Work, u16)>;

/// A server for each work.
pub(crate) fn origins(chosen: &[Work]) -> Result<(Ports, Vec<Process>), Failure> {
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("the path of this program is not UTF-8")?;
    let (mut ports, mut processes) = (Vec::new(), Vec::new());
    for work in chosen {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let words = [own, "tcp-origin", "--work", work.word(), "--listen", &listen];
        processes.push(Process::start(LOAD_CORE, &words)?);
        await_listening("an origin", port)?;
        ports.push((*work, port));
    }
    Ok((ports, processes))
}

fn measure(peer: &Peer, work: Work, seconds: u64, round: usize) -> Result<Slice, Failure> {
    let own = std::env::current_exe()?;
    let before = peer.process().cpu_ns()?;
    let output = Command::new("taskset")
        .args(["-c", &LOAD_CORE.to_string()])
        .arg(own)
        .args(["tcp-load", "--work", work.word(), "--seconds", &seconds.to_string()])
        .args(["--target", &format!("127.0.0.1:{}", peer.port(work))])
        .output()?;
    let spent = Duration::from_nanos(peer.process().cpu_ns()? - before);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("load on {} met errors, so its figures count nothing: {said}", peer.kind.name()).into());
    }
    let units: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(Slice { round, kind: peer.kind, work, cpu_us: spent.as_secs_f64() * 1e6 / units })
}

fn table(slices: &[Slice], chosen: &[Work], options: &Options) -> String {
    let mut text = format!(
        "CPU as a multiple of HAProxy's in the same round: median [quartiles] of {} rounds of {} s, one thread and one core \
         for each proxy, a record of each connection.\n\n| work |",
        options.rounds, options.seconds
    );
    for kind in Kind::ALL {
        text.push_str(&format!(" {} |", kind.name()));
    }
    text.push_str("\n|---|---|---|---|\n");
    for work in chosen {
        text.push_str(&format!("| {} |", work.words()));
        for kind in Kind::ALL {
            let of = |kind: Kind, round: usize| {
                slices.iter().find(|slice| (slice.kind, slice.work, slice.round) == (kind, *work, round))
            };
            let rounds = || 1..=options.rounds;
            let us: Vec<f64> = rounds().filter_map(|round| Some(of(kind, round)?.cpu_us)).collect();
            let us = quantile(&us, 0.5).unwrap_or(f64::NAN);
            let ratio = |round| Some(of(kind, round)?.cpu_us / of(Kind::Haproxy, round)?.cpu_us);
            let ratios: Vec<f64> = rounds().filter_map(ratio).collect();
            text.push_str(&match kind {
                Kind::Haproxy => format!(" 1 ({us:.1} us) |"),
                _ if is_too_noisy(&ratios) => format!(" {} ({us:.1} us) too noisy |", spread(&ratios, 2)),
                _ => format!(" {} ({us:.1} us) |", spread(&ratios, 2)),
            });
        }
        text.push('\n');
    }
    text
}
