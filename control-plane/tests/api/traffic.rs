//! Split and explain.

use serde_json::json;

use crate::world::{World, gateway};

#[tokio::test]
async fn a_split_without_gateways_shows_what_is_wanted() {
    let world = World::start().await;
    let document = "routes: {\"[192.0.2.1:80]\": {weight: 90%}, \"[192.0.2.2:80]\": {weight: 10%}}";
    world.put("gateways/shop", document).await.expect(201);
    let split = world.get("gateways/shop/split").await.expect(200);
    assert_eq!((&split["counted"], &split["of"]), (&0.into(), &0.into()), "{split:#}");
    let wanted: Vec<_> = split["routes"].as_array().unwrap().iter().map(|route| route["wanted"].clone()).collect();
    assert_eq!(wanted, ["90%", "10%"], "{split:#}");
}

#[tokio::test]
async fn a_gateway_that_can_not_be_asked_is_counted_as_such() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.register("g1", None).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    let split = world.get("gateways/shop/split").await.expect(200);
    assert_eq!((&split["counted"], &split["of"]), (&0.into(), &1.into()), "{split:#}");
    assert!(split["processes"][0]["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{split:#}");
}

#[tokio::test]
async fn explain_says_what_decides() {
    let world = World::start().await;
    let document = "routes: {\"[192.0.2.1:80]\": {weight: 100%}, \"[192.0.2.2:80]\": {weight: 0%, condition: \"User-Agent == Firefox\"}}";
    world.put("gateways/shop", document).await.expect(201);
    let asked = json!({"target": "/cart", "headers": {"User-Agent": "Firefox"}});
    let answer = world.post_json("gateways/shop/explain", &asked).await.expect(200);
    assert_eq!(
        (&answer["route"], &answer["decided_by"]),
        (&"[192.0.2.2:80]".into(), &"condition".into()),
        "{answer:#}"
    );
    let answer = world.post_json("gateways/shop/explain", &json!({})).await.expect(200);
    assert_eq!(answer["route"], "[192.0.2.1:80]", "{answer:#}");
}

#[tokio::test]
async fn gateways_that_are_not_there_have_neither() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let answer = world.get("gateways/shpo/split").await;
    assert!(answer.problem(404, "not-found")["message"].as_str().unwrap().contains("`shop`"));
    world.post_json("gateways/nothing/explain", &json!({})).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_head_that_could_not_be_sent_is_refused() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let answer = world.post_json("gateways/shop/explain", &json!({"path": "/", "source": "here"})).await;
    let problem = answer.problem(400, "bad-document");
    assert_eq!(problem["violations"].as_array().map(Vec::len), Some(2), "{problem:#}");
    world.post("gateways/shop/explain", "{}").await.problem(415, "unsupported-media-type");
}
