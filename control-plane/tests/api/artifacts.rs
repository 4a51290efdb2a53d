//! One artifact: created, read, replaced, deleted.

use reqwest::Method;
use serde_json::json;

use crate::world::{World, gateway, send};

const SHOP: &str = "port: 9050/http\nroutes: {\"[192.0.2.1:80]\": {weight: 90%}, \"[192.0.2.2:80]\": {weight: 10%}}\n";

#[tokio::test]
async fn a_put_creates_and_then_replaces() {
    let world = World::start().await;
    let created = world.put("gateways/shop", SHOP).await;
    assert_eq!(created.header("etag"), Some("\"1\""), "{created:?}");
    assert_eq!(created.header("location"), Some("/api/v1/gateways/shop"));
    let created = created.expect(201);
    assert_eq!(
        (&created["name"], &created["kind"], &created["port"]),
        (&"shop".into(), &"gateways".into(), &"9050/http".into())
    );
    let replaced = world.put("gateways/shop", &SHOP.replace("90%", "50%").replace("10%", "50%")).await;
    assert_eq!(replaced.header("etag"), Some("\"2\""));
    assert_eq!(replaced.header("location"), None);
    assert_eq!(replaced.expect(200)["routes"]["[192.0.2.2:80]"]["weight"], "50%");
    let read = world.get("gateways/shop").await;
    assert_eq!(read.header("etag"), Some("\"2\""));
    assert_eq!(read.expect(200)["routes"]["[192.0.2.1:80]"]["weight"], "50%");
}

#[tokio::test]
async fn what_is_read_can_be_put_back_and_changes_nothing() {
    let world = World::start().await;
    world.put("conditions/beta", "condition: has cookie beta").await.expect(201);
    world.put("routes/new", "weight: 10%\ncondition: {reference: beta}").await.expect(201);
    world
        .put("gateways/shop", "metadata: {Team: Web}\nroutes: {\"[192.0.2.1:80]\": {reference: new, weight: 100%}}")
        .await
        .expect(201);
    for path in ["conditions/beta", "routes/new", "gateways/shop"] {
        let before = world.last_event().await;
        let read = world.get(path).await.expect(200);
        let request = world.ask(Method::PUT, path).json(&read);
        let written = send(request).await;
        let version = written.header("etag").map(str::to_owned);
        let mut written = written.expect(200);
        let unchanged = written.as_object_mut().unwrap().remove("unchanged");
        assert_eq!(written, read, "{path}");
        // A gateway that was given its port now names it; nothing else is a change.
        if path != "gateways/shop" {
            assert_eq!((version.as_deref(), world.last_event().await), (Some("\"1\""), before), "{path}");
        }
        assert_eq!(unchanged, (path != "gateways/shop").then(|| true.into()), "{path}");
        // What answers add may be sent back with the rest.
        for (member, value) in [("unchanged", json!(true)), ("warnings", json!([])), ("rollout", json!({}))] {
            written[member] = value;
        }
        assert_eq!(send(world.ask(Method::PUT, path).json(&written)).await.expect(200)["unchanged"], true, "{path}");
    }
}

#[tokio::test]
async fn post_creates_only() {
    let world = World::start().await;
    let created = world.post("gateways", &gateway("shop", 9050)).await;
    assert_eq!(created.header("location"), Some("/api/v1/gateways/shop"));
    created.expect(201);
    let refused = world.post("gateways", &gateway("shop", 9051)).await;
    assert!(refused.problem(409, "exists")["detail"].as_str().unwrap().contains("`shop`"));
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9050/http");
}

#[tokio::test]
async fn delete_answers_what_was_removed_and_then_404() {
    let world = World::start().await;
    world.put("gateways/shop", SHOP).await.expect(201);
    let removed = world.delete("gateways/shop").await.expect(200);
    assert_eq!(removed["routes"]["[192.0.2.1:80]"]["weight"], "90%");
    world.get("gateways/shop").await.problem(404, "not-found");
    world.delete("gateways/shop").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_others_need_is_not_deleted_and_they_are_named() {
    let world = World::start().await;
    world.put("conditions/beta", "condition: has cookie beta").await.expect(201);
    world.put("routes/new", "condition: {reference: beta}").await.expect(201);
    world.put("gateways/shop", "routes: {\"[192.0.2.1:80]\": new}").await.expect(201);
    for (path, kind, user) in [("conditions/beta", "routes", "new"), ("routes/new", "gateways", "shop")] {
        let refused = world.delete(path).await;
        let problem = refused.problem(409, "in-use");
        assert!(problem["detail"].as_str().unwrap().contains(user), "{problem:#}");
        assert_eq!(problem["users"][0], serde_json::json!({"kind": kind, "name": user}));
        world.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn a_name_that_nothing_has_is_answered_with_a_near_one() {
    let world = World::start().await;
    world.put("gateways/shop", SHOP).await.expect(201);
    let answer = world.get("gateways/shpo").await;
    assert!(answer.problem(404, "not-found")["message"].as_str().unwrap().contains("did you mean `shop`?"));
    let answer = world.delete("gateways/shops").await;
    assert!(answer.problem(404, "not-found")["message"].as_str().unwrap().contains("did you mean `shop`?"));
}

#[tokio::test]
async fn names_with_segments_are_written_plain_or_escaped() {
    let world = World::start().await;
    let created = world.put("gateways/sava:1.0/sava/web", &gateway("sava:1.0/sava/web", 9050)).await;
    assert_eq!(created.header("location"), Some("/api/v1/gateways/sava:1.0/sava/web"));
    created.expect(201);
    for path in ["gateways/sava:1.0/sava/web", "gateways/sava:1.0%2Fsava%2Fweb", "gateways/sava:1.0/sava/web/"] {
        assert_eq!(world.get(path).await.expect(200)["name"], "sava:1.0/sava/web", "{path}");
    }
    world.get("gateways/sava:1.0/sava/web/history").await.expect(200);
    world.get("gateways/sava:1.0%2Fsava%2Fweb/history/1").await.expect(200);
}

#[tokio::test]
async fn a_gateway_may_be_called_like_a_part_of_an_address() {
    let world = World::start().await;
    for (index, name) in ["a/split", "a/history", "split", "a/history/3"].into_iter().enumerate() {
        let port = 9050 + u16::try_from(index).unwrap();
        let created = world.put(&format!("gateways/{}", name.replace('/', "%2F")), &gateway(name, port)).await;
        let location = created.header("location").unwrap().to_owned();
        created.expect(201);
        let read = send(world.client.get(world.url(&location))).await.expect(200);
        assert_eq!(read["name"], name, "{location}");
    }
    let refused = world.put("gateways/a/split", &gateway("a/split", 9060)).await;
    assert!(refused.problem(405, "method-not-allowed")["message"].as_str().unwrap().contains("%2F"));
}

#[tokio::test]
async fn a_gateway_without_a_port_is_given_one_and_keeps_it() {
    let world = World::start_with(&["--port-range", "30100-30102"]).await;
    let document = "routes: {\"[192.0.2.1:80]\": {weight: 100%}}";
    assert_eq!(world.put("gateways/shop", document).await.expect(201)["port"], "30100/http");
    assert_eq!(world.put("gateways/other", document).await.expect(201)["port"], "30101/http");
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "30100/http");
    let changed = "metadata: {a: b}\nroutes: {\"[192.0.2.1:80]\": {weight: 100%}}";
    assert_eq!(world.put("gateways/shop", changed).await.expect(200)["port"], "30100/http");
    assert_eq!(world.get("gateways").await.expect(200)[0]["port"], "30101/http");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let world = World::start().await;
    world.put("gateways/shop", SHOP).await.expect(201);
    let world = world.restart().await;
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9050/http");
    world.put("gateways/shop", &SHOP.replace("90%", "80%").replace("10%", "20%")).await.expect(200);
}
