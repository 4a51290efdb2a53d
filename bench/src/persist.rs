//! What the database carries: writes in a second beside what the disk alone can do, and with 10,000 artifacts a page of
//! a list, a start, and memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::{Method, RequestBuilder};

use crate::Failure;
use crate::change::fsync_ms;
use crate::control_plane::ControlPlane;
use crate::process::Process;
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

/// One on the database that answers.
fn start(vamp: &Path, database: &str) -> Result<ControlPlane, Failure> {
    let control_plane = ControlPlane::start(vamp, database, &[])?;
    control_plane.answer(control_plane.request(Method::GET, "/ready"))?;
    Ok(control_plane)
}

fn fill(control_plane: &ControlPlane, artifacts: usize) -> Result<(), Failure> {
    for first in (0..artifacts).step_by(FILL) {
        let documents: Vec<_> = (first..artifacts.min(first + FILL)).map(document).collect();
        let request = control_plane.request(Method::PUT, "/api/v1/conditions");
        control_plane.answer(request.json(&documents))?;
    }
    Ok(())
}

/// Writes of small artifacts in a second, each answered when it is on the disk, and what one took.
fn writes(control_plane: &ControlPlane, options: &Options) -> (f64, Vec<f64>) {
    let next = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let began = Instant::now();
    let clients: Vec<_> = (0..options.clients)
        .map(|client| {
            let path = format!("/api/v1/conditions/written-{client}");
            let request = control_plane.request(Method::PUT, &path);
            control_plane.runtime.spawn(write(request, Arc::clone(&next), until))
        })
        .collect();
    let took: Vec<f64> =
        clients.into_iter().flat_map(|client| control_plane.runtime.block_on(client).unwrap_or_default()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a count of writes")]
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    (rate, took)
}

fn pages_ms(control_plane: &ControlPlane, artifacts: usize) -> Result<Vec<f64>, Failure> {
    let pages = (artifacts / 100).max(1);
    (0..PAGES)
        .map(|turn| {
            let began = Instant::now();
            let page = format!("/api/v1/conditions?per_page=100&page={}", 1 + turn % pages);
            control_plane.answer(control_plane.request(Method::GET, &page))?;
            Ok(began.elapsed().as_secs_f64() * 1e3)
        })
        .collect()
}

/// What each write took, milliseconds, one after the other until a moment.
async fn write(request: RequestBuilder, next: Arc<AtomicU64>, until: Instant) -> Vec<f64> {
    let mut took_ms = Vec::new();
    while Instant::now() < until {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::json!({"condition": format!("path is /changed/{number}")});
        let began = Instant::now();
        let Some(request) = request.try_clone() else { break };
        let answer = request.json(&body).send().await;
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
    let control_plane = start(&vamp, database)?;
    let (rate, took) = writes(&control_plane, options);
    rate_line("writes to an empty database", rate);
    line("  each", "ms", &took);
    fill(&control_plane, options.artifacts)?;
    let (rate, took) = writes(&control_plane, options);
    rate_line(&format!("writes beside {} artifacts", options.artifacts), rate);
    line("  each", "ms", &took);
    line("a list page of 100", "ms", &pages_ms(&control_plane, options.artifacts)?);
    mib_line("memory", &control_plane.process)?;
    drop(control_plane);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let control_plane = start(&vamp, database)?;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        mib_line("memory after a start", &control_plane.process)?;
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
