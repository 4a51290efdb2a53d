//! What is behind the gateway fails; a client sees the best answer that there is, and never half of one as a whole.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vamp_tests::free_port;
use vamp_tests::installation::{Gateway, Installation};
use vamp_tests::load::{Load, Plan};
use vamp_tests::origin::{Behaviour, Origin};

use crate::{gateway_document, load_on};

async fn stage(arguments: &[&str]) -> (Installation, Gateway, Origin, u16) {
    let installation = Installation::start().await;
    let gateway = installation.gateway_with("g1", arguments).await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    (installation, gateway, origin, port)
}

/// One request on a connection of its own; everything that comes back until the connection ends.
async fn ask(port: u16, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    read.expect("the answer ends").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

const PLAIN: &str = "GET /?n=1 HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_refuses_gives_502_and_comes_back_at_once() {
    let (_installation, gateway, mut origin, port) = stage(&[]).await;
    origin.stop().await;
    let answer = ask(port, PLAIN).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(gateway.metric("vamp_gateway_requests_ended_total", "connect_failed").await >= 1.0);
    origin.resume().await;
    Load::start(Plan { requests: Some(50), ..load_on(port) }).report().await.assert_flawless();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_slow_delays_only_its_own_requests() {
    let (installation, _gateway, slow, port) = stage(&[]).await;
    let quick = Origin::start("2").await;
    let other = free_port();
    installation.serve("quick", &gateway_document("quick", other, &[(&quick, 100)])).await;
    slow.behave(Behaviour::Slow(Duration::from_secs(3)));
    let waiting = Load::start(Plan { requests: Some(32), connections: 32, ..load_on(port) });
    let report = Load::start(Plan { requests: Some(500), ..load_on(other) }).report().await;
    report.assert_flawless();
    waiting.report().await.assert_flawless();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_never_answers_gives_504() {
    let (_installation, _gateway, origin, port) = stage(&["--response-head-timeout", "1s"]).await;
    origin.behave(Behaviour::Silent);
    let answer = ask(port, PLAIN).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_never_presented_as_whole() {
    let (_installation, gateway, origin, port) = stage(&[]).await;
    origin.behave(Behaviour::CutBody);
    let answer = ask(port, PLAIN).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer}"));
    let length: usize = vamp_tests::origin::field(head, "content-length").unwrap().parse().unwrap();
    assert!(body.len() < length, "{answer}");
    assert!(gateway.metric("vamp_gateway_requests_ended_total", "upstream_cut").await >= 1.0);
    origin.behave(Behaviour::CutHead);
    let answer = ask(port, PLAIN).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_closes_idle_connections_costs_no_request() {
    let (_installation, _gateway, origin, port) = stage(&[]).await;
    origin.behave(Behaviour::CloseAfterAnswer);
    Load::start(Plan { requests: Some(300), ..load_on(port) }).report().await.assert_flawless();
}
