//! The history is sound until somebody or something changes a byte of it, and then the place is named.

use std::collections::BTreeMap;

use super::{Bench, make};
use crate::persist::chain::VersionRow;
use crate::persist::session::values;
use crate::persist::thin::{BITE, DERIVED, DERIVED_VERSIONS, Place};
use crate::persist::{ArtifactId, Cause, Change, Database, Head, Persistence, Write};

pub(super) async fn a_sound_history_is_called_sound(bench: &Bench) {
    let database = bench.open().await;
    let (position, head) = (database.position().await.unwrap(), database.head().await.unwrap());
    let audit = database.audit(std::slice::from_ref(&head)).await.unwrap();
    assert_eq!((audit.fault, audit.changes, audit.head), (None, position.sequence, head));
    assert!(audit.versions > 0);
}

const NAME: &str = "shop/web/web:1";

/// Writes a document that follows from others.
async fn derive(database: &Database, document: Option<&str>) {
    let position = database.position().await.unwrap();
    let id = ArtifactId { kind: DERIVED, name: NAME.to_owned() };
    let write = Write { id, document: document.map(str::to_owned), replaces: false };
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

/// As before versions were thinned at each write.
async fn a_history_from_before_is_thinned_step_by_step(bench: &Bench) {
    let database = bench.open().await;
    let count = DERIVED_VERSIONS + 5;
    for number in 1..=count {
        derive(&database, Some(&format!("{{{number}}}"))).await;
    }
    // Their digests are those of what they said, with what is taken from their change.
    let written = "SELECT at_unix_ms, sequence FROM versions WHERE kind = ? AND version = ?";
    let mut whole = Vec::new();
    for number in 1..=5 {
        let mut transaction = database.pools.write().await.unwrap();
        let row = transaction.session().row(written, values![DERIVED, number]).await.unwrap();
        let document = format!("{{{number}}}");
        let version = VersionRow {
            kind: DERIVED,
            name: NAME,
            version: number,
            document: Some(document.as_bytes()),
            at_unix_ms: row.number(0).unwrap(),
            sequence: row.number(1).unwrap(),
        };
        let digest = version.digest();
        whole.push(format!(
            "UPDATE versions SET document = '{document}' WHERE version = {number} AND digest = '{digest}' AND kind = '{DERIVED}'"
        ));
    }
    database.close().await;
    bench.by_hand(&whole).await;
    let database = bench.open().await;
    assert_eq!(documents(&database).await, count);
    let mut place = Some(Place::default());
    let mut steps = 0;
    while let Some(at) = place {
        place = database.thin_history(at).await.unwrap();
        steps += 1;
    }
    assert_eq!(documents(&database).await, DERIVED_VERSIONS);
    assert!(steps <= count / BITE + 2, "{steps}");
    assert_eq!(database.audit(&[]).await.unwrap().fault, None);
    let current = database.snapshot().await.unwrap().artifacts[DERIVED][NAME].clone();
    assert_eq!((current.version, &current.damage), (count, &None));
}

/// What is changed in a history after it was read is the audit's to find: a look reads on from where the last one ended.
async fn ports_are_held_against_what_came_since_the_last_look(bench: &Bench) {
    let database = bench.open().await;
    let give = async |ports: &[(&str, u16)]| {
        let position = database.position().await.unwrap();
        database.commit(&super::change(&position, &[], ports)).await.unwrap();
        let snapshot = database.snapshot().await.unwrap();
        (snapshot.ports.into_iter().collect::<Vec<_>>(), snapshot.damage)
    };
    let of = |ports: &[(&str, u16)]| ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect::<Vec<_>>();
    assert_eq!(give(&[("a", 9050)]).await, (of(&[("a", 9050)]), BTreeMap::new()));
    bench.by_hand(&["UPDATE changes SET ports = '' WHERE sequence = 1".to_owned()]).await;
    assert_eq!(give(&[("b", 9051)]).await, (of(&[("a", 9050), ("b", 9051)]), BTreeMap::new()));
    let begun = bench.open().await.snapshot().await.unwrap();
    assert!(begun.damage["a"].contains("is 9050, and the history leads to none"), "{:?}", begun.damage);
    // What is changed beside the history is still found at once.
    bench.by_hand(&["UPDATE ports SET port = 9059 WHERE gateway = 'b'".to_owned()]).await;
    let damage = database.snapshot().await.unwrap().damage;
    assert!(damage["b"].contains("is 9059, and the history leads to 9051"), "{damage:?}");
}

/// An old copy that is put in the place of a database that is in use is another history.
async fn a_history_in_the_place_of_another_is_read_from_its_beginning(bench: &Bench) {
    let database = bench.open().await;
    let give = async |ports: &[(&str, u16)]| {
        let position = database.position().await.unwrap();
        database.commit(&super::change(&position, &[], ports)).await.unwrap();
        database.snapshot().await.unwrap()
    };
    give(&[("a", 9050)]).await;
    let hash = database.head().await.unwrap().hash;
    assert!(give(&[("b", 9051)]).await.damage.is_empty());
    bench
        .by_hand(&[
            "DELETE FROM ports WHERE gateway = 'b'".to_owned(),
            "DELETE FROM changes WHERE sequence = 2".to_owned(),
            format!("UPDATE state SET sequence = 1, revision = 1, table_digest = 'digest-1', head = '{hash}'"),
        ])
        .await;
    let snapshot = give(&[("c", 9052)]).await;
    assert_eq!((snapshot.damage, snapshot.ports.len()), (BTreeMap::new(), 2));
}

/// What is known from one look to the next, each in a database of its own.
pub(super) async fn finds_what_came_since(mut fresh: impl AsyncFnMut() -> Bench) {
    a_history_from_before_is_thinned_step_by_step(&fresh().await).await;
    ports_are_held_against_what_came_since_the_last_look(&fresh().await).await;
    a_history_in_the_place_of_another_is_read_from_its_beginning(&fresh().await).await;
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

/// What stands in a version that is no longer current is held against its digest as well: it may be made current again.
pub(super) async fn an_old_version_that_is_changed_is_named(bench: &Bench) {
    write_history(bench).await;
    bench.by_hand(&["UPDATE versions SET document = '{5}' WHERE name = 'a' AND version = 1".to_owned()]).await;
    let database = bench.open().await;
    let history = database.history(&ArtifactId { kind: "gateways", name: "a".to_owned() }).await.unwrap();
    let damaged: Vec<_> = history.iter().map(|past| (past.stored.version, past.stored.damage.is_some())).collect();
    assert_eq!(damaged, [(1, true), (2, false)]);
    let current = database.snapshot().await.unwrap();
    assert_eq!(current.artifacts["gateways"]["a"].damage, None);
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
