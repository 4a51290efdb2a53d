//! What it costs that all threads of a gateway draw from one ticket: the data path's own code, by threads that do
//! nothing else, from one shared account and from one account each.
//!
//! That is the worst case: threads of a gateway do thousands of times as much between two draws.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use clap::Args;
use rand::seq::SliceRandom;
use vamp_gateway::measured::Decisions;
use vamp_routing::PlainHead;
use vamp_routing::wire::{Balance, Endpoint, Gateway, Generation, Route, Share, Sticky, Table, Target};

use crate::Failure;
use crate::statistics::spread;

/// Threads that draw at once.
const THREADS: [usize; 3] = [1, 2, 4];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every case once, in random order.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Draws of each thread in each round.
    #[arg(long, default_value_t = 10_000_000)]
    draws: u64,
}

/// What is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The ticket and its count.
    Draw,
    /// The whole decision of a request without cookie and condition.
    Decide,
}

/// One way to do it.
struct Case {
    work: Work,
    threads: usize,
    /// Whether all threads draw from one account.
    shared: bool,
    ns: Vec<f64>,
    at_once: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut cases = Vec::new();
    for work in [Work::Draw, Work::Decide] {
        for threads in THREADS {
            cases.extend([true, false].map(|shared| Case {
                work,
                threads,
                shared,
                ns: Vec::new(),
                at_once: Vec::new(),
            }));
        }
    }
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for round in 0..=options.rounds {
        order.shuffle(&mut rand::rng());
        for index in &order {
            let Some(case) = cases.get_mut(*index) else { continue };
            let (ns, at_once) = measure(case, options.draws)?;
            // The first round only warms up.
            if round > 0 {
                case.ns.push(ns);
                case.at_once.push(at_once);
            }
        }
    }
    report(&cases, options)
}

/// CPU nanoseconds of one draw, and how many threads ran at once on average.
fn measure(case: &Case, draws: u64) -> Result<(f64, f64), Failure> {
    let accounts = if case.shared { 1 } else { case.threads };
    let services = (0..accounts).map(|_| service(case.threads)).collect::<Result<Vec<_>, _>>()?;
    let begin = Barrier::new(case.threads);
    let (begin, services, work) = (&begin, &services, case.work);
    let spent: Vec<Result<(u64, f64), Failure>> = std::thread::scope(|scope| {
        let spawn = |thread: usize| {
            scope.spawn(move || {
                let service = services.get(thread % services.len()).ok_or("a thread without a service")?;
                begin.wait();
                let (start, before) = (Instant::now(), cpu_ns()?);
                repeat(work, service, thread, draws);
                Ok((cpu_ns()?.saturating_sub(before), start.elapsed().as_secs_f64()))
            })
        };
        let threads: Vec<_> = (0..case.threads).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    let (mut cpu, mut wall) = (0.0_f64, 0.0_f64);
    for thread in spent {
        let (thread_cpu, thread_wall) = thread?;
        cpu += std::time::Duration::from_nanos(thread_cpu).as_secs_f64();
        wall = wall.max(thread_wall);
    }
    let count = f64::from(u32::try_from(draws)?) * f64::from(u32::try_from(case.threads)?);
    Ok((cpu * 1e9 / count, cpu / wall))
}

fn repeat(work: Work, service: &Decisions, thread: usize, draws: u64) {
    match work {
        Work::Draw => (0..draws).for_each(|_| {
            black_box(service.draw(thread));
        }),
        Work::Decide => {
            let head = PlainHead::default();
            (0..draws).for_each(|_| {
                black_box(service.decide(thread, black_box(&head)));
            });
        }
    }
}

/// A canary of three routes, which needs a wheel.
fn service(threads: usize) -> Result<Decisions, Failure> {
    let route = |(name, weight): (&str, u16)| Route {
        name: name.to_owned(),
        lookup: name.to_owned(),
        weight: Share(weight),
        condition: None,
        condition_strength: Share::WHOLE,
        balance: Balance::RoundRobin,
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![Endpoint {
            name: name.to_owned(),
            lookup: name.to_owned(),
            address: "127.0.0.1:1".to_owned(),
        }]),
    };
    let gateway = Gateway {
        name: "bench".to_owned(),
        lookup: "bench".to_owned(),
        port: Some(1),
        virtual_hosts: Vec::new(),
        sticky: Sticky::None,
        tcp: None,
        routes: [("one", 8_993), ("two", 1_000), ("three", 7)].map(route).into(),
    };
    let table = Table { generation: Generation::default(), gateways: vec![gateway] };
    Decisions::new(&table, threads).map_err(|problems| format!("the table is refused: {problems:?}").into())
}

/// CPU time of this thread. Given up first, so that the kernel's account is not one tick old.
fn cpu_ns() -> Result<u64, Failure> {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().ok_or("an empty schedstat")?.parse()?)
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn report(cases: &[Case], options: &Options) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores, {} rounds of {} draws per thread; CPU ns per draw, median [quartiles], and threads that ran at once",
        options.rounds, options.draws
    );
    for case in cases {
        let work = if case.work == Work::Draw { "draw" } else { "decision" };
        let account = if case.shared { "one account" } else { "one each" };
        println!(
            "{work:8}  {} threads  {account:11}  {:>20} ns  {} at once",
            case.threads,
            spread(&case.ns, 1),
            spread(&case.at_once, 1)
        );
    }
    for case in cases.iter().filter(|case| case.shared) {
        let own = cases.iter().find(|own| !own.shared && own.work == case.work && own.threads == case.threads);
        let Some(own) = own else { continue };
        let more: Vec<f64> = case.ns.iter().zip(&own.ns).map(|(shared, own)| shared - own).collect();
        let work = if case.work == Work::Draw { "draw" } else { "decision" };
        println!("{work:8}  {} threads  sharing costs {} ns", case.threads, spread(&more, 1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_the_gateways_own() {
        let service = service(1).unwrap();
        let first = service.draw(0).unwrap();
        assert_eq!(service.draw(0), Some(first + 1));
        assert!(service.decide(0, &PlainHead::default()).is_some());
        assert_eq!(service.draw(0), Some(first + 3));
    }

    #[test]
    fn the_cpu_time_of_a_thread_rises_with_its_work() {
        let before = cpu_ns().unwrap();
        repeat(Work::Decide, &service(1).unwrap(), 0, 20_000);
        assert!(cpu_ns().unwrap() > before);
    }
}
