//! Connections that outlive tables, gateways and the process's service.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use vamp_record::Reason;
use vamp_routing::wire::{Gateway, Sticky};

use super::fixture::*;
use crate::limits::Limits;

#[tokio::test]
async fn a_connection_goes_on_over_tables_that_no_longer_have_its_route_and_keeps_none_of_them() {
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let vamp = before(&[old.address]).await;
    let mut client = connect(&vamp).await;
    says(&mut client, b"old").await;
    let first = Arc::downgrade(&vamp.plane.serving());
    let port = vamp.address.port();
    for _ in 0..3 {
        let route = route("another", 100, &[new.address]);
        apply(&vamp, vec![Gateway { port: Some(port), ..gateway(vec![route]) }]).await;
    }
    says(&mut connect(&vamp).await, b"new").await;
    eventually("the first table is freed", || first.strong_count() == 0).await;
    client.write_all(b"as before").await.unwrap();
    says(&mut client, b"as before").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    let records = vamp.records(2).await;
    let old_record = records.iter().find(|record| record.labels.route == "only").unwrap();
    assert_eq!((old_record.reason, old_record.revision, old_record.bytes_in), (Reason::Completed, 7, 9));
}

#[tokio::test]
async fn a_gateway_that_is_deleted_gives_its_connections_the_time_to_end_then_resets_them() {
    let server = Server::named("hello").await;
    let limits = Limits { drain_timeout: Duration::from_secs(3), ..limits() };
    let vamp = Vamp::start(settings(limits), gateway(vec![route("only", 100, &[server.address])])).await;
    let (mut quick, mut slow) = (connect(&vamp).await, connect(&vamp).await);
    says(&mut quick, b"hello").await;
    says(&mut slow, b"hello").await;
    apply(&vamp, vec![]).await;
    assert!(TcpStream::connect(vamp.address).await.is_err(), "the port is closed");
    quick.write_all(b"abc").await.unwrap();
    says(&mut quick, b"abc").await;
    quick.shutdown().await.unwrap();
    assert_eq!(rest(&mut quick).await.unwrap(), b"");
    assert!(is_reset(&mut slow).await, "a cut must not look like an end");
    let mut reasons = vamp.reasons(2).await;
    reasons.sort_by_key(|reason| reason.as_str());
    assert_eq!(reasons, [Reason::Completed, Reason::Drained]);
    let records = vamp.records(2).await;
    let drained = records.iter().find(|record| record.reason == Reason::Drained).unwrap();
    assert_eq!((drained.bytes_in, drained.bytes_out), (0, 5));
}

#[tokio::test]
async fn a_stop_lets_connections_end_and_cuts_those_that_do_not() {
    let server = Server::named("hello").await;
    let limits = Limits { drain_timeout: Duration::from_secs(2), ..limits() };
    let vamp = Vamp::start(settings(limits), gateway(vec![route("only", 100, &[server.address])])).await;
    let mut client = connect(&vamp).await;
    says(&mut client, b"hello").await;
    let plane = Arc::clone(&vamp.plane);
    let drained = tokio::spawn(async move { plane.drain().await });
    client.write_all(b"still served").await.unwrap();
    says(&mut client, b"still served").await;
    assert!(is_reset(&mut client).await);
    soon("the end", drained).await.unwrap();
    assert_eq!(vamp.reasons(1).await, [Reason::Drained]);
}

#[tokio::test]
async fn a_port_speaks_what_its_gateway_carries_now() {
    let server = Server::named("raw").await;
    let vamp = before(&[server.address]).await;
    let port = Some(vamp.address.port());
    let mut before = connect(&vamp).await;
    says(&mut before, b"raw").await;
    let http = || Gateway { port, tcp: None, ..gateway(vec![route("only", 0, &[server.address])]) };
    apply(&vamp, vec![http()]).await;
    let mut client = connect(&vamp).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut client).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
    let mut kept = connect(&vamp).await;
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    says(&mut kept, b"HTTP/1.1 503 ").await;
    apply(&vamp, vec![Gateway { port, ..gateway(vec![route("only", 100, &[server.address])]) }]).await;
    says(&mut connect(&vamp).await, b"raw").await;
    // A request on a connection from before finds no gateway: it is not carried as something else.
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(rest(&mut kept).await.unwrap()).unwrap();
    assert!(answer.contains("HTTP/1.1 404 "), "{answer}");
    before.write_all(b"x").await.unwrap();
    says(&mut before, b"x").await;
}

#[tokio::test]
async fn connections_are_split_exactly_and_kept_by_their_address_on_wish() {
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let routes = || vec![route("a", 75, &[a.address]), route("b", 25, &[b.address])];
    let vamp = Vamp::start(settings(limits()), gateway(routes())).await;
    for _ in 0..40 {
        let mut client = connect(&vamp).await;
        let mut name = [0];
        soon("a name", tokio::io::AsyncReadExt::read_exact(&mut client, &mut name)).await.unwrap();
    }
    assert_eq!((a.connections(), b.connections()), (30, 10));
    vamp.records(40).await;
    let sticky = Gateway { port: Some(vamp.address.port()), sticky: Sticky::Route, ..gateway(routes()) };
    apply(&vamp, vec![sticky]).await;
    for _ in 0..20 {
        let mut client = connect(&vamp).await;
        let mut name = [0];
        soon("a name", tokio::io::AsyncReadExt::read_exact(&mut client, &mut name)).await.unwrap();
    }
    let records = vamp.records(60).await;
    let kept: std::collections::BTreeSet<_> =
        records.iter().skip(40).map(|record| (record.labels.route.clone(), record.labels.decided_by)).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept.first().unwrap().1, "source");
    let counts = vamp.plane.split_counts();
    assert_eq!(counts[0].routes.iter().map(|route| route.source).sum::<u64>(), 20);
    assert_eq!(counts[0].levels[0].tickets, 40);
}
