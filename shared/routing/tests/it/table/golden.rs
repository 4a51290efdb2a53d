//! Golden files: `tests/it/table/golden/*.json`, each a table, requests, and the verdict on each; or what stands in the way
//! of the table. Written by hand: they say what is wanted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::Deserialize;
use vamp_routing::wire::Gateway;
use vamp_routing::{CompiledTable, Entry, PlainHead};

use super::{Tickets, table, words};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gateways: Vec<Gateway>,
    #[serde(default)]
    requests: Vec<Request>,
    /// `gateway: path: message`, for a table that is refused.
    #[serde(default)]
    problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// What the case shows.
    claim: String,
    /// The gateway at whose port it comes in; without one, the port of the virtual hosts.
    at: Option<String>,
    #[serde(default = "root")]
    target: String,
    #[serde(default)]
    host: String,
    source: Option<IpAddr>,
    #[serde(default)]
    fields: Vec<(String, String)>,
    /// The first ticket of some levels; 0 for the others.
    #[serde(default)]
    tickets: HashMap<String, u64>,
    #[serde(default)]
    down: Vec<String>,
    /// One verdict for each time that the request is sent.
    verdicts: Vec<String>,
    /// How often each verdict comes, for long runs; in place of `verdicts`.
    #[serde(default)]
    counts: HashMap<String, u64>,
    /// The levels of which a ticket was taken, where the case is about that.
    asked: Option<Vec<String>>,
    /// Rules of `explain` for the first time, `route: rule: result`.
    rules: Option<Vec<String>>,
    /// Chances of the routes of the first gateway, in percent.
    shares: Option<Vec<f64>>,
}

fn root() -> String {
    "/".to_owned()
}

fn files() -> Vec<(PathBuf, File)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/table/golden");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    };
    let mut files: Vec<_> = paths.map(read).collect();
    files.sort_by(|(left, _), (right, _)| left.cmp(right));
    files
}

#[test]
fn every_golden_file_holds() {
    let files = files();
    assert!(files.len() >= 8, "golden files are missing");
    for (path, file) in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match CompiledTable::compile(&table(file.gateways), None) {
            Ok(compiled) => {
                assert!(file.problems.is_empty(), "{name}: compiled, and was to be refused");
                file.requests.iter().for_each(|request| check(&name, &compiled, request));
            }
            Err(problems) => {
                let line = |problem: vamp_routing::Problem| {
                    format!("{}: {}: {}", problem.gateway, problem.path, problem.message)
                };
                assert_eq!(problems.into_iter().map(line).collect::<Vec<_>>(), file.problems, "{name}");
            }
        }
    }
}

#[track_caller]
fn check(file: &str, compiled: &CompiledTable, request: &Request) {
    let case = format!("{file}: {}", request.claim);
    let entry = match &request.at {
        Some(gateway) => Entry::Gateway(compiled.find(gateway).unwrap_or_else(|| panic!("{case}: no `{gateway}`"))),
        None => Entry::VirtualHosts,
    };
    let head = PlainHead {
        target: request.target.clone(),
        host: request.host.clone(),
        source: request.source.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        fields: request.fields.clone(),
        ..PlainHead::default()
    };
    let mut tickets = Tickets { next: request.tickets.clone(), down: request.down.clone(), ..Tickets::new(compiled) };
    tickets.takes = false;
    let explanation = compiled.explain(entry, &head, &mut tickets);
    tickets.takes = true;
    tickets.asked.clear();
    if let Some(rules) = &request.rules {
        let line = |rule: &vamp_routing::Rule| {
            let route = rule.route.clone().unwrap_or_default();
            format!("{route}: {}: {}", rule.rule, rule.result)
        };
        assert_eq!(&explanation.rules.iter().map(line).collect::<Vec<_>>(), rules, "{case}");
    }
    if let Some(shares) = &request.shares {
        assert_eq!(&explanation.shares.iter().map(|(_, share)| *share).collect::<Vec<_>>(), shares, "{case}");
    }
    let mut decide = || words::verdict(compiled, &compiled.route(entry, &head, &mut tickets));
    let verdicts: Vec<_> = request.verdicts.iter().map(|_| decide()).collect();
    assert_eq!(verdicts, request.verdicts, "{case}");
    let mut counts = HashMap::new();
    for _ in 0..request.counts.values().sum() {
        *counts.entry(decide()).or_insert(0) += 1;
    }
    assert_eq!(counts, request.counts, "{case}");
    if let Some(asked) = &request.asked {
        assert_eq!(&tickets.asked, asked, "{case}");
    }
}
