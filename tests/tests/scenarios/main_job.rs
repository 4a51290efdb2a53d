//! One PUT moves live traffic: exactly, at once, without a failed request.

use std::time::Duration;

use vamp_tests::free_port;
use vamp_tests::installation::{Gateway, Installation};
use vamp_tests::load::Load;
use vamp_tests::origin::Origin;

use crate::{gateway_document, load_on};

/// Installation, gateway process, two origins and the port of the gateway `shop`.
async fn stage() -> (Installation, Gateway, Origin, Origin, u16) {
    let installation = Installation::start().await;
    let gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
    let (one, two) = (Origin::start("1").await, Origin::start("2").await);
    (installation, gateway, one, two, free_port())
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_follows_each_change_without_a_failed_request() {
    let (installation, _gateway, one, two, port) = stage().await;
    let shop = |first, second| gateway_document("shop", port, &[(&one, first), (&two, second)]);
    installation.serve("shop", &shop(100, 0)).await;

    let load = Load::start(load_on(port));
    load.flow(500).await;
    assert_eq!(two.requests(), 0, "nothing goes to a route of weight 0");
    installation.serve("shop", &shop(90, 10)).await;
    load.flow(1_000).await;
    installation.serve("shop", &shop(0, 100)).await;
    let (before, flowing) = (one.requests(), load.answered());
    load.flow(500).await;
    assert!(load.answered() > flowing);
    let under_way = one.requests() - before;
    assert!(under_way <= 8, "{under_way} requests of 8 connections went to a route of weight 0 after the change");
    let report = load.finish().await;
    report.assert_flawless();
    assert_eq!(report.closed, 0);
    assert!(report.of("2") > 500, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_are_split_exactly() {
    let (installation, _gateway, one, two, port) = stage().await;
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 90), (&two, 10)])).await;
    let plan = vamp_tests::load::Plan { connections: 64, requests: Some(10_000), ..load_on(port) };
    let report = Load::start(plan).report().await;
    report.assert_flawless();
    assert_eq!((report.of("1"), report.of("2")), (9_000, 1_000));

    let split = installation.split("shop").await;
    let delivered: u64 = split["routes"].as_array().unwrap().iter().filter_map(|r| r["delivered"].as_u64()).sum();
    assert_eq!(delivered, 10_000, "{split:#}");
}

/// The longest time that a thread may spend on a new table at a stretch: what is promised, in programs as users run them.
/// Programs of tests are not optimised, and share their processors with the load, the store and other tests: the scheduler
/// may take a thread's processor away inside the interval that is measured, for some turns of its own of 3 or 4 ms. What
/// must not be there (a table that is freed, a lock that is waited for, a disk) costs more, or comes again and again.
const STALL_MAX: Duration = if cfg!(debug_assertions) { Duration::from_millis(20) } else { Duration::from_millis(1) };

/// How often a stall must come again to be the product's: the scheduler may take a processor away for longer, once.
const STALL_TRIES: usize = 3;

/// What swapping tables cost.
struct Swapped {
    /// The gateway's memory after 100 swaps and at the end.
    memory: [f64; 2],
    /// The longest time that a thread spent on a table at a stretch, seconds.
    stall: f64,
}

/// Swaps tables under load, beside a gateway that is not changed.
async fn swap_under_load(swaps: u16) -> Swapped {
    let (installation, gateway, one, two, port) = stage().await;
    let shop = |first: u16| {
        let first = u8::try_from(first % 101).unwrap();
        gateway_document("shop", port, &[(&one, first), (&two, 100 - first)])
    };
    installation.serve("shop", &shop(50)).await;
    let load = Load::start(load_on(port));
    load.flow(100).await;
    let memory = || gateway.metric("vamp_gateway_resident_memory_bytes", "");
    let mut early = 0.0;
    for swap in 0..swaps {
        installation.serve("shop", &shop(swap)).await;
        if swap == 100 {
            early = memory().await;
        }
    }
    let late = memory().await;
    let report = load.finish().await;
    report.assert_flawless();
    assert_eq!(report.closed, 0);
    let stall = gateway.metric("vamp_gateway_swap_stall_seconds", "").await;
    assert!(stall > 0.0);
    Swapped { memory: [early, late], stall }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_swaps_under_load_fail_nothing_and_close_nothing() {
    let mut stalls = Vec::new();
    while stalls.iter().all(|stall| *stall > STALL_MAX.as_secs_f64()) {
        assert!(stalls.len() < STALL_TRIES, "a thread spent so many seconds on a table at a stretch: {stalls:?}");
        stalls.push(swap_under_load(200).await.stall);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: for tests/nightly"]
async fn a_thousand_swaps_under_load_fail_nothing_and_take_no_memory() {
    let Swapped { memory: [early, late], stall } = swap_under_load(1_000).await;
    assert!(stall <= STALL_MAX.as_secs_f64(), "a thread spent {stall} s on a table at a stretch");
    assert!(early > 0.0 && late < 1.05 * early, "{late} bytes resident after 1,000 swaps, {early} after 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_takes_its_requests_whatever_the_weights() {
    let (installation, _gateway, one, two, port) = stage().await;
    let document = format!(
        "name: shop\nport: {port}/http\nroutes:\n  \"[{}]\": {{weight: 100%}}\n  \"[{}]\": {{weight: 0%, condition: \"User-Agent == Firefox\", condition_strength: 100%}}\n",
        one.address(),
        two.address()
    );
    installation.serve("shop", &document).await;
    let requests = Some(200);
    let plain = vamp_tests::load::Plan { requests, ..load_on(port) };
    let header_lines = "User-Agent: Mozilla/5.0 Firefox/140.0\r\n".to_owned();
    let firefox = vamp_tests::load::Plan { requests, header_lines, ..load_on(port) };
    assert_eq!(Load::start(plain).report().await.of("1"), 200);
    assert_eq!(Load::start(firefox).report().await.of("2"), 200);

    let asked = serde_json::json!({"headers": {"User-Agent": "Firefox"}});
    let explained = installation.post("gateways/shop/explain", &asked).await.expect(&[200]);
    assert_eq!(explained["route"], format!("[{}]", two.address()), "{explained:#}");
    assert_eq!(explained["decided_by"], "condition", "{explained:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_says_which_gateway_lags() {
    let (installation, gateway, one, _two, port) = stage().await;
    let second = installation.gateway("g2").await;
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 100)])).await;
    // It acknowledges nothing.
    second.freeze();
    let body = installation
        .put("gateways/shop?wait=4s", &gateway_document("shop", free_port(), &[(&one, 100)]))
        .await
        .expect(&[202]);
    second.thaw();
    assert_eq!((&body["rollout"]["applied"], &body["rollout"]["of"]), (&1.into(), &2.into()), "{body:#}");
    assert!(body["rollout"]["gateways"].to_string().contains("g2"), "{body:#}");
    installation
        .rollout_where("both gateways serve the change", |rollout| rollout["applied"] == 2 && rollout["of"] == 2)
        .await;
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_deleted_stops_listening_and_history_brings_it_back() {
    let (installation, _gateway, one, _two, port) = stage().await;
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 100)])).await;
    installation.delete("gateways/shop?wait=10s").await.expect(&[200]);
    let plan = || vamp_tests::load::Plan { requests: Some(3), ..load_on(port) };
    let refused = Load::start(plan()).report().await;
    assert_eq!((refused.answered, refused.failed), (0, 3), "{refused:?}");
    installation.get("gateways/shop").await.expect(&[404]);
    installation.post("gateways/shop/history/1/restore?wait=10s", &serde_json::Value::Null).await.expect(&[200, 201]);
    Load::start(plan()).report().await.assert_flawless();
}
