//! What every database promises, whichever product it is: each gets one line at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ArtifactId, BeginEpoch, Change, PersistError, Persistence, Position, Sqlite, StoredCounts, Write};

fn gateway(name: &str) -> ArtifactId {
    ArtifactId { kind: "gateways", name: name.to_owned() }
}

fn change(expected: &Position, writes: &[(&str, Option<&str>)], ports: &[(&str, u16)]) -> Change {
    Change {
        expected: expected.clone(),
        writes: writes
            .iter()
            .map(|(name, document)| Write { id: gateway(name), document: document.map(str::to_owned) })
            .collect(),
        ports: ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect(),
        revision: expected.revision + 1,
        table: format!("digest-{}", expected.revision + 1),
        cause: "PUT".to_owned(),
        at_unix_ms: 1000,
    }
}

/// Opens the same database again and again; dropping the old one without closing it stands for a crash.
#[async_trait::async_trait]
trait Bench {
    async fn open(&self) -> Arc<dyn Persistence>;
}

async fn a_change_is_there_with_its_event_ports_and_revision_after_a_crash(bench: &dyn Bench) {
    let database = bench.open().await;
    let start = database.position().await.unwrap();
    let one = database.commit(&change(&start, &[("shop", Some("{1}"))], &[("shop", 9050)])).await.unwrap();
    assert_eq!((one.versions.as_slice(), one.position.revision), ([1].as_slice(), start.revision + 1));
    drop(database);
    let database = bench.open().await;
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.position, one.position);
    assert_eq!(snapshot.position.epoch, start.epoch);
    assert_eq!(snapshot.artifacts["gateways"]["shop"].document.as_deref(), Some("{1}"));
    assert_eq!(snapshot.ports, BTreeMap::from([("shop".to_owned(), 9050)]));
    assert_eq!(database.events(10).await.unwrap()[0].revision, one.position.revision);
}

async fn a_change_that_fails_leaves_nothing(bench: &dyn Bench) {
    let database = bench.open().await;
    let before = database.snapshot().await.unwrap();
    let twice = [("left", 9100), ("right", 9100)];
    let error =
        database.commit(&change(&before.position, &[("left", Some("{}")), ("right", Some("{}"))], &twice)).await;
    assert!(matches!(error, Err(PersistError::Failed { .. })), "{error:?}");
    assert_eq!(database.snapshot().await.unwrap(), before);
    assert!(database.history(&gateway("left")).await.unwrap().is_empty());
}

async fn a_writer_that_planned_on_an_older_picture_is_refused(bench: &dyn Bench) {
    let database = bench.open().await;
    let old = database.position().await.unwrap();
    database.commit(&change(&old, &[("race", Some("{1}"))], &[])).await.unwrap();
    let error = database.commit(&change(&old, &[("race", Some("{2}"))], &[])).await.unwrap_err();
    assert!(matches!(error, PersistError::Moved { .. }), "{error}");
    assert_eq!(database.history(&gateway("race")).await.unwrap().len(), 1);
}

async fn a_new_epoch_is_above_the_old_one_and_keeps_everything_else(bench: &dyn Bench) {
    let database = bench.open().await;
    let before = database.snapshot().await.unwrap();
    let begin =
        |epoch| BeginEpoch { expected: before.position.clone(), epoch, cause: "restored".to_owned(), at_unix_ms: 2000 };
    for lower in [0, before.position.epoch] {
        let error = database.begin_epoch(&begin(lower)).await.unwrap_err();
        assert!(matches!(error, PersistError::Moved { .. }), "{error}");
    }
    let after = database.begin_epoch(&begin(before.position.epoch + 5)).await.unwrap();
    assert_eq!((after.epoch, after.revision), (before.position.epoch + 5, before.position.revision));
    assert_eq!(after.sequence, before.position.sequence + 1);
    let again = database.begin_epoch(&begin(before.position.epoch + 9)).await.unwrap_err();
    assert!(matches!(again, PersistError::Moved { .. }), "{again}");
    drop(database);
    let kept = bench.open().await;
    let snapshot = kept.snapshot().await.unwrap();
    assert_eq!((snapshot.position, snapshot.artifacts), (after, before.artifacts));
    assert_eq!(kept.events(1).await.unwrap()[0].cause, "restored");
}

async fn every_version_is_kept_and_numbers_are_never_reused(bench: &dyn Bench) {
    let database = bench.open().await;
    for document in [Some("{1}"), Some("{2}"), None, Some("{4}")] {
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[("kept", document)], &[])).await.unwrap();
    }
    let history = database.history(&gateway("kept")).await.unwrap();
    let seen: Vec<_> = history.iter().map(|stored| (stored.version, stored.document.as_deref())).collect();
    assert_eq!(seen, [(1, Some("{1}")), (2, Some("{2}")), (3, None), (4, Some("{4}"))]);
    assert_eq!(database.snapshot().await.unwrap().artifacts["gateways"]["kept"].version, 4);
}

async fn a_deleted_artifact_is_gone_from_the_picture(bench: &dyn Bench) {
    let database = bench.open().await;
    for document in [Some("{}"), None] {
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[("gone", document)], &[])).await.unwrap();
    }
    assert!(!database.snapshot().await.unwrap().artifacts["gateways"].contains_key("gone"));
}

async fn gateways_may_exchange_their_ports(bench: &dyn Bench) {
    let database = bench.open().await;
    for ports in [[("a", 9201), ("b", 9202)], [("a", 9202), ("b", 9201)]] {
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[], &ports)).await.unwrap();
    }
    assert_eq!(database.snapshot().await.unwrap().ports["a"], 9202);
}

async fn of_many_writers_exactly_one_wins_each_turn(bench: &dyn Bench) {
    let database = bench.open().await;
    let first = database.position().await.unwrap().sequence;
    let writers = (0..8).map(|_| {
        let database = Arc::clone(&database);
        tokio::spawn(async move {
            let mut won = 0;
            while won < 20 {
                let position = database.position().await.unwrap();
                match database.commit(&change(&position, &[("many", Some("{}"))], &[])).await {
                    Ok(_) => won += 1,
                    Err(PersistError::Moved { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(database.position().await.unwrap().sequence, first + 160);
    assert_eq!(database.history(&gateway("many")).await.unwrap().len(), 160);
}

async fn the_last_counts_of_a_boot_are_kept(bench: &dyn Bench) {
    let database = bench.open().await;
    let count = |boot: &str, body: &str| StoredCounts {
        id: "g1".to_owned(),
        boot: boot.to_owned(),
        at_unix_ms: 5,
        body: body.to_owned(),
    };
    database.keep_counts(&[count("b1", "{1}"), count("b2", "{2}")]).await.unwrap();
    database.keep_counts(&[count("b1", "{3}")]).await.unwrap();
    drop(database);
    assert_eq!(bench.open().await.counts().await.unwrap(), [count("b1", "{3}"), count("b2", "{2}")]);
}

async fn passes(bench: &dyn Bench) {
    a_change_is_there_with_its_event_ports_and_revision_after_a_crash(bench).await;
    a_change_that_fails_leaves_nothing(bench).await;
    a_writer_that_planned_on_an_older_picture_is_refused(bench).await;
    a_new_epoch_is_above_the_old_one_and_keeps_everything_else(bench).await;
    every_version_is_kept_and_numbers_are_never_reused(bench).await;
    a_deleted_artifact_is_gone_from_the_picture(bench).await;
    gateways_may_exchange_their_ports(bench).await;
    of_many_writers_exactly_one_wins_each_turn(bench).await;
    the_last_counts_of_a_boot_are_kept(bench).await;
}

struct SqliteBench(tempfile::TempDir);

#[async_trait::async_trait]
impl Bench for SqliteBench {
    async fn open(&self) -> Arc<dyn Persistence> {
        let address = format!("sqlite:{}", self.0.path().join("new/vamp.db").display());
        Arc::new(Sqlite::open(&address, 77).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_passes() {
    passes(&SqliteBench(tempfile::tempdir().unwrap())).await;
}

mod sqlite_only {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("sqlite:{}", directory.path().join("vamp.db").display());
        let database = Sqlite::open(&address, 1).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 99").execute(&database.writer).await.unwrap();
        database.close().await;
        let error = Sqlite::open(&address, 1).await.unwrap_err();
        assert!(matches!(error, PersistError::NewerSchema { found: 99, .. }), "{error}");
    }

    #[tokio::test]
    async fn the_file_is_readable_by_its_owner_only() {
        let bench = SqliteBench(tempfile::tempdir().unwrap());
        let database = bench.open().await;
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[("a", Some("{}"))], &[])).await.unwrap();
        for entry in std::fs::read_dir(bench.0.path().join("new")).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    }

    #[tokio::test]
    async fn events_can_not_be_rewritten() {
        let bench = SqliteBench(tempfile::tempdir().unwrap());
        let database = bench.open().await;
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[("a", Some("{}"))], &[])).await.unwrap();
        let address = format!("sqlite:{}", bench.0.path().join("new/vamp.db").display());
        let by_hand = Sqlite::open(&address, 1).await.unwrap();
        for forgery in ["UPDATE events SET cause = 'x'", "DELETE FROM events"] {
            assert!(sqlx::query(forgery).execute(&by_hand.writer).await.is_err(), "{forgery}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused() {
        for address in ["", "sqlite:", "mysql://x", "sqlite::memory:"] {
            let error = Sqlite::open(address, 1).await.unwrap_err();
            assert!(matches!(error, PersistError::UnknownAddress { .. }), "{address}");
        }
    }
}
