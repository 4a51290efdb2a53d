//! Versions that were, and the way back to one.

use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::world::{World, gateway};

#[tokio::test]
async fn every_version_is_kept_and_can_be_read() {
    let world = World::start().await;
    for port in [9050, 9051, 9052] {
        world.put("gateways/shop", &gateway("shop", port)).await;
    }
    world.delete("gateways/shop").await.expect(200);
    let history = world.get("gateways/shop/history").await;
    assert_eq!(history.header("x-total-count"), Some("4"));
    let history = history.expect(200);
    assert_eq!((&history[0]["version"], &history[0]["deleted"]), (&4.into(), &true.into()));
    assert_eq!((&history[3]["version"], &history[3]["deleted"]), (&1.into(), &false.into()));
    assert!(history[0]["at"].as_str().unwrap().ends_with('Z'), "{history:#}");
    let second = world.get("gateways/shop/history/2").await;
    assert_eq!(second.header("etag"), Some("\"2\""));
    assert_eq!(second.expect(200)["port"], "9051/http");
    let deletion = world.get("gateways/shop/history/4").await;
    assert!(deletion.problem(404, "not-found")["message"].as_str().unwrap().contains("deletion"));
    world.get("gateways/shop/history/5").await.problem(404, "not-found");
    world.get("gateways/shop/history/two").await.problem(400, "bad-request");
    world.get("gateways/never/history").await.problem(404, "not-found");
    assert_eq!(world.get("gateways/shop/history?per_page=2&page=2").await.expect(200)[0]["version"], 2);
}

#[tokio::test]
async fn an_old_version_becomes_the_newest() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    let tried = world.post("gateways/shop/history/1/restore?validate_only=true", "").await;
    assert_eq!(tried.expect(200)["port"], "9050/http");
    let restored = world.post_json("gateways/shop/history/1/restore?wait=20s", &json!(null)).await;
    assert_eq!(restored.header("etag"), Some("\"3\""));
    let restored = restored.expect(200);
    assert_eq!((&restored["port"], &restored["rollout"]["of"]), (&"9050/http".into(), &0.into()), "{restored:#}");
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9050/http");
}

#[tokio::test]
async fn what_was_deleted_comes_back() {
    let world = World::start().await;
    world.put("gateways/a/b", &gateway("a/b", 9050)).await.expect(201);
    world.delete("gateways/a/b").await.expect(200);
    let restored = world.post("gateways/a/b/history/1/restore", "").await;
    assert_eq!((restored.header("etag"), restored.header("location")), (Some("\"3\""), Some("/api/v1/gateways/a/b")));
    restored.expect(201);
    world.post("gateways/a/b/history/2/restore", "").await.problem(404, "not-found");
    world.post("gateways/a/b/history/9/restore", "").await.problem(404, "not-found");
    world.post("gateways/never/history/1/restore", "").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_no_longer_fits_is_not_restored() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.delete("gateways/shop").await.expect(200);
    world.put("gateways/other", &gateway("other", 9050)).await.expect(201);
    let refused = world.post("gateways/shop/history/1/restore", "").await;
    assert!(refused.problem(400, "bad-document")["message"].as_str().unwrap().contains("`other`"));
    world.get("gateways/shop").await.expect(404);
}

#[tokio::test]
async fn a_restoration_goes_through_at_the_version_that_it_saw() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    let restore =
        |tag: &str| world.ask(reqwest::Method::POST, "gateways/shop/history/1/restore").header("if-match", tag);
    crate::world::send(restore("\"1\"")).await.problem(412, "version-mismatch");
    crate::world::send(restore("\"2\"")).await.expect(200);
}

/// Changes what is stored of a version behind the control plane's back.
async fn by_hand(world: &World, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(world.folder.path().join("vamp.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    assert_eq!(sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected(), 1, "{statement}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_old_version_that_something_else_changed_is_named_and_not_restored() {
    let world = World::start().await;
    for port in [9050, 9051, 9052] {
        world.put("gateways/shop", &gateway("shop", port)).await;
    }
    by_hand(
        &world,
        "UPDATE versions SET document = REPLACE(document, '9051', '9059') WHERE name = 'shop' AND version = 2",
    )
    .await;
    let history = world.get("gateways/shop/history").await.expect(200);
    let damaged = history.as_array().unwrap().iter().map(|version| version.get("damage").is_some()).collect::<Vec<_>>();
    assert_eq!(damaged, [false, true, false]);
    for refused in [
        world.get("gateways/shop/history/2").await,
        world.get("gateways/shop/history/2/diff").await,
        world.get("gateways/shop/history/3/diff").await,
        world.post("gateways/shop/history/2/restore", "").await,
        world.post("gateways/shop/history/2/restore?validate_only=true", "").await,
    ] {
        let told = refused.problem(500, "damaged")["message"].as_str().unwrap().to_owned();
        for part in ["version 2 of gateway `shop`", "changed in the database", "vamp audit verify", "another version"] {
            assert!(told.contains(part), "{told}");
        }
    }
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9052/http");
    // What is what was written is compared and restored.
    assert_eq!(world.get("gateways/shop/history/3/diff?against=1").await.expect(200)["differences"][0]["at"], "/port");
    let restored = world.post("gateways/shop/history/1/restore", "").await;
    assert_eq!(restored.expect(200)["port"], "9050/http");
    assert_eq!(world.get("audit/verify").await.expect(200)["sound"], false);
}

#[tokio::test]
async fn an_old_version_that_was_made_a_deletion_is_named_too() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    by_hand(&world, "UPDATE versions SET document = NULL WHERE name = 'shop' AND version = 1").await;
    assert!(world.get("gateways/shop/history").await.expect(200)[1]["damage"].is_string());
    world.get("gateways/shop/history/1").await.problem(500, "damaged");
    world.post("gateways/shop/history/1/restore", "").await.problem(500, "damaged");
}
