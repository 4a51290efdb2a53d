//! Containers of a real Docker engine keep the contract, over its restarts and silences too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use vamp_control_plane::platform::docker::{CredentialsFile, DockerPlatform, DockerSettings, Patience};
use vamp_control_plane::platform::health::{Checked, Health, HealthCheck, Monitor, Probe};
use vamp_control_plane::platform::{
    Deployable, HostPort, Instance, InstanceSpec, Labels, PlatformError, Reach, Restart, SharedPlatform, State,
};
use vamp_tests::engine::{Engine, Registry};
use vamp_tests::eventually;

use crate::conformance::{Subject, conformance};
use crate::order::{GRACE, PATIENCE, answered, answering, ask, find, id, order, running, until, written};

/// The image of the test service, in each engine.
const REPOSITORY: &str = "vamp-test-instance";
/// What is waited for an engine that is silent.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// A namespace of one test.
fn namespace() -> String {
    format!("t{:x}", rand::random::<u64>())
}

fn settings(engine: &Engine, namespace: &str) -> DockerSettings {
    let mut settings = DockerSettings::new(engine.address().parse().unwrap(), namespace.to_owned());
    // Outside of those that the system gives to clients; the driver looks whether they are free.
    let first = rand::random_range(20_000..30_000);
    settings.port_range = first..=first + 500;
    settings
}

fn open(settings: DockerSettings) -> SharedPlatform {
    Arc::new(DockerPlatform::open(settings))
}

fn image(name: &str) -> Deployable {
    Deployable::Docker { image: name.to_owned(), command: Vec::new() }
}

/// A platform of its own for one test.
struct Scene {
    engine: Engine,
    namespace: String,
    image: String,
    platform: SharedPlatform,
}

impl Scene {
    async fn set() -> Self {
        Self::on(Engine::shared()).await
    }

    async fn on(engine: Engine) -> Self {
        let namespace = namespace();
        engine.import("instance", REPOSITORY, &namespace).await;
        let platform = open(settings(&engine, &namespace));
        let image = format!("{REPOSITORY}:{namespace}");
        Self { engine, namespace, image, platform }
    }

    fn service(&self) -> Deployable {
        image(&self.image)
    }

    fn order(&self, name: &str) -> InstanceSpec {
        order(name, self.service())
    }

    fn settings(&self) -> DockerSettings {
        settings(&self.engine, &self.namespace)
    }

    /// What the engine says of the container of an instance.
    async fn container(&self, id: &str) -> serde_json::Value {
        let path = format!("containers/vamp.{}.{id}/json", self.namespace);
        self.engine.must(Method::GET, &path, "").await
    }

    /// Nothing of this test is in the engine any more.
    async fn end(self) {
        let label = format!("io.vamp.platform.namespace={}", self.namespace);
        assert_eq!(self.engine.containers(&label).await, Vec::<serde_json::Value>::new());
        self.engine.must(Method::DELETE, &format!("images/{}", self.image), "").await;
    }
}

struct Containers {
    scene: Scene,
    registry: Registry,
    platform: Option<SharedPlatform>,
}

#[async_trait::async_trait]
impl Subject for Containers {
    fn platform(&self) -> SharedPlatform {
        self.platform.clone().unwrap()
    }
    async fn reopen(&mut self) {
        self.platform = None;
        self.platform = Some(open(self.scene.settings()));
    }
    fn service(&self) -> Deployable {
        self.scene.service()
    }
    fn unknown(&self) -> (Deployable, &'static str) {
        (image(&format!("{}/no-such-image:1", self.registry.address())), "no-such-image:1")
    }
    fn command(&self, code: u8) -> Vec<String> {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("exit {code}")]
    }
}

#[tokio::test]
async fn containers_keep_the_contract() {
    let scene = Scene::set().await;
    let platform = Some(Arc::clone(&scene.platform));
    let mut subject = Containers { scene, registry: Registry::start().await, platform };
    conformance(&mut subject).await;
    subject.scene.end().await;
}

/// Asks an engine that is silent: an answer comes all the same, and says that nothing is known.
async fn is_unreachable<T: std::fmt::Debug>(asked: impl Future<Output = Result<T, PlatformError>>) {
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("an answer comes");
    let error = answer.expect_err("nothing is known");
    assert!(matches!(error, PlatformError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_silent_makes_its_instances_unknown_and_keeps_them() {
    let scene = Scene::on(Engine::start()).await;
    let order = scene.order("kept");
    let before = running(&scene.platform, &order).await;
    // Nobody else gives up so early: an engine that works may take longer.
    let patience = Patience { look: IMPATIENCE, work: IMPATIENCE, pause: IMPATIENCE };
    let platform = &open(DockerSettings { patience, ..scene.settings() });
    scene.engine.pause();
    for _ in 0..2 {
        is_unreachable(platform.list(&Labels::new())).await;
    }
    is_unreachable(platform.ensure(&order)).await;
    is_unreachable(platform.stop(&order.id, Duration::from_secs(1))).await;
    is_unreachable(platform.remove(&order.id, Duration::from_secs(1))).await;
    is_unreachable(platform.run(&order.id, &["/bin/sh".to_owned()], IMPATIENCE)).await;
    is_unreachable(platform.info()).await;
    is_unreachable(platform.usage(&[order.id.clone()].into())).await;
    // What runs does not need the engine.
    ask(&before, "/").await.unwrap();
    scene.engine.resume();
    let after = eventually(PATIENCE, "the engine is known to answer", async || {
        platform.list(&Labels::new()).await.ok().and_then(|all| all.into_iter().next())
    })
    .await;
    assert_eq!((after.id, after.restarts), (before.id, before.restarts));
    eventually(PATIENCE, "who waits longer knows it, too", async || scene.platform.list(&Labels::new()).await.ok())
        .await;
    scene.platform.remove(&order.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_outlive_an_engine_that_restarts() {
    let scene = Scene::on(Engine::start()).await;
    let (platform, order) = (&scene.platform, scene.order("outlives"));
    let before = running(platform, &order).await;
    let stopped = scene.order("stopped");
    running(platform, &stopped).await;
    platform.stop(&stopped.id, GRACE).await.unwrap();
    let mut hints = platform.hints();
    hints.mark_unchanged();
    let seen = *hints.borrow();
    scene.engine.restart();
    let after = answering(platform, &order.id).await;
    assert_eq!((&after.digest, &after.ports), (&before.digest, &before.ports));
    let found = find(platform, &stopped.id).await.unwrap();
    assert!(matches!(found.state, State::Exited(_)), "what was stopped stays so: {found:?}");
    platform.ensure(&order).await.unwrap();
    assert_eq!(find(platform, &order.id).await.unwrap(), after);
    let is_hinted = tokio::time::timeout(PATIENCE, hints.wait_for(|hint| *hint != seen)).await.is_ok();
    assert!(is_hinted, "it listens to the engine again");
    // What it wrote before and after is one log.
    written(platform, &order.id, "listens at", 2).await;
    for order in [&order, &stopped] {
        platform.remove(&order.id, GRACE).await.unwrap();
    }
    scene.end().await;
}

#[tokio::test]
async fn an_engine_that_is_away_is_asked_again_and_again() {
    let mut settings = DockerSettings::new("unix:///nowhere/docker.sock".parse().unwrap(), namespace());
    let platform = open(settings.clone());
    for _ in 0..2 {
        is_unreachable(platform.list(&Labels::new())).await;
        is_unreachable(platform.ensure(&order("away", image("a")))).await;
    }
    // A server that is none says so.
    let registry = Registry::start().await;
    settings.address = format!("tcp://{}", registry.address()).parse().unwrap();
    let error = open(settings).list(&Labels::new()).await.unwrap_err();
    assert!(matches!(error, PlatformError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn an_image_is_fetched_and_who_waits_for_it_is_told() {
    let scene = Scene::set().await;
    let registry = Registry::start().await;
    registry.take(&scene.engine, REPOSITORY, &scene.namespace).await;
    let name = format!("{}/{}", registry.address(), scene.image);
    registry.pause();
    let orders = ["first", "second"].map(|instance| order(instance, image(&name)));
    let started: Vec<_> = orders
        .iter()
        .cloned()
        .map(|order| {
            let platform = Arc::clone(&scene.platform);
            tokio::spawn(async move { platform.ensure(&order).await })
        })
        .collect();
    for order in &orders {
        let prepares = |state: &State| matches!(state, State::Preparing(how) if how.contains("is being fetched"));
        let seen = until(&scene.platform, &order.id, "it waits", |now| prepares(&now.state)).await;
        assert_eq!((&seen.labels, seen.ports.len()), (&order.labels, 0));
    }
    assert!(scene.platform.list(&Labels::from([("a".to_owned(), "b".to_owned())])).await.unwrap().is_empty());
    registry.resume();
    for started in started {
        started.await.unwrap().unwrap();
    }
    for order in &orders {
        answering(&scene.platform, &order.id).await;
        scene.platform.remove(&order.id, GRACE).await.unwrap();
    }
    scene.engine.must(Method::DELETE, &format!("images/{name}"), "").await;
    scene.engine.import("instance", REPOSITORY, &scene.namespace).await;
    scene.end().await;
}

/// Letters that the two alphabets of base64 write differently, wherever they stand.
const PASSWORD: &str = "ri~~~ght???>>>";
/// The line that lets `vamp` in with it.
const USER: &str = "vamp:$2b$05$abcdefghijklmnopqrstuuDRycvJGMJon.QBOWY90MVB.sLFuv4Ly";

#[tokio::test]
async fn a_private_image_is_fetched_with_the_credentials_of_its_registry() {
    let mut scene = Scene::set().await;
    let mut registry = Registry::start().await;
    registry.take(&scene.engine, REPOSITORY, &scene.namespace).await;
    registry.close_to_all_but(USER).await;
    let name = format!("{}/{}", registry.address(), scene.image);
    let order = order("private", image(&name));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let write = |host: &str, password: &str| {
        let entry = json!({"username": "vamp", "password": password});
        std::fs::write(&file, json!({"auths": {host: entry}}).to_string()).unwrap();
    };
    write(registry.address(), "wrong-word");
    let credentials = Some(CredentialsFile::open(file.clone()).unwrap());
    let refused = async |platform: &SharedPlatform| {
        let error = platform.ensure(&order).await.unwrap_err();
        assert!(matches!(error, PlatformError::UnknownImage { .. }), "{error:?}");
        let told = format!("{error} {error:?}");
        assert!(told.contains("give access to its registry") && !told.contains("wrong-word"), "{told}");
    };
    refused(&scene.platform).await;
    scene.platform = open(DockerSettings { credentials, ..scene.settings() });
    refused(&scene.platform).await;
    // What is meant for another registry is kept from this one.
    write("registry.test", PASSWORD);
    refused(&scene.platform).await;
    // The file is read anew.
    write(&format!("http://{}", registry.address()), PASSWORD);
    running(&scene.platform, &order).await;
    let told = scene.container("private").await.to_string();
    assert!(!told.contains(PASSWORD), "{told}");
    scene.platform.remove(&order.id, GRACE).await.unwrap();
    // A file that is broken meanwhile is told.
    scene.engine.must(Method::DELETE, &format!("images/{name}"), "").await;
    std::fs::write(&file, r#"{"credsStore": "desktop"}"#).unwrap();
    let error = scene.platform.ensure(&order).await.unwrap_err();
    assert!(matches!(error, PlatformError::NotFetched { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("`credsStore`"), "{error:?}");
    scene.engine.import("instance", REPOSITORY, &scene.namespace).await;
    scene.end().await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_from_an_image_that_is_not_there() {
    let scene = Scene::set().await;
    let away = format!("127.0.0.1:{}/demo:1", vamp_tests::free_port());
    let error = scene.platform.ensure(&order("away", image(&away))).await.unwrap_err();
    assert!(matches!(&error, PlatformError::NotFetched { image, .. } if *image == away), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("connection refused"), "{cause}");
    assert_eq!(find(&scene.platform, &id("away")).await, None);
    scene.end().await;
}

#[tokio::test]
async fn who_takes_too_much_memory_is_ended_and_it_is_told() {
    let scene = Scene::set().await;
    let (platform, mut order) = (&scene.platform, scene.order("hungry"));
    order.memory_bytes = Some(64 << 20);
    order.restart = Restart::Never;
    running(platform, &order).await;
    let (instance, taken) = answered(platform, &order.id, "/take/10000000").await;
    assert_eq!(taken.0, 200);
    let kept = platform.info().await.unwrap().memory;
    let answer = ask(&instance, "/take/200000000").await;
    if kept.starts_with("not kept") {
        assert_eq!(answer.unwrap().0, 200, "nothing limits it");
    } else {
        assert!(answer.is_err(), "it was ended: {kept}, {answer:?}");
        // The engine hears of the end and of its cause one after the other.
        let is_told = |now: &Instance| matches!(now.state, State::Exited(exit) if exit.is_out_of_memory);
        until(platform, &order.id, "known to have ended for its memory", is_told).await;
        // It is told as well while it waits to be started again, which takes longer each time.
        let again = InstanceSpec { id: id("again"), restart: Restart::Always, ..order.clone() };
        running(platform, &again).await;
        eventually(PATIENCE, "the end of one that is started again is told", async || {
            let found = find(platform, &again.id).await.unwrap();
            drop(ask(&found, "/take/200000000").await);
            matches!(found.state, State::Restarting(exit) if exit.is_out_of_memory).then_some(())
        })
        .await;
        platform.remove(&again.id, GRACE).await.unwrap();
    }
    platform.remove(&order.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn what_belongs_to_others_is_neither_seen_nor_touched() {
    let scene = Scene::set().await;
    let (platform, name) = (&scene.platform, format!("vamp.{}.taken", scene.namespace));
    let foreign =
        json!({"Image": scene.image, "Env": ["PORT=80"], "Labels": {"io.vamp.deployment": "shop"}}).to_string();
    scene.engine.must(Method::POST, &format!("containers/create?name={name}"), foreign).await;
    scene.engine.must(Method::POST, &format!("containers/{name}/start"), "").await;
    let other = open(settings(&scene.engine, &namespace()));
    running(&other, &scene.order("theirs")).await;
    assert!(platform.list(&Labels::new()).await.unwrap().is_empty());
    platform.remove(&id("theirs"), GRACE).await.unwrap();
    for error in [
        platform.ensure(&scene.order("taken")).await.unwrap_err(),
        platform.stop(&id("taken"), GRACE).await.unwrap_err(),
        platform.remove(&id("taken"), GRACE).await.unwrap_err(),
    ] {
        assert!(matches!(&error, PlatformError::NotOurs { name: told, .. } if *told == name), "{error:?}");
    }
    let told = scene.engine.must(Method::GET, &format!("containers/{name}/json"), "").await;
    assert_eq!(told["State"]["Running"], true);
    assert!(find(&other, &id("theirs")).await.is_some_and(|theirs| theirs.state == State::Running));
    other.remove(&id("theirs"), GRACE).await.unwrap();
    scene.engine.must(Method::DELETE, &format!("containers/{name}?force=true"), "").await;
    scene.end().await;
}

#[tokio::test]
async fn networks_are_made_and_go_with_the_last_instance() {
    let scene = Scene::set().await;
    let networks: Vec<_> = ["a", "b"].map(|name| format!("{}-{name}", scene.namespace)).into();
    let orders: Vec<_> = ["first", "second"]
        .map(|name| {
            let reach = if name == "first" { Reach::OwnAddress } else { Reach::Host };
            InstanceSpec { networks: networks.clone(), reach, ..scene.order(name) }
        })
        .into();
    let instances = futures_util::future::join_all(orders.iter().map(|order| running(&scene.platform, order))).await;
    assert_eq!((instances[0].ports["web"], instances[1].host.as_str()), (8080, "127.0.0.1"));
    let told = scene.container("first").await;
    let joined: BTreeSet<_> = told["NetworkSettings"]["Networks"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(joined, networks.iter().cloned().collect());
    assert_eq!(told["HostConfig"]["PortBindings"], json!({}));
    scene.platform.remove(&orders[0].id, GRACE).await.unwrap();
    let there =
        async |network: &str| scene.engine.ask(Method::GET, &format!("networks/{network}"), "").await.0.is_success();
    assert!(there(&networks[0]).await);
    // One that stands still keeps them.
    scene.platform.stop(&orders[1].id, GRACE).await.unwrap();
    running(&scene.platform, &orders[0]).await;
    scene.platform.remove(&orders[0].id, GRACE).await.unwrap();
    assert!(there(&networks[0]).await);
    running(&scene.platform, &orders[1]).await;
    scene.platform.remove(&orders[1].id, GRACE).await.unwrap();
    assert!(!there(&networks[0]).await && !there(&networks[1]).await);
    scene.end().await;
}

#[tokio::test]
async fn with_leave_a_container_is_in_the_network_of_the_host() {
    let scene = Scene::set().await;
    let mut order = scene.order("host");
    order.networks = vec!["host".to_owned()];
    let error = scene.platform.ensure(&order).await.unwrap_err();
    assert!(matches!(error, PlatformError::Spec { .. }), "{error:?}");
    let platform = open(DockerSettings { allows_host_access: true, ..scene.settings() });
    let instance = running(&platform, &order).await;
    assert_eq!(ask(&instance, "/env/PORT").await.unwrap().1, instance.ports["web"].to_string());
    platform.remove(&order.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn ports_have_one_owner_and_are_published_on_loopback_only() {
    let scene = Scene::set().await;
    let (platform, port) = (&scene.platform, vamp_tests::free_port());
    let fixed = |name: &str| {
        let mut order = scene.order(name);
        order.ports[0].host = HostPort::Fixed(port);
        order
    };
    assert_eq!(running(platform, &fixed("first")).await.ports["web"], port);
    let told = scene.container("first").await;
    assert_eq!(told["HostConfig"]["PortBindings"]["8080/tcp"][0]["HostIp"], "127.0.0.1");
    let error = platform.ensure(&fixed("second")).await.unwrap_err();
    assert!(error.to_string().contains("instance `first`"), "{error}");
    // Also while its owner is down; what a stranger took then is told.
    platform.stop(&id("first"), GRACE).await.unwrap();
    let stranger = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for name in ["first", "second"] {
        let error = platform.ensure(&fixed(name)).await.unwrap_err();
        assert!(matches!(error, PlatformError::PortTaken { .. }), "{error:?}");
    }
    drop(stranger);
    running(platform, &fixed("first")).await;
    platform.remove(&id("first"), GRACE).await.unwrap();
    // A port that was not asked for is another one then.
    let any = scene.order("any");
    let before = running(platform, &any).await;
    platform.stop(&any.id, GRACE).await.unwrap();
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", before.ports["web"])).unwrap();
    let after = running(platform, &any).await;
    assert_ne!(after.ports, before.ports);
    platform.remove(&any.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn what_is_said_reaches_the_container_and_no_value_stands_in_a_label() {
    let scene = Scene::set().await;
    let mut order = scene.order("said");
    order.cpu_milli = Some(500);
    order.memory_bytes = Some(128 << 20);
    order.arguments = vec![("hostname".to_owned(), "shop".to_owned()), ("read-only".to_owned(), "true".to_owned())];
    let dialect = json!({"user": "1000", "labels": {"team": "web"}, "tmpfs": ["/tmp"], "cap-drop": ["ALL"]});
    order.dialect = dialect.as_object().cloned().unwrap();
    let instance = running(&scene.platform, &order).await;
    assert_eq!(instance.labels, order.labels);
    let told = scene.container("said").await;
    let (config, host) = (&told["Config"], &told["HostConfig"]);
    assert_eq!(
        (&config["Hostname"], &config["User"], &config["Labels"]["team"]),
        (&json!("shop"), &json!("1000"), &json!("web"))
    );
    assert_eq!(
        (&host["ReadonlyRootfs"], &host["Privileged"], &host["CapDrop"]),
        (&json!(true), &json!(false), &json!(["ALL"]))
    );
    assert_eq!((&host["NanoCpus"], &host["Memory"]), (&json!(500_000_000), &json!(128 << 20)));
    assert!(!config["Labels"].to_string().contains("good day"), "{config:#}");
    let command = ["/bin/sh", "-c", "echo x > /tmp/x || exit 4; (echo x > /x) || exit 5"].map(str::to_owned);
    let outcome = scene.platform.run(&order.id, &command, PATIENCE).await.unwrap();
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    scene.platform.remove(&order.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn commands_that_are_given_up_do_not_pile_up() {
    let scene = Scene::set().await;
    let (platform, order) = (&scene.platform, scene.order("hangs"));
    running(platform, &order).await;
    let command = ["/bin/sh", "-c", "sleep 600"].map(str::to_owned);
    for _ in 0..7 {
        let error = platform.run(&order.id, &command, Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, PlatformError::Late { .. }), "{error:?}");
    }
    let path = format!("containers/vamp.{}.hangs/top", scene.namespace);
    let sleeping = async || {
        let told = scene.engine.must(Method::GET, &path, "").await;
        told["Processes"].to_string().matches("\"sleep 600\"").count()
    };
    // The last one may have been given up before its shell became what it runs.
    eventually(PATIENCE, "four of them run", async || (sleeping().await == 4).then_some(())).await;
    let unknown = platform.run(&order.id, &["no-such-program".to_owned()], PATIENCE).await;
    assert!(matches!(unknown, Err(PlatformError::Late { .. })), "{unknown:?}");
    assert_eq!(sleeping().await, 4, "four at most");
    // A restart of the container ends them, and the next command is run.
    platform.stop(&order.id, GRACE).await.unwrap();
    running(platform, &order).await;
    // The engine may still be about to note their ends.
    let error = eventually(PATIENCE, "they are known to have ended", async || {
        let error = platform.run(&order.id, &["no-such-program".to_owned()], PATIENCE).await.unwrap_err();
        (!matches!(error, PlatformError::Late { .. })).then_some(error)
    })
    .await;
    assert!(
        matches!(&error, PlatformError::UnknownCommand { command, .. } if command == "no-such-program"),
        "{error:?}"
    );
    platform.remove(&order.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_port_at_which_nothing_listens_is_not_open_though_the_engine_takes_connections() {
    let scene = Scene::set().await;
    let mut order = scene.order("deaf");
    let command = ["/bin/sleep", "600"].map(str::to_owned).into();
    order.deployable = Deployable::Docker { image: scene.image.clone(), command };
    scene.platform.ensure(&order).await.unwrap();
    let instance = until(&scene.platform, &order.id, "running", |now| now.state == State::Running).await;
    let check = HealthCheck {
        probe: Probe::Tcp { port: "web".to_owned() },
        initial_delay: Duration::ZERO,
        interval: Duration::from_millis(50),
        timeout: PATIENCE,
        failures: 1,
        successes: 1,
    };
    let monitor = Monitor::start(Arc::clone(&scene.platform)).unwrap();
    monitor.watch([Checked { instance, checks: vec![check] }]);
    // For a moment after the start, a proxy of the engine that is late to connect may look like a service.
    eventually(PATIENCE, "it is known not to be open", async || {
        matches!(monitor.health(&order.id), Health::Failing { .. }).then_some(())
    })
    .await;
    scene.platform.remove(&order.id, Duration::from_millis(100)).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn what_was_made_and_never_started_is_started() {
    let scene = Scene::set().await;
    let (platform, order) = (&scene.platform, scene.order("made"));
    running(platform, &order).await;
    let told = scene.container("made").await;
    platform.remove(&order.id, GRACE).await.unwrap();
    // As a control plane leaves it that is killed between the two steps.
    let body = json!({"Image": scene.image, "Env": told["Config"]["Env"], "Labels": told["Config"]["Labels"],
        "ExposedPorts": told["Config"]["ExposedPorts"],
        "HostConfig": told["HostConfig"]});
    let path = format!("containers/create?name=vamp.{}.made", scene.namespace);
    scene.engine.must(Method::POST, &path, body.to_string()).await;
    let found = find(platform, &order.id).await.unwrap();
    assert!(matches!(found.state, State::Exited(_)), "nobody is about to start it: {found:?}");
    running(platform, &order).await;
    scene.engine.must(Method::POST, &format!("containers/vamp.{}.made/pause", scene.namespace), "").await;
    let found = find(platform, &order.id).await.unwrap();
    assert!(matches!(found.state, State::Exited(_)), "{found:?}");
    running(platform, &order).await;
    platform.remove(&order.id, GRACE).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn what_can_not_be_started_is_told_in_the_words_of_the_engine() {
    let scene = Scene::set().await;
    let mut order = scene.order("broken");
    order.deployable = Deployable::Docker { image: scene.image.clone(), command: vec!["/no-such-program".to_owned()] };
    for _ in 0..2 {
        let error = scene.platform.ensure(&order).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("/no-such-program"), "{error}: {cause}");
        let found = find(&scene.platform, &order.id).await.unwrap();
        assert!(matches!(found.state, State::Exited(_)), "{found:?}");
    }
    scene.platform.remove(&order.id, GRACE).await.unwrap();
    let refused = scene.platform.ensure(&crate::order::order("program", Deployable::command_line("sleep 1"))).await;
    assert!(matches!(refused, Err(PlatformError::Unsupported { .. })), "{refused:?}");
    scene.end().await;
}
