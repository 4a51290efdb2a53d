//! Who serves what, and waiting for it.

use vamp_routing::wire::Generation;

use crate::world::{World, gateway};

/// The generation that is wanted now.
async fn wanted(world: &World) -> Generation {
    let info = world.get("info").await.expect(200);
    Generation { epoch: info["epoch"].as_u64().unwrap(), revision: info["revision"].as_u64().unwrap() }
}

#[tokio::test]
async fn waiting_without_gateways_says_so() {
    let world = World::start().await;
    let answer = world.put("gateways/shop?wait=20s", &gateway("shop", 9050)).await.expect(201);
    assert_eq!((&answer["rollout"]["applied"], &answer["rollout"]["of"]), (&0.into(), &0.into()), "{answer:#}");
    assert_eq!(answer["rollout"]["revision"], 1);
    assert!(answer["warnings"][0]["message"].as_str().unwrap().contains("no gateway"), "{answer:#}");
    let plain = world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    assert!(plain.get("rollout").is_none() && plain.get("warnings").is_none(), "{plain:#}");
}

#[tokio::test]
async fn waiting_ends_when_every_gateway_serves_the_change() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let mut next = wanted(&world).await;
    world.register("g1", Some(next)).await;
    world.rollout_where("g1 is known", |rollout| rollout["of"] == 1 && rollout["applied"] == 1).await;
    next.revision += 1;
    let document = gateway("shop", 9051);
    let write = world.put("gateways/shop?wait=25s", &document);
    let acknowledge = async {
        world.rollout_where("the change is wanted", |rollout| rollout["revision"] == next.revision).await;
        world.register("g1", Some(next)).await;
    };
    let (answer, ()) = tokio::join!(write, acknowledge);
    let answer = answer.expect(200);
    assert_eq!((&answer["rollout"]["applied"], &answer["rollout"]["of"]), (&1.into(), &1.into()), "{answer:#}");
    assert_eq!(answer["rollout"]["gateways"][0]["in_sync"], true);
}

#[tokio::test]
async fn a_gateway_that_lags_is_named() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let now = wanted(&world).await;
    let later = Generation { revision: now.revision + 5, ..now };
    world.register("fast", Some(later)).await;
    world.register("slow", Some(now)).await;
    world.rollout_where("both are known", |rollout| rollout["of"] == 2).await;
    let answer = world.put("gateways/shop?wait=100ms", &gateway("shop", 9051)).await.expect(202);
    let gateways = answer["rollout"]["gateways"].as_array().unwrap();
    let slow = gateways.iter().find(|gateway| gateway["id"] == "slow").unwrap();
    assert_eq!(slow["in_sync"], false, "{answer:#}");
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9051/http");
}

#[tokio::test]
async fn a_deletion_can_be_waited_for_too() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.register("slow", Some(wanted(&world).await)).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    let answer = world.delete("gateways/shop?wait=100ms").await.expect(202);
    assert_eq!((&answer["name"], &answer["rollout"]["applied"]), (&"shop".into(), &0.into()), "{answer:#}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_takes_no_change_away() {
    let world = World::start().await;
    world.put("gateways/shop?wait=20s", &gateway("shop", 9050)).await.expect(201);
    world.breaker.refuse();
    let answer = world.put("gateways/shop?wait=100ms", &gateway("shop", 9051)).await.expect(202);
    assert_eq!(answer["rollout"]["published"], false, "{answer:#}");
    crate::world::send(world.client.get(world.url("/ready"))).await.expect(200);
    world.breaker.answer();
    world.rollout_where("it is published", |rollout| rollout["published"] == true).await;
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9051/http");
}

#[tokio::test]
async fn waits_that_are_none_are_refused_before_anything_is_done() {
    let world = World::start().await;
    for wait in ["61s", "soon", "-1s", "2m", ""] {
        let answer = world.put(&format!("gateways/shop?wait={wait}"), &gateway("shop", 9050)).await;
        answer.problem(400, "bad-request");
    }
    world.get("gateways/shop").await.expect(404);
}
