//! What a request and an idle client cost, in figures that do not depend on how busy the machine is: user-space
//! instructions (callgrind) and system calls (strace) as the difference of two run lengths, and resident memory.

use std::path::Path;

use clap::Args;

use crate::Failure;
use crate::load::{Target, counted};
use crate::peers::{Ports, Stage, haproxy_configuration, vamp_routes};
use crate::process::{Process, await_listening, free_port};
use crate::product::{GatewayRun, Product};
use crate::workload::Site;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests of the short run.
    #[arg(long, default_value_t = 2_000)]
    short: usize,
    /// Requests of the long run.
    #[arg(long, default_value_t = 22_000)]
    long: usize,
    /// Clients, each with one request under way.
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// Clients that stay idle before and after the memory of a thousand more is measured.
const IDLE: (usize, usize) = (200, 2_200);

/// What counts.
#[derive(Debug, Clone, Copy)]
enum Counter {
    Instructions,
    SystemCalls,
}

impl Counter {
    /// The words before those of the program that is counted.
    fn words(self, file: &str) -> Vec<String> {
        let words = match self {
            Self::Instructions => format!("valgrind --quiet --tool=callgrind --callgrind-out-file={file}"),
            // As a grandchild, so that signals reach the program.
            Self::SystemCalls => format!("strace -D -f -c -o {file}"),
        };
        words.split(' ').map(str::to_owned).collect()
    }

    fn read(self, text: &str) -> Option<f64> {
        match self {
            Self::Instructions => text.lines().find_map(|line| line.strip_prefix("summary: "))?.trim().parse().ok(),
            // The columns of the last line: share, seconds, microseconds per call, calls, errors, `total`.
            Self::SystemCalls => {
                let total = text.lines().rfind(|line| line.trim_end().ends_with(" total"))?;
                total.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Vamp,
    Haproxy,
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    println!("| for one request | vamp | haproxy |\n|---|---|---|");
    for (name, counter, site) in [
        ("user instructions, 100 B", Counter::Instructions, Site::Small),
        ("user instructions, 90/10 + condition + record", Counter::Instructions, Site::Vamp),
        ("system calls, 100 B", Counter::SystemCalls, Site::Small),
        ("system calls, 90/10 + condition + record", Counter::SystemCalls, Site::Vamp),
    ] {
        let vamp = per_request(Subject::Vamp, counter, site, options)?;
        let haproxy = per_request(Subject::Haproxy, counter, site, options)?;
        let decimals = if matches!(counter, Counter::Instructions) { 0 } else { 2 };
        println!("| {name} | {vamp:.decimals$} | {haproxy:.decimals$} |");
    }
    let [vamp, haproxy] = [idle(Subject::Vamp)?, idle(Subject::Haproxy)?];
    println!("| MB for 1,000 idle clients | {vamp:.2} | {haproxy:.2} |");
    Ok(())
}

fn per_request(subject: Subject, counter: Counter, site: Site, options: &Options) -> Result<f64, Failure> {
    let run = |requests: usize| -> Result<f64, Failure> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("counts");
        let words = counter.words(file.to_str().ok_or("the temporary directory is not UTF-8")?);
        let (mut running, port) = Subjected::start(subject, site, words, directory.path())?;
        counted(Target { name: "the proxy", port, bytes: site.bytes() }, options.connections, requests)?;
        running.stop()?;
        for _ in 0..200 {
            // The counts are written a moment after the end.
            if let Some(count) = std::fs::read_to_string(&file).ok().and_then(|text| counter.read(&text)) {
                return Ok(count);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        Err(format!("{counter:?} were not counted").into())
    };
    let (short, long) = (run(options.short)?, run(options.long)?);
    Ok((long - short) / f64::from(u32::try_from(options.long - options.short)?))
}

/// MB (2²⁰ bytes) of a thousand idle clients that had an answer each.
fn idle(subject: Subject) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let (running, port) = Subjected::start(subject, Site::Small, Vec::new(), directory.path())?;
    let target = Target { name: "the proxy", port, bytes: Site::Small.bytes() };
    let mut clients = Vec::new();
    let mut sizes = Vec::new();
    for wanted in [IDLE.0, IDLE.1] {
        while clients.len() < wanted {
            clients.push(crate::load::idle_client(target)?);
        }
        sizes.push(running.process().resident_kib()?);
    }
    let thousands = f64::from(u32::try_from(IDLE.1 - IDLE.0)?) / 1_000.0;
    match *sizes {
        [before, after] => Ok((after - before) / 1_024.0 / thousands),
        _ => Err("the memory was not measured twice".into()),
    }
}

/// The program that is counted, and what stands behind it.
struct Subjected {
    program: Program,
    _stage: Stage,
}

enum Program {
    Vamp(Box<Product>),
    Haproxy(Process),
}

impl Subjected {
    fn start(subject: Subject, site: Site, before: Vec<String>, directory: &Path) -> Result<(Self, u16), Failure> {
        let stage = Stage::start(directory)?;
        let port = free_port()?;
        let program = match subject {
            Subject::Vamp => {
                let mut arguments = vec!["--threads".to_owned(), "1".to_owned()];
                if site == Site::Vamp {
                    arguments.extend(["--elasticsearch".to_owned(), format!("http://{}", stage.sink())]);
                }
                let product = Product::start(&GatewayRun { before, arguments }, directory)?;
                let routes = vamp_routes(&stage, site);
                let document = serde_json::json!({ "name": "bench", "port": port, "routes": routes });
                product.put_gateway("bench", &document)?;
                Program::Vamp(Box::new(product))
            }
            Subject::Haproxy => {
                let path = directory.join("haproxy.cfg");
                std::fs::write(&path, haproxy_configuration(&stage, Ports::only(site, port)?))?;
                let own = ["haproxy", "-db", "-f", path.to_str().ok_or("the temporary directory is not UTF-8")?];
                let words: Vec<&str> = before.iter().map(String::as_str).chain(own).collect();
                Program::Haproxy(Process::start_anywhere(&words)?)
            }
        };
        await_listening("the proxy", port)?;
        Ok((Self { program, _stage: stage }, port))
    }

    fn process(&self) -> &Process {
        match &self.program {
            Program::Vamp(product) => product.gateway(),
            Program::Haproxy(process) => process,
        }
    }

    fn stop(&mut self) -> Result<(), Failure> {
        match &mut self.program {
            Program::Vamp(product) => product.stop_gateway(),
            Program::Haproxy(process) => process.terminate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_the_tools_write() {
        let callgrind = "events: Ir\nsummary: 123456\n\nfn=(0) x\ntotals: 123456\n";
        assert_eq!(Counter::Instructions.read(callgrind), Some(123_456.0));
        let strace = "% time seconds usecs/call calls errors syscall\n------ ---\n 50.00 0.1 1 10 sendto\n\
            ------ ---\n100.00    3.735360          54     68855        62 total\n";
        assert_eq!(Counter::SystemCalls.read(strace), Some(68_855.0));
        assert_eq!(Counter::SystemCalls.read("100.00 0.1 1 7 total\n"), Some(7.0));
        assert_eq!(Counter::Instructions.read(""), None);
    }
}
