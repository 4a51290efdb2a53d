//! Asking gateways, with admin listeners that this test plays.

use std::sync::Mutex;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use vamp_record::split::{GatewayCounts, LevelCounts, LevelKind, RouteCounts, ShareCount, SplitCounts};
use vamp_store::testing::eventually;
use vamp_store::{Expected, layout};

use super::*;
use crate::core::tests::{DEADLINE, SHOP, World, put};

const A: &str = "[127.0.0.1:81]";
const B: &str = "[127.0.0.1:82]";

/// The counts of one boot whose weights gave so much to both routes.
fn counts(id: &str, boot: &str, delivered: [u64; 2]) -> SplitCounts {
    let share = |route: &str, wanted, delivered| ShareCount { route: route.to_owned(), wanted, delivered };
    let routes = |route: &str, weight| RouteCounts { route: route.to_owned(), weight, ..RouteCounts::default() };
    let [a, b] = delivered;
    let weights = LevelCounts {
        kind: LevelKind::Weights,
        route: None,
        since_unix_ms: 5,
        tickets: a + b,
        shares: vec![share(A, 9000, a), share(B, 1000, b)],
    };
    let shop =
        GatewayCounts { gateway: "shop".to_owned(), levels: vec![weights], routes: vec![routes(A, a), routes(B, b)] };
    SplitCounts { id: id.to_owned(), boot: boot.to_owned(), gateways: vec![shop] }
}

/// An admin listener; what it answers can be changed.
struct Admin {
    address: String,
    answer: Arc<Mutex<(StatusCode, String)>>,
    authorization: Arc<Mutex<Option<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Admin {
    async fn start(answer: &SplitCounts) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((StatusCode::OK, serde_json::to_string(answer).unwrap())));
        let authorization = Arc::new(Mutex::new(None));
        let (told, heard) = (Arc::clone(&answer), Arc::clone(&authorization));
        let splits = async move |headers: HeaderMap| {
            let value = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            *heard.lock().unwrap() = value;
            told.lock().unwrap().clone()
        };
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/splits", get(splits))).await.unwrap();
        });
        Self { address, answer, authorization, server }
    }

    fn answers(&self, status: StatusCode, text: String) {
        *self.answer.lock().unwrap() = (status, text);
    }
}

async fn register(world: &World, id: &str, boot: &str, admin: &str) {
    let registration = Registration {
        id: id.to_owned(),
        boot: boot.to_owned(),
        admin: admin.to_owned(),
        version: "0.1.0".to_owned(),
        applied: None,
        digest: None,
        problems: Vec::new(),
        refused: None,
        leaves: false,
    };
    let value = serde_json::to_vec(&registration).unwrap();
    world.store.put(&layout::registration("default", id), value.into(), Expected::Anything, None).await.unwrap();
    eventually("it is seen", DEADLINE, async || {
        world.core.rollout().gateways.iter().any(|gateway| gateway.id == id && gateway.boot == boot)
    })
    .await;
}

#[track_caller]
fn delivered(split: &Split) -> Vec<u64> {
    split.weights.routes.iter().map(|side| side.delivered).collect()
}

fn problem(split: &Split, id: &str) -> String {
    let process = split.processes.iter().find(|process| process.id == id).unwrap();
    process.problem.clone().unwrap_or_default()
}

#[tokio::test]
async fn all_gateways_are_asked_and_summed() {
    let world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    let (one, two) =
        (Admin::start(&counts("g1", "b1", [90, 10])).await, Admin::start(&counts("g2", "b1", [45, 5])).await);
    register(&world, "g1", "b1", &one.address).await;
    register(&world, "g2", "b1", &format!("{}/", two.address)).await;
    let split = world.core.split("shop").await.unwrap();
    assert_eq!((split.counted, split.of, split.unknown), (2, 2, false));
    assert_eq!((split.weights.tickets, delivered(&split)), (150, vec![135, 15]));
    assert!(split.weights.routes.iter().all(|side| side.error == 0.0), "{split:?}");
    assert_eq!(split.decided_by.iter().map(|route| route.requests).collect::<Vec<_>>(), [135, 15]);
    assert_eq!(*one.authorization.lock().unwrap(), None);
    let unknown = world.core.split("none").await.unwrap_err();
    assert!(matches!(unknown, SplitError::UnknownGateway { .. }), "{unknown}");
}

#[tokio::test]
async fn one_that_does_not_answer_is_said_so_and_keeps_what_was_seen() {
    let world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    let (one, two) = (Admin::start(&counts("g1", "b1", [9, 1])).await, Admin::start(&counts("g2", "b1", [9, 1])).await);
    register(&world, "g1", "b1", &one.address).await;
    register(&world, "g2", "b1", &two.address).await;
    world.core.split("shop").await.unwrap();
    two.server.abort();
    eventually("the listener is closed", DEADLINE, async || two.server.is_finished()).await;
    let split = world.core.split("shop").await.unwrap();
    assert_eq!((split.counted, split.of, delivered(&split)), (1, 2, vec![18, 2]));
    assert!(!problem(&split, "g2").is_empty() && !problem(&split, "g2").contains("127.0.0.1"), "{split:?}");
}

#[tokio::test]
async fn answers_that_can_not_be_right_are_not_counted() {
    let world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    let admin = Admin::start(&counts("g1", "b1", [9, 1])).await;
    register(&world, "g1", "b1", &admin.address).await;
    let cases = [
        (StatusCode::UNAUTHORIZED, String::new(), "answered 401"),
        (StatusCode::OK, "{".to_owned(), "can't be read"),
        (StatusCode::OK, serde_json::to_string(&counts("g7", "b1", [9, 1])).unwrap(), "gateway `g7` answers"),
        (StatusCode::OK, " ".repeat((16 << 20) + 1), "larger than"),
        (StatusCode::FOUND, String::new(), "answered 302"),
    ];
    for (status, text, expected) in cases {
        admin.answers(status, text);
        let split = world.core.split("shop").await.unwrap();
        assert_eq!((split.counted, split.of, delivered(&split)), (0, 1, vec![0, 0]));
        assert!(problem(&split, "g1").contains(expected), "{expected}: {split:?}");
    }
}

#[tokio::test]
async fn counts_of_a_boot_that_ended_stay_over_restarts_of_both_sides() {
    let mut world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    let first = Admin::start(&counts("g1", "b1", [90, 10])).await;
    register(&world, "g1", "b1", &first.address).await;
    world.core.split("shop").await.unwrap();
    first.server.abort();
    let second = Admin::start(&counts("g1", "b2", [9, 1])).await;
    register(&world, "g1", "b2", &second.address).await;
    let check = |split: &Split| {
        assert_eq!((split.counted, split.of, delivered(split)), (1, 1, vec![99, 11]));
        let states: Vec<_> = split.processes.iter().map(|process| (process.boot.as_str(), process.state)).collect();
        assert_eq!(states, [("b2", Freshness::Read), ("b1", Freshness::Ended)]);
    };
    check(&world.core.split("shop").await.unwrap());
    world.tasks.take().unwrap().stop().await;
    world.restart().await;
    eventually("the gateway is seen", DEADLINE, async || world.core.rollout().of == 1).await;
    check(&world.core.split("shop").await.unwrap());
    // With other shares all accounts begin anew.
    let shifted = SHOP.replace("90%", "80%").replace("10%", "20%");
    put(&world.core, &shifted).await.unwrap();
    let split = world.core.split("shop").await.unwrap();
    assert_eq!(delivered(&split), [0, 0]);
    assert!(split.processes.iter().all(|process| !process.summed), "{split:?}");
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() {
    let secret = "0123456789abcdef";
    let settings = AskSettings { token: Some(secret.to_owned()), ca_pem: None };
    assert!(!format!("{settings:?}").contains(secret));
    let asker = Asker::new(&settings).unwrap();
    assert!(!format!("{asker:?}").contains(secret));
    let admin = Admin::start(&counts("g1", "b1", [9, 1])).await;
    let world = World::new().await;
    register(&world, "g1", "b1", &admin.address).await;
    let fleet: Vec<_> = world.core.shared.fleet.borrow().readable().cloned().collect();
    let answers = asker.ask(fleet.iter().map(Arc::as_ref).collect()).await;
    assert!(answers[0].1.is_ok());
    assert_eq!(admin.authorization.lock().unwrap().as_deref(), Some(&*format!("Bearer {secret}")));
    let unsendable = AskSettings { token: Some("a\nb".to_owned()), ca_pem: None };
    assert!(matches!(Asker::new(&unsendable), Err(AskError::Token)));
    let no_ca = AskSettings { token: None, ca_pem: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()) };
    assert!(matches!(Asker::new(&no_ca), Err(AskError::Client(_))));
}
