//! What a request, a TCP connection and an idle client cost, in figures that do not depend on how busy the machine is: user-space
//! instructions (callgrind) and system calls (strace) as the difference of two run lengths, and resident memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::Failure;
use crate::load::{Target, counted};
use crate::peers::{Ports, Stage, haproxy_configuration, vamp_routes};
use crate::process::{Process, await_listening, free_port};
use crate::product::{GatewayRun, Product};
use crate::report::keep;
use crate::tcp::load::Work;
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
    /// Folder for the figures.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
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

/// What passes.
#[derive(Debug, Clone, Copy)]
enum Traffic {
    Http(Site),
    Tcp(Work),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Vamp,
    Haproxy,
}

/// One line of the table.
struct Row {
    words: String,
    vamp: f64,
    haproxy: f64,
    decimals: usize,
}

impl Row {
    fn line(&self) -> String {
        let Self { words, vamp, haproxy, decimals } = self;
        format!("| {words} | {vamp:.decimals$} | {haproxy:.decimals$} |")
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let names = "| for one | vamp | haproxy |\n|---|---|---|";
    println!("{names}");
    let mut rows = Vec::new();
    let mut tell = |row: Row| {
        println!("{}", row.line());
        rows.push(row);
    };
    for (counter, counted, decimals) in
        [(Counter::Instructions, "user instructions", 0), (Counter::SystemCalls, "system calls", 2)]
    {
        for (name, traffic) in [
            ("request, 100 B", Traffic::Http(Site::Small)),
            ("request, 90/10 + condition + record", Traffic::Http(Site::Vamp)),
            ("TCP exchange, 100 B", Traffic::Tcp(Work::Exchange)),
            ("TCP connection, with one exchange and record", Traffic::Tcp(Work::Connection)),
        ] {
            let vamp = for_each(Subject::Vamp, counter, traffic, options)?;
            let haproxy = for_each(Subject::Haproxy, counter, traffic, options)?;
            tell(Row { words: format!("{name}: {counted}"), vamp, haproxy, decimals });
        }
    }
    let (vamp, haproxy) = (idle(Subject::Vamp)?, idle(Subject::Haproxy)?);
    tell(Row { words: "MB for 1,000 idle clients".to_owned(), vamp, haproxy, decimals: 2 });
    let lines: Vec<String> = [names.to_owned()].into_iter().chain(rows.iter().map(Row::line)).collect();
    let raw = rows.iter().map(|row| json!({ "what": row.words, "vamp": row.vamp, "haproxy": row.haproxy }));
    let folder = keep(&options.results, "count", &(lines.join("\n") + "\n"), &raw.collect())?;
    println!("figures: {}", folder.display());
    Ok(())
}

fn for_each(subject: Subject, counter: Counter, traffic: Traffic, options: &Options) -> Result<f64, Failure> {
    let run = |units: usize| -> Result<f64, Failure> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("counts");
        let words = counter.words(file.to_str().ok_or("the temporary directory is not UTF-8")?);
        let (mut running, port) = Subjected::start(subject, traffic, words, directory.path())?;
        match traffic {
            Traffic::Http(site) => {
                counted(Target { name: "the proxy", port, bytes: site.bytes() }, options.connections, units)?;
            }
            Traffic::Tcp(work) => {
                let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                crate::tcp::load::count(target, work, options.connections, units)?;
            }
        }
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
    let (running, port) = Subjected::start(subject, Traffic::Http(Site::Small), Vec::new(), directory.path())?;
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
    _origins: Vec<Process>,
}

enum Program {
    Vamp(Box<Product>),
    Haproxy(Process),
}

impl Subjected {
    fn start(
        subject: Subject,
        traffic: Traffic,
        before: Vec<String>,
        directory: &Path,
    ) -> Result<(Self, u16), Failure> {
        let stage = Stage::start(directory)?;
        let port = free_port()?;
        let (pair, origins) = match traffic {
            Traffic::Http(_) => (None, Vec::new()),
            Traffic::Tcp(work) => {
                let (ports, running) = crate::tcp::origins(&[work])?;
                (ports.first().map(|(_, origin)| (port, *origin)), running)
            }
        };
        let program = match subject {
            Subject::Vamp => Program::Vamp(Box::new(vamp(traffic, port, pair, before, &stage, directory)?)),
            Subject::Haproxy => {
                let configuration = match traffic {
                    Traffic::Http(site) => {
                        let path = directory.join("haproxy.cfg");
                        std::fs::write(&path, haproxy_configuration(&stage, Ports::only(site, port)?))?;
                        path.to_str().ok_or("the temporary directory is not UTF-8")?.to_owned()
                    }
                    Traffic::Tcp(_) => crate::tcp::haproxy_configuration(false, pair.into_iter(), &stage, directory)?,
                };
                let own = ["haproxy", "-db", "-f", &configuration];
                let words: Vec<&str> = before.iter().map(String::as_str).chain(own).collect();
                Program::Haproxy(Process::start_anywhere(&words)?)
            }
        };
        await_listening("the proxy", port)?;
        Ok((Self { program, _stage: stage, _origins: origins }, port))
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

/// The product on one thread, with its gateway counted.
fn vamp(
    traffic: Traffic,
    port: u16,
    pair: Option<(u16, u16)>,
    before: Vec<String>,
    stage: &Stage,
    directory: &Path,
) -> Result<Product, Failure> {
    let mut run = GatewayRun { before, arguments: vec!["--threads".to_owned(), "1".to_owned()] };
    let site = match traffic {
        Traffic::Tcp(_) => return crate::tcp::vamp(run, pair.into_iter(), stage, directory),
        Traffic::Http(site) => site,
    };
    if site == Site::Vamp {
        run.arguments.extend(["--elasticsearch".to_owned(), format!("http://{}", stage.sink())]);
    }
    let product = Product::start(&run, directory)?;
    let document = json!({ "name": "bench", "port": port, "routes": vamp_routes(stage, site) });
    product.put_gateway("bench", &document)?;
    Ok(product)
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
