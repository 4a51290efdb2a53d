//! Databases of every released schema are opened, brought forward, and hold what they held.

use super::{Bench, make};
use crate::persist::Persistence;
use crate::persist::address::Address;
use crate::persist::pools::Pools;
use crate::persist::schema::NEWEST;

/// The same history in each: `shop` written twice and deleted, `front` written once. Servers begin with schema 2.
const RELEASED: &[(&str, u64, &str)] = &[
    ("sqlite", 1, include_str!("../fixtures/sqlite-1.sql")),
    ("sqlite", 2, include_str!("../fixtures/sqlite-2.sql")),
    ("mariadb", 2, include_str!("../fixtures/mysql-2.sql")),
    ("postgresql", 2, include_str!("../fixtures/postgres-2.sql")),
];

fn of(product: &str) -> impl Iterator<Item = (String, &'static str)> {
    let own = RELEASED.iter().filter(move |(of, ..)| *of == product);
    own.map(|(product, schema, dump)| (format!("{product}, schema {schema}"), *dump))
}

#[test]
fn there_is_a_database_of_each_schema() {
    for (product, first) in [("sqlite", 1), ("mariadb", 2), ("postgresql", 2)] {
        let schemas: Vec<u64> =
            RELEASED.iter().filter(|(of, ..)| *of == product).map(|(_, schema, _)| *schema).collect();
        assert_eq!(schemas, (first..=NEWEST).collect::<Vec<_>>(), "{product}: dump one into `fixtures`");
    }
}

#[tokio::test]
async fn files_of_every_released_schema_are_brought_forward() {
    for (name, dump) in of("sqlite") {
        let bench = Bench::file();
        let path = std::path::Path::new(bench.address.strip_prefix("sqlite:").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(dump.to_owned())).execute(&pool).await.unwrap();
        pool.close().await;
        check(&bench, &name).await;
    }
}

/// The same of a server's; the bench has nothing in it yet.
pub(super) async fn servers_of_every_released_schema_are_brought_forward(
    product: &str,
    mut fresh: impl AsyncFnMut() -> Bench,
) {
    for (name, dump) in of(product) {
        let bench = fresh().await;
        let pools = Pools::open(&Address::parse(&bench.address).unwrap()).await.unwrap();
        let mut connection = pools.reader().await.unwrap();
        connection.session().script(dump).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        drop(connection);
        pools.close().await;
        check(&bench, &name).await;
    }
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
