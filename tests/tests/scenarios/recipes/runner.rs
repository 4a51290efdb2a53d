//! Recipes as the original's runner carried them out: each step is a body that is put or deleted, and is done when one
//! event with all the tags that it awaits comes on the stream of events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vamp_tests::components::http_client;
use vamp_tests::installation::{Gateway, Installation, PATIENCE};
use vamp_tests::process::own_binary;
use vamp_tests::{eventually, free_port};

/// LIMIT: how long the stream of events is read, longer than any recipe takes.
const LONG: Duration = Duration::from_mins(10);

/// What a burst of a recipe has.
pub(super) const BURST: usize = 50;

pub(super) struct Runner {
    pub(super) installation: Installation,
    _gateway: Gateway,
    pub(super) port: u16,
    client: reqwest::Client,
    /// The tags of each event so far.
    told: Arc<Mutex<Vec<Vec<String>>>>,
    listening: JoinHandle<()>,
}

impl Runner {
    pub(super) async fn start() -> Self {
        let installation = Installation::start().await;
        let gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
        let client = http_client();
        let url = format!("{}/api/v1/events/stream", installation.address());
        let stream = client.get(url).timeout(LONG).header("last-event-id", "0").send().await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listening = tokio::spawn(listen(stream, Arc::clone(&told)));
        Self { installation, _gateway: gateway, port: free_port(), client, told, listening }
    }

    /// Puts a body at an address below `/api/v1`, and waits for one event with all these tags.
    pub(super) async fn create(&self, address: &str, body: &str, awaited: &str) -> Value {
        self.step(Method::PUT, address, body, &[awaited]).await
    }

    /// The same of a body that more than one event tells of.
    pub(super) async fn create_all(&self, address: &str, body: &str, awaited: &[&str]) {
        self.step(Method::PUT, address, body, awaited).await;
    }

    pub(super) async fn delete(&self, address: &str, body: &str, awaited: &str) {
        self.step(Method::DELETE, address, body, &[awaited]).await;
    }

    async fn step(&self, method: Method, address: &str, body: &str, awaited: &[&str]) -> Value {
        let before = self.told.lock().unwrap().len();
        let (status, answer) = self.send(method.clone(), address, body).await;
        assert!(status < 300, "{method} {address}: {status} {answer:#}\n{body}");
        for tags in awaited {
            self.until_told(before, tags, &format!("{method} {address}")).await;
        }
        answer
    }

    /// Waits for one event with all these tags, after so many others.
    async fn until_told(&self, before: usize, tags: &str, of: &str) {
        let comes = async || {
            let told = self.told.lock().unwrap();
            let has_all = |event: &Vec<String>| tags.split(' ').all(|tag| event.iter().any(|found| found == tag));
            told.iter().skip(before).any(has_all).then_some(())
        };
        eventually(PATIENCE, &format!("{of} is told of by {tags}"), comes).await;
    }

    /// Publishes an event as workflows do, and waits for it as recipes do.
    pub(super) async fn emit(&self, tags: &str, kind: &str, value: Value) {
        let before = self.told.lock().unwrap().len();
        let event = json!({"tags": tags.split(' ').collect::<Vec<_>>(), "type": kind, "value": value});
        self.installation.post("events", &event).await.expect(&[201]);
        self.until_told(before, tags, "an event").await;
    }

    /// What is answered to a body, as the runner sent it.
    pub(super) async fn send(&self, method: Method, address: &str, body: &str) -> (u16, Value) {
        let url = format!("{}/api/v1/{address}", self.installation.address());
        let request = self.client.request(method, url.trim_end_matches('/'));
        let answer = request.header("content-type", "application/x-yaml").body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// `GET /api/v1/{address}`, which must succeed.
    pub(super) async fn get(&self, address: &str) -> Value {
        self.installation.get(address).await.expect(&[200])
    }

    /// What is answered through a gateway.
    pub(super) async fn ask(&self, port: u16, path: &str) -> Option<String> {
        let answer = self.client.get(format!("http://127.0.0.1:{port}/{path}")).send().await.ok()?;
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    }

    /// Asks again and again, as the workflows of recipes did, until this is answered.
    pub(super) async fn until_answered(&self, port: u16, path: &str, expected: &str) {
        let what = format!("{path} at {port} is answered by {expected}");
        eventually(PATIENCE, &what, async || (self.ask(port, path).await? == expected).then_some(())).await;
    }

    /// How many requests of a burst were answered so.
    pub(super) async fn burst(&self, port: u16, path: &str, expected: &str) -> usize {
        let mut count = 0;
        for _ in 0..BURST {
            let answer = self.ask(port, path).await.expect("each request of a burst is answered");
            count += usize::from(answer == expected);
        }
        count
    }

    /// A workflow of a recipe, which is kept; what it would do, the test does.
    pub(super) async fn workflow(&self, name: &str) {
        let breed = format!("{{name: {name}, deployable: {{type: application/javascript, definition: run()}}}}");
        let body = format!("breed: {breed}\nschedule: daemon\n");
        let answer =
            self.create(&format!("workflows/{name}"), &body, &format!("workflows:{name} archive:update")).await;
        assert!(answer.to_string().contains("kept and does not run"), "it is told that it does not run: {answer:#}");
    }

    /// Takes a workflow away; `unscheduled`, which recipes await, is told of nothing that was never scheduled.
    pub(super) async fn end_workflow(&self, name: &str) {
        self.delete(&format!("workflows/{name}"), "", &format!("workflows:{name} archive:delete")).await;
    }

    /// Ends it, when nothing is left of any deployment.
    pub(super) async fn end(self) {
        for kind in ["deployments", "gateways"] {
            let left = async || self.get(kind).await.as_array().is_some_and(Vec::is_empty).then_some(());
            eventually(PATIENCE, &format!("no {kind} are left"), left).await;
        }
        self.listening.abort();
    }
}

/// Keeps the tags of each event that comes.
async fn listen(mut stream: reqwest::Response, told: Arc<Mutex<Vec<Vec<String>>>>) {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let Some(event) = line.strip_prefix(b"data: ") else { continue };
            let event: Value = serde_json::from_slice(event).unwrap();
            let tags = event["tags"].as_array().unwrap().iter();
            told.lock().unwrap().push(tags.map(|tag| tag.as_str().unwrap().to_owned()).collect());
        }
    }
}

/// What stands in recipes for the image of a service.
pub(super) fn program() -> String {
    format!("{{type: command, definition: \"{}\"}}", own_binary("instance").display())
}

/// A breed of a recipe, as one line; it answers its variables at `/env/NAME`.
pub(super) fn breed(name: &str, port: &str, variables: &str) -> String {
    format!("{{name: {name}, deployable: {}, ports: {{port: {port}}}, environment_variables: {variables}}}", program())
}

/// Tags of a service that runs as it is wanted, or of which nothing is left.
pub(super) fn of_service(deployment: &str, cluster: &str, service: &str, what: &str) -> String {
    format!("deployments:{deployment} clusters:{cluster} services:{service} synchronization:{what}")
}
