//! What gateways counted lately, asked for over the API.

use serde_json::{Value, json};
use vamp_record::traffic::{BUCKETS, GatewayTraffic, RouteTraffic, TrafficAnswer, TrafficQuestion};

use crate::world::{World, gateway};

pub(crate) const ROUTE: &str = "[192.0.2.1:80]";

/// The admin listener of a gateway process through which ten requests of 40 ms come between two questions, one of them
/// an error.
pub(crate) async fn admin() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::atomic::AtomicU64::new(0);
    let traffic = async move |axum::Json(question): axum::Json<TrafficQuestion>| {
        let asked = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let requests = 500 + 10 * asked;
        let mut buckets = vec![0; BUCKETS];
        buckets[6] = requests;
        let route =
            RouteTraffic { route: ROUTE.to_owned(), requests, errors: asked, duration_us: requests * 40_000, buckets };
        let of = |gateway: &String| GatewayTraffic { gateway: gateway.clone(), routes: vec![route.clone()] };
        let gateways = question.gateways.iter().map(of).collect();
        axum::Json(TrafficAnswer { id: "g1".to_owned(), boot: "boot".to_owned(), gateways })
    };
    let traffic = std::sync::Arc::new(traffic);
    let router = axum::Router::new().route("/traffic", axum::routing::post(async move |body| traffic(body).await));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn what_came_since_the_first_question_is_told() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.register_at("g1", None, &admin().await).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    let first = world.get("metrics/gateways/shop?window=1m").await.expect(200);
    assert_eq!((&first["requests"], &first["known_seconds"]), (&Value::Null, &json!(0.0)), "{first:#}");
    let known = world.get_where("metrics/gateways/shop", |metrics| metrics["requests"].as_u64() >= Some(20)).await;
    let (requests, errors) = (known["requests"].as_u64().unwrap(), known["errors"].as_u64().unwrap());
    assert!(known["known_seconds"].as_f64() > Some(0.0) && errors * 10 == requests, "{known:#}");
    assert_eq!(known["error_percent"], json!(10.0), "{known:#}");
    assert_eq!((&known["window_seconds"], &known["response_time_ms"]["mean"]), (&json!(120), &json!(40.0)));
    let p95 = known["response_time_ms"]["p95"].as_f64().unwrap();
    assert!((25.0..=50.0).contains(&p95), "{known:#}");
    assert_eq!((&known["routes"][0]["route"], &known["routes"][0]["requests"]), (&json!(ROUTE), &json!(requests)));
}

#[tokio::test]
async fn a_process_that_does_not_answer_leaves_the_time_unknown() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    // Nobody listens there.
    world.register("g1", None).await;
    let first = world.get("metrics/gateways/shop").await.expect(200);
    assert_eq!(first["requests"], Value::Null);
    let asked = world.get("metrics/gateways/shop?window=5s").await.expect(200);
    assert_eq!((&asked["known_seconds"], &asked["requests"]), (&json!(0.0), &Value::Null), "{asked:#}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    for window in ["0s", "11m", "long", "-1"] {
        world.get(&format!("metrics/gateways/shop?window={window}")).await.problem(400, "bad-request");
    }
    let answer = world.get("metrics/gateways/shpo").await;
    assert!(answer.problem(404, "not-found")["message"].as_str().unwrap().contains("`shop`"));
}
