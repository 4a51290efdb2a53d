//! One control plane for one test.

use std::time::Duration;

use clap::Parser;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use vamp_control_plane::settings::Settings;
use vamp_control_plane::{Running, start};
use vamp_routing::wire::{Generation, Registration};
use vamp_store::memory::Handle;
use vamp_store::{Expected, SharedStore, layout};

/// Time for anything on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    settings: Settings,
}

/// Settings as from a command line.
pub(crate) fn settings(arguments: &[&str]) -> Settings {
    let mut all = vec!["vamp", "--store", "memory:", "--listen", "127.0.0.1:0"];
    for pair in arguments.chunks(2) {
        all.retain(|argument| *argument != pair[0] || pair[0] != "--listen");
        if pair[0] == "--listen" {
            all.retain(|argument| *argument != "127.0.0.1:0");
        }
    }
    all.extend(arguments);
    Program::try_parse_from(all).unwrap().settings
}

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) store: SharedStore,
    pub(crate) breaker: Handle,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) client: reqwest::Client,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let (store, breaker) = vamp_store::memory::open();
        let folder = tempfile::tempdir().unwrap();
        let running = run(&folder, store.clone(), arguments).await;
        Self { running, store, breaker, folder, client: client() }
    }

    /// Starts it on what another one left.
    pub(crate) async fn start_on(
        folder: tempfile::TempDir,
        store: SharedStore,
        breaker: Handle,
        client: reqwest::Client,
        arguments: &[&str],
    ) -> Self {
        let running = run(&folder, store.clone(), arguments).await;
        Self { running, store, breaker, folder, client }
    }

    /// Stops it and starts it again on the same database and store.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, store, breaker, folder, client } = self;
        running.stop().await;
        Self::start_on(folder, store, breaker, client, &[]).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address)
    }

    /// A request to a path below `/api/v1`.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let root = if path.is_empty() || path.starts_with('?') { "/api/v1" } else { "/api/v1/" };
        self.client.request(method, self.url(&format!("{root}{path}")))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.ask(Method::GET, path)).await
    }

    pub(crate) async fn put(&self, path: &str, yaml: &str) -> Answer {
        send(yaml_of(self.ask(Method::PUT, path), yaml)).await
    }

    pub(crate) async fn post(&self, path: &str, yaml: &str) -> Answer {
        send(yaml_of(self.ask(Method::POST, path), yaml)).await
    }

    pub(crate) async fn post_json(&self, path: &str, json: &Value) -> Answer {
        send(self.ask(Method::POST, path).json(json)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.ask(Method::DELETE, path)).await
    }

    /// The last change that was kept.
    pub(crate) async fn last_event(&self) -> u64 {
        let changes = self.get("audit/changes?limit=1").await.expect(200);
        changes[0]["sequence"].as_u64().unwrap_or_default()
    }

    /// Registers a gateway process that serves a table.
    pub(crate) async fn register(&self, id: &str, applied: Option<Generation>) {
        self.register_at(id, applied, "http://127.0.0.1:1").await;
    }

    /// As [`World::register`], with an admin listener.
    pub(crate) async fn register_at(&self, id: &str, applied: Option<Generation>, admin: &str) {
        let registration = Registration {
            id: id.to_owned(),
            boot: "boot".to_owned(),
            admin: admin.to_owned(),
            version: "0.1.0".to_owned(),
            applied,
            digest: None,
            problems: Vec::new(),
            refused: None,
            leaves: false,
        };
        let value = serde_json::to_vec(&registration).unwrap().into();
        let key = layout::registration("default", id);
        self.store.put(&key, value, Expected::Anything, None).await.unwrap();
    }

    /// The rollout as soon as `holds` for it.
    pub(crate) async fn rollout_where(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("rollout", what, holds).await
    }

    /// What a path answers as soon as `holds` for it.
    pub(crate) async fn get_where(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(path, path, holds).await
    }

    async fn wait_for(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await.expect(200);
            if holds(&answer) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < until, "{what}: {answer:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn run(folder: &tempfile::TempDir, store: SharedStore, arguments: &[&str]) -> Running {
    let database = format!("sqlite:{}", folder.path().join("vamp.db").display());
    // Who was there before may still hold its folder.
    let processes = folder.path().join(format!("processes-{:x}", rand::random::<u64>())).display().to_string();
    let mut all = vec!["--database", &database];
    if !arguments.contains(&"--docker-host") {
        all.extend(["--process-dir", &processes]);
    }
    all.extend(arguments);
    start(settings(&all), store).await.unwrap()
}

pub(crate) fn client() -> reqwest::Client {
    // Another test of this process may have set the provider already: either way there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

pub(crate) fn yaml_of(request: RequestBuilder, yaml: &str) -> RequestBuilder {
    request.header("content-type", "application/yaml").body(yaml.to_owned())
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null when it is no JSON.
    pub(crate) body: Value,
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        self.expect_ref(status);
        self.body
    }

    #[track_caller]
    pub(crate) fn expect_ref(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if status >= 400 {
            assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
            for member in ["type", "title", "detail", "instance", "message"] {
                assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "`{member}`: {}", self.text);
            }
            assert_eq!(self.body["status"], status, "{}", self.text);
        }
        self
    }

    /// A problem of this status and type.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, name: &str) -> &Value {
        self.expect_ref(status);
        assert_eq!(self.body["type"], format!("urn:vamp:problem:{name}"), "{}", self.text);
        &self.body
    }

    pub(crate) fn header(&self, name: impl TryInto<HeaderName>) -> Option<&str> {
        self.headers.get(name.try_into().ok()?)?.to_str().ok()
    }
}

/// A gateway document with one route.
pub(crate) fn gateway(name: &str, port: u16) -> String {
    format!("name: {name}\nport: {port}/http\nroutes:\n  \"[192.0.2.1:80]\": {{weight: 100%}}\n")
}
