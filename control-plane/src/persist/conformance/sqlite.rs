//! The same on a file, and what only a file can do.

use std::os::unix::fs::PermissionsExt;

use super::{Bench, change, finds_damage, history, make, passes};
use crate::persist::session::Session;
use crate::persist::{Database, PersistError, Persistence};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_passes() {
    passes(&Bench::file()).await;
    finds_damage(&Bench::file()).await;
}

#[tokio::test]
async fn what_is_changed_in_a_file_is_found() {
    history::an_end_that_is_cut_off_is_found_by_who_has_seen_it(&Bench::file()).await;
    history::an_old_version_that_is_changed_is_named(&Bench::file()).await;
    history::what_is_changed_is_found(async || Bench::file()).await;
    history::what_is_forgotten_is_still_verified(async || Bench::file()).await;
    history::finds_what_came_since(async || Bench::file()).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let bench = Bench::file();
    bench.by_hand(&["PRAGMA user_version = 99".to_owned()]).await;
    let error = Database::open(&bench.address, 1).await.unwrap_err();
    assert!(matches!(error, PersistError::NewerSchema { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn the_file_is_readable_by_its_owner_only() {
    let bench = Bench::file();
    let database = bench.open().await;
    make(&database, &[("a", Some("{}"))]).await;
    let path = bench.address.strip_prefix("sqlite:").unwrap();
    for entry in std::fs::read_dir(std::path::Path::new(path).parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test]
async fn changes_can_not_be_rewritten() {
    let bench = Bench::file();
    let database = bench.open().await;
    make(&database, &[("a", Some("{}"))]).await;
    let mut transaction = database.pools.write().await.unwrap();
    for forgery in ["UPDATE changes SET cause = 'x'", "DELETE FROM changes"] {
        assert!(transaction.session().execute(forgery, &[]).await.is_err(), "{forgery}");
    }
}

#[tokio::test]
async fn a_disk_that_was_full_keeps_no_change_and_takes_the_next_one_when_there_is_room() {
    let bench = Bench::file();
    let database = bench.open().await;
    make(&database, &[("a", Some("{}"))]).await;
    let before = database.snapshot().await.unwrap();
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000));
    let mut transaction = database.pools.write().await.unwrap();
    // The disk of this connection, which is the only one that writes, has no room for another page.
    transaction.session().execute("PRAGMA max_page_count = 1", &[]).await.unwrap();
    drop(transaction);
    let refused = database.commit(&change(&before.position, &[("large", Some(&large))], &[])).await;
    assert!(matches!(refused, Err(PersistError::Full { .. })), "{refused:?}");
    assert_eq!(database.snapshot().await.unwrap(), before);
    // There is room again: the connection that is opened for the next change knows of no such bound.
    make(&database, &[("large", Some(&large))]).await;
    assert_eq!(database.snapshot().await.unwrap().artifacts["gateways"].len(), 2);
}

/// Bytes of one page are turned around, so that not even the product can follow it.
#[tokio::test]
async fn a_damaged_page_hides_what_stands_in_it_and_nothing_else() {
    let bench = Bench::file();
    let database = bench.open().await;
    let large = format!("{{\"mark\":\"{}\"}}", "unmistakable ".repeat(4000));
    make(&database, &[("large", Some(&large)), ("small", Some("{}"))]).await;
    let mut transaction = database.pools.write().await.unwrap();
    assert!(matches!(transaction.session(), Session::Sqlite(_)));
    drop(transaction);
    database.close().await;
    let path = bench.address.strip_prefix("sqlite:").unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    // A page of an overflowing record begins with the number of the next one: it leads out of the file now.
    let page_bytes = 4096;
    let is_within = |page: &&mut [u8]| page[8..].windows(13).take(20).any(|window| window == b"unmistakable ");
    let page = bytes.chunks_mut(page_bytes).filter(|page| page[0] == 0).find(is_within).unwrap();
    page[..4].fill(0xff);
    std::fs::write(path, bytes).unwrap();
    let database = bench.open().await;
    let artifacts = &database.snapshot().await.unwrap().artifacts["gateways"];
    assert!(artifacts["large"].damage.is_some());
    assert_eq!((artifacts["small"].document.as_deref(), &artifacts["small"].damage), (Some("{}"), &None));
}
