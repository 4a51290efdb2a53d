//! What the gateway does not take: it is answered, the connection closed, and no origin sees a byte of it.

use std::time::Duration;

use vamp_record::Reason;

use super::fixture::*;
use crate::limits::Limits;

#[tokio::test]
async fn malformed_requests_are_answered_closed_and_never_forwarded() {
    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 40\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{0}\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400),
    ];
    for (request, status) in cases {
        let mut client = vamp.client().await;
        client.send(format!("{request}{smuggled}")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Connection")), (status, Some("close")), "{request:?}");
        assert!(answer.body.contains(": "), "thing and mend: {}", answer.body);
        assert_eq!(client.closed().await, "", "{request:?}");
    }
    assert_eq!(origin.heads(), [""; 0]);
    let records = vamp.records(cases.len()).await;
    assert!(records.iter().all(|record| record.reason == Reason::BadRequest));
    assert!(records.iter().zip(cases).all(|(record, (_, status))| record.status == status));
}

#[tokio::test]
async fn heads_over_a_limit_are_answered_with_what_is_too_large() {
    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(128));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(70_000));
    let large_but_fine = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(60_000));
    assert_eq!(vamp.ask(&long_target).await.status, 414);
    assert_eq!(vamp.ask(&many_fields).await.status, 431);
    assert_eq!(vamp.ask(&endless).await.status, 431);
    assert_eq!(vamp.ask(&large_but_fine).await.status, 200);
    // The same in pieces that the gateway reads one by one.
    for (request, status) in [(&long_target, 414), (&endless, 431)] {
        let mut client = vamp.client().await;
        for piece in request.as_bytes()[..request.len().min(66_000)].chunks(7_777) {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(client.answer().await.status, status);
    }
    let reasons = [Reason::TargetTooLong, Reason::HeadTooLarge, Reason::HeadTooLarge, Reason::Completed];
    let again = [Reason::TargetTooLong, Reason::HeadTooLarge];
    assert_eq!(vamp.reasons(6).await, [reasons.as_slice(), &again].concat());
}

#[tokio::test]
async fn clients_that_stop_are_given_up() {
    let origin = Origin::answering(HELLO).await;
    // A client that the machine holds up must still come to say the first byte.
    let impatient = Limits { head_timeout: Duration::from_secs(1), ..limits() };
    let vamp = Vamp::with(impatient, gateway(vec![route("only", 100, &[origin.address])])).await;
    // Half a head: an answer.
    let mut client = vamp.client().await;
    client.send("GET / HT").await;
    assert_eq!(client.answer().await.status, 408);
    assert_eq!(client.closed().await, "");
    // A head that trickles: the whole head has one time.
    let mut client = vamp.client().await;
    let trickle = async {
        for byte in b"GET / HTTP/1.1\r\nA: ".iter().chain(std::iter::repeat(&b'x')) {
            if tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = trickle => (),
        records = vamp.records(2) => assert_eq!(records[1].reason, Reason::HeadTimeout),
    }
    // Nothing, at first or between requests: closed without a word.
    let client = vamp.client().await;
    assert_eq!(client.closed().await, "");
    assert_eq!(vamp.reasons(2).await, [Reason::HeadTimeout, Reason::HeadTimeout]);
    // The first request has the usual time here: it must come through on a machine that stalls, too.
    let between = Limits { keep_alive_timeout: Duration::from_millis(150), ..limits() };
    let vamp = Vamp::with(between, gateway(vec![route("only", 100, &[origin.address])])).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.closed().await, "");
    assert_eq!(vamp.reasons(1).await, [Reason::Completed]);
}

#[tokio::test]
async fn a_gateway_that_drains_finishes_what_it_has_and_closes() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |mut upstream| {
        let mut wait = wait.clone();
        async move {
            upstream.head().await;
            drop(wait.wait_for(|go| *go).await);
            upstream.send(HELLO).await;
            upstream.closed().await;
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut busy = vamp.client().await;
    let idle = vamp.client().await;
    busy.send(GET).await;
    eventually("the request is under way", || origin.heads().len() == 1).await;
    let plane = std::sync::Arc::clone(&vamp.plane);
    let drained = tokio::spawn(async move { plane.drain().await });
    assert_eq!(idle.closed().await, "");
    go.send(true).unwrap();
    let answer = busy.answer().await;
    assert_eq!((answer.body.as_str(), answer.field("Connection")), ("hello", Some("close")));
    assert_eq!(busy.closed().await, "");
    soon("the gateway is drained", drained).await.unwrap();
    assert_eq!(vamp.reasons(1).await, [Reason::Completed]);
}
