//! What clients of the original rely on, by the vectors of its behaviour that concern the API; those of documents stand with
//! the model, those of pages with lists.
//!
//! Not carried over: the two of the WebSocket (put `breeds`, put `breeds/x`), since there is no `/websocket`: events are
//! followed at `/events/stream`. `WorkflowUpdateError` refuses a change of a workflow that runs; nothing runs workflows, so
//! what is refused is to say that one does (`a_workflow_is_changed_at_any_time_and_never_said_to_run`).

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, gateway, send};

const SHOP: &str = "
name: shop
clusters:
  web:
    services:
    - {breed: {name: 'web:1', deployable: {type: command, definition: i}, ports: {http: 80/http}}}
    - {breed: {name: 'web:2', deployable: {type: command, definition: i}, ports: {http: 80/http}}}
    gateways: {http: {routes: {'web:1': {weight: 60%}, 'web:2': {weight: 40%}}}}
";

const SERVICE: &str = "deployments/shop/clusters/web/services/web:2";

#[tokio::test]
async fn a_service_is_removed_when_it_gets_no_share_any_more() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    let refused = world.delete(SERVICE).await.problem(400, "bad-document").to_string();
    assert!(refused.contains("40%"), "{refused}");
    let mut inner = world.get("gateways/shop/web/http").await.expect(200);
    inner["routes"]["shop/web/web:1/http"]["weight"] = json!("100%");
    inner["routes"]["shop/web/web:2/http"]["weight"] = json!("0%");
    world.put("gateways/shop/web/http", &inner.to_string()).await.expect(200);
    world.delete(SERVICE).await.expect(200);
}

#[tokio::test]
async fn the_routes_of_a_clusters_gateway_follow_from_its_services() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    let mut inner = world.get("gateways/shop/web/http").await.expect(200);
    inner["routes"]["[127.0.0.1:1]"] = json!({"weight": "0%"});
    let refused =
        world.put("gateways/shop/web/http", &inner.to_string()).await.problem(400, "bad-document").to_string();
    assert!(refused.contains("one route for each service of its cluster"), "{refused}");
}

#[tokio::test]
async fn a_port_belongs_to_one_gateway_and_those_that_are_given_pass_it_by() {
    let world = World::start_with(&["--port-range", "30500-30503"]).await;
    world.post("gateways", &gateway("own", 30_500)).await.expect(201);
    let refused = world.post("gateways", &gateway("other", 30_500)).await.problem(400, "bad-document").to_string();
    assert!(refused.contains("`own`"), "{refused}");
    let mut given = Vec::new();
    for name in ["a", "b"] {
        let open = format!("{{name: {name}, routes: {{'[127.0.0.1:1]': {{}}}}}}");
        let port: Value = world.post("gateways", &open).await.expect(201)["port"].clone();
        given.push(port);
    }
    assert_eq!(given, ["30501/http", "30502/http"]);
}

#[tokio::test]
async fn an_event_has_a_tag_and_a_time_has_one_bound_of_each_kind() {
    let world = World::start().await;
    world.post_json("events", &json!({"value": 1})).await.problem(400, "bad-request");
    world.post_json("events", &json!({"tags": ["deployments:shop:1"]})).await.expect(201);
    let event = world.get("events?tag=deployments:shop:1").await.expect(200)[0].clone();
    assert_eq!(event["tags"], json!(["deployments", "deployments:shop:1"]));
    let both = json!({"tags": ["a"], "timestamp": {"lt": "now", "lte": "now"}});
    send(world.ask(Method::GET, "events").json(&both)).await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_workflow_is_changed_at_any_time_and_never_said_to_run() {
    let world = World::start().await;
    let workflow = |schedule: &str, status: &str| {
        let breed = "{name: watch, deployable: {type: application/javascript, definition: run()}}";
        format!("{{breed: {breed}, schedule: {schedule}, status: {status}}}")
    };
    world.put("workflows/watch", &workflow("daemon", "suspended")).await.expect(201);
    let refused = world.put("workflows/watch", &workflow("daemon", "running")).await;
    assert!(
        refused.problem(400, "bad-document").to_string().contains("nothing runs workflows yet"),
        "{}",
        refused.text
    );
    world.put("workflows/watch", &workflow("{time: PT5S}", "suspended")).await.expect(200);
}
