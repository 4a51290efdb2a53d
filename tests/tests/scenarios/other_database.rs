//! The control plane comes back with another database: an empty one, named by mistake, or an old copy of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use vamp_tests::installation::PATIENCE;
use vamp_tests::load::Load;
use vamp_tests::process::own_binary;

use crate::deployments::{CHECK, Scene};
use crate::load_on;

/// Where an SQLite database is.
fn file(address: &str) -> PathBuf {
    PathBuf::from(address.strip_prefix("sqlite:").unwrap())
}

/// Copies a database that nobody writes, with all that belongs to it.
fn copy(from: &Path, to: &Path) {
    for part in ["", "-wal", "-shm"] {
        let name = |path: &Path| PathBuf::from(format!("{}{part}", path.display()));
        drop(std::fs::remove_file(name(to)));
        if name(from).exists() {
            std::fs::copy(name(from), name(to)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_that_was_named_by_mistake_takes_nothing_away() {
    let mut scene = Scene::set().await;
    scene.merge(&scene.blueprint("1", 2, CHECK, "")).await;
    let before = scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    let right = scene.installation.database().to_owned();
    let wrong = format!("sqlite:{}", file(&right).with_file_name("empty.db").display());
    scene.installation.restart_control_plane_on(&wrong).await;
    vamp_tests::eventually(PATIENCE, "it acts, and says that its database is empty", async || {
        let info = scene.installation.get("info").await.body;
        let rollout = scene.installation.get("rollout").await.body;
        (info["acts"] == true && rollout["store"]["problem"].to_string().contains("database is empty")).then_some(())
    })
    .await;
    // Twice what an instance stays behind the last request that it gets.
    tokio::time::sleep(Duration::from_secs(6)).await;
    load.flow(100).await;
    scene.installation.restart_control_plane_on(&right).await;
    let after = scene.until_done().await;
    let instances = |status: &Value| status["services"][0]["instances"].clone();
    assert_eq!(instances(&after), instances(&before), "nobody ended or started them");
    load.flow(100).await;
    load.finish().await.assert_flawless();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_takes_over_when_what_it_has_deployed_takes_requests() {
    let mut scene = Scene::set().await;
    let program = own_binary("origin").display().to_string();
    let slow = scene.blueprint("1", 1, CHECK, "").replace(&program, &format!("sleep 3; exec {program}"));
    scene.merge(&slow).await;
    scene.until_done().await;
    let newest = file(scene.installation.database());
    let copied = newest.with_file_name("copy.db");
    scene.installation.kill_control_plane().await;
    copy(&newest, &copied);
    scene.installation.restart_control_plane().await;
    scene.merge(&scene.blueprint("2", 1, CHECK, "")).await;
    scene.until_done().await;
    scene.weigh(&[("1", 0), ("2", 100)]).await;
    scene.installation.delete("deployments/shop/clusters/web/services/web:1").await.expect(&[200]);
    let only_second = |status: &Value| status["done"] == true && status["services"].as_array().unwrap().len() == 1;
    scene.until("the first version has gone", only_second).await;

    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    scene.installation.kill_control_plane().await;
    copy(&copied, &newest);
    scene.installation.restart_control_plane().await;
    let status = scene.until_done().await;
    assert_eq!(status["services"][0]["service"], "web:1", "{status:#}");
    let served = |rollout: &Value| rollout["applied"] == 1 && rollout["of"] == 1 && rollout["published"] == true;
    scene.installation.rollout_where("the gateway serves its table", served).await;
    load.flow(100).await;
    let report = load.finish().await;
    report.assert_flawless();
    assert!(report.of("1") > 0 && report.of("2") > 0, "{report:#?}");
    scene.end().await;
}
