//! The store fails in every way that a store fails; traffic does not notice, and changes arrive when it is back.

use std::time::Duration;

use vamp_tests::free_port;
use vamp_tests::installation::{Gateway, Installation};
use vamp_tests::load::{Load, Report};
use vamp_tests::origin::Origin;

use crate::{gateway_document, load_on};

/// An installation with traffic on the gateway `shop`, all of it on the first origin.
struct Stage {
    installation: Installation,
    _gateway: Gateway,
    one: Origin,
    two: Origin,
    port: u16,
    load: Load,
}

impl Stage {
    async fn set() -> Self {
        let installation = Installation::start().await;
        let gateway = installation.gateway("g1").await;
        let (one, two) = (Origin::start("1").await, Origin::start("2").await);
        let port = free_port();
        installation.serve("shop", &gateway_document("shop", port, &[(&one, 100), (&two, 0)])).await;
        let load = Load::start(load_on(port));
        load.flow(100).await;
        Self { installation, _gateway: gateway, one, two, port, load }
    }

    fn shop(&self, first: u8) -> String {
        gateway_document("shop", self.port, &[(&self.one, first), (&self.two, 100 - first)])
    }

    /// Waits until the gateway serves what is wanted, and requests reach the second origin.
    async fn until_moved(&self) {
        let what = "the gateway serves the change";
        self.installation.rollout_where(what, |rollout| rollout["applied"] == 1 && rollout["of"] == 1).await;
        vamp_tests::eventually(Duration::from_secs(30), "requests reach the second origin", async || {
            (self.two.requests() > 0).then_some(())
        })
        .await;
    }

    async fn end(self) -> Report {
        let report = self.load.finish().await;
        report.assert_flawless();
        report
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_answering_delays_changes_and_nothing_else() {
    let stage = Stage::set().await;
    stage.installation.etcd.pause();
    // Kept in the database, not yet served by anybody: said so, at once.
    stage.installation.put("gateways/shop?wait=1s", &stage.shop(0)).await.expect(&[200, 202]);
    // LIMIT: longer than a lease, so that the gateway has to register again.
    let frozen = tokio::time::Instant::now() + Duration::from_secs(12);
    while tokio::time::Instant::now() < frozen {
        stage.load.flow(50).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stage.two.requests(), 0);
    stage.installation.etcd.resume();
    stage.until_moved().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_store_goes_on_where_it_was() {
    let mut stage = Stage::set().await;
    stage.installation.etcd.kill().await;
    stage.load.flow(100).await;
    stage.installation.put("gateways/shop", &stage.shop(0)).await.expect(&[200, 202]);
    stage.installation.etcd.restart().await;
    stage.until_moved().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_store_loses_no_change() {
    let stage = Stage::set().await;
    for first in [10, 20, 30] {
        stage.installation.serve("shop", &stage.shop(first)).await;
    }
    compact(&stage.installation).await;
    stage.installation.serve("shop", &stage.shop(0)).await;
    stage.until_moved().await;
    stage.end().await;
}

async fn compact(installation: &Installation) {
    let mut client = etcd_client::Client::connect([installation.etcd.address()], None).await.unwrap();
    let head = client.get("none", None).await.unwrap().header().unwrap().revision();
    client.compact(head, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_from_an_old_copy_is_published_to_anew() {
    let mut stage = Stage::set().await;
    stage.installation.etcd.back_up().await;
    stage.installation.serve("shop", &stage.shop(0)).await;
    stage.until_moved().await;
    let before = stage.one.requests();
    stage.installation.etcd.restore().await;
    stage
        .installation
        .rollout_where("all in step again", |rollout| rollout["applied"] == 1 && rollout["of"] == 1)
        .await;
    stage.load.flow(200).await;
    let went_back = stage.one.requests() - before;
    assert!(went_back <= 8, "{went_back} requests went back to the old route");
    // Changes go on from there.
    stage.installation.serve("shop", &stage.shop(50)).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_killed_between_persist_and_publish_publishes_when_it_is_back() {
    let mut stage = Stage::set().await;
    stage.installation.etcd.pause();
    stage.installation.put("gateways/shop", &stage.shop(0)).await.expect(&[200, 202]);
    stage.installation.kill_control_plane().await;
    stage.installation.etcd.resume();
    stage.load.flow(100).await;
    assert_eq!(stage.two.requests(), 0, "nobody has published the change");
    stage.installation.restart_control_plane().await;
    stage.until_moved().await;
    stage.end().await;
}
