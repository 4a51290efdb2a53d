//! What passes: bytes, ends, and what is recorded of them.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use vamp_record::Reason;

use super::fixture::*;

#[tokio::test]
async fn whoever_says_nothing_first_hears_the_server_and_the_connection_is_recorded_when_it_ends() {
    let server = Server::named("hello").await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    says(&mut client, b"hello").await;
    client.write_all(b"abc").await.unwrap();
    says(&mut client, b"abc").await;
    vamp.records(0).await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    let records = vamp.records(1).await;
    let record = &records[0];
    assert_eq!((record.reason, record.bytes_in, record.bytes_out), (Reason::Completed, 3, 8));
    assert_eq!((record.is_tcp, record.status, record.retries), (true, 0, 0));
    assert_eq!((record.epoch, record.revision), (3, 7));
    assert_eq!(record.client, client.local_addr().unwrap());
    assert_eq!(record.labels.gateways, [("shop".to_owned(), "shop-lookup".to_owned(), true)]);
    assert_eq!((record.labels.route.as_str(), record.labels.decided_by), ("only", "only_route"));
    assert_eq!(record.endpoint.as_deref(), Some(&*server.address.to_string()));
    assert_eq!(record.endpoint_lookup.as_deref(), Some("only-0-lookup"));
    assert!(record.connect_us.is_some() && record.upstream_us.is_none());
    let totals = vamp.plane.counters().routes.into_iter().map(|route| (route.route, route.totals));
    let totals: Vec<_> = totals.map(|(route, totals)| (route, totals.bytes_in, totals.bytes_out)).collect();
    assert_eq!(totals, [("only".to_owned(), 3, 8)]);
}

#[tokio::test]
async fn each_side_may_end_before_the_other_goes_on() {
    let (tell, mut told) = mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            // Ends first, and hears everything all the same.
            stream.write_all(b"greeting").await.unwrap();
            stream.shutdown().await.unwrap();
            tell.send(rest(&mut stream).await.unwrap()).await.unwrap();
        }
    })
    .await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    assert_eq!(rest(&mut client).await.unwrap(), b"greeting");
    client.write_all(b"late ").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.write_all(b"words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(soon("the server's ear", told.recv()).await.unwrap(), b"late words");
    assert_eq!(vamp.reasons(1).await, [Reason::Completed]);

    let server = Server::start(|mut stream| async move {
        // Answers when it has heard everything.
        let heard = rest(&mut stream).await.unwrap();
        stream.write_all(&heard).await.unwrap();
        stream.write_all(b"!").await.unwrap();
    })
    .await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"question!");
    assert_eq!(vamp.reasons(1).await, [Reason::Completed]);
}

const MEBIBYTES: usize = 100;

/// A mebibyte of a stream in which no two are alike, nor two parts of one.
fn mebibyte(seed: u64, number: usize) -> Vec<u8> {
    let mut state = seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    };
    (0..1 << 17).flat_map(|_| next()).collect()
}

async fn write_stream<W: AsyncWrite + Unpin>(writer: &mut W, seed: u64) {
    for number in 0..MEBIBYTES {
        writer.write_all(&mebibyte(seed, number)).await.unwrap();
    }
    writer.shutdown().await.unwrap();
}

/// Reads the stream, each byte of which must be in its place, and its end.
async fn read_stream<R: AsyncRead + Unpin>(reader: &mut R, seed: u64) {
    let mut read = vec![0; 1 << 20];
    for number in 0..MEBIBYTES {
        reader.read_exact(&mut read).await.unwrap();
        assert!(read == mebibyte(seed, number), "mebibyte {number} is another one");
    }
    assert_eq!(reader.read(&mut read).await.unwrap(), 0, "there is more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_mebibytes_each_way_at_once_arrive_as_they_were_sent() {
    let server = Server::start(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::join!(read_stream(&mut reader, 1), write_stream(&mut writer, 2));
    })
    .await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    let (mut reader, mut writer) = client.split();
    tokio::time::timeout(Duration::from_mins(5), async {
        tokio::join!(write_stream(&mut writer, 1), read_stream(&mut reader, 2));
    })
    .await
    .unwrap();
    let bytes = (MEBIBYTES << 20) as u64;
    let records = vamp.records(1).await;
    assert_eq!((records[0].reason, records[0].bytes_in, records[0].bytes_out), (Reason::Completed, bytes, bytes));
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server_and_gets_all_of_it_later() {
    // More than the buffers of all four sockets take.
    const BYTES: usize = 64 << 20;
    let (wrote, mut written) = watch::channel(0);
    let server = Server::start(move |mut stream| {
        let wrote = wrote.clone();
        async move {
            let chunk = vec![7; 64 << 10];
            for number in 1..=BYTES / chunk.len() {
                stream.write_all(&chunk).await.unwrap();
                wrote.send_replace(number * chunk.len());
            }
        }
    })
    .await;
    let vamp = before(&[server.address]).await;
    let mut client = connect(&vamp).await;
    // Until the server has not got on for a while.
    let mut stuck_at = 0;
    let further = |stuck_at: usize| move |bytes: &usize| *bytes > stuck_at;
    while let Ok(bytes) = tokio::time::timeout(Duration::from_millis(500), written.wait_for(further(stuck_at))).await {
        stuck_at = *bytes.unwrap();
    }
    assert!(stuck_at < BYTES, "the server was never stopped");
    let read = rest(&mut client).await.unwrap();
    assert!(read.len() == BYTES && read.iter().all(|byte| *byte == 7));
    client.shutdown().await.unwrap();
    assert_eq!(vamp.reasons(1).await, [Reason::Completed]);
}
