//! The gateway and its peers at the same work: all alive at once, each on the same core in turn, in random order in each
//! round; judged by the median of the ratios within a round, because the pace of a shared machine changes from round to
//! round.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rand::seq::SliceRandom;

use crate::Failure;
use crate::load::{self, Done};
use crate::peers::{Kind, LOAD_CORE, Peer, Stage, leave_proxy_core};
use crate::report::{Run, Slice};
use crate::workload::{Arrivals, Workload};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every proxy once at every workload. One more is made before, to warm up.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load for each proxy in each round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Client connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// What the gateway is compared with; haproxy always takes part. `bench/peers` fetches them.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["haproxy", "nginx"])]
    peers: Vec<Kind>,
    /// The work.
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Folder for raw runs, summary and plot.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    leave_proxy_core()?;
    let directory = tempfile::tempdir()?;
    let stage = Stage::start(directory.path())?;
    let mut kinds = vec![Kind::Haproxy, Kind::Vamp];
    kinds.extend(options.peers.iter().filter(|kind| !matches!(kind, Kind::Haproxy | Kind::Vamp)));
    let mut peers = kinds.into_iter().map(|kind| Peer::start(kind, &stage)).collect::<Result<Vec<_>, _>>()?;
    let chosen = if options.workloads.is_empty() { Workload::value_variants() } else { &*options.workloads };
    let mut slices = Vec::new();
    for round in 0..=options.rounds {
        println!("round {round} of {}", options.rounds);
        for workload in chosen {
            peers.shuffle(&mut rand::rng());
            for peer in &peers {
                let slice = measure(peer, *workload, options, round)?;
                // The first round only warms up pools and caches.
                if round > 0 {
                    slices.push(slice);
                }
            }
        }
    }
    if chosen.contains(&Workload::Vamp) {
        peers.iter().try_for_each(|peer| peer.check(&stage))?;
    }
    let versions = peers.iter().map(|peer| (peer.kind, peer.version.clone())).collect();
    let (rounds, seconds, connections) = (options.rounds, options.seconds, options.connections);
    let run = Run { versions, slices, rounds, seconds, connections };
    println!("\n{}", run.table());
    let folder = run.write(&options.results)?;
    println!("raw runs, table and plot: {}", folder.display());
    Ok(())
}

/// One slice of load against one proxy.
fn measure(peer: &Peer, workload: Workload, options: &Options, round: usize) -> Result<Slice, Failure> {
    let (target, process) = (peer.target(workload.site()), peer.process(workload.site()));
    let before = process.cpu_ns()?;
    let done: Done = match workload.arrivals() {
        Arrivals::Closed { keep_alive } => {
            load::closed(target, keep_alive, options.connections, options.seconds, LOAD_CORE)?
        }
        Arrivals::Open { rate } => load::open(target, rate, options.connections, options.seconds)?,
    };
    let spent = Duration::from_nanos(process.cpu_ns()? - before);
    Ok(Slice {
        round,
        peer: peer.kind,
        workload,
        cpu_us: spent.as_secs_f64() * 1e6 / done.requests,
        rate: done.requests / done.seconds,
        latency_us: done.latency_us(),
    })
}
