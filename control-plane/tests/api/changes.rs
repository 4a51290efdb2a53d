//! Several artifacts in one change, and changes that are only tried.

use reqwest::Method;
use serde_json::json;

use crate::world::{World, gateway, send, yaml_of};

const ALL: &str = "\
kind: gateways
name: shop
routes: {\"[192.0.2.1:80]\": {reference: new, weight: 100%}}
---
kind: route
name: new
condition: {reference: beta}
---
- kind: conditions
  name: beta
  condition: has cookie beta
";

#[tokio::test]
async fn several_documents_are_one_change_in_any_order() {
    let world = World::start().await;
    let answer = world.put("", ALL).await.expect(201);
    let names: Vec<_> = answer.as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["shop", "new", "beta"]);
    assert_eq!(world.last_event().await, 1);
    assert_eq!(world.get("rollout").await.expect(200)["revision"], 1);
    world.put("", ALL).await.expect(200);
    world.post("", ALL).await.problem(409, "exists");
}

#[tokio::test]
async fn one_bad_document_keeps_all_of_them_out() {
    let world = World::start().await;
    let answer = world.put("", &format!("{ALL}\n---\nkind: gateway\nname: other\nport: 70000\n")).await;
    let problem = answer.problem(400, "bad-document");
    assert_eq!(problem["violations"][0]["pointer"], "/3/port", "{problem:#}");
    let dangling = ALL.replace("reference: beta", "reference: none-such");
    let answer = world.put("", &dangling).await;
    let violation = &answer.problem(400, "bad-document")["violations"][0];
    assert_eq!((&violation["pointer"], &violation["line"]), (&"/1/condition".into(), &7.into()), "{violation:#}");
    assert_eq!(world.get("gateways").await.expect(200), json!([]));
    assert_eq!(world.last_event().await, 0);
}

#[tokio::test]
async fn several_of_one_kind_need_not_say_it() {
    let world = World::start().await;
    let documents = "[{name: a, condition: has cookie a}, {name: b, condition: has cookie b}]";
    let answer = world.post("conditions", documents).await.expect(201);
    assert_eq!(answer.as_array().map(Vec::len), Some(2));
    let answer = world.put("conditions", documents).await.expect(200);
    assert_eq!(answer[1]["condition"], "has cookie b");
    let one = world.put("conditions", "name: c\ncondition: has cookie c").await.expect(201);
    assert_eq!(one["name"], "c");
    let twice = "[{name: a, condition: has cookie a}, {name: a, condition: has cookie b}]";
    world.put("conditions", twice).await.problem(400, "bad-request");
    let unnamed = world.put("conditions", "condition: has cookie c").await;
    assert!(unnamed.problem(400, "bad-document")["message"].as_str().unwrap().contains("no name"));
    world.put("", "name: c\ncondition: has cookie c").await.problem(400, "bad-document");
}

#[tokio::test]
async fn several_are_deleted_in_one_change_also_when_they_need_each_other() {
    let world = World::start().await;
    world.put("", ALL).await.expect(201);
    let removed = send(yaml_of(world.ask(Method::DELETE, ""), ALL)).await.expect(200);
    assert_eq!(removed[2]["condition"], "has cookie beta");
    for kind in ["gateways", "routes", "conditions"] {
        assert_eq!(world.get(kind).await.expect(200), json!([]));
    }
    send(yaml_of(world.ask(Method::DELETE, ""), ALL)).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_change_that_is_only_tried_stores_nothing() {
    let world = World::start().await;
    for query in ["validate_only=true", "validate_only=yes&wait=5s"] {
        let answer = world.put(&format!("gateways/shop?{query}"), &gateway("shop", 9050)).await;
        assert_eq!((answer.header("etag"), answer.header("location")), (None, None));
        assert_eq!(answer.expect(200)["port"], "9050/http");
    }
    world.post("gateways?validate_only=true", &gateway("shop", 9050)).await.expect(200);
    world.put("gateways/shop?validate_only=true", "port: 70000").await.problem(400, "bad-document");
    world.get("gateways/shop").await.expect(404);
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.delete("gateways/shop?validate_only=true").await.expect(200);
    world.get("gateways/shop").await.expect(200);
    world.post("gateways?validate_only=true", &gateway("shop", 9051)).await.problem(409, "exists");
    assert_eq!(world.last_event().await, 1);
}

#[tokio::test]
async fn a_stored_condition_is_live_in_every_gateway_that_uses_it() {
    let world = World::start().await;
    world.put("", ALL).await.expect(201);
    let before = world.get("rollout").await.expect(200)["revision"].as_u64().unwrap();
    world.put("conditions/beta", "condition: has cookie gamma").await.expect(200);
    assert_eq!(world.get("rollout").await.expect(200)["revision"], before + 1);
    world.put("conditions/unused", "condition: has cookie x").await.expect(201);
    assert_eq!(world.get("rollout").await.expect(200)["revision"], before + 1);
}

#[tokio::test]
async fn writers_at_once_all_get_through() {
    let world = World::start().await;
    let writes = (0..20).map(|index| {
        let document = format!("condition: has cookie c{index}");
        let request = world.ask(Method::PUT, &format!("conditions/c{index}"));
        tokio::spawn(send(yaml_of(request, &document)))
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().expect(201);
    }
    assert_eq!(world.get("conditions?per_page=100").await.expect(200).as_array().map(Vec::len), Some(20));
    assert_eq!(world.last_event().await, 20);
}
