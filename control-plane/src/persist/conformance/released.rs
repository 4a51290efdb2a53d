//! Databases of every released schema are opened, brought forward, and hold what they held.

use super::{Bench, make};
use crate::persist::Persistence;

/// The same history in each: `shop` written twice and deleted, `front` written once.
const FILES: &[(&str, &str)] = &[("schema 1", include_str!("../fixtures/sqlite-1.sql"))];

#[tokio::test]
async fn files_of_every_released_schema_are_brought_forward() {
    for (name, dump) in FILES {
        let bench = Bench::file();
        let path = std::path::Path::new(bench.address.strip_prefix("sqlite:").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        load(path, dump).await;
        check(&bench, name).await;
    }
}

/// A database from a dump, without a look at it by the product.
async fn load(path: &std::path::Path, dump: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(dump.to_owned())).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn check(bench: &Bench, name: &str) {
    for turn in 0..2 {
        let database = bench.open().await;
        let snapshot = database.snapshot().await.unwrap();
        let front = &snapshot.artifacts["gateways"]["front"];
        assert_eq!(
            (front.version, front.document.as_deref(), &front.damage),
            (1 + turn, Some("{\"front\":1}"), &None),
            "{name}"
        );
        assert!(!snapshot.artifacts["gateways"].contains_key("shop"), "{name}");
        assert_eq!(snapshot.ports["front"], 20_001, "{name}");
        let history = database.history(&super::gateway("shop")).await.unwrap();
        let documents: Vec<_> = history.iter().map(|past| past.stored.document.as_deref()).collect();
        assert_eq!(documents, [Some("{\"shop\":1}"), Some("{\"shop\":2}"), None], "{name}");
        assert_eq!(database.counts().await.unwrap().len(), 1, "{name}");
        assert_eq!(database.audit(&[]).await.unwrap().fault, None, "{name}");
        make(&database, &[("front", Some("{\"front\":1}"))]).await;
        assert_eq!(database.audit(&[]).await.unwrap().fault, None, "{name}");
        database.close().await;
    }
}
