//! What every database promises, whichever product it is: each gets one line at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::session::Session;
use super::{
    ArtifactId, BeginEpoch, Cause, Change, Database, PersistError, Persistence, Position, StateWrite, StoredCounts,
    Write, Writing,
};

mod events;
mod history;
mod released;
mod servers;
mod sqlite;

fn gateway(name: &str) -> ArtifactId {
    ArtifactId { kind: "gateways", name: name.to_owned() }
}

fn change(expected: &Position, writes: &[(&str, Option<&str>)], ports: &[(&str, u16)]) -> Change {
    Change {
        expected: expected.clone(),
        writes: writes
            .iter()
            .map(|(name, document)| Write { id: gateway(name), document: document.map(str::to_owned), replaces: false })
            .collect(),
        ports: ports.iter().map(|(name, port)| ((*name).to_owned(), Some(*port))).collect(),
        revision: expected.revision + 1,
        table: format!("digest-{}", expected.revision + 1),
        cause: Cause { what: "PUT".to_owned(), who: "local".to_owned(), why: "a test — with “signs”".to_owned() },
        at_unix_ms: 1000,
        ..Change::default()
    }
}

/// Opens the same database again and again; dropping the old one without closing it stands for a crash.
struct Bench {
    address: String,
    /// Where the file of a product without a server is.
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { address: format!("sqlite:{}", folder.path().join("new/vamp.db").display()), _folder: Some(folder) }
    }

    async fn open(&self) -> Database {
        Database::open(&self.address, 77).await.unwrap()
    }

    /// Does by hand what the product never does: guards and references between tables do not hold.
    async fn by_hand(&self, statements: &[String]) {
        let database = self.open().await;
        let mut transaction = database.pools.write().await.unwrap();
        let mut session = transaction.session();
        let lift = match session {
            // Only before a transaction, so it is left; what is kept is kept at once.
            Session::Sqlite(_) => {
                "COMMIT; PRAGMA foreign_keys = OFF; BEGIN; \
                 DROP TRIGGER IF EXISTS changes_are_not_changed; DROP TRIGGER IF EXISTS changes_are_not_deleted"
            }
            Session::MySql(_) => "SET FOREIGN_KEY_CHECKS = 0",
            Session::Postgres(_) => "SET session_replication_role = replica",
        };
        session.script(lift).await.unwrap();
        for statement in statements {
            session.script(statement.clone()).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        transaction.commit().await.unwrap();
        database.close().await;
    }
}

/// Makes a change of the given writes on what is there.
async fn make(database: &Database, writes: &[(&str, Option<&str>)]) -> Position {
    let position = database.position().await.unwrap();
    database.commit(&change(&position, writes, &[])).await.unwrap().position
}

async fn a_change_is_there_with_its_event_ports_and_revision_after_a_crash(bench: &Bench) {
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
    assert_eq!(database.changes(None, 10).await.unwrap()[0].revision, one.position.revision);
}

async fn a_change_that_fails_leaves_nothing(bench: &Bench) {
    let database = bench.open().await;
    let before = database.snapshot().await.unwrap();
    let twice = [("left", 9100), ("right", 9100)];
    let error =
        database.commit(&change(&before.position, &[("left", Some("{}")), ("right", Some("{}"))], &twice)).await;
    assert!(matches!(error, Err(PersistError::Failed { .. })), "{error:?}");
    assert_eq!(database.snapshot().await.unwrap(), before);
    assert!(database.history(&gateway("left")).await.unwrap().is_empty());
}

/// The last of several changes, each on top of the one before, and what is to be done with all of them.
async fn several(database: &Database) -> (Box<dyn Writing + '_>, Position) {
    let mut position = database.position().await.unwrap();
    let mut writing = database.begin().await.unwrap();
    for (name, document) in [("first", "{1}"), ("second", "{2}"), ("first", "{3}")] {
        let committed = writing.change(&change(&position, &[(name, Some(document))], &[])).await.unwrap();
        assert_eq!(committed.position.sequence, position.sequence + 1);
        position = committed.position;
    }
    (writing, position)
}

async fn changes_that_are_written_together_are_kept_together(bench: &Bench) {
    let database = bench.open().await;
    let before = database.snapshot().await.unwrap();
    drop(several(&database).await);
    assert_eq!(database.snapshot().await.unwrap(), before);
    let (writing, after) = several(&database).await;
    writing.keep().await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.position, after);
    let gateways = &snapshot.artifacts["gateways"];
    assert_eq!((gateways["first"].version, gateways["first"].document.as_deref()), (2, Some("{3}")));
    assert_eq!(gateways["second"].version, 1);
    assert!(database.audit(&[]).await.unwrap().fault.is_none());
    // One that was planned on something else spoils what was written before it, too.
    let (mut writing, _) = several(&database).await;
    let late = writing.change(&change(&before.position, &[("late", Some("{}"))], &[])).await;
    assert!(matches!(late, Err(PersistError::Moved { .. })), "{late:?}");
    drop(writing);
    assert_eq!(database.snapshot().await.unwrap(), snapshot);
}

async fn a_writer_that_planned_on_an_older_picture_is_refused(bench: &Bench) {
    let database = bench.open().await;
    let old = database.position().await.unwrap();
    database.commit(&change(&old, &[("race", Some("{1}"))], &[])).await.unwrap();
    let error = database.commit(&change(&old, &[("race", Some("{2}"))], &[])).await.unwrap_err();
    assert!(matches!(error, PersistError::Moved { .. }), "{error}");
    assert_eq!(database.history(&gateway("race")).await.unwrap().len(), 1);
}

async fn a_new_epoch_is_above_the_old_one_and_keeps_everything_else(bench: &Bench) {
    let database = bench.open().await;
    let before = database.snapshot().await.unwrap();
    let begin = |epoch| BeginEpoch {
        expected: before.position.clone(),
        epoch,
        cause: Cause::own("restored"),
        at_unix_ms: 2000,
    };
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
    assert_eq!(kept.changes(None, 1).await.unwrap()[0].cause, Cause::own("restored"));
}

async fn every_version_is_kept_and_numbers_are_never_reused(bench: &Bench) {
    let database = bench.open().await;
    for document in [Some("{1}"), Some("{2}"), None, Some("{4}")] {
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[("kept", document)], &[])).await.unwrap();
    }
    let history = database.history(&gateway("kept")).await.unwrap();
    let seen: Vec<_> = history.iter().map(|past| (past.stored.version, past.stored.document.as_deref())).collect();
    assert_eq!(seen, [(1, Some("{1}")), (2, Some("{2}")), (3, None), (4, Some("{4}"))]);
    assert_eq!(database.snapshot().await.unwrap().artifacts["gateways"]["kept"].version, 4);
}

async fn a_deleted_artifact_is_gone_from_the_picture(bench: &Bench) {
    let database = bench.open().await;
    for document in [Some("{}"), None] {
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[("gone", document)], &[])).await.unwrap();
    }
    assert!(!database.snapshot().await.unwrap().artifacts["gateways"].contains_key("gone"));
}

async fn gateways_may_exchange_their_ports(bench: &Bench) {
    let database = bench.open().await;
    for ports in [[("a", 9201), ("b", 9202)], [("a", 9202), ("b", 9201)]] {
        let position = database.position().await.unwrap();
        database.commit(&change(&position, &[], &ports)).await.unwrap();
    }
    assert_eq!(database.snapshot().await.unwrap().ports["a"], 9202);
    let position = database.position().await.unwrap();
    let lost = Change { ports: BTreeMap::from([("a".to_owned(), None)]), ..change(&position, &[], &[]) };
    database.commit(&lost).await.unwrap();
    assert!(!database.snapshot().await.unwrap().ports.contains_key("a"));
}

async fn of_many_writers_exactly_one_wins_each_turn(bench: &Bench) {
    let database = bench.open().await;
    let database = Arc::new(database);
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

async fn the_last_counts_of_a_boot_are_kept(bench: &Bench) {
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

async fn who_and_why_are_kept_with_each_version(bench: &Bench) {
    let database = bench.open().await;
    make(&database, &[("who", Some("{}"))]).await;
    let history = database.history(&gateway("who")).await.unwrap();
    assert_eq!((history[0].cause.who.as_str(), history[0].cause.why.as_str()), ("local", "a test — with “signs”"));
}

async fn names_are_bytes(bench: &Bench) {
    let database = bench.open().await;
    // To some collations these are equal.
    for name in ["straße", "strasse", "STRASSE", "a", "á", "A"] {
        make(&database, &[(name, Some(&format!("{name:?}")))]).await;
    }
    let artifacts = &database.snapshot().await.unwrap().artifacts["gateways"];
    for name in ["straße", "strasse", "STRASSE", "a", "á", "A"] {
        assert_eq!(artifacts[name].document, Some(format!("{name:?}")), "{name}");
        assert_eq!(artifacts[name].version, database.history(&gateway(name)).await.unwrap().len() as u64, "{name}");
    }
}

async fn large_and_strange_documents_come_back_as_they_were(bench: &Bench) {
    let database = bench.open().await;
    let document = format!("{{\"text\":\"😀 \\u0000 '? \\\\ {}\"}}", "x".repeat(2 * 1024 * 1024));
    make(&database, &[("large", Some(&document))]).await;
    assert_eq!(database.snapshot().await.unwrap().artifacts["gateways"]["large"].document, Some(document));
}

async fn what_is_kept_beside_artifacts_is_kept_with_the_change_or_not_at_all(bench: &Bench) {
    let database = bench.open().await;
    let state = |name: &str, value: Option<&str>| StateWrite {
        scope: "deployments".to_owned(),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let position = database.position().await.unwrap();
    let states = vec![state("a", Some("1")), state("b", Some("2"))];
    let with_states = Change { states, ..change(&position, &[("with", Some("{}"))], &[]) };
    let position = database.commit(&with_states).await.unwrap().position;
    let refused = Change { states: vec![state("a", Some("9"))], ..with_states };
    database.commit(&refused).await.unwrap_err();
    database.keep_states(&[state("b", None), state("c", Some("3"))]).await.unwrap();
    database.keep_states(&[state("c", Some("4"))]).await.unwrap();
    assert_eq!(database.position().await.unwrap(), position);
    drop(database);
    let states = bench.open().await.states("deployments").await.unwrap();
    assert_eq!(states, BTreeMap::from([("a".to_owned(), "1".to_owned()), ("c".to_owned(), "4".to_owned())]));
    assert!(bench.open().await.states("others").await.unwrap().is_empty());
}

async fn what_is_kept_is_exchanged_only_for_what_was_expected(bench: &Bench) {
    let database = bench.open().await;
    let state = |value: Option<&str>| StateWrite {
        scope: "turns".to_owned(),
        name: "a".to_owned(),
        value: value.map(str::to_owned),
    };
    let swap = async |expected: Option<&str>, value: Option<&str>| {
        database.swap_states(expected, &[state(value)]).await.unwrap()
    };
    assert!(!swap(Some("1"), Some("2")).await);
    assert!(swap(None, Some("1")).await && !swap(None, Some("2")).await && !swap(Some("3"), Some("2")).await);
    assert_eq!(database.states("turns").await.unwrap()["a"], "1");
    assert!(swap(Some("1"), Some("2")).await && swap(Some("2"), None).await);
    assert!(database.states("turns").await.unwrap().is_empty());
    // What goes with it is kept with it, or not at all.
    let beside = |value: &str| StateWrite { name: "b".to_owned(), ..state(Some(value)) };
    assert!(database.swap_states(None, &[state(Some("1")), beside("1")]).await.unwrap());
    assert!(!database.swap_states(None, &[state(Some("2")), beside("2")]).await.unwrap());
    assert_eq!(database.states("turns").await.unwrap()["b"], "1");
    assert!(swap(Some("1"), None).await);
    // Of many at once one succeeds.
    let swaps = (0..8).map(|number| {
        let (database, state) = (&database, state(Some(&number.to_string())));
        async move { database.swap_states(None, &[state]).await.unwrap() }
    });
    let won = futures_util::future::join_all(swaps).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
}

async fn one_record_that_is_not_what_was_written_is_named_and_hides_no_other(bench: &Bench) {
    let database = bench.open().await;
    make(&database, &[("bad", Some("{\"port\":9050}")), ("good", Some("{}"))]).await;
    database.close().await;
    bench.by_hand(&["UPDATE versions SET document = '{\"port\":9051}' WHERE name = 'bad'".to_owned()]).await;
    let database = bench.open().await;
    let artifacts = &database.snapshot().await.unwrap().artifacts["gateways"];
    assert_eq!((artifacts["bad"].damage.is_some(), artifacts["good"].damage.is_some()), (true, false));
    // What is written anew is sound.
    make(&database, &[("bad", Some("{}"))]).await;
    assert_eq!(database.snapshot().await.unwrap().artifacts["gateways"]["bad"].damage, None);
    let history = database.history(&gateway("bad")).await.unwrap();
    assert_eq!((history[0].stored.damage.is_some(), history[1].stored.damage.is_some()), (true, false));
}

/// All of it, in one database, and its history is sound after it.
async fn passes(bench: &Bench) {
    a_change_is_there_with_its_event_ports_and_revision_after_a_crash(bench).await;
    a_change_that_fails_leaves_nothing(bench).await;
    changes_that_are_written_together_are_kept_together(bench).await;
    a_writer_that_planned_on_an_older_picture_is_refused(bench).await;
    a_new_epoch_is_above_the_old_one_and_keeps_everything_else(bench).await;
    every_version_is_kept_and_numbers_are_never_reused(bench).await;
    a_deleted_artifact_is_gone_from_the_picture(bench).await;
    gateways_may_exchange_their_ports(bench).await;
    of_many_writers_exactly_one_wins_each_turn(bench).await;
    the_last_counts_of_a_boot_are_kept(bench).await;
    who_and_why_are_kept_with_each_version(bench).await;
    names_are_bytes(bench).await;
    large_and_strange_documents_come_back_as_they_were(bench).await;
    what_is_kept_beside_artifacts_is_kept_with_the_change_or_not_at_all(bench).await;
    what_is_kept_is_exchanged_only_for_what_was_expected(bench).await;
    history::old_versions_of_what_follows_from_others_go(bench).await;
    history::a_sound_history_is_called_sound(bench).await;
    events::passes(bench).await;
}

/// What leaves a history that is no longer sound: each takes a database of its own.
async fn finds_damage(bench: &Bench) {
    one_record_that_is_not_what_was_written_is_named_and_hides_no_other(bench).await;
}
