//! The publisher on an in-process store that breaks at will.

use vamp_routing::wire::Generation;
use vamp_store::memory::Handle;
use vamp_store::testing::eventually;
use vamp_store::{Expected, SharedStore, layout, tables};

use super::StoreState;
use crate::core::Core;
use crate::core::tests::{DEADLINE, SHOP, World, published, put};

const OTHER: &str = "{kind: gateways, name: other, routes: {}}";
const THIRD: &str = "{kind: gateways, name: third, routes: {}}";

async fn is_in(core: &Core, state: StoreState) {
    eventually("a state of the store", DEADLINE, async || core.status().store.state == state).await;
}

async fn entry_names(store: &SharedStore) -> Vec<String> {
    let stored = tables::read_manifest(store.as_ref(), "default").await.unwrap().unwrap();
    stored.manifest.entries.into_iter().map(|entry| entry.name).collect()
}

/// Copies a database into which nobody writes now, its log too.
fn copy_database(world: &World, from: &str, to: &str) {
    for suffix in ["", "-wal", "-shm"] {
        let path = |name: &str| world.directory.path().join(format!("{name}{suffix}"));
        if path(from).exists() {
            std::fs::copy(path(from), path(to)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_control_plane_killed_between_persist_and_publish_publishes_at_its_start() {
    let mut world = World::new().await;
    let first = put(&world.core, SHOP).await.unwrap();
    world.is_published(first.generation).await;
    world.handle.refuse();
    let second = put(&world.core, OTHER).await.unwrap();
    world.kill();
    world.handle.answer();
    assert_eq!(world.published().await, Some(first.generation));
    world.restart().await;
    world.is_published(second.generation).await;
    assert_eq!(world.core.status().store.problem, None);
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing() {
    let mut world = World::new().await;
    for turn in 0..20 {
        let text = format!(
            "{{kind: gateways, name: shop, metadata: {{turn: {turn}}}, routes: {{'[127.0.0.1:{}]': {{}}}}}}",
            8000 + turn
        );
        let changed = put(&world.core, &text).await.unwrap();
        for _ in 0..turn % 7 {
            tokio::task::yield_now().await;
        }
        world.restart().await;
        world.is_published(changed.generation).await;
        assert_eq!(changed.generation.revision, turn + 1);
    }
}

#[tokio::test]
async fn changes_are_taken_while_the_store_is_away_and_published_when_it_is_back() {
    let world = World::new().await;
    world.handle.refuse();
    is_in(&world.core, StoreState::Unreachable).await;
    let changed = put(&world.core, SHOP).await.unwrap();
    let rollout = world.core.rollout();
    assert!(!rollout.published && rollout.unknown, "{rollout:?}");
    assert!(rollout.store.problem.unwrap().contains("does not answer"));
    world.handle.answer();
    world.is_published(changed.generation).await;
    assert_eq!(world.core.status().store.problem, None);
}

#[tokio::test]
async fn a_store_that_was_restored_from_an_old_copy_gets_the_table_again() {
    let world = World::new().await;
    let first = put(&world.core, SHOP).await.unwrap();
    world.is_published(first.generation).await;
    let backup = world.handle.back_up();
    let second = put(&world.core, OTHER).await.unwrap();
    world.is_published(second.generation).await;
    world.handle.restore(backup);
    world.is_published(second.generation).await;
    assert_eq!(entry_names(&world.store).await, ["other", "shop"]);
}

/// What others do to the manifest, and what must be there soon after.
async fn check_mended(break_it: impl AsyncFn(&SharedStore, &Handle)) {
    let world = World::new().await;
    let changed = put(&world.core, SHOP).await.unwrap();
    world.is_published(changed.generation).await;
    break_it(&world.store, &world.handle).await;
    eventually("the table is whole again", DEADLINE, async || {
        let Ok(Some(stored)) = tables::read_manifest(world.store.as_ref(), "default").await else { return false };
        stored.manifest.generation == changed.generation && stored.manifest.entries.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_somebody_deleted_comes_back() {
    check_mended(async |store, _| {
        assert!(store.delete(&layout::manifest("default"), Expected::Anything).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_somebody_damaged_is_written_anew() {
    for garbage in ["", "{", "[1]"] {
        check_mended(async |store, _| {
            let written = store.put(&layout::manifest("default"), garbage.into(), Expected::Anything, None).await;
            written.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn what_happens_while_the_watch_is_cut_is_noticed() {
    check_mended(async |store, handle| {
        handle.cut();
        store.delete(&layout::manifest("default"), Expected::Anything).await.unwrap();
        handle.compact();
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_restored_from_an_old_copy_goes_on_under_a_new_epoch() {
    let mut world = World::new().await;
    let first = put(&world.core, SHOP).await.unwrap();
    world.is_published(first.generation).await;
    world.kill();
    copy_database(&world, "vamp.db", "copy.db");
    world.restart().await;
    let second = put(&world.core, OTHER).await.unwrap();
    world.is_published(second.generation).await;
    world.kill();
    // Once a lower revision, once the same revision with another content.
    for changed_since in [None, Some(THIRD)] {
        let before = world.published().await.unwrap();
        let copy = format!("restored-{}.db", changed_since.is_some());
        copy_database(&world, "copy.db", &copy);
        if let Some(text) = changed_since {
            world.handle.refuse();
            let (core, tasks) = world.second(&copy).await;
            put(&core, text).await.unwrap();
            drop(tasks);
            world.handle.answer();
        }
        let (core, _tasks) = world.second(&copy).await;
        eventually("the restored table is published", DEADLINE, async || {
            published(&world.store).await.is_some_and(|now| now.epoch > before.epoch) && core.rollout().published
        })
        .await;
        let expected: &[&str] = if changed_since.is_some() { &["shop", "third"] } else { &["shop"] };
        assert_eq!(entry_names(&world.store).await, expected);
        let problem = core.status().store.problem.unwrap();
        assert!(problem.contains("restored from an old copy"), "{problem}");
        assert!(core.changes(None, 1).await.unwrap()[0].cause.what.contains("epoch"));
        // It goes on from there as if nothing had been.
        let next = put(&core, OTHER).await.unwrap();
        eventually("the next one", DEADLINE, async || published(&world.store).await == Some(next.generation)).await;
    }
}

#[tokio::test]
async fn two_control_planes_on_one_namespace_do_not_overwrite_each_other_in_turns() {
    let world = World::new().await;
    let ours = put(&world.core, SHOP).await.unwrap();
    world.is_published(ours.generation).await;
    let (other, _tasks) = world.second("other.db").await;
    let theirs = put(&other, OTHER).await.unwrap();
    assert!(theirs.generation > ours.generation);
    is_in(&world.core, StoreState::Contested).await;
    assert_eq!(world.published().await, Some(theirs.generation));
    // It goes on taking changes, and says that nobody gets them.
    put(&world.core, THIRD).await.unwrap();
    is_in(&world.core, StoreState::Contested).await;
    let rollout = world.core.rollout();
    assert!(!rollout.published, "{rollout:?}");
    assert!(rollout.store.problem.unwrap().contains("another control plane"));
    assert_eq!(entry_names(&world.store).await, ["other"]);
}

#[tokio::test]
async fn two_control_planes_on_one_database_publish_the_same() {
    let world = World::new().await;
    let (other, _tasks) = world.second("vamp.db").await;
    for turn in 0..10 {
        let core = if turn % 2 == 0 { &world.core } else { &other };
        let text = format!("{{kind: gateways, name: shop, routes: {{'[127.0.0.1:{}]': {{}}}}}}", 8000 + turn);
        let changed = put(core, &text).await.unwrap();
        eventually("it is published", DEADLINE, async || world.published().await == Some(changed.generation)).await;
    }
    for core in [&world.core, &other] {
        eventually("both know it", DEADLINE, async || core.rollout().published && core.rollout().revision == 10).await;
        assert_eq!(core.status().store.problem, None);
    }
}

#[tokio::test]
async fn an_empty_database_takes_nothing_away() {
    let mut world = World::new().await;
    let changed = put(&world.core, SHOP).await.unwrap();
    world.is_published(changed.generation).await;
    world.kill();
    let (core, _tasks) = world.second("mistaken.db").await;
    is_in(&core, StoreState::Current).await;
    assert!(core.status().store.problem.unwrap().contains("the database is empty"));
    assert_eq!(world.published().await, Some(changed.generation));
    // The first change is meant.
    let meant = put(&core, OTHER).await.unwrap();
    eventually("it is published", DEADLINE, async || {
        world.published().await.is_some_and(|now| now > changed.generation)
    })
    .await;
    assert!(world.published().await >= Some(Generation { epoch: meant.generation.epoch, revision: 1 }));
}

#[tokio::test]
async fn the_last_gateway_gone_is_a_table_too() {
    let world = World::new().await;
    let first = put(&world.core, SHOP).await.unwrap();
    world.is_published(first.generation).await;
    let delete = crate::core::WriteRequest::delete(vamp_model::Kind::Gateway, "shop", None);
    let empty = crate::core::tests::make(&world.core, vec![delete]).await.unwrap();
    assert_eq!(empty.generation.revision, 2);
    world.is_published(empty.generation).await;
    assert!(entry_names(&world.store).await.is_empty());
}

/// The same on a real etcd, with what happens to one.
mod real {
    use std::sync::Arc;

    use vamp_store::testing::Etcd;

    use super::*;
    use crate::core::Tasks;
    use crate::core::tests::start;

    struct Real {
        etcd: Etcd,
        directory: tempfile::TempDir,
        store: SharedStore,
        core: Arc<Core>,
        tasks: Option<Tasks>,
    }

    impl Real {
        async fn new() -> Self {
            let etcd = Etcd::start().await;
            let directory = tempfile::tempdir().unwrap();
            let store = etcd.store();
            let (core, tasks) = start(&directory, "vamp.db", &store).await;
            Self { etcd, directory, store, core, tasks: Some(tasks) }
        }

        async fn put_and_publish(&self, text: &str) -> Generation {
            let generation = put(&self.core, text).await.unwrap().generation;
            self.is_published(generation).await;
            generation
        }

        async fn is_published(&self, generation: Generation) {
            eventually("the table is in etcd", DEADLINE, async || {
                let found = tables::read_manifest(self.store.as_ref(), "default").await;
                found.is_ok_and(|stored| stored.is_some_and(|stored| stored.manifest.generation == generation))
            })
            .await;
            eventually("it is reported", DEADLINE, async || self.core.rollout().published).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_kill_between_persist_and_publish_and_an_etcd_that_was_away() {
        let mut real = Real::new().await;
        let first = real.put_and_publish(SHOP).await;
        real.etcd.kill().await;
        let second = put(&real.core, OTHER).await.unwrap().generation;
        is_in(&real.core, StoreState::Unreachable).await;
        drop(real.tasks.take());
        real.etcd.restart().await;
        assert_eq!(published(&real.store).await, Some(first));
        let (core, tasks) = start(&real.directory, "vamp.db", &real.store).await;
        (real.core, real.tasks) = (core, Some(tasks));
        real.is_published(second).await;
        real.etcd.kill().await;
        let third = put(&real.core, THIRD).await.unwrap().generation;
        real.etcd.restart().await;
        real.is_published(third).await;
        real.etcd.compact().await;
        real.etcd.pause().await;
        let fourth = put(&real.core, "{kind: gateways, name: fourth, routes: {}}").await.unwrap().generation;
        real.etcd.go_on().await;
        real.is_published(fourth).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_etcd_that_was_restored_from_an_old_copy_or_wiped_by_hand() {
        let mut real = Real::new().await;
        real.put_and_publish(SHOP).await;
        let backup = real.etcd.save().await;
        let second = real.put_and_publish(OTHER).await;
        real.etcd.restore(&backup).await;
        real.is_published(second).await;
        assert_eq!(entry_names(&real.store).await, ["other", "shop"]);
        real.etcd.ctl(&["del", "--prefix", "/"]).await;
        real.is_published(second).await;
        let stored = tables::read_manifest(real.store.as_ref(), "default").await.unwrap().unwrap();
        let digests = stored.manifest.entries.iter().map(|entry| entry.digest);
        assert_eq!(tables::read_gateways(real.store.as_ref(), "default", digests).await.unwrap().len(), 2);
    }
}
