//! What one request costs, in counts that do not depend on how busy the machine is: instructions of the gateway's own
//! (callgrind counts them) and system calls (strace counts them), each as the difference of a long and a short run.
//!
//! The bounds are a ratchet: what was reached, and 5 % of slack. A change that costs more says so here; one that costs
//! less lowers them. They hold for the `release` profile, which is built fast, and are no goals: those (10,500, 15,000 and
//! 4.2) are for what is shipped, the profile `dist`, which needs a tenth fewer instructions. A change may pass the ratchet
//! and miss a goal; `tests/nightly` holds the goals, too.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vamp_tests::components::search_servers;
use vamp_tests::installation::{Installation, PATIENCE};
use vamp_tests::origin::Origin;
use vamp_tests::process::{dist_binary, release_binary};
use vamp_tests::{eventually, free_port};

/// Clients of the load; each has one request under way.
const CONNECTIONS: usize = 16;

/// Requests of each client in the short and in the long run.
const SHORT_ROUNDS: usize = 50;
const LONG_ROUNDS: usize = 1_050;

/// What the gateway does with the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// One route, records counted only.
    Plain,
    /// What this product does all day: weights 90/10, a condition on a header, and a document for each request.
    Vamp,
}

/// The counter that runs the gateway.
#[derive(Debug, Clone, Copy)]
enum Counter {
    Instructions,
    SystemCalls,
}

impl Counter {
    /// The words before the gateway's own: the result goes into the file.
    fn command(self, file: &str) -> String {
        match self {
            Self::Instructions => format!("valgrind --quiet --tool=callgrind --callgrind-out-file={file}"),
            // As a grandchild, so that signals reach the gateway.
            Self::SystemCalls => format!("strace -D -f -c -o {file}"),
        }
    }

    fn read(self, text: &str) -> Option<f64> {
        match self {
            Self::Instructions => text.lines().find_map(|line| line.strip_prefix("summary: "))?.trim().parse().ok(),
            // The columns of the last line: share, seconds, microseconds per call, calls, errors, `total`.
            Self::SystemCalls => {
                let total = text.lines().rfind(|line| line.trim_end().ends_with(" total"))?;
                total.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }
}

/// One request and its answer on each connection, and again.
async fn load(port: u16, rounds: usize) {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Canary: no\r\n\r\n");
    let mut answer = [0; 4096];
    for _ in 0..rounds {
        for client in &mut clients {
            client.write_all(request.as_bytes()).await.unwrap();
        }
        for client in &mut clients {
            let read = client.read(&mut answer).await.unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer[..read]));
        }
    }
}

/// The count of one run.
async fn run(program: &Path, work: Work, counter: Counter, rounds: usize) -> f64 {
    let installation = Installation::start_in(&format!("cost-{:08x}", rand::random::<u32>())).await;
    let (one, two) = (Origin::start("1").await, Origin::start("2").await);
    let port = free_port();
    let (routes, more) = match work {
        Work::Plain => (format!("'[{}]': {{weight: 100%}}", one.address()), String::new()),
        Work::Vamp => {
            let server = search_servers().swap_remove(0);
            let canary = format!("'[{}]': {{weight: 10%, condition: 'header X-Canary == yes'}}", two.address());
            (format!("'[{}]': {{weight: 90%}}, {canary}", one.address()), format!("--elasticsearch {}", server.url))
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("counts");
    // In place of the program that tests start otherwise.
    let before = counter.command(file.to_str().unwrap());
    let shell = format!("shift; exec {before} {} \"$@\" --threads 1 {more}", program.display());
    let mut gateway = installation.gateway_after("g1", &shell);
    gateway.until_live().await;
    installation.rollout_where("the gateway is registered", |rollout| rollout["gateways"][0].is_object()).await;
    installation.serve("shop", &format!("{{name: shop, port: {port}/http, routes: {{{routes}}}}}")).await;
    load(port, rounds).await;
    gateway.stop().await;
    eventually(PATIENCE, "the counts are written", async || counter.read(&std::fs::read_to_string(&file).ok()?)).await
}

/// What one request costs.
#[expect(clippy::print_stdout, reason = "the figure, for who wants to know how far the bound is")]
async fn per_request_of(program: &Path, work: Work, counter: Counter) -> f64 {
    let (short, long) =
        tokio::join!(run(program, work, counter, SHORT_ROUNDS), run(program, work, counter, LONG_ROUNDS));
    let requests = u32::try_from(CONNECTIONS * (LONG_ROUNDS - SHORT_ROUNDS)).unwrap();
    let cost = (long - short) / f64::from(requests);
    println!("{work:?}: {cost:.2} {counter:?} for a request");
    cost
}

async fn per_request(work: Work, counter: Counter) -> f64 {
    per_request_of(&release_binary("vamp-gateway"), work, counter).await
}

/// Reached: 10,090, 15,590, and 4.15 for both kinds of work.
const PLAIN_INSTRUCTIONS_MAX: f64 = 10_600.0;
const VAMP_INSTRUCTIONS_MAX: f64 = 16_370.0;
const SYSTEM_CALLS_MAX: f64 = 4.36;

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_costs_no_more_instructions_than_it_did() {
    assert!(per_request(Work::Plain, Counter::Instructions).await <= PLAIN_INSTRUCTIONS_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_split_condition_and_document_costs_no_more_instructions_than_it_did() {
    assert!(per_request(Work::Vamp, Counter::Instructions).await <= VAMP_INSTRUCTIONS_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_costs_no_more_system_calls_than_it_did() {
    assert!(per_request(Work::Plain, Counter::SystemCalls).await <= SYSTEM_CALLS_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_split_condition_and_document_costs_no_more_system_calls_than_it_did() {
    assert!(per_request(Work::Vamp, Counter::SystemCalls).await <= SYSTEM_CALLS_MAX);
}

/// The goals, for what is shipped.
const GOALS: [(Work, Counter, f64); 4] = [
    (Work::Plain, Counter::Instructions, 10_500.0),
    (Work::Vamp, Counter::Instructions, 15_000.0),
    (Work::Plain, Counter::SystemCalls, 4.2),
    (Work::Vamp, Counter::SystemCalls, 4.2),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the gateway as it is shipped: tests/nightly"]
async fn a_request_to_what_is_shipped_costs_no_more_than_the_goals() {
    let program = dist_binary("vamp-gateway");
    for (work, counter, goal) in GOALS {
        let cost = per_request_of(&program, work, counter).await;
        assert!(cost <= goal, "{work:?}: {cost} {counter:?} where {goal} is the goal");
    }
}
