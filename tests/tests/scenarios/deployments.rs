//! Blueprints become running services, and no request is lost while they are merged, scaled, replaced and removed.

use std::time::Duration;

use serde_json::{Value, json};
use vamp_tests::engine::Engine;
use vamp_tests::installation::{Gateway, Installation, PATIENCE};
use vamp_tests::load::Load;
use vamp_tests::process::own_binary;
use vamp_tests::{eventually, free_port};

use crate::blueprints::{blueprint, origin, service};
use crate::load_on;

pub(crate) const CHECK: &str = "{port: http, path: /, timeout: 5s, interval: 1s, failures: 3}";

pub(crate) struct Scene {
    pub(crate) installation: Installation,
    _gateway: Gateway,
    pub(crate) port: u16,
    /// What a blueprint says of what runs.
    deployable: String,
    engine: Option<(Engine, String)>,
}

impl Scene {
    /// One in which services are programs of the host.
    pub(crate) async fn set() -> Self {
        Self::of(Installation::start().await, origin(), None).await
    }

    /// One in which they are containers.
    async fn in_containers() -> Self {
        let (engine, namespace) = (Engine::shared(), format!("t{:x}", rand::random::<u64>()));
        engine.import("origin", "vamp-test-origin", &namespace).await;
        let installation = Installation::start_with_arguments(&namespace, &["--docker-host", &engine.address()]).await;
        Self::of(installation, containers(&namespace), Some((engine, namespace))).await
    }

    async fn of(installation: Installation, deployable: String, engine: Option<(Engine, String)>) -> Self {
        let gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
        Self { installation, _gateway: gateway, port: free_port(), deployable, engine }
    }

    /// A blueprint with one version of the service.
    pub(crate) fn blueprint(&self, version: &str, instances: u32, check: &str, more: &str) -> String {
        let environment =
            format!("environment_variables: {{VERSION: \"{version}\", MORE: \"{more}\", ADDRESS: 0.0.0.0}}");
        let checks = format!("health_checks: {check}");
        let service = service(version, &self.deployable, instances, &[&environment, &checks]);
        blueprint("shop", self.port, &[service], "")
    }

    /// A blueprint whose port has another name.
    fn on_port(port: &str, blueprint: &str) -> String {
        let blueprint = blueprint.replace("ports: {http:", &format!("ports: {{{port}:"));
        blueprint.replace("web/http", &format!("web/{port}"))
    }

    pub(crate) async fn merge(&self, blueprint: &str) {
        self.installation.put("deployments/shop", blueprint).await.expect(&[200, 201]);
    }

    async fn status(&self) -> Value {
        self.installation.get("deployments/shop/status").await.body
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, what, async || {
            let status = self.status().await;
            holds(&status).then_some(status)
        })
        .await
    }

    pub(crate) async fn until_done(&self) -> Value {
        self.until("everything is as it is wanted", |status| status["done"] == true).await
    }

    /// Gives the versions of the service their shares.
    pub(crate) async fn weigh(&self, weights: &[(&str, u8)]) {
        let mut gateway = self.installation.get("gateways/shop/web/http").await.expect(&[200]);
        for (version, weight) in weights {
            gateway["routes"][format!("shop/web/web:{version}/http")]["weight"] = json!(format!("{weight}%"));
        }
        self.installation.serve("shop/web/http", &gateway.to_string()).await;
    }

    pub(crate) async fn end(self) {
        self.installation.delete("deployments/shop").await.expect(&[200]);
        eventually(PATIENCE, "nothing is left of it", async || {
            let left = self.installation.get("deployments/shop/status").await;
            (left.status.as_u16() == 404).then_some(())
        })
        .await;
        assert_eq!(self.installation.get("instances").await.body, json!([]));
        assert_eq!(self.installation.get("gateways").await.body, json!([]));
        if let Some((engine, namespace)) = &self.engine {
            let label = format!("io.vamp.platform.namespace={namespace}");
            assert_eq!(engine.containers(&label).await, Vec::<Value>::new());
            engine.must(reqwest::Method::DELETE, &format!("images/vamp-test-origin:{namespace}"), "").await;
        }
    }
}

/// A service as a container of an image that was made for the test. The engine's `init` ends it when it is told to.
fn containers(tag: &str) -> String {
    format!("deployable: \"vamp-test-origin:{tag}\"\n        arguments: [{{init: 'true'}}]")
}

fn instances<'s>(status: &'s Value, service: &str) -> Vec<&'s str> {
    let services = status["services"].as_array().unwrap();
    let found = services.iter().find(|found| found["service"] == service).unwrap();
    found["instances"].as_array().unwrap().iter().map(|instance| instance["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_versions_come_change_and_go() {
    versions_come_change_and_go(Scene::set().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_versions_in_containers_come_change_and_go() {
    versions_come_change_and_go(Scene::in_containers().await).await;
}

async fn versions_come_change_and_go(scene: Scene) {
    scene.merge(&scene.blueprint("1", 2, CHECK, "")).await;
    scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(300).await;

    // A second version comes in and gets nothing.
    scene.merge(&scene.blueprint("2", 1, CHECK, "")).await;
    scene.until_done().await;
    load.flow(300).await;
    scene.weigh(&[("1", 50), ("2", 50)]).await;
    load.flow(300).await;

    // More of the one, and another order for the other: each instance is replaced by a new one.
    let scale = json!({"cpu": 1, "memory": "256MB", "instances": 3}).to_string();
    scene.installation.put("deployments/shop/clusters/web/services/web:2/scale", &scale).await.expect(&[200]);
    let status = scene.until_done().await;
    let before: Vec<String> = instances(&status, "web:1").into_iter().map(str::to_owned).collect();
    scene.merge(&scene.blueprint("1", 2, CHECK, "other")).await;
    let replaced = |status: &Value| {
        status["done"] == true && instances(status, "web:1").iter().all(|name| !before.iter().any(|old| old == name))
    };
    let status = scene.until("the instances are new ones", replaced).await;
    assert_eq!((instances(&status, "web:1").len(), instances(&status, "web:2").len()), (2, 3));
    load.flow(300).await;

    // What gets something can't go; what gets nothing can.
    let service = "deployments/shop/clusters/web/services/web:1";
    let refused = scene.installation.delete(service).await.expect(&[400]);
    assert!(refused["message"].as_str().unwrap().contains("still gets 50%"), "{refused:#}");
    scene.weigh(&[("1", 0), ("2", 100)]).await;
    scene.installation.delete(service).await.expect(&[200]);
    scene.until_done().await;
    load.flow(300).await;

    // Its port gets another name, and the gateway follows it; the first check comes late, then there is none.
    let late = CHECK.replace("http,", "main,").replace("interval", "initial_delay: 2s, interval");
    for (port, check) in [("main", late.as_str()), ("other", "[]")] {
        scene.merge(&Scene::on_port(port, &scene.blueprint("2", 3, check, ""))).await;
        scene.until_done().await;
        let inner = format!("shop/web/{port}");
        eventually(PATIENCE, "the gateways follow", async || {
            let gateways = scene.installation.get("gateways").await.body;
            let names: Vec<_> = gateways.as_array()?.iter().map(|gateway| gateway["name"].clone()).collect();
            let is_led = gateways[0]["routes"].get(&inner).is_some();
            (names == [json!(format!("shop/{}", scene.port)), json!(inner)] && is_led).then_some(())
        })
        .await;
        load.flow(300).await;
    }
    // The gateway is led to another cluster, which comes in the same change.
    let api = scene.blueprint("3", 2, CHECK, "").replace("  web:", "  api:").replace("web/http", "api/http");
    scene.merge(&api.replace("name: web:3", "name: api:3")).await;
    scene.until_done().await;
    load.flow(300).await;

    let report = load.finish().await;
    report.assert_flawless();
    assert!(report.of("1") > 600 && report.of("2") > 900 && report.of("3") > 0, "{report:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_was_killed_finds_its_instances_again() {
    instances_are_found_again(Scene::set().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_was_killed_finds_its_containers_again() {
    instances_are_found_again(Scene::in_containers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_makes_its_services_unknown_and_stops_nobody() {
    let installation =
        Installation::start_with_arguments("default", &["--docker-host", "unix:///nowhere/docker.sock"]).await;
    let scene = Scene::of(installation, containers("1"), None).await;
    scene.merge(&scene.blueprint("1", 1, CHECK, "")).await;
    let unknown = |status: &Value| status["services"][0]["phase"] == "Unknown";
    let status = scene.until("the service is unknown", unknown).await;
    let message = status["services"][0]["message"].as_str().unwrap();
    assert!(message.contains("docker at unix:///nowhere/docker.sock does not answer"), "{message}");
}

async fn instances_are_found_again(mut scene: Scene) {
    scene.merge(&scene.blueprint("1", 2, CHECK, "")).await;
    let before = scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(200).await;
    scene.installation.kill_control_plane().await;
    load.flow(200).await;
    scene.installation.restart_control_plane().await;
    let after = scene.until_done().await;
    assert_eq!(instances(&after, "web:1"), instances(&before, "web:1"));
    load.flow(200).await;
    // Killed right after a change was kept: the next one carries it out.
    let scale = json!({"cpu": 1, "memory": "256MB", "instances": 4}).to_string();
    scene.installation.put("deployments/shop/clusters/web/services/web:1/scale", &scale).await.expect(&[200]);
    scene.installation.restart_control_plane().await;
    let status = scene.until("all four are there", |status| status["services"][0]["ready"] == 4).await;
    assert_eq!(instances(&status, "web:1").len(), 4, "none was started twice");
    let report = load.finish().await;
    report.assert_flawless();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_goes_on_where_a_killed_control_plane_left_it() {
    roll_out_over_kills(Scene::set().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_of_containers_goes_on_where_a_killed_control_plane_left_it() {
    roll_out_over_kills(Scene::in_containers().await).await;
}

/// Kills the control plane whenever the roll-out came one step further, over and over.
async fn roll_out_over_kills(mut scene: Scene) {
    scene.merge(&scene.blueprint("1", 3, CHECK, "")).await;
    let before: Vec<String> = instances(&scene.until_done().await, "web:1").into_iter().map(str::to_owned).collect();
    let load = Load::start(load_on(scene.port));
    load.flow(200).await;
    scene.merge(&scene.blueprint("1", 3, CHECK, "other")).await;
    let old =
        |status: &Value| instances(status, "web:1").iter().filter(|name| before.iter().any(|old| old == *name)).count();
    let mut kills = 0;
    for left in [3, 2, 1] {
        let comes = |status: &Value| {
            let there = status["services"][0]["instances"].as_array().map_or(0, Vec::len);
            there > 0 && (old(status) < left || there > old(status) + 3 - left)
        };
        scene.until("the roll-out came a step further", comes).await;
        scene.installation.restart_control_plane().await;
        kills += 1;
        load.flow(100).await;
    }
    let replaced = |status: &Value| status["done"] == true && old(status) == 0;
    let status = scene.until("all are replaced", replaced).await;
    assert_eq!((kills, instances(&status, "web:1").len()), (3, 3));
    load.flow(200).await;
    load.finish().await.assert_flawless();
    scene.end().await;
}

/// Its programs can't be those of the control plane that is gone, which run on.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_a_control_plane_with_programs_of_its_own_takes_over() {
    let mut scene = Scene::set().await;
    // One that takes its time until it listens: that it runs does not make it well.
    let program = own_binary("origin").display().to_string();
    let slow = scene.blueprint("1", 2, CHECK, "").replace(&program, &format!("sleep 3; exec {program}"));
    scene.merge(&slow).await;
    scene.until_done().await;
    let second = scene.installation.second_control_plane().await;
    let first_ones = second.get("instances").await.unwrap();
    assert_eq!(first_ones[0]["instances"].as_array().map(Vec::len), Some(2), "{first_ones:#}");
    // It sees no program of the first one, and tells how far these are all the same.
    eventually(PATIENCE, "the second one tells what the first one runs", async || {
        let status = second.get("deployments/shop/status").await?;
        (status["done"] == true && status["services"][0]["ready"] == 2).then_some(())
    })
    .await;
    let load = Load::start(load_on(scene.port));
    load.flow(200).await;
    scene.installation.kill_control_plane().await;
    eventually(2 * PATIENCE, "the second one has its own take the requests", async || {
        let (instances, status) = (second.get("instances").await?, second.get("deployments/shop/status").await?);
        (instances != first_ones && status["done"] == true).then_some(())
    })
    .await;
    load.flow(200).await;
    // The first one comes back to its own, which nobody else can end.
    scene.installation.restart_control_plane().await;
    drop(second);
    eventually(2 * PATIENCE, "the first one has its own take the requests", async || {
        let instances = scene.installation.get("instances").await.body;
        (instances == first_ones).then_some(())
    })
    .await;
    load.flow(200).await;
    load.finish().await.assert_flawless();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_health_checks_an_instance_takes_requests_when_its_port_is_open() {
    let scene = Scene::set().await;
    scene.merge(&scene.blueprint("1", 1, "[]", "")).await;
    let before = scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    // Another order, whose program takes its time until it listens.
    let program = own_binary("origin").display().to_string();
    let slow = scene.blueprint("1", 1, "[]", "slow").replace(&program, &format!("sleep 3; exec {program}"));
    scene.merge(&slow).await;
    let replaced = |status: &Value| status["done"] == true && instances(status, "web:1") != instances(&before, "web:1");
    scene.until("it is replaced", replaced).await;
    load.flow(100).await;
    // One that never listens is never done, and gets nothing.
    let deaf = scene.blueprint("2", 1, "[]", "").replace(&program, "sleep 1000");
    scene.merge(&deaf).await;
    let failed = |status: &Value| status["services"][1]["phase"] == "Failed";
    let status = scene.until("the second version has failed", failed).await;
    let message = status["services"][1]["message"].as_str().unwrap();
    assert!(message.contains("connection to"), "{message}");
    assert_eq!(status["services"][1]["instances"][0]["routed"], false);
    let report = load.finish().await;
    report.assert_flawless();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_with_a_weight_gets_nothing_before_it_takes_requests() {
    let scene = Scene::set().await;
    scene.merge(&scene.blueprint("1", 1, CHECK, "")).await;
    scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    let program = own_binary("origin").display().to_string();
    let canary = scene.blueprint("2", 1, CHECK, "").replace(&program, &format!("sleep 8; exec {program}"));
    let weighted = "gateways: {http: {routes: {'web:2': {weight: 30%, condition: path is /canary}}}}";
    let canary = canary.replacen("    services:", &format!("    {weighted}\n    services:"), 1);
    assert!(canary.contains(weighted), "{canary}");
    let answer = scene.installation.put("deployments/shop", &canary).await.expect(&[200]);
    let told = answer["warnings"].to_string();
    assert!(told.contains("no instance takes requests yet behind route `shop/web/web:2/http`"), "{answer:#}");
    let asked = async |path: &str| {
        let answer = vamp_tests::components::http_client().get(format!("http://127.0.0.1:{}{path}", scene.port));
        answer.send().await.unwrap().status().as_u16()
    };
    let mut canaries = 0;
    let routed = |status: &Value| status["services"][1]["instances"][0]["routed"] == true;
    while !routed(&scene.status().await) {
        assert_eq!(asked("/canary").await, 200, "its condition takes nothing yet");
        canaries += 1;
    }
    assert!(canaries > 0);
    scene.until_done().await;
    load.flow(200).await;
    let report = load.finish().await;
    report.assert_flawless();
    assert!(report.of("2") > 0, "it gets its share");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_instance_goes_while_the_store_keeps_gateways_from_letting_it_go() {
    the_store_keeps_instances(Scene::set().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_container_goes_while_the_store_keeps_gateways_from_letting_it_go() {
    the_store_keeps_instances(Scene::in_containers().await).await;
}

async fn the_store_keeps_instances(scene: Scene) {
    scene.merge(&scene.blueprint("1", 3, CHECK, "")).await;
    scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(200).await;
    scene.installation.etcd.pause();
    let scale = json!({"cpu": 1, "memory": "256MB", "instances": 1}).to_string();
    scene.installation.put("deployments/shop/clusters/web/services/web:1/scale", &scale).await.expect(&[200]);
    let waits = |status: &Value| {
        let service = &status["services"][0];
        let gets_nothing = |instance: &&Value| instance["routed"] == false;
        let left = service["instances"].as_array().unwrap().iter().filter(gets_nothing).count();
        left == 2 && service["message"].as_str().is_some_and(|message| message.contains("every live gateway"))
    };
    scene.until("two have to go, and wait for the gateway", waits).await;
    // Twice what an instance stays behind the last request that it gets.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let status = scene.status().await;
    assert!(waits(&status), "{status:#}");
    load.flow(200).await;
    scene.installation.etcd.resume();
    let status = scene.until_done().await;
    assert_eq!(instances(&status, "web:1").len(), 1);
    load.flow(200).await;
    let report = load.finish().await;
    report.assert_flawless();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_get_well_takes_no_requests_and_says_why() {
    let scene = Scene::set().await;
    scene.merge(&scene.blueprint("1", 1, CHECK, "")).await;
    scene.until_done().await;
    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    let sick = "{command: 'echo out of luck; exit 7', timeout: 5s, interval: 1s, failures: 1}";
    scene.merge(&scene.blueprint("2", 1, sick, "")).await;
    let failed = |status: &Value| status["services"][1]["phase"] == "Failed";
    let status = scene.until("the second version has failed", failed).await;
    let message = status["services"][1]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("not well") && message.contains('7'), "{message}");
    assert_eq!(status["services"][1]["instances"][0]["routed"], false);
    // A running version that would be replaced by a sick one goes on.
    scene.merge(&scene.blueprint("1", 1, sick, "sick")).await;
    let both = |status: &Value| instances(status, "web:1").len() == 2;
    scene.until("the new order is tried beside the old one", both).await;
    load.flow(200).await;
    scene.merge(&scene.blueprint("1", 1, CHECK, "well")).await;
    scene.merge(&scene.blueprint("2", 1, CHECK, "well")).await;
    scene.until_done().await;
    load.flow(100).await;
    let report = load.finish().await;
    report.assert_flawless();
    scene.end().await;
}

/// What was told of the service and its instances, oldest first: the part of each event's tags that says what.
async fn told(scene: &Scene) -> Vec<String> {
    let events = scene.installation.get("events?tag=services:web:1&tag=deployments:shop&per_page=1000").await.body;
    let tags = events.as_array().unwrap().iter().rev().flat_map(|event| event["tags"].as_array().unwrap());
    let words = tags.filter_map(|tag| tag.as_str()).filter(|tag| tag.contains("tion:") || tag.starts_with("instance:"));
    words.map(str::to_owned).collect()
}

async fn until_told(scene: &Scene, tags: &str) {
    eventually(PATIENCE, tags, async || {
        let events = scene.installation.get(&format!("events?{tags}")).await.body;
        (events.as_array().map_or(0, Vec::len) > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_services_and_gateways_is_told_once_also_over_a_kill() {
    let mut scene = Scene::set().await;
    scene.merge(&scene.blueprint("1", 1, CHECK, "")).await;
    // What scripts of the original wait for.
    until_told(&scene, "tag=deployments:shop&tag=clusters:web&tag=services:web:1&tag=synchronization:deployed").await;
    until_told(&scene, "tag=gateways&tag=gateways:shop/web/http&tag=deployed").await;
    let status = scene.until_done().await;
    let address = status["services"][0]["instances"][0]["ports"]["http"].as_str().unwrap().to_owned();
    let port = address.rsplit(':').next().unwrap();
    let killed = std::process::Command::new("sh")
        .args(["-c", &format!("kill -9 $(ss -ltnpH 'sport = :{port}' | sed 's/.*pid=//;s/,.*//')")])
        .status();
    assert!(killed.is_ok_and(|status| status.success()), "ss (iproute2) finds who listens on {port}");
    until_told(&scene, "tag=services:web:1&tag=instance:restarted").await;
    scene.until_done().await;
    eventually(PATIENCE, "it is told that it is well again", async || {
        let told = told(&scene).await;
        told.last().is_some_and(|last| last == "synchronization:deployed").then_some(())
    })
    .await;
    let before = told(&scene).await;
    scene.installation.restart_control_plane().await;
    scene.until_done().await;
    // The next change is told after all that a start could tell again.
    let scale = json!({"cpu": 1, "memory": "256MB", "instances": 2}).to_string();
    scene.installation.put("deployments/shop/clusters/web/services/web:1/scale", &scale).await.expect(&[200]);
    let more = async || (told(&scene).await.len() > before.len()).then_some(());
    eventually(PATIENCE, "the change is told", more).await;
    let after = told(&scene).await;
    assert_eq!(after.get(..before.len()), Some(before.as_slice()));
    assert_eq!(after.get(before.len()).map(String::as_str), Some("synchronization:redeploy"), "{after:?}");
    let gateways = scene.installation.get("events?tag=gateways:shop/web/http&tag=deployed").await.body;
    assert_eq!(gateways.as_array().unwrap().len(), 1, "{gateways:#}");
    scene.until_done().await;
    scene.installation.delete("deployments/shop").await.expect(&[200]);
    until_told(&scene, "tag=deployments:shop&tag=clusters:web&tag=services:web:1&tag=synchronization:undeployed").await;
    until_told(&scene, "tag=gateways:shop/web/http&tag=undeployed").await;
}

/// Sends a signal to the program that is the first instance.
fn signal_first(status: &Value, signal: &str) {
    let address = status["services"][0]["instances"][0]["ports"]["http"].as_str().unwrap().to_owned();
    let port = address.rsplit(':').next().unwrap();
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{signal} $(ss -ltnpH 'sport = :{port}' | sed 's/.*pid=//;s/,.*//')")])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "ss (iproute2) finds who listens on {port}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_hangs_is_replaced_by_one_that_serves() {
    let installation = Installation::start_with_arguments("default", &["--replace-failing-after", "2s"]).await;
    let scene = Scene::of(installation, origin(), None).await;
    let check = "{port: http, path: /, timeout: 1s, interval: 1s, failures: 2}";
    scene.merge(&scene.blueprint("1", 1, check, "")).await;
    let status = scene.until_done().await;
    signal_first(&status, "STOP");
    let replaced = |status: &Value| {
        let instances = status["services"][0]["instances"].as_array().unwrap();
        instances.len() == 2 && instances.iter().any(|instance| instance["routed"] == true && instance["ready"] == true)
    };
    scene.until("another one takes its place", replaced).await;
    // It is gone, and started anew, and the other one goes. A program that is stopped hears no request to end: it is killed
    // after ten seconds.
    let after = eventually(2 * PATIENCE, "everything is as it is wanted", async || {
        let status = scene.status().await;
        (status["done"] == true).then_some(status)
    })
    .await;
    assert_eq!(instances(&after, "web:1"), instances(&status, "web:1"));
    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    load.finish().await.assert_flawless();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_is_started_again() {
    let scene = Scene::set().await;
    scene.merge(&scene.blueprint("1", 2, CHECK, "")).await;
    let status = scene.until_done().await;
    signal_first(&status, "KILL");
    let again = |status: &Value| {
        let instances = status["services"][0]["instances"].as_array().unwrap();
        status["done"] == true && instances.iter().any(|instance| instance["restarts"].as_u64() > Some(0))
    };
    scene.until("it was started again", again).await;
    let load = Load::start(load_on(scene.port));
    load.flow(100).await;
    load.finish().await.assert_flawless();
    scene.end().await;
}
