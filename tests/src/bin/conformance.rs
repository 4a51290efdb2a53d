//! Judges a reverse proxy by our HTTP/1.1 conformance set.

#![allow(clippy::print_stdout, reason = "the verdicts are what the program is for")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use vamp_tests::conformance::{Level, Outcome, cases, judge, shown};

/// Our HTTP/1.1 conformance set against any reverse proxy
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Arguments {
    /// Address of the proxy. It must send all requests to the origin's port on 127.0.0.1.
    #[arg(long, required_unless_present = "list")]
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
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(target) = arguments.target.filter(|_| !arguments.list) else {
        for case in cases() {
            println!("{:22} {:6?} {}  [{}]", case.family, case.level, case.name, case.cite);
        }
        return ExitCode::SUCCESS;
    };
    let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.origin_port));
    let outcomes = match judge(target, origin, &arguments.only, arguments.jobs).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            println!("port {} can't be had for the origin: {error}", arguments.origin_port);
            return ExitCode::FAILURE;
        }
    };
    if !arguments.quiet {
        outcomes.iter().for_each(tell);
    }
    sum(&outcomes)
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

/// Passed and all, by family and level.
fn sum(outcomes: &[Outcome]) -> ExitCode {
    let mut families: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for outcome in outcomes {
        let [must, musts, should, shoulds] = families.entry(outcome.case.family).or_default();
        let (passed, all) = if outcome.case.level == Level::Must { (must, musts) } else { (should, shoulds) };
        *passed += usize::from(outcome.fault.is_none());
        *all += 1;
    }
    println!("\n{:22} {:>9} {:>9}", "family", "must", "should");
    let mut total = [0; 4];
    for (family, counts) in families {
        println!("{family:22} {:>4}/{:<4} {:>4}/{:<4}", counts[0], counts[1], counts[2], counts[3]);
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    println!("{:22} {:>4}/{:<4} {:>4}/{:<4}", "all", total[0], total[1], total[2], total[3]);
    if total[0] == total[1] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
