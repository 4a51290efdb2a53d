//! What the control plane tells of itself.

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

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
async fn changes_tell_who_changed_what_newest_first() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.delete("gateways/shop?wait=20s").await.expect(200);
    let changes = world.get("audit/changes").await.expect(200);
    assert_eq!(changes.as_array().map(Vec::len), Some(2), "{changes:#}");
    assert_eq!((&changes[0]["sequence"], &changes[0]["cause"]), (&2.into(), &"DELETE /api/v1/gateways/shop".into()));
    assert_eq!((&changes[1]["sequence"], &changes[1]["revision"]), (&1.into(), &1.into()));
    assert_eq!(world.get("audit/changes?below=2").await.expect(200)[0]["sequence"], 1);
    assert_eq!(world.get("audit/changes?limit=1").await.expect(200).as_array().map(Vec::len), Some(1));
    world.get("audit/changes?limit=0").await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_database_that_fails_is_told_without_its_words_and_writes_store_nothing() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let options = SqliteConnectOptions::new().filename(world.folder.path().join("vamp.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rename = async |connection: &mut SqliteConnection, from: &'static str, to: &'static str| {
        let statement = sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
        sqlx::query(statement).execute(connection).await.unwrap();
    };
    rename(&mut connection, "state", "gone").await;
    for answer in [
        world.get("gateways/shop").await,
        world.get("gateways").await,
        world.put("gateways/shop", &gateway("shop", 9051)).await,
        world.delete("gateways/shop").await,
    ] {
        answer.problem(500, "internal");
        assert!(!answer.text.contains("no such table") && !answer.text.contains("gone"), "{}", answer.text);
    }
    send(world.client.get(world.url("/ready"))).await.problem(503, "unavailable");
    send(world.client.get(world.url("/live"))).await.expect(200);
    rename(&mut connection, "gone", "state").await;
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9050/http");
    send(world.client.get(world.url("/ready"))).await.expect(200);
}
