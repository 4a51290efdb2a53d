//! What the database carries: writes in a second beside what the disk alone can do, and with 10,000 artifacts a page of
//! a list, a start, and memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use crate::Failure;
use crate::change::fsync_ms;
use crate::process::{Process, await_listening, free_port};
use crate::statistics::quantile;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Artifacts that are there while it is measured.
    #[arg(long, default_value_t = 10_000)]
    artifacts: usize,
    /// Clients that write at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Seconds of writing.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Directory for the database: its disk is what is measured.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Database in place of a file in the directory, as `--database` of the control plane takes it; best an empty one.
    #[arg(long)]
    database: Option<String>,
    /// The program to measure, in place of one that is built for it.
    #[arg(long)]
    vamp: Option<PathBuf>,
}

/// LIMIT: writes that measure the disk; enough for a 99th percentile.
const FSYNCS: usize = 500;
/// Artifacts of one call while the database is filled.
const FILL: usize = 1000;
/// Pages that are read.
const PAGES: usize = 200;

/// A control plane on the database, and a client for it.
struct Stage {
    process: Process,
    root: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn start(vamp: &Path, database: &str) -> Result<Self, Failure> {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let vamp = vamp.to_string_lossy().into_owned();
        let command = [&vamp, "control-plane", "--listen", &listen, "--store", "memory:", "--database", database];
        let process = Process::start_anywhere(&command)?;
        await_listening("the control plane", port)?;
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(2)).build()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let stage = Self { process, root: format!("http://{listen}"), client, runtime };
        stage.get("/ready")?;
        Ok(stage)
    }

    fn get(&self, path: &str) -> Result<String, Failure> {
        let request = self.client.get(format!("{}{path}", self.root));
        self.runtime.block_on(async { Ok(request.send().await?.error_for_status()?.text().await?) })
    }

    fn fill(&self, artifacts: usize) -> Result<(), Failure> {
        for first in (0..artifacts).step_by(FILL) {
            let documents: Vec<_> = (first..artifacts.min(first + FILL)).map(document).collect();
            let request = self.client.put(format!("{}/api/v1/conditions", self.root)).json(&documents);
            self.runtime.block_on(async { request.send().await?.error_for_status() })?;
        }
        Ok(())
    }

    /// Writes of small artifacts in a second, each answered when it is on the disk, and what one took.
    fn writes(&self, options: &Options) -> (f64, Vec<f64>) {
        let next = Arc::new(AtomicU64::new(0));
        let until = Instant::now() + Duration::from_secs(options.seconds);
        let began = Instant::now();
        let clients: Vec<_> = (0..options.clients)
            .map(|client| {
                let url = format!("{}/api/v1/conditions/written-{client}", self.root);
                self.runtime.spawn(write(self.client.clone(), url, Arc::clone(&next), until))
            })
            .collect();
        let took: Vec<f64> =
            clients.into_iter().flat_map(|client| self.runtime.block_on(client).unwrap_or_default()).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of writes")]
        let rate = took.len() as f64 / began.elapsed().as_secs_f64();
        (rate, took)
    }

    fn pages_ms(&self, artifacts: usize) -> Result<Vec<f64>, Failure> {
        let pages = (artifacts / 100).max(1);
        (0..PAGES)
            .map(|turn| {
                let began = Instant::now();
                self.get(&format!("/api/v1/conditions?per_page=100&page={}", 1 + turn % pages))?;
                Ok(began.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    }
}

/// What each write took, milliseconds, one after the other until a moment.
async fn write(client: reqwest::Client, url: String, next: Arc<AtomicU64>, until: Instant) -> Vec<f64> {
    let mut took_ms = Vec::new();
    while Instant::now() < until {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::json!({"condition": format!("path is /changed/{number}")});
        let began = Instant::now();
        let answer = client.put(&url).json(&body).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            took_ms.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    took_ms
}

fn document(number: usize) -> serde_json::Value {
    serde_json::json!({"name": format!("c{number:06}"), "condition": format!("path is /number/{number}")})
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir_in(&options.directory)?;
    let vamp = match &options.vamp {
        Some(vamp) => vamp.clone(),
        None => crate::product()?.join("vamp"),
    };
    let file = format!("sqlite:{}", directory.path().join("vamp.db").display());
    let database = options.database.as_deref().unwrap_or(&file);
    let floor_ms = (0..FSYNCS).map(|_| fsync_ms(directory.path())).collect::<Result<Vec<_>, _>>()?;
    line("one write of 4 KiB with fsync on this disk", "ms", &floor_ms);
    let stage = Stage::start(&vamp, database)?;
    let (rate, took) = stage.writes(options);
    rate_line("writes to an empty database", rate);
    line("  each", "ms", &took);
    stage.fill(options.artifacts)?;
    let (rate, took) = stage.writes(options);
    rate_line(&format!("writes beside {} artifacts", options.artifacts), rate);
    line("  each", "ms", &took);
    line("a list page of 100", "ms", &stage.pages_ms(options.artifacts)?);
    mib_line("memory", &stage.process)?;
    drop(stage);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let stage = Stage::start(&vamp, database)?;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        mib_line("memory after a start", &stage.process)?;
    }
    line("a start after a kill, to the first answer", "ms", &starts);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn line(name: &str, unit: &str, values: &[f64]) {
    let at = |share| quantile(values, share).unwrap_or(f64::NAN);
    println!(
        "{name:44} n={:6}  p50 {:7.2} {unit}  p90 {:7.2} {unit}  p99 {:7.2} {unit}  max {:7.2} {unit}",
        values.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn rate_line(name: &str, rate: f64) {
    println!("{name:44} {rate:.0} in a second");
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn mib_line(name: &str, process: &Process) -> Result<(), Failure> {
    println!("{name:44} {:.0} MiB", process.resident_kib()? / 1024.0);
    Ok(())
}
