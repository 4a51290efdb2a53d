//! Requests and answers that are as they should be.

use std::sync::Arc;

use vamp_record::{Reason, Texts};
use vamp_routing::wire::Gateway;

use super::fixture::*;

#[tokio::test]
async fn requests_of_one_connection_share_one_connection_to_the_origin() {
    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    for _ in 0..5 {
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str(), answer.field("Connection")), (200, "hello", None));
    }
    assert_eq!(origin.connections(), 1);
    let records = vamp.records(5).await;
    let record = &records[1];
    assert_eq!((record.reason, record.status, record.upstream_status), (Reason::Completed, 200, 200));
    assert_eq!((record.epoch, record.revision), (3, 7));
    assert_eq!(record.texts, Texts::new(b"GET", b"a", b"/", record.texts.request_id()));
    assert_eq!(record.endpoint.as_deref(), Some(origin.address.to_string().as_str()));
    assert_eq!(record.endpoint_lookup.as_deref(), Some("only-0-lookup"));
    assert_eq!(record.labels.route, "only");
    assert_eq!((record.bytes_in, record.bytes_out), (0, HELLO.len() as u64));
    assert_eq!(record.connect_us, None, "a pooled connection");
    assert!(records[0].connect_us.is_some() && record.upstream_us.is_some());
    assert_eq!(record.texts.request_id().len(), 32);
}

#[tokio::test]
async fn the_origin_sees_the_request_and_who_it_comes_from() {
    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    vamp.ask("GET /p?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: my-id\r\nConnection: X-Gone\r\nX-Gone: 1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n").await;
    assert_eq!(
        origin.heads(),
        [
            "GET /p?q=1 HTTP/1.1\nHost: a.example\nX-Request-Id: my-id\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nForwarded: for=127.0.0.1;proto=http;host=\"a.example\"\nX-Forwarded-Host: a.example"
        ]
    );
    assert_eq!(vamp.records(1).await[0].texts.request_id(), b"my-id");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echoing().await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    let requests: Vec<_> = (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests.concat()).await;
    for number in 0..50 {
        let answer = client.answer().await;
        assert!(answer.body.starts_with(&format!("GET /{number} ")), "{number}: {}", answer.body);
    }
    assert_eq!(origin.connections(), 1);
    vamp.records(50).await;
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let origin = Origin::echoing().await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    for byte in b"\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHo" {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(client.answer().await.body.starts_with("GET /slow "));
    client.send("st: a\r\n\r\n").await;
    assert!(client.answer().await.body.starts_with("GET /next "));
}

#[tokio::test]
async fn answers_without_body_end_with_their_head() {
    for (method, status, fields) in [
        ("HEAD", "200 OK", "Content-Length: 5\r\n"),
        ("HEAD", "200 OK", "Transfer-Encoding: chunked\r\n"),
        ("HEAD", "200 OK", ""),
        ("GET", "204 No Content", ""),
        ("GET", "304 Not Modified", "Content-Length: 5\r\n"),
    ] {
        let origin = Origin::answering(format!("HTTP/1.1 {status}\r\n{fields}\r\n")).await;
        let vamp = Vamp::before(&[origin.address]).await;
        let mut client = vamp.client().await;
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let answer = client.answer_to(method).await;
            assert_eq!(answer.head, format!("HTTP/1.1 {status}\r\n{fields}").trim_end().replace("\r\n", "\n"));
        }
        assert_eq!(origin.connections(), 1, "{method} {status} {fields}");
        assert_eq!(vamp.reasons(2).await, [Reason::Completed; 2]);
    }
}

#[tokio::test]
async fn old_clients_get_answers_that_they_understand() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: x\r\n\r\n";
    let origin = Origin::answering(chunked).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let answer = vamp.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!((answer.body.as_str(), answer.whole), ("hello world", true));
    assert_eq!((answer.field("Transfer-Encoding"), answer.field("Connection")), (None, Some("close")));
    assert!(
        origin.heads()[0].starts_with(&format!("GET / HTTP/1.1\nHost: {}\n", vamp.address)),
        "{:?}",
        origin.heads()
    );

    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.answer().await.field("Connection"), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.field("Connection"), Some("close"));
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn a_client_that_asks_for_it_is_closed_after_its_answer() {
    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(client.answer().await.field("Connection"), Some("close"));
    assert_eq!(client.closed().await, "");
    // The origin's connection is kept all the same.
    vamp.ask(GET).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_reaches_the_client_in_chunks() {
    let origin = Origin::closing("HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nall of it").await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!(answer.head, "HTTP/1.1 200 OK\nX-A: b\nTransfer-Encoding: chunked");
        assert_eq!((answer.body.as_str(), answer.whole), ("all of it", true));
    }
    assert_eq!(origin.connections(), 2);
    let answer = vamp.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.body.as_str(), answer.whole), ("all of it", true));
}

#[tokio::test]
async fn interim_answers_pass_to_clients_that_know_them() {
    let origin = Origin::answering(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{HELLO}")).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.head, "HTTP/1.1 103 Early Hints\nLink: </a>");
    assert_eq!(client.answer().await.body, "hello");
    assert_eq!(vamp.ask("GET / HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nfirst").await;
        loop {
            let bytes = upstream.body(1).await;
            if bytes.is_empty() {
                break;
            }
            upstream.send(bytes).await;
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly").await;
    let answer = client.answer().await;
    assert_eq!(answer.head, "HTTP/1.1 101 Switching Protocols\nUpgrade: echo\nConnection: upgrade");
    client.until(b"firstearly").await.unwrap();
    let long = "x".repeat(300_000);
    client.send(&long).await;
    client.until(long.as_bytes()).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    client.closed().await;
    let record = &vamp.records(1).await[0];
    assert_eq!((record.reason, record.status, record.bytes_in), (Reason::TunnelClosed, 101, 300_005));
    let head = &origin.heads()[0];
    assert!(head.contains("Upgrade: echo") && head.contains("Connection: upgrade"), "{head}");
}

#[tokio::test]
async fn a_tunnel_keeps_no_table_and_counts_where_it_was_decided() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n").await;
        let bytes = upstream.body(5).await;
        upstream.send(bytes).await;
        upstream.body(1).await;
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 101);
    let first = Arc::downgrade(&vamp.plane.serving());
    for _ in 0..3 {
        let others = gateway(vec![route("another", 100, &[origin.address])]);
        apply(&vamp, vec![Gateway { port: Some(vamp.address.port()), ..others }]).await;
    }
    eventually("the first table is freed", || first.strong_count() == 0).await;
    client.send("hello").await;
    client.until(b"hello").await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    client.closed().await;
    let record = &vamp.records(1).await[0];
    assert_eq!((record.reason, record.revision, &*record.labels.route), (Reason::TunnelClosed, 7, "only"));
    assert_eq!((record.bytes_in, record.bytes_out > 5), (5, true));
}

#[tokio::test]
async fn a_refused_upgrade_is_no_tunnel() {
    let origin = Origin::echoing().await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGARBAGE\r\n\r\n").await;
    assert!(client.answer().await.body.starts_with("GET /a "));
    assert!(client.answer().await.body.starts_with("GET /b "));
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(origin.heads().len(), 2);
}
