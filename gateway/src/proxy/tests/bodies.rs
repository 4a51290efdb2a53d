//! Bodies in both directions, and clients that stop or leave.

use std::time::Duration;

use vamp_record::Reason;

use super::fixture::*;
use crate::limits::Limits;

/// Takes an upload of known length and tells its length and sum.
async fn summing() -> Origin {
    Origin::start(|mut upstream| async move {
        while let Some(head) = upstream.head().await {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let body = upstream.body(length.parse().unwrap()).await;
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            let text = format!("{} {sum}", body.len());
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
        }
    })
    .await
}

#[tokio::test]
async fn uploads_of_known_length_arrive_whole_in_any_pieces() {
    let origin = summing().await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    let mut sent = 0;
    for length in [0, 1, 1_000, 65_535, 65_536, 1_000_000] {
        let body: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send([head.as_bytes(), &body].concat()).await;
        assert_eq!(client.answer().await.body, format!("{length} {sum}"));
        client.send(head).await;
        for piece in body.chunks(9_999) {
            client.send(piece).await;
        }
        assert_eq!(client.answer().await.body, format!("{length} {sum}"));
        sent += 2 * length;
    }
    assert_eq!(origin.connections(), 1);
    let records = vamp.records(12).await;
    assert_eq!(records.iter().map(|record| record.bytes_in).sum::<u64>(), sent);
}

#[tokio::test]
async fn chunked_uploads_pass_as_they_are_with_trailers() {
    let wire = "5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::start(|mut upstream| async move {
        while upstream.head().await.is_some() {
            let body = upstream.until(b"0\r\nX-Sum: 1\r\n\r\n").await;
            let text = String::from_utf8(body).unwrap();
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    for cut in 0..=wire.len() {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(&wire[..cut]).await;
        tokio::task::yield_now().await;
        client.send(&wire[cut..]).await;
        assert_eq!(client.answer().await.body, wire);
    }
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

#[tokio::test]
async fn large_answers_wait_for_a_slow_client_without_harm() {
    const LENGTH: usize = 8_000_000;
    for framing in ["length", "chunked", "close"] {
        let origin = Origin::start(move |mut upstream| async move {
            upstream.head().await;
            let body = "0123456789".repeat(LENGTH / 10);
            let head = match framing {
                "length" => format!("Content-Length: {LENGTH}\r\n"),
                "chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
                _ => String::new(),
            };
            upstream.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n")).await;
            upstream.send(if framing == "chunked" { chunked(body.as_bytes(), 77_777) } else { body.into() }).await;
        })
        .await;
        let vamp = Vamp::before(&[origin.address]).await;
        let mut client = vamp.client().await;
        client.send(GET).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = client.answer().await;
        assert!(answer.whole && answer.body == "0123456789".repeat(LENGTH / 10), "{framing}");
        assert_eq!(vamp.reasons(1).await, [Reason::Completed]);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_from_the_origin() {
    let origin = Origin::start(|mut upstream| async move {
        while let Some(head) = upstream.head().await {
            assert!(head.contains("Expect: 100-continue"));
            upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = upstream.body(5).await;
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
            upstream.send(body).await;
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
        assert_eq!(client.answer().await.head, "HTTP/1.1 100 Continue");
        client.send("hello").await;
        assert_eq!(client.answer().await.body, "hello");
    }
    assert_eq!(vamp.reasons(2).await, [Reason::Completed; 2]);
}

#[tokio::test]
async fn an_answer_before_the_body_is_passed_on_and_the_connection_closed() {
    let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
    let origin = Origin::answering(refusal).await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("Connection")), (417, Some("close")));
    // The body that comes all the same must not be taken for a request.
    client.send("GET /").await;
    assert_eq!(client.closed().await, "");
    vamp.ask(GET).await;
    assert_eq!(origin.connections(), 2, "the connection with half a request is not used again");
    assert_eq!(vamp.reasons(2).await, [Reason::Completed; 2]);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_body_is_refused_reaches_the_client() {
    let origin =
        Origin::closing("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, "no"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_the_origin() {
    let (told, mut hears) = tokio::sync::mpsc::channel(1);
    let origin = Origin::start(move |mut upstream| {
        let told = told.clone();
        async move {
            upstream.head().await;
            told.send("came").await.unwrap();
            upstream.closed().await;
            told.send("left").await.unwrap();
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    assert_eq!(soon("the request comes", hears.recv()).await, Some("came"));
    drop(client);
    assert_eq!(soon("the request is dropped", hears.recv()).await, Some("left"));
    let record = &vamp.records(1).await[0];
    assert_eq!((record.reason, record.status), (Reason::ClientClosed, 0));

    let mut client = vamp.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel").await;
    assert_eq!(soon("the request comes", hears.recv()).await, Some("came"));
    drop(client);
    assert_eq!(soon("the request is dropped", hears.recv()).await, Some("left"));
    assert_eq!(vamp.reasons(2).await, [Reason::ClientClosed; 2]);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_an_answer_ends_it() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while upstream.stream.writable().await.is_ok() {
            if tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, b"5\r\nhello\r\n").await.is_err() {
                break;
            }
        }
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    client.until(b"hello").await.unwrap();
    drop(client);
    let record = &vamp.records(1).await[0];
    assert_eq!((record.reason, record.status), (Reason::ClientClosed, 200));
}

#[tokio::test]
async fn bodies_are_bounded_when_a_limit_is_set() {
    let origin = Origin::answering(HELLO).await;
    let limits = Limits { body_bytes_max: Some(10), ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let with = |length: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(vamp.ask(&format!("{}0123456789", with(10))).await.status, 200);
    assert_eq!(vamp.ask(&with(11)).await.status, 413);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(vamp.ask(&format!("{chunked}20\r\n01234567890123456789")).await.status, 413);
    assert_eq!(vamp.reasons(3).await[1..], [Reason::BodyTooLarge; 2]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_never_taken_for_a_request() {
    let origin = Origin::answering(HELLO).await;
    let limits = Limits { body_bytes_max: Some(10), ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", hidden.len());
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for (head, body) in [(length.as_str(), hidden), (chunked, &chunks)] {
        let mut client = vamp.client().await;
        client.send(format!("{head}{body}{hidden}")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Connection")), (413, Some("close")), "{head}");
        assert_eq!(client.closed().await, "", "{head}");
    }
    assert_eq!(origin.heads(), Vec::<String>::new());
    assert_eq!(vamp.reasons(2).await, [Reason::BodyTooLarge; 2]);
}

#[tokio::test]
async fn a_connection_that_answered_before_it_had_the_whole_body_is_not_used_again() {
    let slow = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    let early = Origin::start(move |mut upstream| async move {
        while upstream.head().await.is_some() {
            upstream.send(slow).await;
            // The rest of the answer comes when the body is whole: by then the gateway has sent everything.
            upstream.body(5).await;
            upstream.send("late").await;
        }
    })
    .await;
    let vamp = Vamp::before(&[early.address]).await;
    for _ in 0..2 {
        let mut client = vamp.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
        client.until(b"\r\n\r\n").await.unwrap();
        client.send("hello").await;
        client.until(b"late").await.unwrap();
        client.closed().await;
    }
    assert_eq!(early.connections(), 2);
    assert_eq!(vamp.reasons(2).await, [Reason::Completed; 2]);
}

#[tokio::test]
async fn bodies_that_are_framed_badly_never_reach_an_origin_whole() {
    let origin = Origin::start(|mut upstream| async move {
        upstream.head().await;
        let body = upstream.until(b"0\r\n\r\n").await;
        assert!(!body.ends_with(b"0\r\n\r\n"), "{body:?}");
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bad = [
        "x\r\n",
        "5\nhello",
        "5\r\nhelloX",
        "-1\r\n",
        "1;\u{1}\r\n",
        "0\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "0\n\r\n",
    ];
    for (index, body) in bad.iter().enumerate() {
        let mut client = vamp.client().await;
        client.send(head).await;
        if index % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client.send(body).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Connection")), (400, Some("close")), "{body:?}");
    }
    assert_eq!(vamp.reasons(bad.len()).await, vec![Reason::BadRequest; bad.len()]);
}
