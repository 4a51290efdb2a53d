//! Promises of clusters are kept: by numbers that the gateways tell, within bounds, step by step, and over the death of
//! the control plane; and each step says why.

use serde_json::{Value, json};
use vamp_tests::engine::Engine;
use vamp_tests::installation::{ControlPlane, Gateway, Installation, PATIENCE};
use vamp_tests::load::{Load, Plan};
use vamp_tests::process::Signal;
use vamp_tests::{eventually, free_port};

use crate::blueprints::{blueprint, origin, service};
use crate::load_on;

/// Window and cool-down of the promises here, seconds: decisions are so far apart at least.
const WINDOW: u32 = 2;
const COOLDOWN: u32 = 2;

/// A cool-down where each state that only passes by is to be seen, seconds.
const LASTING: u32 = 6;

struct Scene {
    installation: Installation,
    _gateway: Gateway,
    port: u16,
}

impl Scene {
    async fn set() -> Self {
        Self::of(Installation::start().await).await
    }

    async fn of(installation: Installation) -> Self {
        let gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
        Self { installation, _gateway: gateway, port: free_port() }
    }

    /// A service that takes 100 ms for each answer, however many instances it has, under a promise.
    async fn deploy(&self, sla: &str) {
        let slow = [
            "environment_variables: {VERSION: \"1\", DELAY_MS: \"100\"}",
            "health_checks: {port: http, path: /, timeout: 5s, interval: 1s, failures: 3}",
        ];
        let service = service("1", &origin(), 1, &slow);
        let blueprint = blueprint("shop", self.port, &[service], &format!("    sla: {sla}\n"));
        self.installation.put("deployments/shop", &blueprint).await.expect(&[200, 201]);
        self.until_instances(1).await;
    }

    /// Waits until the service has so many instances, and all is as it is wanted.
    async fn until_instances(&self, count: u64) {
        self.until_ready(&format!("{count} instances"), |ready| ready == count).await;
    }

    /// Waits until it has at least so many: a busy machine may see the next step only.
    async fn until_at_least(&self, count: u64) {
        self.until_ready(&format!("{count} instances or more"), |ready| ready >= count).await;
    }

    async fn until_ready(&self, what: &str, is_enough: impl Fn(u64) -> bool) {
        eventually(2 * PATIENCE, what, async || {
            let status = self.installation.get("deployments/shop/status").await.body;
            (status["done"] == true && is_enough(status["services"][0]["ready"].as_u64()?)).then_some(())
        })
        .await;
    }

    /// Events with this tag, oldest first.
    async fn events(&self, tag: &str) -> Vec<Value> {
        let found = self.installation.get(&format!("events?tag={tag}&tag=deployments:shop&per_page=100")).await;
        let mut events = found.expect(&[200]).as_array().unwrap().clone();
        events.reverse();
        events
    }

    /// The instances before and after each decision, oldest first.
    async fn steps(&self) -> Vec<(String, String)> {
        let step = |event: &Value, side: &str| event["value"]["steps"][0][side].as_str().unwrap().to_owned();
        self.events("escalation").await.iter().map(|event| (step(event, "from"), step(event, "to"))).collect()
    }

    async fn end(self) {
        self.installation.delete("deployments/shop").await.expect(&[200]);
        eventually(PATIENCE, "nothing is left of it", async || {
            let left = self.installation.get("deployments/shop/status").await;
            (left.status.as_u16() == 404).then_some(())
        })
        .await;
    }
}

/// Seconds of its day at which an event was kept.
fn at(event: &Value) -> f64 {
    let time = event["timestamp"].as_str().unwrap().split(['T', 'Z']).nth(1).unwrap();
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

fn pairs(steps: &[(&str, &str)]) -> Vec<(String, String)> {
    steps.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_service_gets_instances_up_to_the_bound_and_gives_them_back_when_the_load_is_over() {
    let mut scene = Scene::set().await;
    let sla = format!(
        "{{type: response_time_sliding_window, threshold: {{upper: 50, lower: 20}}, \
         window: {{interval: {WINDOW}, cooldown: {COOLDOWN}}}, \
         escalations: [{{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}}]}}"
    );
    scene.deploy(&sla).await;
    let load = Load::start(load_on(scene.port));
    scene.until_at_least(2).await;
    // Killed between two steps: the next control plane knows when the last one was.
    scene.installation.restart_control_plane().await;
    scene.until_instances(3).await;
    // More would help no more than before, and it is at its bound.
    let stuck =
        eventually(PATIENCE, "it says that it is at its bound", async || scene.events("sla:stuck").await.pop()).await;
    let message = stuck["value"]["message"].as_str().unwrap();
    assert!(message.contains("nothing is done") && message.contains("is 3, the bound is 3"), "{message}");
    scene.installation.restart_control_plane().await;
    let metrics = eventually(PATIENCE, "the response time is told", async || {
        let metrics = scene.installation.get("metrics/gateways/shop%2Fweb%2Fhttp?window=5s").await.expect(&[200]);
        metrics["requests"].as_u64().is_some_and(|requests| requests > 0).then_some(metrics)
    })
    .await;
    let mean = metrics["response_time_ms"]["mean"].as_f64().unwrap();
    assert!(mean >= 99.0 && metrics["errors"] == 0, "{metrics:#}");
    load.flow(100).await;
    assert_eq!(scene.steps().await, pairs(&[("1", "2"), ("2", "3")]));
    load.finish().await.assert_flawless();

    // One by one, and not below the least.
    scene.until_instances(1).await;
    let all = pairs(&[("1", "2"), ("2", "3"), ("3", "2"), ("2", "1")]);
    assert_eq!(scene.steps().await, all);
    let events = scene.events("escalation").await;
    let message = |index: usize| events[index]["value"]["message"].as_str().unwrap().to_owned();
    assert!(message(0).starts_with("SLA of shop/web: mean response time 1"), "{}", message(0));
    assert!(message(0).contains("requests) is above 50 ms: the number of instances of web:1 1 → 2"), "{}", message(0));
    assert!(message(3).contains("no request in"), "{}", message(3));
    // By the clock of the machine, which all these control planes share.
    let apart: Vec<f64> = events.windows(2).map(|pair| (at(&pair[1]) - at(&pair[0])).rem_euclid(86_400.0)).collect();
    assert!(apart.iter().all(|seconds| *seconds > f64::from(WINDOW + COOLDOWN) - 0.5), "{apart:?}");
    assert_eq!(scene.events("sla:stuck").await.len(), 1, "it was told once");
    // The history tells the same as the events.
    let history = scene.installation.get("deployments/shop/history").await.expect(&[200]);
    let reasons: Vec<_> = history.as_array().unwrap().iter().map(|version| version["cause"].to_string()).collect();
    assert_eq!(reasons.iter().filter(|cause| cause.contains("SLA of shop/web")).count(), 4, "{reasons:#?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_measures_elsewhere_asks_by_events() {
    let scene = Scene::set().await;
    scene
        .deploy("{type: escalation_only, escalations: [{type: scale_instances, minimum: 1, maximum: 2, scale_by: 1}]}")
        .await;
    let ask = async |tag: &str| {
        let event = json!({"tags": ["sla", tag, "deployment:shop", "cluster:web"]});
        scene.installation.post("events", &event).await.expect(&[201])["id"].as_u64().unwrap()
    };
    let event = ask("sla:escalate").await;
    scene.until_instances(2).await;
    let steps = pairs(&[("1", "2")]);
    assert_eq!(scene.steps().await, steps);
    assert_eq!(scene.events("escalation").await[0]["value"]["numbers"]["event"], event);
    ask("sla:escalate").await;
    let stuck =
        eventually(PATIENCE, "it says that it is at its bound", async || scene.events("sla:stuck").await.pop()).await;
    assert!(stuck["value"]["message"].as_str().unwrap().contains("asks for sla:escalate"), "{stuck:#}");
    ask("sla:deescalate").await;
    scene.until_instances(1).await;
    scene.end().await;
}

/// Waits until one instance runs, by this order of memory in millions of bytes and thousandths of a processor.
async fn until_ordered(scene: &Scene, memory: u64, cpu_milli: u64) -> String {
    scene.until_instances(1).await;
    let what = format!("the one instance has {memory} MB and {cpu_milli} thousandths of a processor");
    eventually(2 * PATIENCE, &what, async || {
        let [order] = scene.installation.orders().try_into().ok()?;
        let has = (order["memory_bytes"].as_u64()?, order["cpu_milli"].as_u64()?);
        (has == (memory * 1_000_000, cpu_milli)).then(|| order["id"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_give_instances_more_memory_then_more_processor_and_take_both_back() {
    let scene = Scene::set().await;
    let sla = format!(
        "{{type: error_rate_sliding_window, threshold: {{upper: 0.5, lower: 0.1}}, \
         window: {{interval: {WINDOW}, cooldown: {LASTING}}}, escalations: [{{to_one: [\
         {{type: scale_memory, minimum: 256, maximum: 320, scale_by: 64}}, \
         {{type: scale_cpu, minimum: 1, maximum: 1.5, scale_by: 0.5}}]}}]}}"
    );
    scene.deploy(&sla).await;
    let mut instances = vec![until_ordered(&scene, 256, 1_000).await];
    let load = Load::start(load_on(scene.port));
    let errors = Load::start(Plan { path: "/status/503".to_owned(), ..load_on(scene.port) });
    instances.push(until_ordered(&scene, 320, 1_000).await);
    // The first is at its bound.
    instances.push(until_ordered(&scene, 320, 1_500).await);
    load.flow(100).await;
    let report = errors.finish().await;
    assert!(report.answered == 0 && report.wrong == 0 && report.failed > 0, "{report:#?}");
    assert!(report.failures.iter().all(|failure| failure.contains("503")), "only errors on purpose: {report:#?}");

    // From the last to the first on the way down.
    instances.push(until_ordered(&scene, 320, 1_000).await);
    instances.push(until_ordered(&scene, 256, 1_000).await);
    load.flow(100).await;
    load.finish().await.assert_flawless();
    let steps = pairs(&[("256MB", "320MB"), ("1", "1.5"), ("1.5", "1"), ("320MB", "256MB")]);
    assert_eq!(scene.steps().await, steps);
    assert!(instances.windows(2).all(|pair| pair[0] != pair[1]), "each order is another instance: {instances:?}");
    let message = scene.events("escalation").await[0]["value"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("error rate") && message.contains("is above 0.5 %"), "{message}");
    scene.end().await;
}

/// Takes some hundredths of a processor, where it is allowed them.
const WORK: &str = "while :; do i=0; while [ $i -lt 4000 ]; do i=$((i+1)); done; sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_works_hard_gets_more_instances() {
    let breed = json!({"name": "work:1", "deployable": {"type": "command", "definition": WORK}});
    who_works_hard_gets_more(Scene::set().await, &breed).await;
}

/// Hard work in containers.
struct Containers {
    engine: Engine,
    image: String,
}

impl Containers {
    /// A scene that runs containers, what works hard in them, and what is left of it at the end.
    async fn set() -> (Scene, Value, Self) {
        let (engine, tag) = (Engine::shared(), format!("t{:x}", rand::random::<u64>()));
        engine.import("origin", "vamp-test-origin", &tag).await;
        let installation = Installation::start_with_arguments(&tag, &["--docker-host", &engine.address()]).await;
        let image = format!("vamp-test-origin:{tag}");
        let arguments = json!([{"init": "true"}, {"command": WORK}]);
        let breed = json!({"name": "work:1", "deployable": image, "arguments": arguments});
        (Scene::of(installation).await, breed, Self { engine, image })
    }

    async fn end(self) {
        self.engine.must(reqwest::Method::DELETE, &format!("images/{}", self.image), "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_containers_that_works_hard_gets_more_instances() {
    let (scene, breed, containers) = Containers::set().await;
    who_works_hard_gets_more(scene, &breed).await;
    containers.end().await;
}

/// A blueprint of one service that uses more than it promises.
fn hard_work(breed: &Value, maximum: u32) -> Value {
    json!({
        "name": "shop",
        "clusters": {"work": {
            "services": [{
                "breed": breed,
                "scale": {"cpu": 0.01, "memory": "64MB", "instances": 1},
            }],
            "sla": {
                "type": "cpu_sliding_window",
                "threshold": {"upper": 50, "lower": 1},
                "window": {"interval": WINDOW, "cooldown": COOLDOWN},
                "escalations": [{"type": "scale_instances", "minimum": 1, "maximum": maximum, "scale_by": 1}],
            },
        }},
    })
}

/// Waits until each of two control planes acts, or does not.
async fn until_acting(scene: &Scene, second: &ControlPlane, expected: (bool, bool)) {
    eventually(PATIENCE, &format!("whether each of the two acts: {expected:?}"), async || {
        let [first, second] = [scene.installation.get("info").await.body, second.get("info").await?];
        ((first["acts"].as_bool()?, second["acts"].as_bool()?) == expected).then_some(())
    })
    .await;
}

/// Stops a control plane where it does not hold the file that both write, which would stop the other one for ever.
async fn freeze_between_writes(scene: &Scene, second: &ControlPlane) {
    let scale = json!({"name": "probe", "cpu": 1, "memory": "64MB", "instances": 1}).to_string();
    eventually(PATIENCE, "it is frozen, and the other one can write", async || {
        second.signal(Signal::Stop);
        let written = scene.installation.put("scales/probe", &scale);
        let written = tokio::time::timeout(std::time::Duration::from_secs(3), written).await;
        if written.is_ok_and(|answer| answer.status.is_success()) {
            return Some(());
        }
        second.signal(Signal::Continue);
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_control_planes_on_one_database_one_scales_and_the_other_takes_over() {
    let (mut scene, breed, containers) = Containers::set().await;
    let second = scene.installation.second_control_plane().await;
    until_acting(&scene, &second, (true, false)).await;
    scene.installation.put("deployments/shop", &hard_work(&breed, 3).to_string()).await.expect(&[200, 201]);
    scene.until_at_least(2).await;
    // The second one takes over at once, and finds what runs.
    scene.installation.kill_control_plane().await;
    let acts = async || second.get("info").await.filter(|info| info["acts"] == true).map(drop);
    eventually(PATIENCE, "the second one acts", acts).await;
    let steps = async || {
        let events = second.get("events?tag=escalation&tag=deployments:shop&per_page=100").await?;
        Some(events.as_array()?.len()).filter(|steps| *steps == 2)
    };
    // The engine is asked for what containers use a tenth of the time at most.
    eventually(3 * PATIENCE, "it scales", steps).await;
    // The first one comes back, and leaves it to the second.
    scene.installation.restart_control_plane().await;
    until_acting(&scene, &second, (false, true)).await;
    scene.until_instances(3).await;
    // Frozen, it does not say that it acts; when it goes on, another one does.
    freeze_between_writes(&scene, &second).await;
    eventually(2 * PATIENCE, "the first one acts again", async || {
        let info = scene.installation.get("info").await.body;
        (info["acts"] == true).then_some(())
    })
    .await;
    second.signal(Signal::Continue);
    until_acting(&scene, &second, (true, false)).await;
    assert_eq!(scene.steps().await, pairs(&[("1", "2"), ("2", "3")]));
    let events = scene.events("escalation").await;
    let apart = (at(&events[1]) - at(&events[0])).rem_euclid(86_400.0);
    assert!(apart > f64::from(WINDOW + COOLDOWN) - 0.5, "{apart}");
    drop(second);
    scene.end().await;
    containers.end().await;
}

async fn who_works_hard_gets_more(scene: Scene, breed: &Value) {
    scene.installation.put("deployments/shop", &hard_work(breed, 2).to_string()).await.expect(&[200, 201]);
    scene.until_instances(2).await;
    assert_eq!(scene.steps().await, pairs(&[("1", "2")]));
    let message = scene.events("escalation").await[0]["value"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("processor time") && message.contains("is above 50 % of the scale"), "{message}");
    scene.end().await;
}
