//! What a change would make is told before it is made, and nothing of it happens.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, gateway, send};

/// Action, kind, name of each change that an answer tells.
fn told(answer: &Value) -> Vec<String> {
    let changes = answer["changes"].as_array().unwrap_or_else(|| panic!("no changes in {answer:#}"));
    let word = |change: &Value, member: &str| change[member].as_str().unwrap().to_owned();
    let mut told: Vec<_> = changes
        .iter()
        .map(|change| format!("{} {}/{}", word(change, "action"), word(change, "kind"), word(change, "name")))
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn a_dry_run_tells_every_place_that_would_differ() {
    let world = World::start().await;
    let created = world.put("gateways/shop?validate_only=true", &gateway("shop", 9050)).await.expect(200);
    assert_eq!(told(&created), ["create gateways/shop"]);
    assert_eq!(created["changes"][0]["differences"][0]["to"]["port"], "9050/http");
    world.get("gateways/shop").await.problem(404, "not-found");

    let written = world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    assert!(written.get("changes").is_none(), "what is done is not told as a plan: {written:#}");
    let moved = world.put("gateways/shop?validate_only=true", &gateway("shop", 9051)).await.expect(200);
    assert_eq!(told(&moved), ["replace gateways/shop"]);
    let expected = json!([{"at": "/port", "from": "9050/http", "to": "9051/http"}]);
    assert_eq!(moved["changes"][0]["differences"], expected);
    let same = world.put("gateways/shop?validate_only=true", &gateway("shop", 9050)).await.expect(200);
    assert_eq!(same["changes"], json!([]));
    let gone = send(world.ask(Method::DELETE, "gateways/shop?validate_only=true")).await.expect(200);
    assert_eq!(told(&gone), ["delete gateways/shop"]);
    assert_eq!(world.get("gateways/shop").await.header("etag"), Some("\"1\""), "nothing was written");
}

#[tokio::test]
async fn a_dry_run_of_several_tells_all_of_them_once() {
    let world = World::start().await;
    world.put("conditions/old", "condition: path is /").await.expect(201);
    let documents = "- {kind: conditions, name: old, condition: path is /a}\n- {kind: conditions, name: new, condition: path is /b}\n";
    let answer = world.put("?validate_only=true", documents).await.expect(200);
    assert_eq!(told(&answer[0]), ["create conditions/new", "replace conditions/old"]);
    assert!(answer[1].get("changes").is_none());
}

const SHOP: &str = "
name: shop
gateways: {9050: web/http}
clusters: {web: {breed: {name: 'web:1', deployable: {type: command, definition: serve}, ports: {http: 8080/http}}}}
";

#[tokio::test]
async fn a_dry_run_of_a_deployment_tells_its_gateways_too() {
    let world = World::start().await;
    let answer = world.post("deployments?validate_only=true", SHOP).await.expect(200);
    let all = ["deployments/shop", "gateways/shop/9050", "gateways/shop/web/http"];
    assert_eq!(told(&answer), all.map(|name| format!("create {name}")));
    world.post("deployments", SHOP).await.expect(201);
    let gone = send(world.ask(Method::DELETE, "deployments/shop?validate_only=true")).await.expect(200);
    assert_eq!(told(&gone), all.map(|name| format!("delete {name}")));
    let scale = "deployments/shop/clusters/web/services/web:1/scale?validate_only=true";
    let scaled = world.put(scale, "{cpu: 1, memory: 64MB, instances: 3}").await.expect(200);
    assert_eq!(told(&scaled), ["replace deployments/shop"]);
    world.get("deployments/shop").await.expect(200);
}
