//! What the control plane tells of itself.

use crate::world::{World, gateway, send};

#[tokio::test]
async fn it_lives_and_is_ready() {
    let world = World::start().await;
    send(world.client.get(world.url("/live"))).await.expect(200);
    assert_eq!(send(world.client.get(world.url("/ready"))).await.expect(200)["ready"], true);
}

#[tokio::test]
async fn info_tells_what_runs_here_and_no_secret() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let info = world.get("info").await.expect(200);
    assert_eq!((&info["namespace"], &info["revision"]), (&"default".into(), &1.into()), "{info:#}");
    assert!(info["database"].as_str().unwrap().starts_with("sqlite:"));
    assert_eq!(info["per_page_max"], 1000);
}

#[tokio::test]
async fn events_tell_who_changed_what_newest_first() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.delete("gateways/shop?wait=5s").await.expect(200);
    let events = world.get("events").await.expect(200);
    assert_eq!(events.as_array().map(Vec::len), Some(2), "{events:#}");
    assert_eq!((&events[0]["sequence"], &events[0]["cause"]), (&2.into(), &"DELETE /api/v1/gateways/shop".into()));
    assert_eq!((&events[1]["sequence"], &events[1]["revision"]), (&1.into(), &1.into()));
    assert_eq!(world.get("events?limit=1").await.expect(200).as_array().map(Vec::len), Some(1));
    world.get("events?limit=0").await.problem(400, "bad-request");
}
