//! Origins that refuse, stop, cut and lie: the client gets an honest answer or a visible cut, and nothing is sent twice
//! that must not be.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vamp_record::Reason;

use super::fixture::*;
use crate::limits::Limits;

fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// The answer of a gateway whose origin sends these bytes and closes.
async fn check_closing(bytes: &str, status: u16, whole: bool, reason: Reason) {
    let origin = Origin::closing(bytes).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.whole), (status, whole), "{bytes:?}: {answer:?}");
    let record = &vamp.records(1).await[0];
    assert_eq!((record.reason, record.status), (reason, status), "{bytes:?}");
    assert_eq!(origin.connections(), 1, "{bytes:?}");
}

#[tokio::test]
async fn answers_that_are_cut_never_look_complete() {
    check_closing("", 502, true, Reason::UpstreamClosed).await;
    check_closing("HTTP/1.1 200 OK\r\nContent-Le", 502, true, Reason::UpstreamClosed).await;
    check_closing("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 200, false, Reason::UpstreamCut).await;
    check_closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, false, Reason::UpstreamCut)
        .await;
    check_closing(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        200,
        false,
        Reason::UpstreamCut,
    )
    .await;
    check_closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 200, false, Reason::UpstreamCut).await;
}

#[tokio::test]
async fn answers_that_are_not_http_are_refused() {
    for bytes in [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
    ] {
        check_closing(bytes, 502, true, Reason::BadResponse).await;
    }
    let huge = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(70_000));
    check_closing(&huge, 502, true, Reason::BadResponse).await;
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200));
    check_closing(&many, 502, true, Reason::BadResponse).await;
    let flood = format!("{}{HELLO}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100));
    let origin = Origin::answering(flood).await;
    let vamp = Vamp::before(&[origin.address]).await;
    assert_eq!(vamp.ask("GET / HTTP/1.0\r\n\r\n").await.status, 502);
}

#[tokio::test]
async fn a_cut_that_only_the_close_could_tell_is_a_reset() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let answer = vamp.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.whole), (200, false));
    assert_eq!(vamp.reasons(1).await, [Reason::UpstreamCut]);

    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.0 200 OK\r\n\r\nhello").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        upstream.reset();
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let answer = vamp.ask(GET).await;
    assert_eq!((answer.status, answer.whole), (200, false));
    assert_eq!(vamp.reasons(1).await, [Reason::UpstreamCut]);
}

#[tokio::test]
async fn what_follows_an_answer_is_never_taken_for_the_next_one() {
    let origin = Origin::start(|mut upstream| async move {
        while upstream.head().await.is_some() {
            upstream.send(format!("{HELLO}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).await;
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    for _ in 0..3 {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "hello");
    }
    assert_eq!(origin.connections(), 3);

    // The surplus comes while the connection is idle.
    let origin = Origin::start(|mut upstream| async move {
        while upstream.head().await.is_some() {
            upstream.send(HELLO).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            upstream.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    for _ in 0..3 {
        assert_eq!(vamp.ask(GET).await.body, "hello");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

#[tokio::test]
async fn a_refused_connection_is_tried_at_another_endpoint() {
    let origin = Origin::answering(HELLO).await;
    let vamp = Vamp::before(&[nobody(), origin.address]).await;
    for _ in 0..4 {
        let answer = vamp.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(answer.status, 200);
    }
    let records = vamp.records(4).await;
    assert!(records.iter().any(|record| record.retries == 1));
    assert!(records.iter().all(|record| record.endpoint.as_deref() == Some(&origin.address.to_string())));
    assert_eq!(origin.heads().len(), 4);
}

#[tokio::test]
async fn a_route_whose_endpoints_all_refuse_answers_502() {
    let vamp = Vamp::before(&[nobody(), nobody()]).await;
    let mut client = vamp.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains("no endpoint of this route accepts connections: "), "{}", answer.body);
    }
    let records = vamp.records(2).await;
    assert_eq!((records[0].reason, records[0].retries), (Reason::ConnectFailed, 1));
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_meanwhile_costs_no_idempotent_request() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let length = if request.starts_with("PUT") { 5 } else { 0 };
        // Each connection answers once and is closed at the next request, as by a server at its idle limit.
        let origin = Origin::start(move |mut upstream| async move {
            upstream.head().await;
            assert_eq!(upstream.body(length).await.len(), length);
            upstream.send(HELLO).await;
            if upstream.head().await.is_some() {
                upstream.reset();
            }
        })
        .await;
        let vamp = Vamp::before(&[origin.address]).await;
        let mut client = vamp.client().await;
        for _ in 0..3 {
            client.send(request).await;
            assert_eq!(client.answer().await.status, 200, "{request}");
        }
        let retries: Vec<_> = vamp.records(3).await.iter().map(|record| record.retries).collect();
        assert_eq!(retries, [0, 1, 1], "{request}");
    }
}

#[tokio::test]
async fn a_request_that_must_not_be_repeated_is_sent_once() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send(HELLO).await;
        if upstream.head().await.is_some() {
            upstream.reset();
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    client.answer().await;
    client.send("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 502);
    assert_eq!(origin.heads().iter().filter(|head| head.starts_with("POST")).count(), 1);
    assert_eq!(vamp.reasons(2).await[1], Reason::UpstreamClosed);
    // Nor is anything repeated once a part of an answer came.
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send(HELLO).await;
        upstream.head().await;
        upstream.send("HTTP/1.1 200").await;
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    client.answer().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 502);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_pooled_connection_that_is_closed_is_passed_by_for_every_method() {
    let origin = Origin::closing(HELLO).await;
    let vamp = Vamp::before(&[origin.address]).await;
    for number in 1..=3 {
        assert_eq!(vamp.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.status, 200);
        eventually("the origin closed", || origin.connections() == number).await;
    }
}

/// The answer of a gateway with these limits whose origin sends these bytes and then nothing.
async fn check_stalling(limits: Limits, bytes: &'static str, request: &str, status: u16, whole: bool, reason: Reason) {
    let origin = Origin::start(move |mut upstream| async move {
        upstream.head().await;
        upstream.send(bytes).await;
        upstream.closed().await;
    })
    .await;
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let answer = vamp.ask(request).await;
    assert_eq!((answer.status, answer.whole), (status, whole), "{bytes:?}: {answer:?}");
    assert_eq!(vamp.reasons(1).await, [reason], "{bytes:?}");
}

#[tokio::test]
async fn origins_that_stop_are_given_up_after_their_time() {
    let short = Duration::from_millis(150);
    let head = Limits { response_head_timeout: short, ..limits() };
    check_stalling(head.clone(), "", GET, 504, true, Reason::ResponseTimeout).await;
    check_stalling(head.clone(), "HTTP/1.1 200 O", GET, 504, true, Reason::ResponseTimeout).await;
    check_stalling(
        head.clone(),
        "HTTP/1.1 100 Continue\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        504,
        true,
        Reason::ResponseTimeout,
    )
    .await;
    let expecting = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    check_stalling(head, "", expecting, 504, true, Reason::ResponseTimeout).await;
    let idle = Limits { response_idle_timeout: short, ..limits() };
    check_stalling(idle, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", GET, 200, false, Reason::ResponseIdle)
        .await;
    let body = Limits { body_idle_timeout: short, ..limits() };
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel";
    check_stalling(body, "", half, 408, true, Reason::BodyTimeout).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_and_one_that_the_origin_holds_up_is_not() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.closed().await;
    })
    .await;
    let limits = Limits { body_grace: Duration::from_millis(200), ..limits() };
    let vamp = Vamp::with(limits.clone(), gateway(vec![route("only", 100, &[origin.address])])).await;
    let mut client = vamp.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    let trickle = async {
        loop {
            client.stream.write_all(b"x").await.ok();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = trickle => {}
        reasons = vamp.reasons(1) => assert_eq!(reasons, [Reason::BodyTimeout]),
    }

    // It takes the body late; meanwhile the client can't send.
    let bytes = 16 * 1024 * 1024;
    let origin = Origin::start(move |mut upstream| async move {
        upstream.head().await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        upstream.body(bytes).await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    // Shorter than the origin waits, by more than a second that the least rate would earn.
    let body_grace = Duration::from_secs(3);
    let limits = Limits { body_bytes_per_second_min: 16 * 1024 * 1024, body_grace, ..limits };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let mut client = vamp.client().await;
    client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n")).await;
    client.stream.write_all(&vec![0; bytes]).await.unwrap();
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_head_that_trickles_has_one_time() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\nA: ").await;
        while tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let limits = Limits { response_head_timeout: Duration::from_millis(200), ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    assert_eq!(vamp.ask(GET).await.status, 504);
    assert_eq!(vamp.reasons(1).await, [Reason::ResponseTimeout]);
}

#[tokio::test]
async fn an_answer_that_goes_on_is_not_given_up() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            upstream.send("x").await;
        }
    })
    .await;
    // Shorter than all of it takes, and far longer than a piece, also on a machine that stalls.
    let patience = Duration::from_secs(3);
    let limits = Limits { response_idle_timeout: patience, response_head_timeout: patience, ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    assert_eq!(vamp.ask(GET).await.body, "x".repeat(10));
}

/// A client of an endless answer that takes so much of it twenty times a second, for so long or until the gateway has
/// given its origin up; whether it has.
async fn is_given_up(piece_bytes: usize, lasts: Duration, idle: Duration) -> bool {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let origin = Origin::start(move |mut upstream| {
        let tell = tell.clone();
        async move {
            upstream.head().await;
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            while upstream.stream.write_all(&[7; 16 * 1024]).await.is_ok() {}
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let limits = Limits { response_idle_timeout: idle, ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut client = socket.connect(vamp.address).await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut piece = vec![0; piece_bytes];
    let reading = async {
        let began = std::time::Instant::now();
        while began.elapsed() < lasts {
            client.read_exact(&mut piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = reading => return false,
        free = told.recv() => free.unwrap(),
    }
    assert_eq!(vamp.reasons(1).await, [Reason::ClientClosed]);
    true
}

#[tokio::test]
async fn who_takes_an_answer_slowly_is_served_and_who_takes_a_trickle_is_given_up() {
    let idle = Duration::from_secs(5);
    // 160 KiB each second, so that a third of a socket's buffer of 4 MiB takes longer than a pause may last, and 1 KiB:
    // 3 KiB each second are asked for.
    let slow = is_given_up(8 * 1024, idle * 2, idle);
    let trickle = is_given_up(64, Duration::from_mins(1), idle);
    assert_eq!(tokio::join!(slow, trickle), (false, true));
}

/// Whether the gateway gives an origin up that takes so much of an endless upload twenty times a second, for so long.
async fn is_given_up_uploading(piece_bytes: usize, lasts: Duration, idle: Duration) -> bool {
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let origin = Origin::start(move |mut upstream| {
        let tell = tell.clone();
        async move {
            socket2::SockRef::from(&upstream.stream).set_recv_buffer_size(64 * 1024).unwrap();
            upstream.head().await;
            let mut piece = vec![0; piece_bytes];
            let began = std::time::Instant::now();
            while began.elapsed() < lasts {
                if upstream.stream.read_exact(&mut piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let limits = Limits { response_head_timeout: idle, ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let mut client = vamp.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await;
    let (mut answers, mut uploads) = client.split();
    let uploading = async {
        while uploads.write_all(&[7; 16 * 1024]).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = uploading => unreachable!(),
        taken = told.recv() => {
            taken.unwrap();
            return false;
        }
        // How long the origin takes bounds this wait, which may be longer than others.
        answer = answers.until(b"HTTP/1.1 504 ") => assert!(answer.is_some(), "the answer is another one"),
    }
    assert_eq!(vamp.reasons(1).await, [Reason::ResponseTimeout]);
    true
}

#[tokio::test]
async fn an_origin_that_takes_an_upload_slowly_is_kept_and_one_that_takes_a_trickle_is_given_up() {
    let idle = Duration::from_secs(5);
    let slow = is_given_up_uploading(8 * 1024, idle * 2, idle);
    let trickle = is_given_up_uploading(64, Duration::from_mins(1), idle);
    assert_eq!(tokio::join!(slow, trickle), (false, true));
}
