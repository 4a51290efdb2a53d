//! Each request is one document in Elasticsearch, or one counted drop: nothing is lost silently, nothing is doubled.

use std::time::Duration;

use serde_json::json;
use vamp_record::{ElasticClient, ElasticUrl};
use vamp_tests::components::search_servers;
use vamp_tests::installation::{Gateway, Installation};
use vamp_tests::load::{Load, Plan};
use vamp_tests::narrow::Narrow;
use vamp_tests::origin::Origin;
use vamp_tests::relay::Relay;
use vamp_tests::{eventually, free_port};

use crate::{gateway_document, load_on};

/// Documents of a namespace that match a query, as the server counts them now.
async fn count(client: &ElasticClient, namespace: &str, query: serde_json::Value) -> u64 {
    let index = format!("vamp-vga-{namespace}-*");
    // Until the first document there is no such index.
    if client.refresh(&index).await.is_err() {
        return 0;
    }
    let search = json!({"size": 0, "track_total_hits": true, "query": query});
    client.search(&index, search).await.map_or(0, |found| found.total)
}

async fn until_counted(client: &ElasticClient, namespace: &str, wanted: u64) {
    let what = format!("{wanted} documents");
    eventually(Duration::from_mins(1), &what, async || {
        (count(client, namespace, json!({"match_all": {}})).await >= wanted).then_some(())
    })
    .await;
}

fn unique_namespace() -> String {
    format!("test-{:012x}", rand::random::<u64>() >> 16)
}

/// An installation whose control plane and gateway share a namespace of their own in a search server.
async fn stage(namespace: &str, elasticsearch: &str) -> (Installation, Gateway, Origin, Origin, u16) {
    let installation = Installation::start_in(namespace).await;
    let gateway = installation.gateway_with("g1", &["--elasticsearch", elasticsearch]).await;
    let (one, two) = (Origin::start("1").await, Origin::start("2").await);
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 90), (&two, 10)])).await;
    (installation, gateway, one, two, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_one_document_that_names_its_route() {
    for server in search_servers() {
        let namespace = unique_namespace();
        let (_installation, _gateway, one, two, port) = stage(&namespace, &server.url).await;
        let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
        Load::start(Plan { requests: Some(1_000), ..load_on(port) }).report().await.assert_flawless();
        until_counted(&client, &namespace, 1_000).await;
        assert_eq!(count(&client, &namespace, json!({"match_all": {}})).await, 1_000, "{}", server.name);
        for (origin, wanted) in [(&one, 900), (&two, 100)] {
            let of_route = json!({"term": {"route": format!("[{}]", origin.address())}});
            assert_eq!(count(&client, &namespace, of_route).await, wanted, "{}", server.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_around_an_upgrade_is_one_document() {
    let server = search_servers().into_iter().next().unwrap();
    let namespace = unique_namespace();
    let (_installation, mut gateway, _one, _two, port) = stage(&namespace, &server.url).await;
    let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
    let load = Load::start(load_on(port));
    load.flow(300).await;
    let before = gateway.upgrade().await;
    load.flow(300).await;
    let report = load.finish().await;
    report.assert_flawless();
    // It ends when its last record is shipped.
    gateway.until_gone(before, Duration::from_mins(1)).await;
    until_counted(&client, &namespace, report.answered).await;
    assert_eq!(count(&client, &namespace, json!({"match_all": {}})).await, report.answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_counted_drops_make_up_all_requests_over_an_outage() {
    let server = search_servers().into_iter().next().unwrap();
    let namespace = unique_namespace();
    let target = server.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let relay = Relay::start(target).await;
    let installation = Installation::start_in(&namespace).await;
    let elasticsearch = format!("http://{}", relay.address());
    // A queue that the outage overflows, so that drops are part of the sum.
    let arguments = ["--elasticsearch", &*elasticsearch, "--records-max", "2000"];
    let gateway = installation.gateway_with("g1", &arguments).await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let load = Load::start(load_on(port));
    load.flow(1_000).await;
    relay.cut();
    load.flow(5_000).await;
    relay.mend();
    load.flow(1_000).await;
    let report = load.finish().await;
    report.assert_flawless();
    eventually(Duration::from_mins(1), "nothing is queued", async || {
        (gateway.metric("vamp_gateway_records_queued", "").await == 0.0).then_some(())
    })
    .await;
    let dropped = whole(gateway.metric("vamp_gateway_records_dropped_total", "").await);
    let answered = whole(gateway.metric("vamp_gateway_records_answered_total", "").await);
    assert_eq!(answered, report.answered);
    assert!(dropped > 0, "the outage was too short to show drops");
    let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
    until_counted(&client, &namespace, answered - dropped).await;
    assert_eq!(count(&client, &namespace, json!({"match_all": {}})).await, answered - dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_ships_what_it_holds() {
    let server = search_servers().into_iter().next().unwrap();
    let namespace = unique_namespace();
    let (_installation, mut gateway, _one, _two, port) = stage(&namespace, &server.url).await;
    Load::start(Plan { requests: Some(500), ..load_on(port) }).report().await.assert_flawless();
    gateway.stop().await;
    let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
    assert_eq!(count(&client, &namespace, json!({"match_all": {}})).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_in_their_order_each_once_over_an_outage_and_a_kill() {
    for server in search_servers() {
        let namespace = unique_namespace();
        let target = server.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let relay = Relay::start(target).await;
        let elasticsearch = format!("http://{}", relay.address());
        let arguments = ["--events-elasticsearch", &*elasticsearch];
        let mut installation = Installation::start_with_arguments(&namespace, &arguments).await;
        let publish = async |installation: &Installation, numbers: std::ops::Range<u32>| {
            let event = |number: u32| json!({"tags": [format!("number:{number}")], "value": number});
            let events: Vec<_> = numbers.map(event).collect();
            installation.post("events", &events.into()).await.expect(&[200, 201]);
        };
        let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
        let index = format!("vamp-pulse-{namespace}-*");
        let found = async || {
            client.refresh(&index).await.ok()?;
            let search = json!({"size": 1_000, "sort": ["id"], "query": {"term": {"namespace": namespace}}});
            client.search(&index, search).await.ok()
        };
        publish(&installation, 0..100).await;
        eventually(Duration::from_mins(1), "the first are there", async || {
            found().await.filter(|found| found.total >= 100).map(drop)
        })
        .await;
        relay.cut();
        publish(&installation, 100..700).await;
        // What a write tells is an event too.
        installation.put("conditions/mobile", "condition: user-agent == Android").await.expect(&[200, 201]);
        installation.kill_control_plane().await;
        relay.mend();
        installation.restart_control_plane().await;
        let found = eventually(Duration::from_mins(1), "all are there", async || {
            found().await.filter(|found| found.documents.iter().any(|document| document["type"] == "archive"))
        })
        .await;
        let numbers: Vec<_> = found.documents.iter().filter_map(|document| document["number"].as_f64()).collect();
        let wanted: Vec<_> = (0..700).map(f64::from).collect();
        assert_eq!((found.total, numbers), (701, wanted), "{}", server.name);
    }
}

/// What the proxies here take, bytes.
const NARROW_BYTES_MAX: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_a_proxy_that_takes_no_long_requests_and_one_that_is_too_long_is_counted() {
    let server = search_servers().into_iter().next().unwrap();
    let namespace = unique_namespace();
    let target = server.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let proxy = Narrow::start(target, NARROW_BYTES_MAX).await;
    let elasticsearch = format!("http://{}", proxy.address());
    let arguments = ["--events-elasticsearch", &*elasticsearch];
    let mut installation = Installation::start_with_arguments(&namespace, &arguments).await;
    let long = "x".repeat(30_000);
    let event = |number: u32| match number {
        150 => json!({"tags": ["long"], "value": long}),
        _ => json!({"tags": [format!("number:{number}")], "value": number}),
    };
    installation.post("events", &(0..300).map(event).collect::<Vec<_>>().into()).await.expect(&[200, 201]);
    let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
    let index = format!("vamp-pulse-{namespace}-*");
    let found = eventually(Duration::from_mins(1), "all but one are there", async || {
        client.refresh(&index).await.ok()?;
        let search = json!({"size": 1_000, "sort": ["id"], "query": {"term": {"namespace": namespace}}});
        client.search(&index, search).await.ok().filter(|found| found.total >= 299)
    })
    .await;
    let numbers: Vec<_> = found.documents.iter().filter_map(|document| document["number"].as_f64()).collect();
    let wanted: Vec<_> = (0..300).filter(|number| *number != 150).map(f64::from).collect();
    assert_eq!((found.total, numbers), (299, wanted));
    assert!(proxy.refused() > 1, "it refused {}", proxy.refused());
    // It is told, also after a restart, and nothing is sent again.
    for _ in 0..2 {
        eventually(Duration::from_mins(1), "one is counted", async || {
            let info = installation.get("info").await.expect(&[200]);
            (info["events_refused"] == 1).then_some(())
        })
        .await;
        installation.restart_control_plane().await;
    }
    let kept = installation.get("events?tag=long").await.expect(&[200]);
    assert_eq!(kept.as_array().unwrap().len(), 1, "it stays in the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_pass_a_proxy_that_takes_no_long_requests() {
    let server = search_servers().into_iter().next().unwrap();
    let namespace = unique_namespace();
    let target = server.url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let proxy = Narrow::start(target, NARROW_BYTES_MAX).await;
    let address = format!("http://{}", proxy.address());
    let (_installation, gateway, _one, _two, port) = stage(&namespace, &address).await;
    Load::start(Plan { requests: Some(1_000), ..load_on(port) }).report().await.assert_flawless();
    let client = ElasticClient::new(&server.url.parse::<ElasticUrl>().unwrap()).unwrap();
    until_counted(&client, &namespace, 1_000).await;
    assert_eq!(whole(gateway.metric("vamp_gateway_records_dropped_total", "").await), 0);
    assert!(proxy.refused() > 0, "no request was too long for it");
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter is a whole number")]
fn whole(value: f64) -> u64 {
    value as u64
}
