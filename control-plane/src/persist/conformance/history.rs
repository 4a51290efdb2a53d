//! The history is sound until somebody or something changes a byte of it, and then the place is named.

use super::{Bench, make};
use crate::persist::session::values;
use crate::persist::write::{DERIVED, DERIVED_VERSIONS};
use crate::persist::{ArtifactId, Cause, Change, Database, Head, Persistence, Write};

pub(super) async fn a_sound_history_is_called_sound(bench: &Bench) {
    let database = bench.open().await;
    let (position, head) = (database.position().await.unwrap(), database.head().await.unwrap());
    let audit = database.audit(std::slice::from_ref(&head)).await.unwrap();
    assert_eq!((audit.fault, audit.changes, audit.head), (None, position.sequence, head));
    assert!(audit.versions > 0);
}

/// Writes a document that follows from others.
async fn derive(database: &Database, document: Option<&str>) {
    let position = database.position().await.unwrap();
    let id = ArtifactId { kind: DERIVED, name: "shop/web/web:1".to_owned() };
    let write = Write { id, document: document.map(str::to_owned) };
    database.commit(&Change { writes: vec![write], ..super::change(&position, &[], &[]) }).await.unwrap();
}

/// What the versions of such documents take in the database.
async fn documents(database: &Database) -> u64 {
    let count = "SELECT COUNT(*) FROM versions WHERE kind = ? AND document IS NOT NULL AND document <> ''";
    let mut transaction = database.pools.write().await.unwrap();
    transaction.session().row(count, values![DERIVED]).await.unwrap().number(0).unwrap()
}

pub(super) async fn old_versions_of_what_follows_from_others_go(bench: &Bench) {
    let database = bench.open().await;
    let id = ArtifactId { kind: DERIVED, name: "shop/web/web:1".to_owned() };
    for number in 1..=DERIVED_VERSIONS + 5 {
        derive(&database, Some(&format!("{{{number}}}"))).await;
    }
    let history = database.history(&id).await.unwrap();
    let numbers: Vec<u64> = history.iter().map(|past| past.stored.version).collect();
    assert_eq!(numbers, (6..=DERIVED_VERSIONS + 5).collect::<Vec<_>>());
    assert!(history.iter().all(|past| past.stored.damage.is_none()));
    assert_eq!(documents(&database).await, DERIVED_VERSIONS);
    let current = database.snapshot().await.unwrap().artifacts[DERIVED][&id.name].clone();
    assert_eq!((current.version, &current.damage), (DERIVED_VERSIONS + 5, &None));
    assert_eq!(database.audit(&[]).await.unwrap().fault, None);
    // Those of one that is deleted go all.
    derive(&database, None).await;
    assert_eq!(documents(&database).await, 0);
    let history = database.history(&id).await.unwrap();
    assert_eq!(history.iter().map(|past| past.stored.document.clone()).collect::<Vec<_>>(), [None]);
    derive(&database, Some("{0}")).await;
    assert_eq!(database.audit(&[]).await.unwrap().fault, None);
}

/// That what a version said was forgotten hides nothing else of it.
pub(super) async fn what_is_forgotten_is_still_verified(mut fresh: impl AsyncFnMut() -> Bench) {
    let damages = [
        ("UPDATE versions SET digest = CONCAT('x', SUBSTR(digest, 2)) WHERE version = 1", "change 1 does not fit"),
        ("UPDATE versions SET document = NULL WHERE version = 1", "version 1 of `shop/web/web:1`"),
        ("UPDATE versions SET document = '{9}' WHERE version = 1", "version 1 of `shop/web/web:1`"),
        ("DELETE FROM versions WHERE version = 1", "change 1 does not fit"),
        ("UPDATE versions SET document = '' WHERE version > 1", "is current, and what it said is not there"),
    ];
    for (statement, place) in damages {
        let bench = fresh().await;
        let database = bench.open().await;
        for number in 1..=DERIVED_VERSIONS + 1 {
            derive(&database, Some(&format!("{{{number}}}"))).await;
        }
        assert_eq!(documents(&database).await, DERIVED_VERSIONS);
        database.close().await;
        bench.by_hand(&[statement.to_owned()]).await;
        let fault = bench.open().await.audit(&[]).await.unwrap().fault;
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(place)), "{statement}: {fault:?}");
    }
}

/// A small history: three changes of three artifacts, one of which is deleted.
async fn write_history(bench: &Bench) -> Head {
    let database = bench.open().await;
    make(&database, &[("a", Some("{1}")), ("b", Some("{2}"))]).await;
    let position = database.position().await.unwrap();
    let ports = [("a".to_owned(), Some(9050)), ("b".to_owned(), Some(9051))].into_iter().collect();
    database.commit(&Change { ports, ..super::change(&position, &[("a", Some("{3}"))], &[]) }).await.unwrap();
    make(&database, &[("b", None), ("c", Some("{4}"))]).await;
    let head = database.head().await.unwrap();
    assert_eq!(database.audit(&[]).await.unwrap().fault, None);
    database.close().await;
    head
}

/// Each column of each table that the history is made of, changed in one row: the audit names the place.
const CHANGED: &[(&str, &str)] = &[
    ("UPDATE changes SET at_unix_ms = at_unix_ms + 1 WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET cause = 'PUX' WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET who = 'somebody' WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET why = '' WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET revision = revision + 1 WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET epoch = epoch + 1 WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET table_digest = 'digest-3' WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET ports = '' WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET hash = CONCAT('x', SUBSTR(hash, 2)) WHERE sequence = 2", "change 2"),
    ("UPDATE changes SET sequence = 9 WHERE sequence = 2", "change 2"),
    ("UPDATE versions SET kind = 'gateway' WHERE name = 'a' AND version = 2", "version 2 of `a`"),
    ("UPDATE versions SET name = 'A' WHERE name = 'a' AND version = 2", "version 2 of `A`"),
    ("UPDATE versions SET version = 3 WHERE name = 'a' AND version = 2", "version 3 of `a`"),
    ("UPDATE versions SET document = '{5}' WHERE name = 'a' AND version = 2", "version 2 of `a`"),
    ("UPDATE versions SET document = NULL WHERE name = 'a' AND version = 2", "version 2 of `a`"),
    ("UPDATE versions SET document = '' WHERE name = 'b' AND version = 2", "version 2 of `b`"),
    ("UPDATE versions SET at_unix_ms = at_unix_ms - 1 WHERE name = 'a' AND version = 2", "version 2 of `a`"),
    ("UPDATE versions SET sequence = 3 WHERE name = 'a' AND version = 2", "change 2"),
    (
        "UPDATE versions SET digest = CONCAT('x', SUBSTR(digest, 2)) WHERE name = 'a' AND version = 2",
        "version 2 of `a`",
    ),
    ("UPDATE artifacts SET version = 1 WHERE name = 'a'", "`a` in gateways is not current"),
    ("UPDATE artifacts SET name = 'z' WHERE name = 'a'", "`a` in gateways is not current"),
    ("DELETE FROM artifacts WHERE name = 'a'", "`a` in gateways is not current"),
    ("INSERT INTO artifacts (kind, name, version) VALUES ('gateways', 'b', 1)", "`b` in gateways is not current"),
    ("UPDATE ports SET port = 9052 WHERE gateway = 'b'", "gateway `b` has not the port"),
    ("UPDATE ports SET gateway = 'z' WHERE gateway = 'b'", "gateway `b` has not the port"),
    ("DELETE FROM ports WHERE gateway = 'a'", "gateway `a` has not the port"),
    ("UPDATE state SET epoch = epoch + 1", "epoch, revision or table"),
    ("UPDATE state SET revision = revision + 1", "epoch, revision or table"),
    ("UPDATE state SET table_digest = 'x'", "epoch, revision or table"),
    ("UPDATE state SET sequence = 2", "its end was kept as change 2"),
    ("UPDATE state SET head = ''", "its end was kept as change 3"),
    // Rows that go, come, and change places.
    ("DELETE FROM changes WHERE sequence = 1", "change 1 is missing"),
    ("DELETE FROM changes WHERE sequence = 2", "change 2 is missing"),
    ("DELETE FROM versions WHERE name = 'b' AND version = 1", "change 1 does not fit"),
    (
        "INSERT INTO versions SELECT kind, 'd', 1, document, at_unix_ms, sequence, digest FROM versions WHERE name = 'c'",
        "version 1 of `d`",
    ),
    (
        "UPDATE changes SET sequence = -1 WHERE sequence = 1; UPDATE changes SET sequence = 1 WHERE sequence = 2; \
         UPDATE changes SET sequence = 2 WHERE sequence = -1",
        "change 1 does not fit",
    ),
    ("DELETE FROM changes WHERE sequence = 3", "the history ends with change 2, and its end was kept as change 3"),
];

/// Each damage on the same history: what is done is undone by writing the row back as it was.
pub(super) async fn what_is_changed_is_found(mut fresh: impl AsyncFnMut() -> Bench) {
    for (statement, place) in CHANGED {
        let bench = fresh().await;
        write_history(&bench).await;
        bench.by_hand(&[(*statement).to_owned()]).await;
        let fault = bench.open().await.audit(&[]).await.unwrap().fault;
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(place)), "{statement}: {fault:?}");
    }
}

/// Who cuts the end off and mends what tells of it is found by who has seen the end.
pub(super) async fn an_end_that_is_cut_off_is_found_by_who_has_seen_it(bench: &Bench) {
    let seen = write_history(bench).await;
    let before = bench.open().await.changes(Some(3), 1).await.unwrap().remove(0);
    let hash = &before.hash;
    bench
        .by_hand(&[
            "DELETE FROM artifacts WHERE name = 'c'".to_owned(),
            "INSERT INTO artifacts (kind, name, version) VALUES ('gateways', 'b', 1)".to_owned(),
            "DELETE FROM versions WHERE sequence = 3".to_owned(),
            "DELETE FROM changes WHERE sequence = 3".to_owned(),
            format!("UPDATE state SET sequence = 2, revision = 2, table_digest = 'digest-2', head = '{hash}'"),
        ])
        .await;
    let database = bench.open().await;
    assert_eq!(database.audit(&[]).await.unwrap().fault, None, "nobody can know");
    let fault = database.audit(std::slice::from_ref(&seen)).await.unwrap().fault.unwrap();
    assert!(fault.contains("its end is missing"), "{fault}");
    // Nor does it help to write something else in its place.
    make(&database, &[("c", Some("{5}"))]).await;
    assert_eq!(database.audit(&[]).await.unwrap().fault, None);
    let fault = database.audit(std::slice::from_ref(&seen)).await.unwrap().fault.unwrap();
    assert!(fault.contains("change 3 is another one than was seen before"), "{fault}");
}

#[tokio::test]
async fn what_the_control_plane_does_by_itself_is_told_apart() {
    let cause = Cause::own("start");
    assert_eq!((cause.who.as_str(), cause.why.as_str()), ("vamp", ""));
}
