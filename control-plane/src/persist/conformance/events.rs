//! Events are kept, found by tags, type and time, counted, followed, and go when their time is over.

use serde_json::json;

use super::{Bench, make};
use crate::persist::{Aggregator, EventQuery, NewEvent, Persistence, Retention, StateWrite};

fn event(kind: &str, tags: &[&str], at_unix_ms: u64, value: serde_json::Value) -> NewEvent {
    let event = NewEvent::new(kind, tags.iter().copied(), at_unix_ms);
    NewEvent { value: Some(value).filter(|value| !value.is_null()), ..event }
}

fn query(tags: &[&str]) -> EventQuery {
    EventQuery { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), limit: 100, ..EventQuery::default() }
}

pub(super) async fn passes(bench: &Bench) {
    a_write_has_its_event(bench).await;
    events_are_found_by_tags_type_and_time(bench).await;
    numbers_are_counted_over_what_is_asked_for(bench).await;
    who_follows_from_a_number_misses_none(bench).await;
    what_is_told_is_kept_with_what_is_remembered_of_it(bench).await;
    events_go_when_they_are_over_their_time_or_their_number(bench).await;
}

async fn a_write_has_its_event(bench: &Bench) {
    let database = bench.open().await;
    for document in [Some("{1}"), Some("{2}"), None] {
        make(&database, &[("told", document)]).await;
    }
    let mut told = database.events(&query(&["gateways:told"])).await.unwrap();
    told.sort_by_key(|event| event.id);
    let told: Vec<_> = told.iter().map(|event| (event.tags[1].as_str(), event.value["version"].as_u64())).collect();
    assert_eq!(told, [("archive:create", Some(1)), ("archive:update", Some(2)), ("archive:delete", Some(3))]);
    let event = &database.events(&query(&["gateways:told", "archive:update"])).await.unwrap()[0];
    assert_eq!(
        (event.kind.as_str(), &event.tags),
        (
            "archive",
            &vec!["archive".to_owned(), "archive:update".to_owned(), "gateways".to_owned(), "gateways:told".to_owned()]
        )
    );
    assert_eq!(event.value["who"], "local");
}

async fn events_are_found_by_tags_type_and_time(bench: &Bench) {
    let database = bench.open().await;
    let before = database.position().await.unwrap();
    let ids = database
        .publish(&[
            event("metrics", &["services:one", "metrics:rate"], 5000, json!(1.5)),
            event("metrics", &["services:two", "metrics:rate"], 6000, json!(2.5)),
            event("health", &["services:one", "ünï:?"], 7000, json!({"up": true})),
            event("event", &["services:one"], 4000, json!(null)),
        ])
        .await
        .unwrap();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    assert_eq!(database.position().await.unwrap(), before, "an event is no change");
    let found = async |query: EventQuery| {
        let events = database.events(&query).await.unwrap();
        events.iter().map(|event| event.at_unix_ms).collect::<Vec<_>>()
    };
    assert_eq!(found(query(&["services:one"])).await, [7000, 5000, 4000]);
    assert_eq!(found(query(&["services:one", "metrics:rate"])).await, [5000]);
    assert_eq!(found(query(&["services", "metrics"])).await, [6000, 5000]);
    assert_eq!(found(query(&["ünï:?"])).await, [7000]);
    assert_eq!(found(query(&["services:one", "none"])).await, [0_u64; 0]);
    let of = |kind: &str| EventQuery { kind: Some(kind.to_owned()), ..query(&["services"]) };
    assert_eq!(found(of("health")).await, [7000]);
    let within = EventQuery { from_unix_ms: Some(5000), until_unix_ms: Some(7000), ..query(&["services"]) };
    assert_eq!(found(within.clone()).await, [6000, 5000]);
    assert_eq!(
        found(EventQuery { tags: Vec::new(), kind: Some("metrics".to_owned()), ..within.clone() }).await,
        [6000, 5000]
    );
    assert_eq!(found(EventQuery { offset: 1, limit: 1, ..within }).await, [5000]);
    let event = &database.events(&of("health")).await.unwrap()[0];
    assert_eq!((event.id, &event.value), (ids[2], &json!({"up": true})));
}

async fn numbers_are_counted_over_what_is_asked_for(bench: &Bench) {
    let database = bench.open().await;
    let number = async |tags: &[&str], aggregator| database.aggregate(&query(tags), aggregator).await.unwrap();
    for (aggregator, expected) in [
        (Aggregator::Count, 2.0),
        (Aggregator::Average, 2.0),
        (Aggregator::Min, 1.5),
        (Aggregator::Max, 2.5),
        (Aggregator::Sum, 4.0),
    ] {
        assert_eq!(number(&["metrics:rate"], aggregator).await, Some(expected), "{aggregator:?}");
    }
    assert_eq!(number(&["services"], Aggregator::Count).await, Some(4.0));
    assert_eq!(number(&["none"], Aggregator::Count).await, Some(0.0));
    assert_eq!(number(&["none"], Aggregator::Max).await, None);
}

async fn who_follows_from_a_number_misses_none(bench: &Bench) {
    let database = std::sync::Arc::new(bench.open().await);
    let mut last = database.newest_event().await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let database = std::sync::Arc::clone(&database);
            tokio::spawn(async move {
                for _ in 0..25 {
                    database.publish(&[event("event", &["followed"], 1, json!(null))]).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < 100 {
        let query = EventQuery { after_id: Some(last), limit: 7, ..query(&["followed"]) };
        for event in database.events(&query).await.unwrap() {
            assert_eq!(event.id, last + 1);
            last = event.id;
            seen += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(database.newest_event().await.unwrap(), last);
}

async fn what_is_told_is_kept_with_what_is_remembered_of_it(bench: &Bench) {
    let database = bench.open().await;
    let told = |name: &str| StateWrite { scope: "told".to_owned(), name: name.to_owned(), value: Some("1".to_owned()) };
    let tell = async |name: &str| {
        database.tell(&[event("event", &[&format!("told:{name}")], 8000, json!(null))], &[told(name)]).await
    };
    tell("a").await.unwrap();
    // What can't be remembered is not told either.
    bench.by_hand(&["ALTER TABLE runtime RENAME TO away".to_owned()]).await;
    tell("b").await.unwrap_err();
    bench.by_hand(&["ALTER TABLE away RENAME TO runtime".to_owned()]).await;
    assert_eq!(database.aggregate(&query(&["told"]), Aggregator::Count).await.unwrap(), Some(1.0));
    tell("c").await.unwrap();
    let states = database.states("told").await.unwrap();
    assert_eq!(states.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "c"]);
}

async fn events_go_when_they_are_over_their_time_or_their_number(bench: &Bench) {
    let database = bench.open().await;
    let newest = database.newest_event().await.unwrap();
    let by_age = Retention { age_max_ms: 3000, count_max: u64::MAX >> 1 };
    while database.retire_events(&by_age, 8000).await.unwrap() > 0 {}
    let left = database.events(&EventQuery { limit: 1000, ..EventQuery::default() }).await.unwrap();
    assert!(!left.is_empty() && left.iter().all(|event| event.at_unix_ms >= 5000), "{left:?}");
    database
        .publish(&[event("event", &["late"], 9000, json!(1)), event("event", &["late"], 9001, json!(2))])
        .await
        .unwrap();
    let by_count = Retention { age_max_ms: 3_000_000, count_max: 1 };
    while database.retire_events(&by_count, 9002).await.unwrap() > 0 {}
    let left = database.events(&EventQuery { limit: 1000, ..EventQuery::default() }).await.unwrap();
    assert_eq!(left.iter().map(|event| event.at_unix_ms).collect::<Vec<_>>(), [9001]);
    assert_eq!(database.aggregate(&query(&["services"]), Aggregator::Count).await.unwrap(), Some(0.0), "tags go too");
    assert_eq!(database.newest_event().await.unwrap(), newest + 2, "numbers are not given twice");
}
