//! A blueprint of many services on the process driver: what planning it takes, what bringing it up takes, and what the
//! control plane uses when nothing changes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::control_plane::ControlPlane;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Services of the blueprint, each a cluster of its own with one instance.
    #[arg(long, default_value_t = 100)]
    services: usize,
    /// Seconds in which nothing changes.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The program to measure, in place of one that is built for it.
    #[arg(long)]
    vamp: Option<PathBuf>,
}

/// LIMIT: a blueprint that is not up after this long will not be.
const PATIENCE: Duration = Duration::from_mins(5);

/// How often the control plane looks at everything when nothing says that something changed.
const LOOKS_EVERY_S: f64 = 2.0;

fn ask(
    control_plane: &ControlPlane,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Option<Value>, Failure> {
    let request = control_plane.request(method, &format!("/api/v1/{path}"));
    control_plane.json(match body {
        Some(body) => request.json(body),
        None => request,
    })
}

/// Waits until the status is as it should be; milliseconds.
fn until(control_plane: &ControlPlane, holds: impl Fn(Option<&Value>) -> bool) -> Result<f64, Failure> {
    let began = Instant::now();
    loop {
        let status = ask(control_plane, Method::GET, "deployments/many/status", None)?;
        if holds(status.as_ref()) {
            return Ok(ms(began));
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("after {} s it is {status:?}", PATIENCE.as_secs()).into());
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

fn blueprint(vamp: &str, services: usize) -> Value {
    let cluster = |number: usize| {
        let breed = json!({
            "name": format!("service{number:03}"),
            "deployable": {"type": "command", "definition": format!("{vamp} demo-service")},
            "ports": {"http": "8080/http"},
            "environment_variables": {"VERSION": "1"},
            "health_checks": {"path": "/", "port": "http", "timeout": "2s", "interval": "5s", "failures": 3},
        });
        let service = json!({"breed": breed, "scale": {"cpu": 0.1, "memory": "64MB", "instances": 1}});
        (format!("cluster{number:03}"), json!({"services": [service]}))
    };
    let clusters: serde_json::Map<String, Value> = (0..services).map(cluster).collect();
    json!({"name": "many", "clusters": clusters})
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let vamp = match &options.vamp {
        Some(vamp) => vamp.clone(),
        None => crate::product()?.join("vamp"),
    };
    let vamp = std::path::absolute(vamp)?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (database, process_dir) = (format!("sqlite:{}", path("vamp.db")), path("process"));
    let control_plane = ControlPlane::start(&vamp, &database, &["--process-dir", &process_dir])?;

    let blueprint = blueprint(&vamp.to_string_lossy(), options.services);
    let began = Instant::now();
    ask(&control_plane, Method::POST, "deployments?validate_only=true", Some(&blueprint))?;
    println!("to plan {} services                 {:8.1} ms", options.services, ms(began));
    let began = Instant::now();
    ask(&control_plane, Method::POST, "deployments", Some(&blueprint))?;
    println!("to plan and keep them               {:8.1} ms", ms(began));
    let before = control_plane.process.cpu_ns()?;
    let took = until(&control_plane, |status| status.is_some_and(|status| status["done"] == true))?;
    println!("until all run and are well          {took:8.1} ms");
    println!("CPU of the control plane for that   {:8.1} ms", cpu_ms(before, control_plane.process.cpu_ns()?));
    let before = control_plane.process.cpu_ns()?;
    std::thread::park_timeout(Duration::from_secs(options.seconds));
    #[expect(clippy::cast_precision_loss, reason = "seconds of a measurement")]
    let looks = options.seconds as f64 / LOOKS_EVERY_S;
    println!(
        "CPU of one look, nothing changing   {:8.1} ms, with the health checks of that time",
        cpu_ms(before, control_plane.process.cpu_ns()?) / looks
    );
    println!("memory of the control plane         {:8.1} MiB", control_plane.process.resident_kib()? / 1024.0);
    ask(&control_plane, Method::DELETE, "deployments/many", None)?;
    let took = until(&control_plane, |status| status.is_none())?;
    println!("until all are gone                  {took:8.1} ms");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a measurement")]
fn cpu_ms(before: u64, after: u64) -> f64 {
    after.saturating_sub(before) as f64 / 1e6
}
