//! The shipper with servers that speak HTTP: a made-up one that fails on command, and real ones, named in
//! `VAMP_TEST_ELASTICSEARCH` (`es8=http://127.0.0.1:9200,os2=http://…`) as `tests/run` starts them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{post, put};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vamp_record::document::Documents;
use vamp_record::{ElasticClient, Record, RouteLabels, Texts};

use super::{Recorder, ShipCounts, ShipSettings, run, testing};

/// How long a test waits for a state; back-off after an outage included.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// 503 for everything.
    Away,
    /// Takes requests and never answers.
    Hung,
    /// Stores every document, and gives an answer that can't be read.
    Breaking,
}

/// A made-up server, and the ids that it holds.
#[derive(Debug)]
struct Server {
    mood: watch::Sender<Mood>,
    stored: Mutex<BTreeSet<String>>,
    bulks: AtomicU32,
    has_template: Mutex<bool>,
}

impl Server {
    async fn start() -> (Arc<Self>, ElasticClient) {
        let server = Arc::new(Self {
            mood: watch::Sender::new(Mood::Well),
            stored: Mutex::default(),
            bulks: AtomicU32::new(0),
            has_template: Mutex::new(false),
        });
        let router = Router::new()
            .route("/_index_template/{name}", put(put_template))
            .route("/_bulk", post(bulk).layer(axum::extract::DefaultBodyLimit::disable()))
            .with_state(Arc::clone(&server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (server, client(&format!("http://{address}")))
    }

    async fn until_it_answers(&self) -> Result<(), StatusCode> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Away => Err(StatusCode::SERVICE_UNAVAILABLE),
            Mood::Hung => std::future::pending().await,
            Mood::Well | Mood::Breaking => Ok(()),
        }
    }

    fn stored(&self) -> u64 {
        u64::try_from(self.stored.lock().unwrap().len()).unwrap()
    }
}

async fn put_template(State(server): State<Arc<Server>>) -> Result<String, StatusCode> {
    server.until_it_answers().await?;
    *server.has_template.lock().unwrap() = true;
    Ok(json!({"acknowledged": true}).to_string())
}

async fn bulk(State(server): State<Arc<Server>>, body: String) -> Result<String, StatusCode> {
    server.bulks.fetch_add(1, Ordering::Relaxed);
    server.until_it_answers().await?;
    assert!(*server.has_template.lock().unwrap(), "documents come after the template");
    let mut stored = server.stored.lock().unwrap();
    let mut create = |line: &str| {
        let action: Value = serde_json::from_str(line).unwrap();
        let is_new = stored.insert(action["create"]["_id"].as_str().unwrap().to_owned());
        json!({"create": {"status": if is_new { 201 } else { 409 }}})
    };
    let items: Vec<_> = body.lines().step_by(2).map(&mut create).collect();
    if *server.mood.borrow() == Mood::Breaking {
        return Ok("{".to_owned());
    }
    Ok(json!({"errors": false, "items": items}).to_string())
}

fn client(url: &str) -> ElasticClient {
    ElasticClient::new(&url.parse().unwrap()).unwrap()
}

/// A shipper of its own, and what feeds it.
struct Shipping {
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Shipping {
    fn start(client: ElasticClient, namespace: &str, records_max: usize, flush_timeout: Duration) -> Self {
        let recorder = Recorder::new(2, records_max);
        let (stop, stopped) = watch::channel(false);
        let documents = Documents::new(namespace, "gw-1", "boot-1");
        let settings = ShipSettings { client, documents, flush_timeout };
        let task = tokio::spawn(run(settings, Arc::clone(&recorder), stopped));
        Self { recorder, stop, task }
    }

    fn push(&self, records: usize) {
        (0..records).for_each(|number| self.recorder.push(number, record()));
    }

    async fn until(&self, what: &str, is_so: impl Fn(&ShipCounts) -> bool) {
        let wait = async {
            while !is_so(&self.counts()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "waited for this in vain: {what}: {:?}", self.counts());
    }

    /// The account, which must add up at every moment.
    fn counts(&self) -> ShipCounts {
        let counts = self.recorder.counts();
        let dropped: u64 = counts.dropped().iter().map(|(_, dropped)| dropped).sum();
        assert_eq!(counts.answered, counts.tally.shipped + dropped + counts.queued, "{counts:?}");
        counts
    }

    async fn stop(self) -> ShipCounts {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.unwrap_or_else(|_| panic!("it does not end")).unwrap();
        self.recorder.counts()
    }
}

fn record() -> Record {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Record {
        started_unix_ns: u64::try_from(now.as_nanos()).unwrap(),
        labels: Arc::new(RouteLabels {
            gateways: vec![("shop".into(), "lookup-shop".into(), true)],
            via: Vec::new(),
            route: "shop/web".into(),
            route_lookup: "lookup-web".into(),
            decided_by: "weight",
        }),
        texts: Texts::new(b"GET", b"shop.example", b"/a\"b\\c\xff\n", b"id"),
        endpoint: Some("127.0.0.1:8081".into()),
        endpoint_lookup: Some("lookup-instance".into()),
        bytes_out: 100,
        upstream_us: Some(1_000),
        duration_us: 2_000,
        ..testing::record(0)
    }
}

#[tokio::test]
async fn each_record_is_one_document() {
    let (server, client) = Server::start().await;
    let shipping = Shipping::start(client, "test", 100_000, PATIENCE);
    shipping.push(10_000);
    shipping.until("all are stored", |counts| counts.tally.shipped == 10_000).await;
    assert_eq!(server.stored(), 10_000);
    assert!(server.bulks.load(Ordering::Relaxed) <= 20, "bulk requests are large");
    assert!(shipping.counts().tally.is_up);
}

#[tokio::test]
async fn an_outage_drops_what_does_not_fit_and_doubles_nothing() {
    let (server, client) = Server::start().await;
    let shipping = Shipping::start(client, "test", 2_000, PATIENCE);
    shipping.push(500);
    shipping.until("the first are stored", |counts| counts.queued == 0).await;
    server.mood.send_replace(Mood::Breaking);
    shipping.push(500);
    shipping.until("an answer is lost", |counts| !counts.tally.is_up).await;
    server.mood.send_replace(Mood::Away);
    shipping.push(10_000);
    shipping.until("the queue is full", |counts| counts.queue_full > 0).await;
    server.mood.send_replace(Mood::Well);
    shipping.until("nothing is queued", |counts| counts.queued == 0).await;
    let counts = shipping.stop().await;
    assert_eq!(counts.answered, 11_000);
    assert_eq!(counts.tally.shipped + counts.queue_full, 11_000, "{counts:?}");
    assert_eq!(server.stored(), counts.tally.shipped);
}

#[tokio::test]
async fn the_end_ships_what_is_queued() {
    let (server, client) = Server::start().await;
    let shipping = Shipping::start(client, "test", 100_000, PATIENCE);
    shipping.push(7_000);
    let counts = shipping.stop().await;
    assert_eq!((counts.tally.shipped, counts.queued), (7_000, 0));
    assert_eq!(server.stored(), 7_000);
}

#[tokio::test]
async fn the_end_waits_for_a_server_that_hangs_no_longer_than_it_was_told() {
    let (server, client) = Server::start().await;
    server.mood.send_replace(Mood::Hung);
    let shipping = Shipping::start(client, "test", 100_000, Duration::from_millis(200));
    shipping.push(7_000);
    let counts = shipping.stop().await;
    assert_eq!((counts.tally.shipped, counts.tally.shutdown, counts.queued), (0, 7_000, 0));
}

/// A real server, and a namespace of its own in it: servers outlive tests.
struct Real {
    name: String,
    url: String,
    namespace: String,
}

fn real_servers(test: &str) -> Vec<Real> {
    let named = std::env::var("VAMP_TEST_ELASTICSEARCH").unwrap_or_default();
    assert!(!named.is_empty(), "VAMP_TEST_ELASTICSEARCH names no server: run tests/run, which starts them and sets it");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let real = |pair: &str| {
        let (name, url) = pair.split_once('=').unwrap_or_else(|| panic!("`{pair}` is not name=URL"));
        Real { name: name.to_owned(), url: url.to_owned(), namespace: format!("{test}-{now}-{}", std::process::id()) }
    };
    named.split(',').map(real).collect()
}

impl Real {
    fn index(&self) -> String {
        format!("vamp-vga-{}-*", self.namespace)
    }

    async fn count(&self, query: Value) -> u64 {
        let client = client(&self.url);
        client.refresh(&self.index()).await.unwrap();
        client.search(&self.index(), json!({"size": 0, "query": query})).await.unwrap().total
    }

    async fn forbid_writes(&self, is_forbidden: bool) {
        let settings = format!("{}/{}/_settings", self.url, self.index());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.put(settings).json(&json!({"index.blocks.write": is_forbidden})).send().await.unwrap();
        assert!(answer.status().is_success(), "{}: {:?}", self.name, answer.text().await);
    }
}

#[tokio::test]
async fn real_servers_hold_each_record_once_and_count_it_by_gateway_and_route() {
    for real in real_servers("each") {
        let shipping = Shipping::start(client(&real.url), &real.namespace, 100_000, PATIENCE);
        shipping.push(6_000);
        let counts = shipping.stop().await;
        assert_eq!(counts.tally.shipped, 6_000, "{}: {counts:?}", real.name);
        for lookup in ["lookup-shop", "o_lookup-shop", "lookup-web"] {
            assert_eq!(real.count(json!({"term": {"ft": lookup}})).await, 6_000, "{} {lookup}", real.name);
        }
        // The same process, boot and numbers, as after an answer that was lost.
        let again = Shipping::start(client(&real.url), &real.namespace, 100_000, PATIENCE);
        again.push(6_500);
        assert_eq!(again.stop().await.tally.shipped, 6_500, "{}", real.name);
        assert_eq!(real.count(json!({"match_all": {}})).await, 6_500, "{}", real.name);
    }
}

#[tokio::test]
async fn records_wait_while_a_real_server_forbids_writing() {
    for real in real_servers("wait") {
        let shipping = Shipping::start(client(&real.url), &real.namespace, 100_000, PATIENCE);
        shipping.push(100);
        shipping.until("the first are stored", |counts| counts.queued == 0).await;
        real.forbid_writes(true).await;
        shipping.push(100);
        shipping.until("the server does not take them", |counts| !counts.tally.is_up).await;
        real.forbid_writes(false).await;
        shipping.until("they are stored after all", |counts| counts.queued == 0).await;
        let counts = shipping.stop().await;
        assert_eq!(counts.tally.shipped, 200, "{}: {counts:?}", real.name);
        assert_eq!(real.count(json!({"match_all": {}})).await, 200, "{}", real.name);
    }
}
