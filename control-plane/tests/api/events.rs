//! Events: published, found, counted, followed.

use reqwest::Method;
use serde_json::{Value, json};
use vamp_routing::wire::Generation;

use crate::world::{PATIENCE, World, gateway, send, yaml_of};

#[tokio::test]
async fn events_are_published_and_found_by_tags_type_and_time() {
    let world = World::start().await;
    let event = json!({"tags": "services:one", "type": "metrics", "value": 1.5, "timestamp": "2026-01-01T00:00:00Z"});
    let kept = world.post_json("events", &event).await.expect(201);
    assert_eq!((&kept["tags"], &kept["type"]), (&json!(["services", "services:one"]), &"metrics".into()));
    let two = json!([{"tags": ["services:two"]}, {"tags": ["services:two", "odd, tag"], "value": {"a": [1]}}]);
    assert_eq!(world.post_json("events", &two).await.expect(201)[1]["value"], json!({"a": [1]}));
    let count = async |query: &str| world.get(&format!("events?{query}")).await.expect(200).as_array().unwrap().len();
    assert_eq!(count("tag=services").await, 3);
    assert_eq!(count("tag=services&tag=odd%2C+tag").await, 1);
    assert_eq!(count("type=metrics").await, 1);
    assert_eq!(count("tag=services&from=now-1h").await, 2);
    assert_eq!(count("until=2026-01-01T00:00:00.001Z").await, 1);
    assert_eq!(count("until=2026-01-01T00:00:00Z").await, 0);
    let page = world.get("events?tag=services&per_page=2").await;
    assert_eq!(page.header("x-total-count"), Some("3"));
    assert!(page.header("link").unwrap().contains("</api/v1/events?tag=services&page=2&per_page=2>; rel=\"next\""));
    assert_eq!(world.get("events?tag=services&per_page=2&page=2").await.expect(200)[0]["value"], 1.5);
}

#[tokio::test]
async fn a_write_is_told_of_and_numbers_are_counted() {
    let world = World::start().await;
    world.put("gateways/shop?reason=canary", &gateway("shop", 9050)).await.expect(201);
    let told = world.get("events?tag=gateways:shop&tag=archive:create").await.expect(200);
    assert_eq!(told[0]["value"], json!({"version": 1, "who": "local", "why": "canary"}));
    // As the original tells of every PUT; what must be new is only made.
    assert_eq!(world.get("events?tag=gateways:shop&tag=archive:update").await.expect(200), told);
    world.post("gateways", &gateway("other", 9051)).await.expect(201);
    assert_eq!(world.get("events?tag=gateways:other&tag=archive:update").await.expect(200), json!([]));
    assert_eq!(world.get("events?tag=gateways:other&tag=archive:create").await.expect(200)[0]["value"]["version"], 1);
    for value in [1, 2, 6] {
        world.post_json("events", &json!({"tags": ["metrics:rate"], "value": value})).await.expect(201);
    }
    for (aggregator, expected) in [("count", 3.0), ("average", 3.0), ("min", 1.0), ("max", 6.0), ("SUM", 9.0)] {
        let number = world.get(&format!("events?tag=metrics:rate&aggregator={aggregator}")).await.expect(200);
        assert_eq!(number["value"].as_f64(), Some(expected), "{aggregator}");
    }
    assert_eq!(world.get("events?tag=none&aggregator=max").await.expect(200)["value"], Value::Null);
}

#[tokio::test]
async fn an_event_that_was_saved_can_be_sent_again() {
    let world = World::start().await;
    let event = json!({"tags": ["a:b"], "type": "metrics", "value": 1, "timestamp": "2026-01-01T00:00:00Z"});
    world.post_json("events", &event).await.expect(201);
    let mut saved = world.get("events").await.expect(200);
    let again = world.post_json("events", &saved).await.expect(201);
    assert_eq!((&saved[0]["id"], &again[0]["id"]), (&json!(1), &json!(2)));
    saved[0]["id"] = json!(2);
    assert_eq!(again, saved, "all else is as it was");
    let members = [("version", json!("v1")), ("digest", json!("4f2a")), ("id", json!("AVw"))];
    for (member, value) in members {
        let mut of_original = event.clone();
        of_original[member] = value;
        let kept = world.post_json("events", &of_original).await.expect(201);
        assert_eq!((&kept["value"], &kept["timestamp"]), (&event["value"], &again[0]["timestamp"]), "{member}");
    }
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let world = World::start().await;
    for body in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"tags": []}),
        json!({"tags": [""]}),
        json!({"tags": ["a\u{0}b"]}),
        json!({"tags": ["a"], "type": "a b"}),
        json!({"tags": ["a"], "timestamp": "soon"}),
        json!({"tags": ["a"], "valu": 1}),
        json!({"tags": vec!["a"; 33]}),
    ] {
        world.post_json("events", &body).await.problem(400, "bad-request");
    }
    world.post_json("events", &json!({"tags": ["a"], "value": "x".repeat(70_000)})).await.problem(413, "too-large");
    for query in ["tag=", "type=a+b", "from=yesterday", "until=now%2B1h", "aggregator=median", "limit=3"] {
        world.get(&format!("events?{query}")).await.problem(400, "bad-request");
    }
    assert_eq!(world.get("events").await.expect(200), json!([]));
}

/// Reads a stream until so many events came.
async fn read(world: &World, path: &str, last: Option<u64>, count: usize) -> Vec<Value> {
    let mut request = world.ask(Method::GET, path).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut text = String::new();
    let read = async {
        while text.matches("data: ").count() < count || !text.ends_with("\n\n") {
            text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn who_follows_gets_each_event_once_and_goes_on_where_it_was() {
    let world = World::start().await;
    let publish = async |value: u64| {
        let event = json!({"tags": ["followed"], "value": value});
        world.post_json("events", &event).await.expect(201)["id"].as_u64().unwrap()
    };
    let before = publish(0).await;
    let first = publish(1).await;
    world.post_json("events", &json!({"tags": ["other"]})).await.expect(201);
    publish(2).await;
    let values = |events: Vec<Value>| events.iter().map(|event| event["value"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(values(read(&world, "events/stream?tag=followed", Some(before), 2).await), [1, 2]);
    assert_eq!(values(read(&world, "events/stream?tag=followed", Some(first), 1).await), [2]);
    // Without a number: from now on. Events of changes come too.
    let follow = read(&world, "events/stream?tag=followed", None, 2);
    let write = async {
        for value in 3..100 {
            publish(value).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let followed = tokio::select! {
        followed = follow => followed,
        () = write => panic!("nothing came"),
    };
    let followed = values(followed);
    assert_eq!(followed[1], followed[0] + 1, "{followed:?}");
    send(world.ask(Method::GET, "events/stream").header("last-event-id", "x")).await.problem(400, "bad-request");
    send(world.ask(Method::GET, "events/stream").header("accept", "application/json"))
        .await
        .problem(406, "not-acceptable");
}

#[tokio::test]
async fn who_comes_back_with_a_number_that_is_still_to_come_hears_what_comes_from_now_on() {
    let world = World::start().await;
    world.post_json("events", &json!({"tags": ["followed"], "value": 0})).await.expect(201);
    let publish = async {
        // The stream begins meanwhile: until it does, nothing is to be heard of these.
        for value in 1.. {
            world.post_json("events", &json!({"tags": ["followed"], "value": value})).await.expect(201);
        }
    };
    let followed = tokio::select! {
        followed = read(&world, "events/stream?tag=followed", Some(5_000_000), 1) => followed,
        () = publish => unreachable!("it publishes until the other is served"),
    };
    assert!(followed[0]["value"].as_u64().is_some_and(|value| value > 0), "{followed:?}");
}

#[tokio::test]
async fn what_fails_and_what_goes_is_told_once_over_a_restart() {
    let world = World::start().await;
    let blueprint = |name: &str| {
        let breed = "{name: 'web:1', deployable: {type: command, definition: serve}, ports: {http: 8080/http}}";
        format!("{{name: {name}, clusters: {{web: {{breed: {breed}}}}}}}")
    };
    let told = |deployment: &str, what: &str| {
        format!(
            "events?type=synchronization&tag=deployments:{deployment}&tag=services:web:1&tag=synchronization:{what}"
        )
    };
    let is_one = |events: &Value| events.as_array().is_some_and(|events| events.len() == 1);
    world.post("deployments", &blueprint("shop")).await.expect(201);
    let failed = world.get_where(&told("shop", "failed"), is_one).await;
    assert!(failed[0]["value"]["message"].as_str().unwrap().contains("`serve`"), "{failed:#}");
    let world = world.restart().await;
    world.post("deployments", &blueprint("next")).await.expect(201);
    // Told by a look at everything.
    world.get_where(&told("next", "failed"), is_one).await;
    let again = world.get(&told("shop", "failed")).await.expect(200);
    // The start tries anew at once, and may have failed by now: nothing else is told again.
    assert!(again.as_array().is_some_and(|again| again.len() <= 2), "{again:#}");
    world.delete("deployments/shop").await.expect(200);
    world.get_where(&told("shop", "undeployed"), is_one).await;
}

#[tokio::test]
async fn a_gateway_is_told_of_when_every_process_serves_it_and_when_none_does() {
    let world = World::start().await;
    let of = |name: &str, what: &str| format!("events?tag=gateways&tag=gateways:{name}&tag={what}");
    let is_one = |events: &Value| events.as_array().is_some_and(|events| events.len() == 1);
    let serve = async |world: &World| {
        let info = world.get("info").await.expect(200);
        let number = |member: &str| info[member].as_u64().unwrap();
        world.register("g1", Some(Generation { epoch: number("epoch"), revision: number("revision") })).await;
    };
    world.put("gateways/a", &gateway("a", 9050)).await.expect(201);
    serve(&world).await;
    world.get_where(&of("a", "deployed"), is_one).await;
    world.put("gateways/b", &gateway("b", 9051)).await.expect(201);
    world.rollout_where("it lags", |rollout| rollout["of"] == 1 && rollout["applied"] == 0).await;
    assert_eq!(world.get(&of("b", "deployed")).await.expect(200), json!([]));
    let world = world.restart().await;
    serve(&world).await;
    world.get_where(&of("b", "deployed"), is_one).await;
    assert!(is_one(&world.get(&of("a", "deployed")).await.expect(200)), "it was told before");
    world.delete("gateways/a").await.expect(200);
    serve(&world).await;
    world.get_where(&of("a", "undeployed"), is_one).await;
}

#[tokio::test]
async fn a_body_asks_as_the_query_parameters_do() {
    let world = World::start().await;
    for value in [1, 2, 6] {
        let event = json!({"tags": ["sla", "metrics:cpu"], "type": "metrics", "value": {"cpu": value}});
        world.post_json("events", &event).await.expect(201);
    }
    let old = json!({"tags": ["other"], "value": 3, "timestamp": "2026-01-01T00:00:00Z"});
    world.post_json("events", &old).await.expect(201);
    let ask = async |body: Value| send(world.ask(Method::GET, "events").json(&body)).await;
    let found = async |body: Value| ask(body).await.expect(200).as_array().unwrap().len();
    assert_eq!(found(json!({"tags": ["sla"]})).await, 3);
    assert_eq!(found(json!({"tags": "other"})).await, 1);
    assert_eq!(found(json!({"tags": ["sla", "other"]})).await, 0);
    assert_eq!(found(json!({"tags": [], "type": "metrics"})).await, 3);
    assert_eq!(found(json!({"timestamp": {"lte": "2026-01-01T00:00:00Z"}})).await, 1);
    assert_eq!(found(json!({"timestamp": {"lt": "2026-01-01T00:00:00Z"}})).await, 0);
    assert_eq!(found(json!({"tags": "other", "timestamp": {"gt": "2026-01-01T00:00:00Z"}})).await, 0);
    for (aggregator, expected) in [
        (json!({"type": "count"}), json!(3.0)),
        (json!({"type": "MAX", "field": "value.cpu"}), json!(6.0)),
        (json!({"type": "average", "field": "metrics.cpu"}), json!(3.0)),
        (json!({"type": "sum"}), Value::Null),
    ] {
        let body = json!({"tags": ["sla"], "type": "metrics", "aggregator": aggregator});
        assert_eq!(ask(body).await.expect(200), json!({"value": expected}), "{aggregator}");
    }
    let by_parameters = world.get("events?tag=sla&aggregator=min&field=value.cpu").await.expect(200);
    assert_eq!(by_parameters, json!({"value": 1.0}));
    let yaml = yaml_of(world.ask(Method::GET, "events"), "tags: [sla]\naggregator: {type: count}\n");
    assert_eq!(send(yaml).await.expect(200), json!({"value": 3.0}));

    for body in [
        json!([]),
        json!({"tag": "sla"}),
        json!({"timestamp": {"lt": "now", "lte": "now"}}),
        json!({"timestamp": {"lt": "soon"}}),
        json!({"aggregator": {"type": "median"}}),
        json!({"aggregator": {"type": "max", "field": "cpu"}}),
        json!({"tags": [""]}),
    ] {
        ask(body).await.problem(400, "bad-request");
    }
    let both = send(world.ask(Method::GET, "events?tag=sla").json(&json!({"tags": ["sla"]}))).await;
    assert!(both.problem(400, "bad-request")["message"].as_str().unwrap().contains("use one of them"));
    world.get("events?field=value.cpu").await.problem(400, "bad-request");
    send(world.ask(Method::GET, "events").body("tags: [sla]")).await.problem(415, "unsupported-media-type");
    let stream = send(world.ask(Method::GET, "events/stream").json(&json!({"timestamp": {"gt": "now"}}))).await;
    stream.problem(400, "bad-request");
}

#[tokio::test]
async fn events_are_published_in_yaml_too() {
    let world = World::start().await;
    let yaml =
        "tags: [services:one]\ntype: metrics\nvalue: {rate: 1.5, version: 1.10}\ntimestamp: 2026-01-01T00:00:00Z\n";
    let kept = world.post("events", yaml).await.expect(201);
    assert_eq!((&kept["value"]["rate"], &kept["type"]), (&json!(1.5), &json!("metrics")));
    assert_eq!(world.post("events", "[{tags: a}, {tags: b}]").await.expect(201).as_array().unwrap().len(), 2);
    world.post("events", "tags: [a\n").await.problem(400, "bad-document");
}
