//! Which requests are sent again when an origin closes, at each point where it can, for each method; and that nothing an
//! origin says at the wrong time is taken for an answer.
//!
//! The rule: what must not be repeated reaches the origin once at most. What may be is sent again only on a connection
//! that served before (it may have been closed meanwhile), only when nothing of an answer came, and on a new connection.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use vamp_record::Reason;

use super::fixture::*;
use crate::limits::Limits;

/// Where an origin closes while it serves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// It has read nothing.
    Unread,
    /// It has read one byte.
    OneByte,
    /// It has read the head, and what there is of the body may be on its way.
    Head,
    /// It has read the head and a part of the body, where there is one.
    PartOfBody,
    /// It has read everything.
    Whole,
    /// It has answered one byte.
    OneByteOfAnswer,
    /// It has answered a part of the status line.
    PartOfStatus,
    /// It has answered that more will come.
    Interim,
    /// It has answered a part of the fields.
    PartOfFields,
    /// It has answered the head, and nothing of the body.
    AnswerHead,
    /// It has answered a part of the body.
    PartOfAnswer,
    /// It has answered whole, and did not say that it closes.
    Answered,
}

impl Point {
    const ALL: [Self; 12] = [
        Self::Unread,
        Self::OneByte,
        Self::Head,
        Self::PartOfBody,
        Self::Whole,
        Self::OneByteOfAnswer,
        Self::PartOfStatus,
        Self::Interim,
        Self::PartOfFields,
        Self::AnswerHead,
        Self::PartOfAnswer,
        Self::Answered,
    ];

    /// What the origin has answered by then.
    fn answer(self) -> &'static str {
        match self {
            Self::Unread | Self::OneByte | Self::Head | Self::PartOfBody | Self::Whole => "",
            Self::OneByteOfAnswer => "H",
            Self::PartOfStatus => "HTTP/1.1 20",
            Self::Interim => "HTTP/1.1 103 Early Hints\r\n\r\n",
            Self::PartOfFields => "HTTP/1.1 200 OK\r\nContent-Le",
            Self::AnswerHead => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Self::PartOfAnswer => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            Self::Answered => HELLO,
        }
    }
}

/// How the request comes to the origin, and how the origin closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    point: Point,
    /// On a connection that served before.
    pooled: bool,
    /// By a reset.
    reset: bool,
}

/// Method, whether it may be repeated, body.
const METHODS: [(&str, bool, &str); 7] = [
    ("GET", true, ""),
    ("HEAD", true, ""),
    ("OPTIONS", true, ""),
    ("DELETE", true, ""),
    ("PUT", true, "hello"),
    ("POST", false, "hello"),
    ("PATCH", false, "hello"),
];

const WARM: &str = "GET /warm HTTP/1.1\r\nHost: a\r\n\r\n";
const AGAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain";

/// An origin whose first connection closes on the request in question; all later ones answer. Counts the connections on
/// which it read something of that request.
async fn closing_origin(way: Way, body_bytes: usize) -> (Origin, Arc<AtomicUsize>) {
    let reached = Arc::<AtomicUsize>::default();
    let (count, connections) = (Arc::clone(&reached), AtomicUsize::new(0));
    let origin = Origin::start(move |mut upstream| {
        let (count, is_first) = (Arc::clone(&count), connections.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            if is_first {
                if way.pooled {
                    upstream.head().await;
                    upstream.send(HELLO).await;
                }
                close_at(upstream, way, body_bytes, &count).await;
            } else if upstream.head().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                upstream.body(body_bytes).await;
                upstream.send(AGAIN).await;
                upstream.closed().await;
            }
        }
    })
    .await;
    (origin, reached)
}

async fn close_at(mut upstream: Upstream, way: Way, body_bytes: usize, reached: &AtomicUsize) {
    match way.point {
        Point::Unread => drop(upstream.stream.peek(&mut [0]).await),
        Point::OneByte => drop(upstream.stream.read_exact(&mut [0]).await),
        Point::Head => drop(upstream.head().await),
        Point::PartOfBody => {
            upstream.head().await;
            upstream.body(body_bytes.min(2)).await;
        }
        _ => {
            upstream.head().await;
            upstream.body(body_bytes).await;
        }
    }
    reached.fetch_add(usize::from(way.point != Point::Unread), Ordering::SeqCst);
    upstream.send(way.point.answer()).await;
    if way.reset {
        upstream.reset();
    }
}

/// What the rule says of a request.
struct Expected {
    /// How often the origin reads of it.
    reached: usize,
    retries: u8,
    status: u16,
    whole: bool,
    reason: Reason,
}

fn expected(way: Way, method: &str, repeatable: bool) -> Expected {
    let nothing_came = way.point.answer().is_empty();
    let again = way.pooled && repeatable && nothing_came;
    let is_complete = match way.point {
        Point::AnswerHead | Point::PartOfAnswer => method == "HEAD",
        point => again || point == Point::Answered,
    };
    let head_came = matches!(way.point, Point::AnswerHead | Point::PartOfAnswer);
    Expected {
        reached: usize::from(way.point != Point::Unread) + usize::from(again),
        retries: again.into(),
        status: if is_complete || head_came { 200 } else { 502 },
        whole: is_complete || !head_came,
        reason: match (is_complete, head_came) {
            (true, _) => Reason::Completed,
            (false, true) => Reason::UpstreamCut,
            (false, false) => Reason::UpstreamClosed,
        },
    }
}

async fn check(way: Way, (method, repeatable, body): (&str, bool, &str)) {
    let told = format!("{method} {way:?}");
    let (origin, reached) = closing_origin(way, body.len()).await;
    let halves = ["one", "two"].map(|name| route(name, 50, &[origin.address]));
    let vamp = Vamp::with(limits(), gateway(halves.into())).await;
    let mut client = vamp.client().await;
    if way.pooled {
        client.send(WARM).await;
        assert_eq!(client.answer().await.body, "hello", "{told}");
    }
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    client.send(format!("{method} /once HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}")).await;
    let mut answer = client.answer_to(method).await;
    if way.point == Point::Interim && answer.status == 103 {
        answer = client.answer_to(method).await;
    }
    let expected = expected(way, method, repeatable);
    assert_eq!((answer.status, answer.whole), (expected.status, expected.whole), "{told}: {answer:?}");
    let records = vamp.records(1 + usize::from(way.pooled)).await;
    let record = records.last().unwrap();
    assert_eq!((record.reason, record.retries), (expected.reason, expected.retries), "{told}");
    assert!(record.retries <= Limits::default().retries_max);
    assert_eq!(reached.load(Ordering::SeqCst), expected.reached, "{told}");
    assert!(repeatable || expected.reached <= 1, "{told}: the table above allows what the rule forbids");
    // One ticket each, however often it was sent.
    assert_eq!(vamp.plane.split_counts()[0].levels[0].tickets, records.len() as u64, "{told}");
}

async fn check_all() {
    for point in Point::ALL {
        for (pooled, reset) in [(false, false), (false, true), (true, false), (true, true)] {
            for method in METHODS {
                check(Way { point, pooled, reset }, method).await;
            }
        }
    }
}

#[tokio::test]
async fn what_must_not_be_repeated_is_sent_once_wherever_the_origin_closes() {
    check_all().await;
}

#[tokio::test]
#[ignore = "takes a quarter of a minute: for the nightly run"]
async fn ten_thousand_closes_repeat_nothing_that_must_not_be_repeated() {
    for _ in 0..30 {
        check_all().await;
    }
}

#[tokio::test]
async fn a_body_too_large_to_be_kept_is_not_sent_again() {
    for method in ["PUT", "POST"] {
        let (origin, reached) = closing_origin(Way { point: Point::Whole, pooled: true, reset: false }, 200_000).await;
        let vamp = Vamp::before(&[origin.address]).await;
        let mut client = vamp.client().await;
        client.send(WARM).await;
        client.answer().await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")).await;
        client.send("x".repeat(200_000)).await;
        assert_eq!(client.answer().await.status, 502, "{method}");
        assert_eq!(reached.load(Ordering::SeqCst), 1, "{method}");
        assert_eq!(vamp.records(2).await[1].retries, 0, "{method}");
    }
}

#[tokio::test]
async fn a_share_whose_endpoints_are_gone_fails_and_falls_to_nobody_else() {
    let origin = Origin::answering(HELLO).await;
    let gone = (Ipv4Addr::LOCALHOST, free_port()).into();
    let shares = vec![route("lives", 90, &[origin.address]), route("gone", 10, &[gone])];
    let vamp = Vamp::with(limits(), gateway(shares)).await;
    let mut client = vamp.client().await;
    for ten in 0..20 {
        let mut failed = 0;
        for _ in 0..10 {
            client.send(GET).await;
            failed += usize::from(client.answer().await.status == 502);
        }
        assert_eq!(failed, 1, "of the ten after {ten} others");
    }
    assert_eq!(origin.heads().len(), 180);
}

/// An origin that answers `/late` only when it is told to, and everything else at once.
async fn late_origin() -> (Origin, Arc<Notify>) {
    let now = Arc::new(Notify::new());
    let told = Arc::clone(&now);
    let origin = Origin::start(move |mut upstream| {
        let told = Arc::clone(&told);
        async move {
            while let Some(head) = upstream.head().await {
                if head.starts_with("GET /late") {
                    told.notified().await;
                    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").await;
                } else {
                    upstream.send(HELLO).await;
                }
            }
        }
    })
    .await;
    (origin, now)
}

const LATE: &str = "GET /late HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn an_answer_that_comes_after_its_time_is_given_to_nobody() {
    let (origin, now) = late_origin().await;
    // Enough for the requests that are answered at once, also on a machine that stalls.
    let limits = Limits { response_head_timeout: Duration::from_millis(1_500), ..limits() };
    let vamp = Vamp::with(limits, gateway(vec![route("only", 100, &[origin.address])])).await;
    let mut client = vamp.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.body, "hello");
    client.send(LATE).await;
    assert_eq!(client.answer().await.status, 504);
    now.notify_one();
    for _ in 0..3 {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "hello");
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn an_answer_to_a_client_that_left_is_given_to_nobody() {
    let (origin, now) = late_origin().await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut leaving = vamp.client().await;
    leaving.send(GET).await;
    assert_eq!(leaving.answer().await.body, "hello");
    leaving.send(LATE).await;
    eventually("the request is under way", || origin.heads().len() == 2).await;
    drop(leaving);
    assert_eq!(vamp.reasons(2).await, [Reason::Completed, Reason::ClientClosed]);
    now.notify_one();
    for _ in 0..3 {
        assert_eq!(vamp.ask(GET).await.body, "hello");
    }
    assert_eq!(origin.connections(), 2);
}

/// An origin that answers `/evil` with this, and everything else as it should.
async fn evil_origin(evil: String) -> Origin {
    Origin::start(move |mut upstream| {
        let evil = evil.clone();
        async move {
            while let Some(head) = upstream.head().await {
                upstream.send(if head.contains(" /evil ") { &evil } else { HELLO }).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_body_where_none_may_be_is_not_taken_for_the_next_answer() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (request, answer) in [
        ("HEAD", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{EVIL}", EVIL.len())),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{EVIL}", EVIL.len())),
    ] {
        let told = answer.clone();
        let origin = evil_origin(answer).await;
        let vamp = Vamp::before(&[origin.address]).await;
        let mut client = vamp.client().await;
        for _ in 0..2 {
            client.send(format!("{request} /evil HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            client.answer_to(request).await;
            client.send(GET).await;
            assert_eq!(client.answer().await.body, "hello", "{told:?}");
        }
    }
}
