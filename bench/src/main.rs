//! Measures the product beside its peers, in one run, on one machine, and prints ratios: absolute times of a shared
//! machine tell nothing.

mod change;
mod compare;
mod control_plane;
mod count;
mod deploy;
mod load;
mod origin;
mod peers;
mod persist;
mod plot;
mod process;
mod product;
mod report;
mod sink;
mod statistics;
mod tables;
mod tcp;
mod ticket;
mod workload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a measurement could not be made, in words for the person at the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "vamp-bench", about = "Measures Vamp beside its peers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU per request of the gateway and of its peers, interleaved, as ratios to HAProxy; writes raw runs and a plot.
    Compare(compare::Options),
    /// Instructions and system calls per request, and memory per idle client, of the gateway and of HAProxy.
    Count(count::Options),
    /// Our load generator beside wrk, on one origin.
    CheckGenerator,
    /// CPU per connection and per byte of a TCP gateway, as ratios to HAProxy's `mode tcp`.
    Tcp(tcp::Options),
    /// Time from a REST write to serving on every gateway, beside the disk's fsync floor.
    Change(change::Options),
    /// What the database carries: writes in a second, a list page, a start, and memory with 10,000 artifacts.
    Persist(persist::Options),
    /// A blueprint of many services on the process driver: to plan, to bring up, and what looking at it costs.
    Deploy(deploy::Options),
    /// CPU of one draw from a split by 1, 2 and 4 threads, from one account and from one each.
    Ticket(ticket::Options),
    /// A table of 10,000 gateways: to read, to compile, to hold, to ask, and to change one gateway of.
    Tables(tables::Options),
    /// The origin that `compare` puts behind the proxies.
    Origin {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// Bytes of each answer's body.
        #[arg(long, default_value_t = 100)]
        bytes: usize,
    },
    /// The server that `tcp` puts behind the proxies.
    TcpOrigin {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// What its connections are for.
        #[arg(long, value_enum)]
        work: tcp::load::Work,
    },
    /// The load that `tcp` makes; prints how much was done.
    TcpLoad {
        /// Address of the proxy.
        #[arg(long)]
        target: SocketAddr,
        /// What is done.
        #[arg(long, value_enum)]
        work: tcp::load::Work,
        /// For how long.
        #[arg(long)]
        seconds: u64,
    },
    /// The server that takes records: bulk requests on TCP, syslog lines on UDP.
    Sink {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Change(options) => change::run(&options),
        Command::Persist(options) => persist::run(&options),
        Command::Deploy(options) => deploy::run(&options),
        Command::Tables(options) => tables::run(&options),
        Command::Tcp(options) => tcp::run(&options),
        Command::TcpOrigin { listen, work } => tcp::load::serve(listen, work),
        Command::TcpLoad { target, work, seconds } => tcp::load::make(target, work, seconds),
        Command::Ticket(options) => ticket::run(&options),
        Command::Count(options) => count::run(&options),
        Command::CheckGenerator => check_generator(),
        Command::Origin { listen, bytes } => origin::run(listen, bytes),
        Command::Sink { listen } => sink::run(listen),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("vamp-bench: {failure}");
            let mut cause = failure.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Holds our generator against wrk.
fn check_generator() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let stage = peers::Stage::start(directory.path())?;
    let site = workload::Site::Small;
    load::check(stage.origin(site).port(), site.bytes(), peers::LOAD_CORE)
}

/// Builds the product's binaries as a packager ships them, and says where they are.
fn product() -> Result<PathBuf, Failure> {
    let status = std::process::Command::new("cargo")
        .args(["build", "--quiet", "--profile", "dist", "-p", "vamp-gateway", "-p", "vamp-cli"])
        .status()?;
    if !status.success() {
        return Err("`cargo build --profile dist -p vamp-gateway -p vamp-cli` failed: see its output above".into());
    }
    let metadata =
        std::process::Command::new("cargo").args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata
        .get("target_directory")
        .and_then(serde_json::Value::as_str)
        .ok_or("`cargo metadata` names no target directory")?;
    Ok(PathBuf::from(target).join("dist"))
}
