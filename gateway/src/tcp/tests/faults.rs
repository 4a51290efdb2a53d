//! What does not go well: resets, servers that are not there, connections in which nothing moves, clients without room.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use vamp_record::Reason;
use vamp_routing::wire::Share;

use super::fixture::*;
use crate::limits::Limits;

/// An address at which nobody listens.
fn nobody() -> std::net::SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, vamp_store::testing::free_port()).into()
}

#[tokio::test]
async fn a_reset_of_the_client_is_one_for_the_server() {
    let (tell, mut told) = mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let tell = tell.clone();
        async move { tell.send(is_reset(&mut stream).await).await.unwrap() }
    })
    .await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    client.write_all(b"abc").await.unwrap();
    eventually("the server has it", || server.connections() == 1).await;
    reset(client);
    assert!(soon("what the server met", told.recv()).await.unwrap(), "the server met an ordinary end");
    let records = vamp.records(1).await;
    assert_eq!((records[0].reason, records[0].bytes_in), (Reason::ClientClosed, 3));
}

#[tokio::test]
async fn a_reset_of_the_server_is_one_for_the_client() {
    let server = Server::start(|mut stream| async move {
        says(&mut stream, b"go").await;
        stream.write_all(b"half an ans").await.unwrap();
        says(&mut stream, b"on").await;
        reset(stream);
    })
    .await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    client.write_all(b"go").await.unwrap();
    says(&mut client, b"half an ans").await;
    client.write_all(b"on").await.unwrap();
    assert!(is_reset(&mut client).await, "the client met an ordinary end");
    let records = vamp.records(1).await;
    assert_eq!((records[0].reason, records[0].bytes_in, records[0].bytes_out), (Reason::UpstreamCut, 4, 11));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_passed_by() {
    let server = Server::named("here").await;
    let gone = nobody();
    let vamp = before(&[gone, server.address]).await;
    for _ in 0..4 {
        let mut client = connect(&vamp).await;
        says(&mut client, b"here").await;
        client.shutdown().await.unwrap();
        rest(&mut client).await.unwrap();
    }
    let records = vamp.records(4).await;
    assert!(records.iter().all(|record| record.reason == Reason::Completed));
    assert!(records.iter().any(|record| record.retries == 1), "the first server was never tried");
}

#[tokio::test]
async fn a_connection_that_no_server_takes_is_closed() {
    let vamp = before(&[nobody(), nobody()]).await;
    let mut client = connect(&vamp).await;
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    let records = vamp.records(1).await;
    assert_eq!((records[0].reason, records[0].retries), (Reason::ConnectFailed, 1));
    assert!(records[0].endpoint.is_some() && records[0].connect_us.is_none());

    let vamp = before(&[]).await;
    assert_eq!(rest(&mut connect(&vamp).await).await.unwrap(), b"");
    assert_eq!(vamp.reasons(1).await, [Reason::NoEndpoint]);

    let off = vamp_routing::wire::Route { weight: Share::NONE, ..route("only", 0, &[nobody()]) };
    let vamp = Vamp::start(settings(limits()), gateway(vec![off])).await;
    assert_eq!(rest(&mut connect(&vamp).await).await.unwrap(), b"");
    let records = vamp.records(1).await;
    assert_eq!(records[0].reason, Reason::NoWeight);
    assert_eq!(records[0].labels.gateways.len(), 1);
}

#[tokio::test]
async fn a_connection_in_which_nothing_moves_is_reset_and_one_in_which_something_does_is_not() {
    // Far longer than a pause between two bytes, also on a machine that stalls.
    let idle = Duration::from_secs(3);
    let server = Server::named("").await;
    let limits = Limits { tunnel_idle_timeout: idle, ..limits() };
    let vamp = Vamp::start(settings(limits), gateway(vec![route("only", 100, &[server.address])])).await;
    let mut client = connect(&vamp).await;
    let began = Instant::now();
    while began.elapsed() < idle * 3 / 2 {
        client.write_all(b"x").await.unwrap();
        says(&mut client, b"x").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(is_reset(&mut client).await, "it ended as if both sides had wanted it");
    assert_eq!(vamp.reasons(1).await, [Reason::IdleTimeout]);
}

#[tokio::test]
async fn who_reads_slowly_but_steadily_is_not_idle() {
    let idle = Duration::from_secs(4);
    let server = Server::start(|mut stream| async move {
        let endless = stream.write_all(&vec![7; 64 * 1024 * 1024]).await;
        assert!(endless.is_err(), "all of it was taken at once");
    })
    .await;
    let limits = Limits { tunnel_idle_timeout: idle, ..limits() };
    let vamp = Vamp::start(settings(limits), gateway(vec![route("only", 100, &[server.address])])).await;
    let mut client = connect_with_room(&vamp, 64 * 1024).await;
    let began = Instant::now();
    // 160 KiB each second: a third of a socket's buffer of 4 MiB takes longer than a pause may last.
    let mut piece = [0; 8 * 1024];
    while began.elapsed() < idle * 2 {
        client.read_exact(&mut piece).await.expect("something moves");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One that has stopped is idle.
    assert_eq!(vamp.reasons(1).await, [Reason::IdleTimeout]);
}

#[tokio::test]
async fn a_client_without_room_is_closed_without_a_word() {
    let server = Server::named("hello").await;
    let limits = Limits { connections_max: Some(1), ..limits() };
    let vamp = Vamp::start(settings(limits), gateway(vec![route("only", 100, &[server.address])])).await;
    let mut first = connect(&vamp).await;
    says(&mut first, b"hello").await;
    assert_eq!(rest(&mut connect(&vamp).await).await.unwrap(), b"", "no HTTP, nor anything else");
    // Who is carried is not closed to make room: nobody knows what the silence means.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(rest(&mut connect(&vamp).await).await.unwrap(), b"");
    first.write_all(b"still here").await.unwrap();
    says(&mut first, b"still here").await;
    assert_eq!(vamp.plane.counters().refused[0], 2);
    drop(first);
    assert_eq!(vamp.records(1).await.len(), 1);
    says(&mut connect(&vamp).await, b"hello").await;
}
