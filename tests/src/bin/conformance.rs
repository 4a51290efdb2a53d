//! Judges reverse proxies by our HTTP/1.1 conformance set.

#![allow(clippy::print_stdout, reason = "the verdicts are what the program is for")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use vamp_tests::conformance::peers::{Kind, Peer};
use vamp_tests::conformance::{Level, Outcome, cases, judge, shown};
use vamp_tests::free_port;

/// Our HTTP/1.1 conformance set against any reverse proxy
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Arguments {
    /// Address of the proxy. It must send all requests to the origin's port on 127.0.0.1.
    #[arg(long, required_unless_present_any = ["list", "peers"])]
    target: Option<SocketAddr>,
    /// Port on 127.0.0.1 where the set listens as the origin.
    #[arg(long, default_value_t = 18_100)]
    origin_port: u16,
    /// Only cases whose family or name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Cases at a time.
    #[arg(long, default_value_t = 64)]
    jobs: usize,
    /// Lists the cases and the rules that they keep.
    #[arg(long)]
    list: bool,
    /// Shows no more than the numbers.
    #[arg(long)]
    quiet: bool,
    /// Starts our gateway and these peers, all if none is named, and compares them.
    #[arg(long, conflicts_with = "target", num_args = 0.., value_name = "PEER")]
    peers: Option<Vec<Kind>>,
    /// Writes the comparison into docs/conformance.md.
    #[arg(long, requires = "peers", conflicts_with = "only")]
    update: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(peers) = &arguments.peers {
        return compare(&arguments, peers).await;
    }
    let Some(target) = arguments.target.filter(|_| !arguments.list) else {
        for case in cases() {
            println!("{:22} {:6?} {}  [{}]", case.family, case.level, case.name, case.cite);
        }
        return ExitCode::SUCCESS;
    };
    let Some(outcomes) = outcomes(&arguments, target, arguments.origin_port).await else { return ExitCode::FAILURE };
    if !arguments.quiet {
        outcomes.iter().for_each(tell);
    }
    sum(&outcomes)
}

/// How all cases ended; `None`, which is told, when there is no port for the origin.
async fn outcomes(arguments: &Arguments, target: SocketAddr, port: u16) -> Option<Vec<Outcome>> {
    let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let judged = judge(target, origin, &arguments.only, arguments.jobs).await;
    judged.map_err(|error| println!("port {port} can't be had for the origin: {error}")).ok()
}

/// A failed case in full.
fn tell(outcome: &Outcome) {
    let Some(fault) = &outcome.fault else { return };
    println!("FAILED {:?} {}: {}  [{}]", outcome.case.level, outcome.case.family, outcome.case.name, outcome.case.cite);
    println!("  {fault}");
    println!("  sent:   {}", shown(&outcome.seen.sent));
    println!("  client: {}{}", shown(&outcome.seen.raw), if outcome.seen.closed { " (closed)" } else { " (open)" });
    println!("  origin: {}", shown(&outcome.seen.origin.raw));
}

/// Passed and all that must be, passed and all that should be.
type Counts = [usize; 4];

/// By family, and all together.
fn counts(outcomes: &[Outcome]) -> (BTreeMap<&'static str, Counts>, Counts) {
    let mut families: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut total = [0; 4];
    for outcome in outcomes {
        for [must, musts, should, shoulds] in [families.entry(outcome.case.family).or_default(), &mut total] {
            let (passed, all) = if outcome.case.level == Level::Must { (must, musts) } else { (should, shoulds) };
            *passed += usize::from(outcome.fault.is_none());
            *all += 1;
        }
    }
    (families, total)
}

/// Passed and all, by family and level.
fn sum(outcomes: &[Outcome]) -> ExitCode {
    let (families, total) = counts(outcomes);
    println!("\n{:22} {:>9} {:>9}", "family", "must", "should");
    for (family, [must, musts, should, shoulds]) in families.into_iter().chain([("all", total)]) {
        println!("{family:22} {must:>4}/{musts:<4} {should:>4}/{shoulds:<4}");
    }
    if total[0] == total[1] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the set against our gateway and each peer, one after the other, and shows a table.
async fn compare(arguments: &Arguments, peers: &[Kind]) -> ExitCode {
    let named = |kind: &Kind| *kind == Kind::Vamp || peers.is_empty() || peers.contains(kind);
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            println!("no temporary directory can be made: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut columns = Vec::new();
    for kind in Kind::value_variants().iter().copied().filter(named) {
        let port = free_port();
        let peer = Peer::start(kind, (Ipv4Addr::LOCALHOST, port).into(), folder.path()).await;
        let Some(outcomes) = outcomes(arguments, peer.address, port).await else { return ExitCode::FAILURE };
        if !arguments.quiet && kind == Kind::Vamp {
            outcomes.iter().for_each(tell);
        }
        let (families, total) = counts(&outcomes);
        println!("{}: {} + {} of {} + {}", peer.title, total[0], total[2], total[1], total[3]);
        columns.push((peer.title.clone(), families, total));
        peer.stop().await;
    }
    let table = table(&columns);
    println!("\n{table}");
    if arguments.update
        && let Err(error) = update(&table)
    {
        println!("docs/conformance.md can't be written: {error}");
        return ExitCode::FAILURE;
    }
    let is_whole = columns.first().is_some_and(|(_, _, [must, musts, ..])| must == musts);
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The numbers of passed cases as a table in Markdown.
fn table(columns: &[(String, BTreeMap<&'static str, Counts>, Counts)]) -> String {
    let cell = |[must, _, should, shoulds]: Counts| {
        if shoulds == 0 { must.to_string() } else { format!("{must} + {should}") }
    };
    let row = |name: &str, cells: Vec<String>| format!("| {name} | {} |\n", cells.join(" | "));
    let mut text = row("family", columns.iter().map(|(title, ..)| title.clone()).collect());
    let _infallible = writeln!(text, "{}|", "|---".repeat(columns.len() + 1));
    let Some((_, first, _)) = columns.first() else { return text };
    for family in first.keys() {
        let of_family =
            |(_, families, _): &(_, BTreeMap<&str, Counts>, _)| cell(families.get(family).copied().unwrap_or_default());
        text.push_str(&row(family, columns.iter().map(of_family).collect()));
    }
    text + &row("**all**", columns.iter().map(|(.., total)| cell(*total)).collect())
}

/// Puts the table in the place of the one that stands in the page.
fn update(table: &str) -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("conformance.md");
    let page = std::fs::read_to_string(&path)?;
    let start = page.find("| family |").ok_or_else(|| std::io::Error::other("it has no table"))?;
    let (before, rest) = page.split_at(start);
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    std::fs::write(path, format!("{before}{table}{}", rest.split_at(end).1))
}
