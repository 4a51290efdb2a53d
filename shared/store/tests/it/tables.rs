//! A published table is seen whole or not at all, whatever writers and collectors do at the same time.

#![expect(clippy::unwrap_used, reason = "what does not hold must stop the test")]

use std::time::Duration;

use vamp_routing::wire::{self, Encoded, Generation};
use vamp_store::memory::open_with;
use vamp_store::tables::{Found, Publishable, Publisher, TableError, VALUE_GRACE, read_gateways, read_manifest};
use vamp_store::{Expected, SharedStore, StoreError, layout, memory};

const N: &str = "default";

fn generation(revision: u64) -> Generation {
    Generation { epoch: 1, revision }
}

fn gateway(name: &str, port: u16) -> (String, Encoded) {
    let gateway = wire::Gateway {
        name: name.to_owned(),
        lookup: format!("lookup-{name}"),
        port: Some(port),
        virtual_hosts: Vec::new(),
        sticky: wire::Sticky::None,
        tcp: None,
        routes: Vec::new(),
    };
    (name.to_owned(), wire::encode_gateway(&gateway))
}

fn table(count: usize, port: u16) -> Vec<(String, Encoded)> {
    (0..count).map(|index| gateway(&format!("g{index:05}"), port)).collect()
}

fn publishables(table: &[(String, Encoded)]) -> Vec<Publishable<'_>> {
    table.iter().map(|(name, value)| Publishable { name, value }).collect()
}

/// The ports of the published table, read as gateways read it.
async fn ports(store: &SharedStore) -> Result<Vec<Option<u16>>, TableError> {
    let Some(stored) = read_manifest(store.as_ref(), N).await? else { return Ok(Vec::new()) };
    let digests: std::collections::BTreeSet<_> = stored.manifest.entries.iter().map(|entry| entry.digest.0).collect();
    let gateways = read_gateways(store.as_ref(), N, digests.into_iter().map(wire::Digest)).await?;
    Ok(gateways.into_iter().map(|(_, gateway, _)| gateway.port).collect())
}

async fn check_round_trip(store: &SharedStore, count: usize) {
    let mut publisher = Publisher::new(store.clone(), N);
    let table = table(count, 7);
    publisher.publish(generation(1), None, &publishables(&table)).await.unwrap();
    assert_eq!(ports(store).await.unwrap(), vec![Some(7); count]);
    let stored = read_manifest(store.as_ref(), N).await.unwrap().unwrap();
    let found = Found { generation: generation(1), digest: Some(stored.manifest.digest) };
    assert_eq!(publisher.found().await.unwrap(), Some(found));
    publisher.forget();
    assert_eq!(publisher.found().await.unwrap(), Some(found), "read anew it is the same");
}

#[tokio::test]
async fn a_table_comes_back_whatever_its_size_and_however_small_the_values_must_be() {
    for count in [0, 1, 2, 1000, 1001, 2500] {
        check_round_trip(&memory(), count).await;
    }
    // Values in parts: the manifest alone must fit.
    check_round_trip(&open_with(400).0, 1).await;
}

#[tokio::test]
async fn only_newer_tables_are_published() {
    let store = memory();
    let mut publisher = Publisher::new(store.clone(), N);
    let one = table(1, 1);
    publisher.publish(generation(5), None, &publishables(&one)).await.unwrap();
    for old in [4, 5] {
        let error = publisher.publish(generation(old), None, &publishables(&one)).await.unwrap_err();
        assert!(matches!(error, TableError::Outdated { theirs, .. } if theirs == generation(5)), "{error}");
    }
}

#[tokio::test]
async fn of_two_publishers_one_is_told() {
    let store = memory();
    let (mut one, mut two) = (Publisher::new(store.clone(), N), Publisher::new(store.clone(), N));
    let (first, second) = (table(2, 1), table(2, 2));
    assert_eq!(one.found().await.unwrap(), two.found().await.unwrap());
    one.publish(generation(1), None, &publishables(&first)).await.unwrap();
    assert_eq!(two.found().await.unwrap().unwrap().generation, generation(1));
    one.publish(generation(2), None, &publishables(&second)).await.unwrap();
    // The second still believes in the first table.
    let error = two.publish(generation(3), None, &publishables(&first)).await.unwrap_err();
    assert!(matches!(error, TableError::Store(StoreError::Conflict { .. })), "{error}");
    assert_eq!(ports(&store).await.unwrap(), [Some(2), Some(2)]);
    two.publish(generation(3), None, &publishables(&first)).await.unwrap();
    assert_eq!(ports(&store).await.unwrap(), [Some(1), Some(1)]);
}

#[tokio::test]
async fn a_damaged_table_is_replaced_under_its_own_number() {
    let store = memory();
    let mut publisher = Publisher::new(store.clone(), N);
    // Many gateways: their names stand in pages.
    let many = table(1500, 1);
    publisher.publish(generation(1), None, &publishables(&many)).await.unwrap();
    let pages = read_manifest(store.as_ref(), N).await.unwrap().unwrap().pages;
    let page = layout::value_part(N, &pages[0].to_string(), 0);
    assert!(store.delete(&page, Expected::Anything).await.unwrap());
    publisher.forget();
    assert_eq!(publisher.found().await.unwrap(), Some(Found { generation: generation(1), digest: None }));
    publisher.publish(generation(1), None, &publishables(&many)).await.unwrap();
    assert_eq!(ports(&store).await.unwrap().len(), 1500);
    store.put(&layout::manifest(N), "garbage".into(), Expected::Anything, None).await.unwrap();
    publisher.forget();
    assert_eq!(publisher.found().await.unwrap().map(|found| found.digest), Some(None));
    publisher.publish(generation(1), None, &publishables(&many)).await.unwrap();
    assert_eq!(ports(&store).await.unwrap().len(), 1500);
}

#[tokio::test]
async fn values_that_somebody_deleted_are_written_again() {
    let (store, _) = open_with(400);
    let mut publisher = Publisher::new(store.clone(), N);
    let one = table(1, 1);
    publisher.publish(generation(1), None, &publishables(&one)).await.unwrap();
    assert_eq!(publisher.mend(&publishables(&one)).await.unwrap(), 0);
    for (key, _) in store.list_keys(&layout::values(N)).await.unwrap() {
        store.delete(&key, Expected::Anything).await.unwrap();
        assert!(ports(&store).await.is_err());
        assert_eq!(publisher.mend(&publishables(&one)).await.unwrap(), 1);
        assert_eq!(ports(&store).await.unwrap(), [Some(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn values_are_collected_after_their_grace_and_never_those_in_use() {
    let store = memory();
    let mut publisher = Publisher::new(store.clone(), N);
    let (old, new) = (table(3, 1), table(3, 2));
    publisher.publish(generation(1), None, &publishables(&old)).await.unwrap();
    publisher.publish(generation(2), None, &publishables(&new)).await.unwrap();
    let count = async || store.list_keys(&layout::values(N)).await.unwrap().len();
    assert_eq!((publisher.collect().await.unwrap(), count().await), (0, 6));
    tokio::time::advance(VALUE_GRACE.checked_sub(Duration::from_secs(1)).unwrap()).await;
    assert_eq!((publisher.collect().await.unwrap(), count().await), (0, 6));
    // One of them comes back into use, by another publisher, just before the time is over.
    let mut other = Publisher::new(store.clone(), N);
    let mixed = vec![old[0].clone(), new[1].clone(), new[2].clone()];
    other.publish(generation(3), None, &publishables(&mixed)).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!((publisher.collect().await.unwrap(), count().await), (2, 4));
    let mut found = ports(&store).await.unwrap();
    found.sort_unstable();
    assert_eq!(found, [Some(1), Some(2), Some(2)]);
    // An empty table needs none.
    publisher.publish(generation(4), None, &[]).await.unwrap();
    publisher.collect().await.unwrap();
    tokio::time::advance(VALUE_GRACE).await;
    publisher.collect().await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_see_one_table_or_another_and_never_a_mixture() {
    let store = memory();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                while last < 300 {
                    let found = ports(&store).await.unwrap();
                    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
                    let seen = found.first().copied().flatten().unwrap_or_default();
                    assert!(seen >= last, "{seen} after {last}");
                    last = seen;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut publisher = Publisher::new(store, N);
    for revision in 1..=300_u16 {
        let table = table(5, revision);
        publisher.publish(generation(revision.into()), None, &publishables(&table)).await.unwrap();
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
