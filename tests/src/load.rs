//! Load over keep-alive connections that verifies every answer: status, length, and that it belongs to its request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::origin::field;

/// LIMIT: failures told in words; all are counted.
const FAILURES_TOLD: usize = 20;

/// LIMIT: waits kept by each connection, 4 bytes each.
const WAITS_KEPT: usize = 1_000_000;

/// What to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Requests in all; `None` goes on until [`Load::finish`].
    pub requests: Option<u64>,
    /// Path without query.
    pub path: String,
    /// Further header lines, each with its end: `"User-Agent: Firefox\r\n"`.
    pub header_lines: String,
    /// How long one answer may take before it counts as failed.
    pub patience: Duration,
}

impl Plan {
    /// Eight connections, until told to stop.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connections: 8,
            requests: None,
            path: "/".to_owned(),
            header_lines: String::new(),
            patience: Duration::from_secs(20),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Requests that got a right answer.
    pub answered: u64,
    /// Right answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
    /// Requests that got none, or one with another status.
    pub failed: u64,
    /// Answers that belong to another request, or are not what they announce.
    pub wrong: u64,
    /// Keep-alive connections that the server closed.
    pub closed: u64,
    /// Those of them that it closed without a word in an answer before, so that the next request was sent again.
    pub crossed: u64,
    /// The first failures in words.
    pub failures: Vec<String>,
    /// The longest wait for an answer.
    pub slowest: Duration,
    /// All waits for an answer, in microseconds.
    took_us: Vec<u32>,
}

impl Report {
    /// The wait that so many percent of the requests did not exceed.
    pub fn percentile(&self, percent: u8) -> Duration {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * usize::from(percent)).div_ceil(100).saturating_sub(1);
        Duration::from_micros(sorted.get(place).copied().unwrap_or_default().into())
    }

    /// Right answers of one version.
    pub fn of(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or_default()
    }

    /// Fails the test unless every request was answered rightly.
    #[track_caller]
    pub fn assert_flawless(&self) {
        assert!(self.failed == 0 && self.wrong == 0 && self.answered > 0, "not flawless: {self:#?}");
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.wrong += other.wrong;
        self.closed += other.closed;
        self.crossed += other.crossed;
        self.slowest = self.slowest.max(other.slowest);
        self.took_us.extend(other.took_us);
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_TOLD);
    }
}

/// Load that runs.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Report>>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    stop: AtomicBool,
    taken: AtomicU64,
    answered: AtomicU64,
}

impl Load {
    /// Starts it.
    pub fn start(plan: Plan) -> Self {
        let connections = plan.connections;
        let shared = Arc::new(Shared {
            plan,
            stop: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        let tasks = (0..connections).map(|_| tokio::spawn(Client::run(Arc::clone(&shared)))).collect();
        Self { shared, tasks }
    }

    /// Right answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until `count` more right answers have come: traffic flows in the state that holds now.
    pub async fn flow(&self, count: u64) {
        let goal = self.answered() + count;
        crate::eventually(Duration::from_mins(1), "the load gets answers", async || {
            (self.answered() >= goal).then_some(())
        })
        .await;
    }

    /// Stops after the requests that are under way, and reports.
    pub async fn finish(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.report().await
    }

    /// Waits until the planned number of requests is done, and reports.
    pub async fn report(self) -> Report {
        let mut all = Report::default();
        for task in self.tasks {
            all.add(task.await.expect("a load task does not panic"));
        }
        all
    }
}

/// One connection and its account.
struct Client {
    shared: Arc<Shared>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    report: Report,
}

/// How one request went wrong.
enum Fault {
    /// The server had closed the connection before it read the request: not its fault towards HTTP, sent again.
    ClosedIdle,
    /// No answer, or another status.
    Failed(String),
    /// An answer to something else.
    Wrong(String),
}

impl Client {
    async fn run(shared: Arc<Shared>) -> Report {
        let mut client = Self { shared, stream: None, buffer: Vec::new(), report: Report::default() };
        while let Some(number) = client.take_number() {
            let start = Instant::now();
            let mut outcome = client.exchange(number).await;
            if matches!(outcome, Err(Fault::ClosedIdle)) {
                client.report.closed += 1;
                client.report.crossed += 1;
                outcome = client.exchange(number).await;
            }
            let took = start.elapsed();
            client.report.slowest = client.report.slowest.max(took);
            if client.report.took_us.len() < WAITS_KEPT {
                client.report.took_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            client.note(outcome).await;
        }
        client.report
    }

    fn take_number(&self) -> Option<u64> {
        let number = self.shared.taken.fetch_add(1, Ordering::Relaxed);
        let wanted = self.shared.plan.requests.is_none_or(|requests| number < requests);
        (wanted && !self.shared.stop.load(Ordering::Relaxed)).then_some(number)
    }

    async fn note(&mut self, outcome: Result<String, Fault>) {
        let fault = match outcome {
            Ok(version) => {
                self.report.answered += 1;
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                *self.report.versions.entry(version).or_default() += 1;
                return;
            }
            Err(fault) => fault,
        };
        self.stream = None;
        let words = match fault {
            Fault::ClosedIdle => {
                self.report.failed += 1;
                "connection closed twice before an answer".to_owned()
            }
            Fault::Failed(words) => {
                self.report.failed += 1;
                words
            }
            Fault::Wrong(words) => {
                self.report.wrong += 1;
                words
            }
        };
        if self.report.failures.len() < FAILURES_TOLD {
            self.report.failures.push(words);
        }
        // LIMIT: a server that refuses everything is asked a hundred times a second by each connection, not more.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Sends one request and reads its answer; the version that gave it.
    async fn exchange(&mut self, number: u64) -> Result<String, Fault> {
        let patience = self.shared.plan.patience;
        match tokio::time::timeout(patience, self.exchange_unbounded(number)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Failed(format!("request {number}: no answer within {patience:?}"))),
        }
    }

    async fn exchange_unbounded(&mut self, number: u64) -> Result<String, Fault> {
        let plan = &self.shared.plan;
        let fresh = self.stream.is_none();
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            self.buffer.clear();
            let stream = TcpStream::connect(plan.address).await;
            stream.map_err(|error| Fault::Failed(format!("request {number}: connect: {error}")))?
        };
        let request =
            format!("GET {}?n={number} HTTP/1.1\r\nHost: {}\r\n{}\r\n", plan.path, plan.address, plan.header_lines);
        let lost = |error: std::io::Error| {
            if fresh { Fault::Failed(format!("request {number}: {error}")) } else { Fault::ClosedIdle }
        };
        stream.write_all(request.as_bytes()).await.map_err(lost)?;
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                break String::from_utf8_lossy(&std::mem::replace(&mut self.buffer, rest)).into_owned();
            }
            let started = !self.buffer.is_empty();
            if stream.read_buf(&mut self.buffer).await.map_err(lost)? == 0 {
                let idle = !fresh && !started;
                return Err(if idle {
                    Fault::ClosedIdle
                } else {
                    Fault::Failed(format!("request {number}: cut in the head"))
                });
            }
        };
        let body = self.read_body(&mut stream, &head, number).await?;
        if field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.report.closed += 1;
        } else {
            self.stream = Some(stream);
        }
        verify(number, &head, &body)
    }

    async fn read_body(&mut self, stream: &mut TcpStream, head: &str, number: u64) -> Result<Vec<u8>, Fault> {
        let length = field(head, "content-length").and_then(|length| length.parse::<usize>().ok());
        let Some(length) = length else {
            return Err(Fault::Wrong(format!("request {number}: an answer without length: {head}")));
        };
        while self.buffer.len() < length {
            match stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Fault::Failed(format!("request {number}: cut in the body"))),
                Ok(_) => {}
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }
}

/// The version in a right answer to request `number`.
fn verify(number: u64, head: &str, body: &[u8]) -> Result<String, Fault> {
    let told =
        || format!("request {number}: {} {}", head.lines().next().unwrap_or_default(), String::from_utf8_lossy(body));
    if head.split(' ').nth(1) != Some("200") {
        return Err(Fault::Failed(told()));
    }
    let answer: serde_json::Value = serde_json::from_slice(body).map_err(|_| Fault::Wrong(told()))?;
    match (answer["version"].as_str(), answer["n"].as_str()) {
        (Some(version), Some(echo)) if echo == number.to_string() => Ok(version.to_owned()),
        _ => Err(Fault::Wrong(told())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Behaviour, Origin};

    #[tokio::test]
    async fn every_answer_of_a_sound_origin_counts() {
        let origin = Origin::start("1").await;
        let load = Load::start(Plan { requests: Some(500), ..Plan::new(origin.address()) });
        let report = load.report().await;
        report.assert_flawless();
        assert_eq!((report.answered, report.of("1"), report.closed), (500, 500, 0));
        assert_eq!(origin.requests(), 500);
    }

    #[track_caller]
    fn check(report: &Report, failed: u64, wrong: u64) {
        assert_eq!((report.answered, report.failed, report.wrong), (0, failed, wrong), "{report:#?}");
    }

    #[tokio::test]
    async fn cut_and_refused_answers_are_failures() {
        let mut origin = Origin::start("1").await;
        for behaviour in [Behaviour::CutBody, Behaviour::CutHead, Behaviour::Close, Behaviour::Status(503)] {
            origin.behave(behaviour);
            let load = Load::start(Plan { requests: Some(4), connections: 2, ..Plan::new(origin.address()) });
            check(&load.report().await, 4, 0);
        }
        origin.stop().await;
        check(&Load::start(Plan { requests: Some(2), ..Plan::new(origin.address()) }).report().await, 2, 0);
        origin.resume().await;
        origin.behave(Behaviour::Answer);
        Load::start(Plan { requests: Some(2), ..Plan::new(origin.address()) }).report().await.assert_flawless();
    }

    #[tokio::test]
    async fn connections_that_the_server_closes_are_counted() {
        let origin = Origin::start("1").await;
        origin.behave(Behaviour::CloseAfterAnswer);
        let load = Load::start(Plan { requests: Some(5), connections: 1, ..Plan::new(origin.address()) });
        let report = load.report().await;
        report.assert_flawless();
        assert_eq!((report.answered, report.closed), (5, 4));
    }
}
