//! What a comparison found: a table of ratios for people, the raw runs for machines, and a plot.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::Failure;
use crate::peers::Kind;
use crate::plot;
use crate::statistics::{quantile, spread};
use crate::workload::Workload;

/// What one proxy did in one slice of time.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) round: usize,
    pub(crate) peer: Kind,
    pub(crate) workload: Workload,
    /// CPU microseconds of the proxy for each request.
    pub(crate) cpu_us: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median, 99th and 99.9th percentile in microseconds, where requests came at moments of their own.
    pub(crate) latency_us: Option<[f64; 3]>,
}

/// A whole comparison.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) versions: Vec<(Kind, String)>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) connections: usize,
}

/// Spread of the ratios (distance of the quartiles, as a share of the median) above which they tell nothing.
const NOISE_MAX: f64 = 0.25;

impl Run {
    /// Ratios of CPU per request to HAProxy's in the same round, for one proxy at one workload.
    pub(crate) fn ratios(&self, peer: Kind, workload: Workload) -> Vec<f64> {
        let of = |peer: Kind, round: usize| {
            self.slices.iter().find(|slice| (slice.peer, slice.workload, slice.round) == (peer, workload, round))
        };
        let ratio = |round| Some(of(peer, round)?.cpu_us / of(Kind::Haproxy, round)?.cpu_us);
        (1..=self.rounds).filter_map(ratio).collect()
    }

    /// The proxies, HAProxy first, then the gateway.
    pub(crate) fn peers(&self) -> Vec<Kind> {
        let mut peers: Vec<_> = self.versions.iter().map(|(kind, _)| *kind).collect();
        peers.sort_by_key(|kind| (*kind != Kind::Haproxy, *kind as u8));
        peers
    }

    /// The workloads, in the order in which they were measured.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let mut workloads = Vec::new();
        for slice in &self.slices {
            if !workloads.contains(&slice.workload) {
                workloads.push(slice.workload);
            }
        }
        workloads
    }

    /// The table in Markdown.
    pub(crate) fn table(&self) -> String {
        let peers = self.peers();
        let mut text = format!(
            "CPU per request as a multiple of HAProxy's in the same round: median [quartiles] of {} rounds of {} s, {} \
             connections, one thread and one core for each proxy.\n\n| workload |",
            self.rounds, self.seconds, self.connections
        );
        for peer in &peers {
            text.push_str(&format!(" {} |", peer.name()));
        }
        text.push_str(&format!("\n|---|{}\n", "---|".repeat(peers.len())));
        for workload in self.workloads() {
            text.push_str(&format!("| {} |", workload.words()));
            for peer in &peers {
                text.push_str(&format!(" {} |", self.cell(*peer, workload)));
            }
            text.push('\n');
        }
        text.push_str(&self.latencies());
        text.push('\n');
        for peer in peers {
            let version = self.versions.iter().find(|(kind, _)| *kind == peer).map_or("", |(_, version)| version);
            text.push_str(&format!("- {}: {version}\n", peer.name()));
        }
        text
    }

    fn cell(&self, peer: Kind, workload: Workload) -> String {
        let of = |value: fn(&Slice) -> f64| -> Vec<f64> {
            let slices = self.slices.iter().filter(|slice| (slice.peer, slice.workload) == (peer, workload));
            slices.map(value).collect()
        };
        let cpu_us = quantile(&of(|slice| slice.cpu_us), 0.5).unwrap_or(f64::NAN);
        if peer == Kind::Haproxy {
            return format!("1 ({cpu_us:.1} us)");
        }
        let ratios = self.ratios(peer, workload);
        let noise = if is_too_noisy(&ratios) { " too noisy" } else { "" };
        format!("{} ({cpu_us:.1} us){noise}", spread(&ratios, 2))
    }

    /// Lines about the latency at fixed rates.
    fn latencies(&self) -> String {
        let mut text = String::new();
        for workload in self.workloads() {
            for peer in self.peers() {
                let slices = self.slices.iter().filter(|slice| (slice.peer, slice.workload) == (peer, workload));
                let measured: Vec<[f64; 3]> = slices.filter_map(|slice| slice.latency_us).collect();
                let at = |place: usize| {
                    quantile(&measured.iter().filter_map(|all| all.get(place).copied()).collect::<Vec<_>>(), 0.5)
                };
                if let (Some(p50), Some(p99), Some(p999)) = (at(0), at(1), at(2)) {
                    text.push_str(&format!(
                        "\n{}, {}: p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us from the intended start",
                        workload.words(),
                        peer.name()
                    ));
                }
            }
        }
        if text.is_empty() { text } else { format!("{text}\n") }
    }

    fn raw(&self) -> Value {
        let slices = self.slices.iter().map(|slice| {
            json!({
                "round": slice.round, "peer": slice.peer.name(), "workload": slice.workload.words(),
                "cpu_us_per_request": slice.cpu_us, "requests_per_second": slice.rate,
                "p50_p99_p999_us": slice.latency_us,
            })
        });
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(kind, version)| (kind.name().to_owned(), json!(version))).collect();
        json!({
            "rounds": self.rounds, "seconds": self.seconds, "connections": self.connections,
            "versions": versions, "slices": slices.collect::<Vec<_>>(),
        })
    }

    /// Writes all below `results`; tells where.
    pub(crate) fn write(&self, results: &Path) -> Result<PathBuf, Failure> {
        let folder = keep(results, "compare", &self.table(), &self.raw())?;
        std::fs::write(folder.join("ratios.svg"), plot::ratios(self))?;
        Ok(folder)
    }
}

/// Writes what was measured, as it is printed and as it was read, into a new folder below `results`; tells where.
pub(crate) fn keep(results: &Path, command: &str, summary: &str, raw: &Value) -> Result<PathBuf, Failure> {
    let folder = results.join(format!("{command}-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("raw.json"), format!("{raw:#}\n"))?;
    std::fs::write(folder.join("summary.md"), summary)?;
    Ok(folder)
}

/// Whether the quartiles are too far apart to judge by the median.
pub(crate) fn is_too_noisy(values: &[f64]) -> bool {
    match (quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)) {
        (Some(lower), Some(median), Some(upper)) => (upper - lower) / median > NOISE_MAX,
        _ => true,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run in which the gateway needs half of what HAProxy does, and nginx now this and now that.
    pub(crate) fn run() -> Run {
        let slice = |round: usize, peer, cpu_us| Slice {
            round,
            peer,
            workload: Workload::Ka100,
            cpu_us,
            rate: 1.0,
            latency_us: None,
        };
        let pace = [10.0, 20.0, 40.0];
        let slices = pace.into_iter().enumerate().flat_map(|(round, us)| {
            let swing = if round == 1 { 1.5 } else { 0.5 };
            [(Kind::Haproxy, us), (Kind::Vamp, us / 2.0), (Kind::Nginx, us * swing)]
                .map(|(peer, us)| slice(round + 1, peer, us))
        });
        let versions = [Kind::Vamp, Kind::Nginx, Kind::Haproxy].map(|kind| (kind, "1".to_owned())).to_vec();
        Run { versions, slices: slices.collect(), rounds: 3, seconds: 1, connections: 1 }
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        assert_eq!(run().ratios(Kind::Vamp, Workload::Ka100), [0.5, 0.5, 0.5]);
    }

    #[test]
    fn the_table_names_what_it_cannot_judge() {
        let table = run().table();
        let row = table.lines().find(|line| line.starts_with("| keep-alive")).unwrap();
        assert_eq!(
            row,
            "| keep-alive, 100 B | 1 (20.0 us) | 0.50 [0.50-0.50] (10.0 us) | 0.50 [0.50-1.00] (20.0 us) too noisy |"
        );
    }
}
