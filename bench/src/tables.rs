//! A table of the size that the product is made for: what it costs to read, compile, hold and ask, and what a change of
//! one gateway of it costs, in parts and through a whole gateway.

mod heap;
mod live;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use clap::Args;
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use vamp_gateway::measured::Decisions;
use vamp_routing::wire::{
    self, Balance, Encoded, Endpoint, Gateway, Generation, ManifestEntry, Route, Share, Sticky, Table, Target,
};
use vamp_routing::{CompiledTable, Draws, Entry, Head, LevelRef, Part};

use crate::Failure;
use crate::statistics::spread;

/// The port of the virtual hosts, which no gateway of the table has.
const VIRTUAL_HOSTS_PORT: u16 = 9;

/// The port of the first gateway.
const FIRST_PORT: u16 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Gateways of the table, each with two virtual hosts and a port.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=50_000))]
    gateways: u16,
    /// Routes of each gateway, with one endpoint each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    routes: u16,
    /// Routes of each gateway that have a condition.
    #[arg(long, default_value_t = 2)]
    conditions: u16,
    /// Repetitions of each measurement.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Changes of one gateway through a whole gateway and its store; 0 leaves that out.
    #[arg(long, default_value_t = 50)]
    changes: u64,
    /// Pairs of slices of load with and without swaps; 0 leaves that out.
    #[arg(long, default_value_t = 7)]
    pairs: usize,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let table = table(options, |_, _| "127.0.0.1:1".to_owned());
    say(&format!(
        "{} gateways, {} routes, {} conditions; medians [quartiles] of {} rounds",
        options.gateways,
        u32::from(options.gateways) * u32::from(options.routes),
        u32::from(options.gateways) * u32::from(options.conditions.min(options.routes)),
        options.rounds
    ));
    let values = read_and_write(&table, options.rounds)?;
    let mut service = compile(&table, &values, options.rounds)?;
    one_change(&mut service, table.clone(), &values, options.rounds)?;
    lookups(&service, &table, options)?;
    drop((service, values, table));
    live::run(options)
}

/// The table; `address` says where a route of a gateway leads.
fn table(options: &Options, address: impl Fn(u16, u16) -> String) -> Table {
    let gateway = |number: u16| Gateway {
        name: format!("shop/{number:05}"),
        lookup: format!("{:040x}", u64::from(number) + (1 << 50)),
        port: Some(FIRST_PORT + number),
        virtual_hosts: vec![format!("{number:05}.shop.vamp"), format!("shop-{number:05}.example.org")],
        sticky: if number.is_multiple_of(4) { Sticky::Route } else { Sticky::None },
        tcp: None,
        routes: (0..options.routes).map(|place| route(options, number, place, address(number, place))).collect(),
    };
    Table { generation: Generation { epoch: 1, revision: 1 }, gateways: (0..options.gateways).map(gateway).collect() }
}

fn route(options: &Options, gateway: u16, place: u16, address: String) -> Route {
    let condition = match place {
        _ if place >= options.conditions => None,
        0 => Some("User-Agent == Firefox and path under /beta".to_owned()),
        _ => Some(format!("header X-Group == g{gateway} or cookie group has beta-{place}")),
    };
    // All of it on two routes: most canaries have two sides with a share. Every eighth gateway has three.
    let weights: &[u16] = if gateway.is_multiple_of(8) { &[8_000, 1_500, 500] } else { &[9_000, 1_000] };
    let first = options.routes.saturating_sub(u16::try_from(weights.len()).unwrap_or(2));
    let weight = place.checked_sub(first).and_then(|side| weights.get(usize::from(side))).copied().unwrap_or(0);
    let lookup = format!("{:040x}", (u64::from(gateway) << 16) + u64::from(place) + (1 << 60));
    Route {
        name: format!("[{address}]#{place}"),
        weight: Share(weight),
        condition,
        condition_strength: Share::WHOLE,
        balance: Balance::RoundRobin,
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![Endpoint { name: address.clone(), lookup: lookup.clone(), address }]),
        lookup,
    }
}

/// Encodes and decodes all of it, one after the other.
fn read_and_write(table: &Table, rounds: usize) -> Result<Vec<Encoded>, Failure> {
    let mut encoding = Vec::new();
    let mut decoding = Vec::new();
    let mut values = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        values = table.gateways.iter().map(wire::encode_gateway).collect();
        encoding.push(ms(began));
        let began = Instant::now();
        for value in &values {
            black_box(wire::decode_gateway(value.digest, &value.bytes)?);
        }
        decoding.push(ms(began));
    }
    let bytes: usize = values.iter().map(|value| value.bytes.len()).sum();
    line("encode all values", &encoding, "ms");
    line("decode all values", &decoding, "ms");
    say(&format!("{:46} {} KiB", "all values, packed", bytes / 1024));
    let entries = entries(table, &values);
    let (mut writing, mut reading, mut manifest_bytes, mut page_count) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..rounds {
        let began = Instant::now();
        let (manifest, pages) = wire::encode_manifest(table.generation, None, &entries);
        writing.push(ms(began));
        let began = Instant::now();
        let mut read = wire::decode_manifest(&manifest)?;
        let read_pages = pages.iter().map(|page| wire::decode_page(page.digest, &page.bytes));
        read.complete(read_pages.collect::<Result<_, _>>()?)?;
        reading.push(ms(began));
        (manifest_bytes, page_count) = (manifest.len(), pages.len());
    }
    line("encode the manifest and all its pages", &writing, "ms");
    line("decode the manifest and all its pages", &reading, "ms");
    say(&format!("{:46} {manifest_bytes} bytes, {page_count} pages", "the manifest"));
    Ok(values)
}

fn entries(table: &Table, values: &[Encoded]) -> Vec<ManifestEntry> {
    let both = table.gateways.iter().zip(values);
    both.map(|(gateway, value)| ManifestEntry { name: gateway.name.clone(), digest: value.digest }).collect()
}

/// Compiles all of it, on one thread, with nothing to take over.
fn compile(table: &Table, values: &[Encoded], rounds: usize) -> Result<Decisions, Failure> {
    let mut compiling = Vec::new();
    let mut freeing = Vec::new();
    for _ in 0..rounds {
        let parts = parts(table, values);
        let began = Instant::now();
        let compiled = CompiledTable::assemble(table.generation, parts, None).map_err(|problems| refused(&problems))?;
        compiling.push(ms(began));
        let began = Instant::now();
        drop(compiled);
        freeing.push(ms(began));
    }
    line("compile all of it", &compiling, "ms");
    line("free a table that shares nothing", &freeing, "ms");
    let before = heap::live_bytes();
    let compiled =
        CompiledTable::assemble(table.generation, parts(table, values), None).map_err(|problems| refused(&problems))?;
    let with_table = heap::live_bytes();
    let service = Decisions::of(compiled, Some(VIRTUAL_HOSTS_PORT), 2);
    let with_service = heap::live_bytes();
    say(&format!("{:46} {} KiB", "memory of the compiled table", (with_table - before) / 1024));
    say(&format!("{:46} {} KiB", "memory of accounts, counters and endpoints", (with_service - with_table) / 1024));
    Ok(service)
}

/// The values as a gateway has them when it compiles: unpacked, under the digests that they were checked against.
fn parts(table: &Table, values: &[Encoded]) -> Vec<Part> {
    let both = table.gateways.iter().zip(values);
    both.map(|(gateway, value)| Part::Value(gateway.clone(), Some(value.digest))).collect()
}

/// Changes the weights of one gateway, in the parts that a gateway process does.
fn one_change(service: &mut Decisions, mut table: Table, values: &[Encoded], rounds: usize) -> Result<(), Failure> {
    let mut parts: [Vec<f64>; 5] = Default::default();
    let mut entries = entries(&table, values);
    for round in 0..rounds.max(1) * 5 {
        let place = rand::rng().random_range(0..table.gateways.len());
        let Some(gateway) = table.gateways.get_mut(place) else { continue };
        edit(gateway, round);
        table.generation.revision += 1;
        let encoded = wire::encode_gateway(gateway);
        if let Some(entry) = entries.get_mut(place) {
            entry.digest = encoded.digest;
        }
        let (manifest, pages) = wire::encode_manifest(table.generation, None, &entries);
        // A gateway keeps the pages that stay.
        let pages: Vec<_> =
            pages.iter().map(|page| wire::decode_page(page.digest, &page.bytes)).collect::<Result<_, _>>()?;
        let began = Instant::now();
        let mut manifest = wire::decode_manifest(&manifest)?;
        manifest.complete(pages.clone())?;
        note(&mut parts, 0, began);
        let began = Instant::now();
        let value = wire::decode_gateway(encoded.digest, &encoded.bytes)?;
        note(&mut parts, 1, began);
        let began = Instant::now();
        let mut value = Some(value);
        let next = service.table().parts(&manifest.entries, |_| value.take().ok_or("more than one gateway is new"))?;
        let next = CompiledTable::assemble(table.generation, next, Some(service.table()))
            .map_err(|problems| refused(&problems))?;
        note(&mut parts, 2, began);
        let began = Instant::now();
        let replaced = service.follow(next);
        note(&mut parts, 3, began);
        let began = Instant::now();
        drop(replaced);
        note(&mut parts, 4, began);
    }
    let names = [
        "complete the manifest",
        "decode its value",
        "compile the next table",
        "put it into service",
        "free the one before",
    ];
    for (name, part) in names.iter().zip(&parts) {
        line(&format!("one gateway changed: {name}"), part, "ms");
    }
    Ok(())
}

fn note(parts: &mut [Vec<f64>], part: usize, began: Instant) {
    if let Some(values) = parts.get_mut(part) {
        values.push(ms(began));
    }
}

/// Moves a hundredth of a percent between two routes.
fn edit(gateway: &mut Gateway, round: usize) {
    let by = u16::try_from(round % 400).unwrap_or_default() + 1;
    let mut weights = gateway.routes.iter_mut().rev().map(|route| &mut route.weight);
    if let (Some(last), Some(first)) = (weights.next(), weights.next()) {
        let sum = last.0 + first.0;
        last.0 = (by % sum).max(1);
        first.0 = sum - last.0;
    }
}

/// Decides requests of all gateways in random order, and of one.
fn lookups(service: &Decisions, table: &Table, options: &Options) -> Result<(), Failure> {
    let mut by_port: Vec<_> =
        table.gateways.iter().filter_map(|gateway| Some((gateway.port?, Asked { host: "" }))).collect();
    let hosts = table.gateways.iter().flat_map(|gateway| &gateway.virtual_hosts);
    let mut by_host: Vec<_> = hosts.map(|host| (VIRTUAL_HOSTS_PORT, Asked { host })).collect();
    for (name, requests) in [("port", &mut by_port), ("host", &mut by_host)] {
        let (mut all, mut one, mut pure) = (Vec::new(), Vec::new(), Vec::new());
        requests.shuffle(&mut rand::rng());
        for _ in 0..options.rounds {
            pure.push(ns_each_pure(service.table(), requests.iter().cycle().take(200_000))?);
            all.push(ns_each(service, requests.iter().cycle().take(200_000))?);
            one.push(ns_each(service, requests.iter().take(1).cycle().take(200_000))?);
        }
        line(&format!("look up by {name}, all gateways in random order"), &pure, "ns");
        line(&format!("decide by {name}, all gateways in random order"), &all, "ns");
        line(&format!("decide by {name}, one gateway"), &one, "ns");
    }
    Ok(())
}

/// A request's head that lies nowhere but in its host: what is measured is the table.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    host: &'a str,
}

impl Head for Asked<'_> {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn path(&self) -> &[u8] {
        b"/articles"
    }

    fn query(&self) -> Option<&[u8]> {
        Some(b"page=2")
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn source(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let user_agent: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64) Chrome/128.0";
        std::iter::once((b"User-Agent".as_slice(), user_agent))
    }
}

fn ns_each<'r>(service: &Decisions, requests: impl Iterator<Item = &'r (u16, Asked<'r>)>) -> Result<f64, Failure> {
    let (mut count, mut routed) = (0_u32, 0_u32);
    let began = Instant::now();
    for (port, head) in requests {
        count += 1;
        routed += u32::from(service.decide_at(0, *port, head).is_some());
    }
    let spent = began.elapsed();
    if count != routed {
        return Err(format!("{} of {count} requests found no route", count - routed).into());
    }
    Ok(spent.as_secs_f64() * 1e9 / f64::from(count.max(1)))
}

/// The table alone: without the accounts and counters of a process.
fn ns_each_pure<'r>(
    table: &CompiledTable,
    requests: impl Iterator<Item = &'r (u16, Asked<'r>)>,
) -> Result<f64, Failure> {
    let (mut count, mut routed, mut turns) = (0_u32, 0_u32, Turns(0));
    let began = Instant::now();
    for (port, head) in requests {
        count += 1;
        let entry = table.at_port(*port).map_or(Entry::VirtualHosts, Entry::Gateway);
        routed += u32::from(table.route(entry, head, &mut turns).is_ok());
    }
    let spent = began.elapsed();
    if count != routed {
        return Err(format!("{} of {count} requests found no route", count - routed).into());
    }
    Ok(spent.as_secs_f64() * 1e9 / f64::from(count.max(1)))
}

/// One account for all.
struct Turns(u64);

impl Draws for Turns {
    fn draw(&mut self, _at: LevelRef) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn refused(problems: &[vamp_routing::Problem]) -> Failure {
    format!("the table is refused: {:?}", problems.first()).into()
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn line(name: &str, values: &[f64], unit: &str) {
    say(&format!("{name:46} {} {unit}", spread(values, if unit == "ms" { 2 } else { 0 })));
}

#[expect(clippy::print_stdout, reason = "the figures are what the command is for")]
fn say(text: &str) {
    println!("{text}");
}
