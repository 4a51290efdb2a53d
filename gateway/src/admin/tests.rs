//! The addresses, asked over a socket as a client asks them.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use reqwest::{Method, RequestBuilder};
use vamp_record::access::Tokens;
use vamp_record::listener::Listener;
use vamp_routing::wire::{Balance, Endpoint, Gateway, Generation, Route, Share, Sticky, Table, Target};

use super::*;
use crate::limits::Limits;
use crate::plane::PlaneSettings;

/// An admin listener of a data plane without traffic.
struct Admin {
    plane: Arc<DataPlane>,
    address: SocketAddr,
    sync: watch::Sender<SyncStatus>,
    draining: watch::Sender<bool>,
    _stop: watch::Sender<bool>,
    client: reqwest::Client,
}

impl Admin {
    fn start(access: Access) -> Self {
        let settings = PlaneSettings {
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            virtual_hosts_port: None,
            threads: 1,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            targets: vamp_routing::Targets::default(),
            limits: Limits::default(),
        };
        let recorder = Recorder::counting(1);
        let plane = DataPlane::start(settings, Arc::clone(&recorder)).unwrap();
        let (sync, status) = watch::channel(SyncStatus::default());
        let (draining, is_draining) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let state = AdminState {
            plane: Arc::clone(&plane),
            recorder,
            sync: status,
            draining: is_draining,
            before: watch::Sender::default().subscribe(),
            access,
            id: "g1".to_owned(),
            boot: "b1".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let listener = Listener::open(MANNER, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).unwrap();
        let address = listener.address();
        tokio::spawn(listener.serve(router(state), stopped));
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { plane, address, sync, draining, _stop: stop, client }
    }

    async fn with_table() -> Self {
        let admin = Self::start(Access::Loopback);
        admin.plane.apply(admin.plane.compile(&table()).unwrap()).await;
        admin
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answered(self.ask(Method::GET, path)).await
    }

    async fn explain(&self, question: &Value) -> (u16, Value) {
        answered(self.ask(Method::POST, "/explain").body(question.to_string())).await
    }
}

async fn answered(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

fn table() -> Table {
    let route = |name: &str, weight, condition: Option<&str>, host: &str| Route {
        name: name.to_owned(),
        lookup: format!("lookup-{name}"),
        weight: Share(weight),
        condition: condition.map(str::to_owned),
        condition_strength: Share::WHOLE,
        balance: Balance::RoundRobin,
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![Endpoint {
            name: host.to_owned(),
            lookup: format!("lookup-{host}"),
            address: format!("{host}:8081"),
        }]),
    };
    let gateway = Gateway {
        name: "shop".to_owned(),
        lookup: "lookup-shop".to_owned(),
        port: None,
        virtual_hosts: Vec::new(),
        sticky: Sticky::None,
        tcp: None,
        routes: vec![
            route("old", 10_000, None, "127.0.0.1"),
            route("new", 0, Some("header X-Beta == yes"), "no-such-name.invalid"),
        ],
    };
    Table { generation: Generation { epoch: 2, revision: 7 }, gateways: vec![gateway] }
}

#[tokio::test]
async fn it_is_live_at_once_and_ready_when_a_table_is_served() {
    let admin = Admin::start(Access::Loopback);
    assert_eq!(admin.get("/live").await.0, 200);
    let (status, reason) = admin.get("/ready").await;
    assert_eq!((status, &reason["ready"], &reason["sync"]), (503, &json!(false), &json!("starting")));
    admin.sync.send_modify(|status| status.applied = Some(Generation { epoch: 1, revision: 1 }));
    assert_eq!(admin.get("/ready").await.0, 200);
    admin.draining.send_replace(true);
    let (status, reason) = admin.get("/ready").await;
    assert_eq!(status, 503);
    assert!(reason["reason"].as_str().unwrap().contains("stopping"), "{reason}");
    assert_eq!(admin.get("/live").await.0, 200, "a process that drains is not to be killed");
}

#[tokio::test]
async fn the_table_is_shown_with_the_state_of_each_endpoint() {
    let admin = Admin::with_table().await;
    let (status, shown) = admin.get("/table").await;
    assert_eq!(status, 200);
    assert_eq!(shown["generation"], json!({"epoch": 2, "revision": 7}));
    assert_eq!((&shown["id"], &shown["boot"], &shown["whole"]), (&json!("g1"), &json!("b1"), &json!(true)));
    let [old, new] = [0, 1].map(|route| &shown["gateways"][0]["routes"][route]);
    assert_eq!((&old["name"], &old["weight_percent"]), (&json!("old"), &json!(100.0)));
    assert_eq!(old["endpoints"][0]["state"], "live");
    assert_eq!(
        (&new["condition"], &new["endpoints"][0]["state"]),
        (&json!("header X-Beta == yes"), &json!("unresolved"))
    );
    assert_eq!(admin.get("/table?gateway=shop").await.1["gateways"], shown["gateways"]);
    assert_eq!(admin.get("/table?gateway=other").await.0, 404);
    assert_eq!(admin.get("/table?gate=shop").await.0, 400);
}

#[tokio::test]
async fn splits_are_what_the_control_plane_reads() {
    let admin = Admin::with_table().await;
    let text = admin.ask(Method::GET, "/splits").send().await.unwrap().text().await.unwrap();
    let counts: SplitCounts = serde_json::from_str(&text).unwrap();
    assert_eq!((counts.id.as_str(), counts.boot.as_str()), ("g1", "b1"));
    let routes: Vec<_> = counts.gateways[0].routes.iter().map(|route| route.route.as_str()).collect();
    assert_eq!(routes, ["old", "new"]);
}

#[tokio::test]
async fn traffic_is_told_of_the_gateways_that_are_asked_about() {
    let admin = Admin::with_table().await;
    let ask = |question: Value| answered(admin.ask(Method::POST, "/traffic").body(question.to_string()));
    let (status, answer) = ask(json!({"gateways": ["none", "shop"]})).await;
    assert_eq!(status, 200);
    // Nothing came through it yet.
    assert_eq!(answer, json!({"id": "g1", "boot": "b1", "gateways": [{"gateway": "shop", "routes": []}]}));
    assert_eq!(ask(json!({"gateway": "shop"})).await.0, 400);
    assert_eq!(ask(json!({"gateways": vec!["shop"; 1_001]})).await.0, 400);
    assert_eq!(ask(json!({"gateways": ["x".repeat(1 << 20)]})).await.0, 413);
}

#[tokio::test]
async fn a_request_is_explained_by_the_table_in_service() {
    let admin = Admin::with_table().await;
    let (status, plain) = admin.explain(&json!({"gateway": "shop"})).await;
    assert_eq!((status, &plain["route"]), (200, &json!("old")));
    let (_, beta) = admin.explain(&json!({"gateway": "shop", "headers": {"X-Beta": "yes"}})).await;
    assert_eq!((&beta["route"], &beta["decided_by"]), (&json!("new"), &json!("condition")));
    assert_eq!(admin.explain(&json!({"gateway": "other"})).await.0, 404);
    assert_eq!(admin.explain(&json!({"gateway": "shop", "target": "x"})).await.0, 400);
    let large = json!({"gateway": "shop", "target": format!("/{}", "a".repeat(BODY_BYTES_MAX))});
    assert_eq!(admin.explain(&large).await.0, 413);
}

#[tokio::test]
async fn metrics_name_the_table_in_service() {
    let admin = Admin::with_table().await;
    let answer = admin.ask(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], exposition::MEDIA_TYPE);
    let text = answer.text().await.unwrap();
    assert!(text.contains("\nvamp_gateway_table_revision 7\n"), "{text}");
    assert!(text.contains("vamp_gateway_records_dropped_total{reason=\"not_configured\"} 0\n"), "{text}");
}

#[tokio::test]
async fn errors_are_problem_documents_that_name_the_mend() {
    let admin = Admin::start(Access::Loopback);
    let (status, problem) = admin.get("/tables").await;
    assert_eq!((status, &problem["type"]), (404, &json!("urn:vamp:problem:unknown-address")));
    assert!(problem["message"].as_str().unwrap().contains("/table, "), "{problem}");
    let answer = admin.ask(Method::GET, "/explain").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()[ALLOW].to_str().unwrap()), (405, "POST"));
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn no_page_of_a_browser_gets_an_answer() {
    let admin = Admin::start(Access::Loopback);
    for path in ["/live", "/ready", "/metrics", "/table", "/splits", "/elsewhere"] {
        let rebound = admin.ask(Method::GET, path).header(HOST, "evil.example:1988");
        assert_eq!(answered(rebound).await.0, 403, "{path}");
        let foreign = admin.ask(Method::GET, path).header(ORIGIN, "http://evil.example");
        assert_eq!(answered(foreign).await.0, 403, "{path}");
    }
    for path in ["/explain", "/traffic"] {
        let asked = admin.ask(Method::POST, path).header(ORIGIN, "null").body("{}");
        assert_eq!(answered(asked).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn with_tokens_nothing_is_answered_without_one() {
    let admin = Admin::start(Access::Tokens(Tokens::parse("0123456789abcdef").unwrap()));
    for path in ["/live", "/ready", "/metrics", "/table", "/splits", "/traffic", "/elsewhere"] {
        assert_eq!(admin.get(path).await.0, 401, "{path}");
        assert_eq!(answered(admin.ask(Method::GET, path).bearer_auth("wrong-0123456789")).await.0, 401, "{path}");
    }
    assert_eq!(answered(admin.ask(Method::GET, "/live").bearer_auth("0123456789abcdef")).await.0, 200);
}
