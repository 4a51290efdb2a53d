//! From a REST write to serving on every gateway, with a real etcd and a durable database on one host, beside what the
//! disk alone takes for one `fsync`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use clap::Args;

use crate::Failure;
use crate::process::free_port;
use crate::product::{GatewayRun, Product};
use crate::statistics::quantile;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Changes to make, one after the other.
    #[arg(long, default_value_t = 2_000)]
    changes: usize,
    /// Directory for the databases: its disk is what is measured.
    #[arg(long, default_value = ".")]
    directory: std::path::PathBuf,
}

/// LIMIT: writes that measure the disk; enough for a 99th percentile.
const FSYNCS: usize = 500;

/// Bytes of each write that measures the disk: one page.
const FSYNC_BYTES: usize = 4096;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir_in(&options.directory)?;
    let product = Product::start(&GatewayRun::default(), directory.path())?;
    let port = free_port()?;
    let (mut changes_ms, mut floor_ms) = (Vec::new(), Vec::new());
    for change in 0..options.changes {
        let share = change % 101;
        let document = serde_json::json!({
            "name": "bench", "port": port,
            "routes": {
                "[127.0.0.1:1]": { "weight": format!("{share}%") },
                "[127.0.0.1:2]": { "weight": format!("{}%", 100 - share) },
            },
        });
        let began = Instant::now();
        product.put_gateway("bench", &document)?;
        changes_ms.push(began.elapsed().as_secs_f64() * 1e3);
        // The floor is taken in the same minutes, because the disk is shared and its pace changes.
        if change % (options.changes / FSYNCS).max(1) == 0 {
            floor_ms.push(fsync_ms(directory.path())?);
        }
    }
    report(&changes_ms, &floor_ms);
    Ok(())
}

/// Milliseconds that one durable write of a page takes.
pub(crate) fn fsync_ms(directory: &Path) -> Result<f64, Failure> {
    let mut file = File::create(directory.join("fsync"))?;
    let began = Instant::now();
    file.write_all(&[0; FSYNC_BYTES])?;
    file.sync_all()?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn report(changes_ms: &[f64], floor_ms: &[f64]) {
    let line = |name: &str, values: &[f64]| {
        let at = |share| quantile(values, share).unwrap_or(f64::NAN);
        println!(
            "{name:42} n={:5}  p50 {:6.2} ms  p90 {:6.2} ms  p99 {:6.2} ms  max {:6.2} ms",
            values.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    };
    line("PUT ?wait to serving on every gateway", changes_ms);
    line("one write of 4 KiB with fsync on this disk", floor_ms);
}
