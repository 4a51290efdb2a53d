//! HTTP/1.1 as our conformance set asks for it, on the gateway as a process: every case that a proxy must keep, and every
//! case that it should.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use vamp_tests::conformance::{Outcome, cases, judge, shown};
use vamp_tests::free_port;
use vamp_tests::installation::Installation;

/// Cases at a time.
const JOBS: usize = 64;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The failed ones as a person reads them.
fn failures(outcomes: &[Outcome]) -> Vec<String> {
    let tell = |outcome: &Outcome| {
        let fault = outcome.fault.as_ref()?;
        let (case, seen) = (&outcome.case, &outcome.seen);
        Some(format!(
            "{}: {} [{}]: {fault}\n  sent {}\n  client {}\n  origin {}",
            case.family,
            case.name,
            case.cite,
            shown(&seen.sent),
            shown(&seen.raw),
            shown(&seen.origin.raw)
        ))
    };
    outcomes.iter().filter_map(tell).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_keeps_every_rule_of_the_conformance_set() {
    let installation = Installation::start().await;
    let _gateway = installation.gateway("g1").await;
    let (port, origin) = (free_port(), free_port());
    let document = format!("{{name: shop, port: {port}/http, routes: {{'[127.0.0.1:{origin}]': {{weight: 100%}}}}}}");
    installation.serve("shop", &document).await;
    let outcomes = judge(local(port), local(origin), "", JOBS).await.unwrap();
    assert!(outcomes.len() >= 300, "{} cases", outcomes.len());
    let failures = failures(&outcomes);
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), outcomes.len(), failures.join("\n"));
}

async fn relay(mut client: TcpStream, origin: SocketAddr) {
    if let Ok(mut upstream) = TcpStream::connect(origin).await {
        drop(copy_bidirectional(&mut client, &mut upstream).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_looks_at_nothing_fails_the_set() {
    let (port, origin) = (free_port(), free_port());
    let listener = TcpListener::bind(local(port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relay(client, local(origin)));
        }
    });
    let outcomes = judge(local(port), local(origin), "", JOBS).await.unwrap();
    let name = |outcome: &Outcome| format!("{}: {}", outcome.case.family, outcome.case.name);
    let passed: BTreeSet<String> = outcomes.iter().filter(|outcome| outcome.fault.is_none()).map(name).collect();
    let mut allowed: BTreeSet<String> = BLIND.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if std::env::var_os("VAMP_UPDATE_GENERATED").is_some() {
        allowed.extend(passed.iter().cloned());
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/conformance_blind.txt");
        let lines: Vec<_> = allowed.iter().map(String::as_str).collect();
        std::fs::write(file, lines.join("\n") + "\n").unwrap();
    }
    let harmless: Vec<_> = passed.difference(&allowed).collect();
    assert!(harmless.is_empty(), "a proxy that looks at nothing passes, so that these show nothing: {harmless:#?}");
    let known: BTreeSet<String> = outcomes.iter().map(name).collect();
    assert_eq!(allowed.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "no such cases");
    let convicts =
        |family: &str| known.iter().any(|case| case.starts_with(&format!("{family}: ")) && !allowed.contains(case));
    let blind: BTreeSet<_> =
        outcomes.iter().map(|outcome| outcome.case.family).filter(|family| !convicts(family)).collect();
    assert_eq!(
        blind.into_iter().collect::<Vec<_>>(),
        HARMLESS,
        "families in which a proxy that looks at nothing fails no case"
    );
}

/// Cases that a proxy that looks at nothing may pass: those in which what is sent goes on as it is.
const BLIND: &str = include_str!("conformance_blind.txt");

/// Families that have no others. What is cut or malformed there goes on cut or malformed, and both sides see that it is;
/// proxies fail them who mend, wait, or keep the connection.
const HARMLESS: &[&str] = &["chunked answer", "cut requests", "early answers"];

#[test]
fn cases_have_names_of_their_own() {
    let mut names: Vec<_> = cases().into_iter().map(|case| (case.family, case.name)).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}
