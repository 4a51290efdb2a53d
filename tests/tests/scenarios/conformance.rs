//! HTTP/1.1 as our conformance set asks for it, on the gateway as a process: every case that a proxy must keep, and every
//! case that it should.

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
    // A family in which the strict origin ends what it can't read at once, so that nothing is waited for.
    let outcomes = judge(local(port), local(origin), "host", JOBS).await.unwrap();
    let failed = failures(&outcomes).len();
    assert!(outcomes.len() > 40 && 2 * failed > outcomes.len(), "{failed} of {} cases", outcomes.len());
}

#[test]
fn cases_have_names_of_their_own() {
    let mut names: Vec<_> = cases().into_iter().map(|case| (case.family, case.name)).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}
