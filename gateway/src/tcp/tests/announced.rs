//! PROXY headers, from proxies in front and to servers behind.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use vamp_record::Reason;
use vamp_routing::wire::{Gateway, ProxyVersion, Route, Sticky, Tcp};

use super::fixture::*;
use crate::limits::Limits;
use crate::plane::PlaneSettings;
use crate::proxy_header::{Ends, ProxyHeader, written};

const ACCEPTS: Tcp = Tcp { accept_proxy: true, send_proxy: None };

fn ends(source: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: "198.51.100.1:443".parse().unwrap() }
}

/// A gateway that sends clients of 192.0.2.0/24 to the second of two servers.
fn by_source(tcp: Tcp, a: &Server, b: &Server) -> Gateway {
    let condition = Some("source in 192.0.2.0/24".to_owned());
    let routes = vec![route("a", 100, &[a.address]), Route { condition, ..route("b", 0, &[b.address]) }];
    Gateway { tcp: Some(tcp), ..gateway(routes) }
}

#[tokio::test]
async fn the_client_that_a_proxy_announces_is_decided_on_and_recorded() {
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let vamp = Vamp::start(settings(limits()), by_source(ACCEPTS, &a, &b)).await;
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for (announced, name) in [
            (Some(ends("192.0.2.7:4711")), "b"),
            (Some(ends("203.0.113.9:1")), "a"),
            (Some(ends("[2001:db8::1]:2")), "a"),
            (None, "a"),
        ] {
            let mut client = connect(&vamp).await;
            client.write_all(&[&written(version, announced)[..], b" and more"].concat()).await.unwrap();
            says(&mut client, name.as_bytes()).await;
            says(&mut client, b" and more").await;
            client.shutdown().await.unwrap();
            rest(&mut client).await.unwrap();
        }
    }
    let records = vamp.records(8).await;
    let clients: Vec<_> = records.iter().map(|record| record.client.to_string()).collect();
    assert_eq!(clients[..3], ["192.0.2.7:4711", "203.0.113.9:1", "[2001:db8::1]:2"]);
    assert_eq!(clients[4..7], clients[..3]);
    assert!(clients[3].starts_with("127.0.0.1:"), "{}", clients[3]);
    assert!(records.iter().all(|record| (record.reason, record.bytes_in) == (Reason::Completed, 9)));
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let vamp = Vamp::start(settings(limits()), by_source(ACCEPTS, &a, &b)).await;
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut client = connect(&vamp).await;
        for byte in [&written(version, Some(ends("192.0.2.7:4711")))[..], b"xy"].concat() {
            client.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        says(&mut client, b"bxy").await;
    }
}

#[tokio::test]
async fn what_is_no_header_is_closed_and_no_server_hears_of_it() {
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    // Long enough that what is wrong is read before it is over, also on a machine that stalls.
    let limits = Limits { head_timeout: Duration::from_secs(2), ..limits() };
    let vamp = Vamp::start(settings(limits), by_source(ACCEPTS, &a, &b)).await;
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 4_000]].concat();
    let cases: [&[u8]; 4] =
        [b"SELECT 1;", b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\nx", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", &long];
    for case in cases {
        let mut client = connect(&vamp).await;
        client.write_all(case).await.unwrap();
        assert!(rest(&mut client).await.unwrap_or_default().is_empty());
    }
    // Nothing, and a part of a header, for as long as a head may take.
    let (mut silent, mut halting) = (connect(&vamp).await, connect(&vamp).await);
    halting.write_all(b"PROXY TCP4 192.0").await.unwrap();
    for client in [&mut silent, &mut halting] {
        assert!(rest(client).await.unwrap().is_empty());
    }
    drop(connect(&vamp).await);
    let mut reasons = vamp.reasons(7).await;
    reasons.sort_by_key(|reason| reason.as_str());
    let wanted = [vec![Reason::BadRequest; 4], vec![Reason::ClientClosed], vec![Reason::HeadTimeout; 2]].concat();
    assert_eq!(reasons, wanted);
    assert_eq!((a.connections(), b.connections()), (0, 0));
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed() {
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let untrusting = PlaneSettings { trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()], ..settings(limits()) };
    let vamp = Vamp::start(untrusting, by_source(ACCEPTS, &a, &b)).await;
    let mut client = connect(&vamp).await;
    client.write_all(&written(ProxyVersion::V1, Some(ends("192.0.2.7:4711")))).await.unwrap();
    assert!(rest(&mut client).await.unwrap_or_default().is_empty());
    assert_eq!(vamp.reasons(1).await, [Reason::BadRequest]);
    // Where none is wanted, a header is bytes like any others.
    let vamp = Vamp::start(settings(limits()), by_source(Tcp::default(), &a, &b)).await;
    let mut client = connect(&vamp).await;
    client.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    says(&mut client, b"aPROXY UNKNOWN\r\n").await;
    // The process wants one on all of its ports.
    let all = PlaneSettings { proxy_protocol: true, ..settings(limits()) };
    let vamp = Vamp::start(all, by_source(Tcp::default(), &a, &b)).await;
    let mut client = connect(&vamp).await;
    client.write_all(&written(ProxyVersion::V2, Some(ends("192.0.2.7:4711")))).await.unwrap();
    says(&mut client, b"b").await;
}

/// A server that tells the ends of the header that it gets, and the bytes behind it.
async fn told(tcp: Tcp, sent: &[u8]) -> (SocketAddr, SocketAddr, Ends, Vec<u8>) {
    let (tell, mut hear) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            let heard = rest(&mut stream).await.unwrap();
            tell.send(heard).await.unwrap();
        }
    })
    .await;
    let to_server = Gateway { tcp: Some(tcp), ..gateway(vec![route("only", 100, &[server.address])]) };
    let vamp = Vamp::start(settings(limits()), to_server).await;
    let mut client = connect(&vamp).await;
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = soon("what the server heard", hear.recv()).await.unwrap();
    let header = ProxyHeader::parse(&heard).unwrap().unwrap();
    let rest = heard.split_off(header.bytes);
    // The header is ours, and is not counted as the client's.
    let records = vamp.records(1).await;
    assert_eq!(records[0].bytes_in, rest.len() as u64);
    (client.local_addr().unwrap(), vamp.address, header.ends.unwrap(), rest)
}

#[tokio::test]
async fn servers_are_told_whose_connection_it_is() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let tcp = Tcp { accept_proxy: false, send_proxy: Some(version) };
        let (client, gateway, ends, rest) = told(tcp, b"abc").await;
        assert_eq!((ends.source, ends.destination, &rest[..]), (client, gateway, &b"abc"[..]));
        // A server is told without waiting for the client to speak.
        let (client, _, ends, rest) = told(tcp, b"").await;
        assert_eq!((ends.source, &rest[..]), (client, &b""[..]));
    }
}

#[tokio::test]
async fn what_a_proxy_in_front_announces_is_what_servers_are_told() {
    let announced = Some(ends("192.0.2.7:4711"));
    for (accepted, version) in [(ProxyVersion::V1, ProxyVersion::V2), (ProxyVersion::V2, ProxyVersion::V1)] {
        let tcp = Tcp { accept_proxy: true, send_proxy: Some(version) };
        let (.., ends, rest) = told(tcp, &[&written(accepted, announced)[..], b"abc"].concat()).await;
        assert_eq!((Some(ends), &rest[..]), (announced, &b"abc"[..]));
        // A proxy that speaks for itself is the client.
        let (client, gateway, ends, _) = told(tcp, &written(accepted, None)).await;
        assert_eq!((ends.source, ends.destination), (client, gateway));
    }
}

#[tokio::test]
async fn clients_behind_a_proxy_are_kept_each_by_its_own_address() {
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let routes = vec![route("a", 50, &[a.address]), route("b", 50, &[b.address])];
    let sticky = Gateway { tcp: Some(ACCEPTS), sticky: Sticky::Route, ..gateway(routes) };
    let vamp = Vamp::start(settings(limits()), sticky).await;
    for round in 0..3 {
        for client in 0..16 {
            let mut stream = connect(&vamp).await;
            let source = format!("192.0.2.{client}:{}", 1_000 + round);
            stream.write_all(&written(ProxyVersion::V2, Some(ends(&source)))).await.unwrap();
            stream.shutdown().await.unwrap();
            rest(&mut stream).await.unwrap();
        }
    }
    let records = vamp.records(48).await;
    let route = |index: usize| &records[index].labels.route;
    assert!((0..16).all(|client| route(client) == route(client + 16) && route(client) == route(client + 32)));
    assert!((1..16).any(|client| route(client) != route(0)), "both routes have clients");
}
