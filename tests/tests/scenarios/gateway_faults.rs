//! The gateway's own troubles: its end, its disk, its ports.

use std::net::Ipv4Addr;
use std::time::Duration;

use vamp_tests::free_port;
use vamp_tests::installation::{Installation, PATIENCE, find};
use vamp_tests::load::{Load, Plan};
use vamp_tests::origin::Origin;

use crate::{gateway_document, load_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_restarts_without_the_store_serves_its_last_good_table() {
    let mut installation = Installation::start().await;
    let mut gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    // A table that is on its way to a slow disk is told as a problem.
    installation
        .rollout_where("the table is kept", |rollout| {
            find(rollout, "g1").is_some_and(|gateway| gateway["problems"] == serde_json::json!([]))
        })
        .await;
    gateway.kill().await;
    installation.etcd.kill().await;
    gateway.start_again();
    gateway.until_ready().await;
    Load::start(Plan { requests: Some(200), ..load_on(port) }).report().await.assert_flawless();
    installation.etcd.restart().await;
    installation.rollout_where("it registers again", |rollout| rollout["applied"] == 1 && rollout["of"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_ends_what_it_began() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    origin.behave(vamp_tests::origin::Behaviour::Slow(Duration::from_secs(2)));
    let load = Load::start(Plan { requests: Some(8), ..load_on(port) });
    vamp_tests::eventually(PATIENCE, "all requests are under way", async || (origin.requests() == 8).then_some(()))
        .await;
    gateway.stop().await;
    load.report().await.assert_flawless();
    installation.rollout_where("it has gone", |rollout| find(rollout, "g1").is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_degrades_its_gateway_only_and_heals_by_itself() {
    let installation = Installation::start().await;
    let _gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let (sound, taken) = (free_port(), free_port());
    let squatter = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    installation.serve("sound", &gateway_document("sound", sound, &[(&origin, 100)])).await;
    let load = Load::start(load_on(sound));
    // Applied, and not all of it works: the rollout says what does not.
    let body = installation.serve("shop", &gateway_document("shop", taken, &[(&origin, 100)])).await;
    let told = |rollout: &serde_json::Value| {
        find(rollout, "g1").is_some_and(|gateway| gateway["problems"].to_string().contains(&taken.to_string()))
    };
    assert!(told(&body["rollout"]), "{body:#}");
    let rollout = installation.rollout_where("the problem is shown", told).await;
    assert!(find(&rollout, "g1").unwrap()["problems"].to_string().contains("shop"), "{rollout:#}");
    drop(squatter);
    installation
        .rollout_where("the problem is gone", |rollout| {
            find(rollout, "g1").is_some_and(|gateway| gateway["problems"].as_array().is_none_or(Vec::is_empty))
        })
        .await;
    Load::start(Plan { requests: Some(100), ..load_on(taken) }).report().await.assert_flawless();
    load.finish().await.assert_flawless();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported_and_stops_no_change() {
    let installation = Installation::start().await;
    // Files may not grow beyond 4 KiB: writes fail as on a full disk (EFBIG instead of ENOSPC), and the limit can be
    // lifted from outside without being root.
    let gateway = installation.gateway_after("g1", "trap '' XFSZ; ulimit -S -f 8");
    gateway.until_live().await;
    let (one, two) = (Origin::start("1").await, Origin::start("2").await);
    let port = free_port();
    installation.rollout_where("it is registered", |rollout| find(rollout, "g1").is_some()).await;
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 100), (&two, 0)])).await;
    let load = Load::start(load_on(port));
    load.flow(100).await;
    // Incompressible, so that no packing brings it below the limit.
    for number in 0..12 {
        let document = large_gateway(number);
        installation.serve(&format!("large-{number}"), &document).await;
    }
    let problem = |rollout: &serde_json::Value| {
        find(rollout, "g1").is_some_and(|gateway| gateway["problems"].as_array().is_some_and(|all| !all.is_empty()))
    };
    installation.rollout_where("the full disk is reported", problem).await;
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 0), (&two, 100)])).await;
    load.flow(100).await;
    let lifted = std::process::Command::new("prlimit")
        .args(["--pid", &gateway.pid().to_string(), "--fsize=unlimited:"])
        .status();
    assert!(lifted.is_ok_and(|status| status.success()), "prlimit (util-linux) lifts the limit");
    installation.rollout_where("the file is written", |rollout| !problem(rollout)).await;
    let report = load.finish().await;
    report.assert_flawless();
    assert!(report.of("2") > 0);
}

fn large_gateway(number: u32) -> String {
    use std::fmt::Write as _;
    let mut document = format!("name: large-{number}\nport: {}/http\nroutes:\n", free_port());
    for route in 0..50 {
        let host: u64 = rand::random();
        let weight = if route == 0 { 100 } else { 0 };
        writeln!(document, "  \"[host-{host:016x}.invalid:80]\": {{weight: {weight}%}}").unwrap();
    }
    document
}
