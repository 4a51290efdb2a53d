//! Who serves what, as gateways say it in an in-process store.

use std::time::Duration;

use vamp_routing::wire::Registration;
use vamp_store::testing::eventually;
use vamp_store::{Expected, Lease};

use super::*;
use crate::core::tests::{DEADLINE, SHOP, World, put};

const OTHER: &str = "{kind: gateways, name: other, routes: {}}";
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn registration(id: &str, applied: Option<Generation>) -> Registration {
    Registration {
        id: id.to_owned(),
        boot: "b1".to_owned(),
        admin: "http://127.0.0.1:1988".to_owned(),
        version: "0.1.0".to_owned(),
        applied,
        digest: None,
        problems: Vec::new(),
        refused: None,
        leaves: false,
    }
}

async fn say(world: &World, lease: Option<Lease>, registration: &Registration) {
    let key = vamp_store::layout::registration("default", &registration.id);
    let value = serde_json::to_vec(registration).unwrap();
    world.store.put(&key, value.into(), Expected::Anything, lease).await.unwrap();
}

/// A gateway process says what it serves, and the control plane has seen it.
async fn serves(world: &World, id: &str, applied: Option<Generation>) {
    let one = registration(id, applied);
    say(world, None, &one).await;
    eventually("the control plane sees it", DEADLINE, async || {
        world.core.rollout().gateways.iter().any(|gateway| gateway.id == id && gateway.applied == applied)
    })
    .await;
}

#[track_caller]
fn check_laggards(rollout: &Rollout, expected: &[&str]) {
    let lags = rollout.gateways.iter().filter(|gateway| !gateway.in_sync);
    let laggards: Vec<&str> = lags.map(|gateway| gateway.id.as_str()).collect();
    assert_eq!(laggards, expected, "{rollout:?}");
    assert_eq!(rollout.applied + laggards.len(), rollout.of);
}

#[tokio::test]
async fn a_wait_ends_when_every_gateway_serves_the_table_or_a_newer_one() {
    let world = World::new().await;
    serves(&world, "g1", None).await;
    serves(&world, "g2", None).await;
    let one = put(&world.core, SHOP).await.unwrap().generation;
    let two = put(&world.core, OTHER).await.unwrap().generation;
    let waits = async { world.core.wait_applied(one, LONG).await };
    let gateways = async {
        world.is_published(two).await;
        serves(&world, "g1", Some(one)).await;
        serves(&world, "g2", Some(two)).await;
    };
    let (rollout, ()) = tokio::join!(waits, gateways);
    assert!(rollout.is_complete(), "{rollout:?}");
    assert_eq!((rollout.revision, rollout.applied, rollout.of), (1, 2, 2));
    check_laggards(&world.core.rollout(), &["g1"]);
}

#[tokio::test]
async fn a_wait_that_is_over_names_the_laggards() {
    let world = World::new().await;
    let one = put(&world.core, SHOP).await.unwrap().generation;
    world.is_published(one).await;
    serves(&world, "g1", Some(one)).await;
    serves(&world, "g2", None).await;
    let rollout = world.core.wait_applied(one, SHORT).await;
    assert!(!rollout.is_complete());
    check_laggards(&rollout, &["g2"]);
}

#[tokio::test]
async fn without_gateways_there_is_nobody_to_wait_for() {
    let world = World::new().await;
    let nothing = put(&world.core, "{kind: conditions, name: c, condition: method is GET}").await.unwrap();
    let one = put(&world.core, SHOP).await.unwrap();
    for generation in [nothing.generation, one.generation] {
        let rollout = world.core.wait_applied(generation, LONG).await;
        assert!(rollout.is_complete(), "{rollout:?}");
        assert_eq!(rollout.of, 0);
    }
}

#[tokio::test]
async fn one_that_takes_its_leave_is_no_longer_waited_for() {
    let world = World::new().await;
    let lease = world.store.grant(Duration::from_secs(10)).await.unwrap();
    say(&world, Some(lease), &registration("g1", None)).await;
    eventually("it is seen", DEADLINE, async || world.core.rollout().of == 1).await;
    let one = put(&world.core, SHOP).await.unwrap().generation;
    let farewell = async {
        world.is_published(one).await;
        world.store.revoke(lease).await.unwrap();
    };
    let (rollout, ()) = tokio::join!(async { world.core.wait_applied(one, LONG).await }, farewell);
    assert!(rollout.is_complete(), "{rollout:?}");
}

#[tokio::test]
async fn an_unreachable_store_makes_gateways_unknown_and_not_gone() {
    let world = World::new().await;
    let one = put(&world.core, SHOP).await.unwrap().generation;
    world.is_published(one).await;
    serves(&world, "g1", Some(one)).await;
    world.handle.refuse();
    eventually("it shows", DEADLINE, async || world.core.rollout().unknown).await;
    let rollout = world.core.rollout();
    assert_eq!((rollout.applied, rollout.of), (1, 1), "{rollout:?}");
    let two = put(&world.core, OTHER).await.unwrap().generation;
    let rollout = world.core.wait_applied(two, SHORT).await;
    assert!(!rollout.is_complete() && rollout.unknown, "{rollout:?}");
    world.handle.answer();
    eventually("it is known again", DEADLINE, async || !world.core.rollout().unknown).await;
    check_laggards(&world.core.rollout(), &["g1"]);
}

#[tokio::test]
async fn gateways_that_left_while_the_store_was_away_are_gone_when_it_is_back() {
    let world = World::new().await;
    let lease = world.store.grant(Duration::from_secs(10)).await.unwrap();
    say(&world, Some(lease), &registration("g1", None)).await;
    eventually("it is seen", DEADLINE, async || world.core.rollout().of == 1).await;
    world.handle.refuse();
    world.handle.end_leases();
    world.handle.answer();
    eventually("it is gone", DEADLINE, async || world.core.rollout().of == 0).await;
}

#[tokio::test]
async fn a_registration_that_can_not_be_read_is_a_problem_and_not_a_silence() {
    let world = World::new().await;
    let key = vamp_store::layout::registration("default", "g9");
    world.store.put(&key, "{\"from\":\"the future\"}".into(), Expected::Anything, None).await.unwrap();
    eventually("it is seen", DEADLINE, async || world.core.rollout().of == 1).await;
    let gateway = world.core.rollout().gateways.remove(0);
    assert_eq!(gateway.id, "g9");
    assert!(gateway.problems[0].message.contains("can't be read"), "{gateway:?}");
}

#[test]
fn only_our_own_tables_answer_a_question() {
    let at = |epoch, revision| Generation { epoch, revision };
    let ours = Digest([1; 32]);
    let check = |asked, wanted, applied, digest, expected: bool| {
        let question = Question { asked, wanted, digest: Some(ours) };
        assert_eq!(question.is_answered_by(applied, digest), expected, "{question:?} {applied:?}");
    };
    check(at(1, 5), at(1, 7), None, None, false);
    check(at(1, 5), at(1, 7), Some(at(1, 4)), None, false);
    check(at(1, 5), at(1, 7), Some(at(1, 5)), None, true);
    check(at(1, 5), at(1, 7), Some(at(1, 7)), Some(ours), true);
    // The database goes on under a new epoch: the table is the same one.
    check(at(1, 5), at(2, 5), Some(at(2, 5)), Some(ours), true);
    // Another control plane's.
    check(at(1, 5), at(1, 7), Some(at(1, 8)), None, false);
    check(at(1, 5), at(1, 7), Some(at(2, 1)), None, false);
    check(at(1, 7), at(1, 7), Some(at(1, 7)), Some(Digest([2; 32])), false);
    // Before the first table there is nothing to serve.
    check(at(1, 0), at(1, 0), None, None, true);
}
