//! Lists and their pages.

use serde_json::{Value, json};

use crate::world::World;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_is_sorted_by_name_and_comes_in_pages() {
    let world = World::start().await;
    let documents: Vec<_> =
        (0..65).rev().map(|n| json!({"name": format!("c{n:02}"), "condition": "has cookie a"})).collect();
    world.post_json("conditions", &json!(documents)).await.expect(201);
    let first = world.get("conditions").await;
    assert_eq!(first.header("x-total-count"), Some("65"));
    let first = first.expect(200);
    assert_eq!((names(&first).len(), names(&first)[0], names(&first)[29]), (30, "c00", "c29"));
    let second = world.get("conditions?page=2&per_page=30").await;
    assert_eq!(
        second.header("link"),
        Some(
            "</api/v1/conditions?page=1&per_page=30>; rel=\"first\", </api/v1/conditions?page=1&per_page=30>; rel=\"prev\", \
             </api/v1/conditions?page=3&per_page=30>; rel=\"next\", </api/v1/conditions?page=3&per_page=30>; rel=\"last\""
        )
    );
    assert_eq!(names(&second.expect(200))[0], "c30");
    let third = world.get("conditions?page=3").await;
    assert!(!third.header("link").unwrap().contains("next"));
    assert_eq!(names(&third.expect(200)).len(), 5);
    assert_eq!(world.get("conditions?page=9").await.expect(200), json!([]));
    assert_eq!(names(&world.get("conditions?per_page=1000").await.expect(200)).len(), 65);
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let world = World::start().await;
    for kind in ["gateways", "routes", "conditions"] {
        let answer = world.get(kind).await;
        assert_eq!(answer.header("x-total-count"), Some("0"));
        assert_eq!(answer.expect(200), json!([]));
    }
}

#[tokio::test]
async fn pages_that_are_none_are_refused() {
    let world = World::start().await;
    for query in ["page=0", "page=x", "per_page=1001", "per_page=-1", "per_page="] {
        world.get(&format!("conditions?{query}")).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_list_may_be_of_those_with_a_label_and_its_pages_stay_so() {
    let world = World::start().await;
    let condition = |name: &str, metadata: Value| json!({"name": name, "condition": "path is /", "metadata": metadata});
    let documents = json!([
        condition("a", json!({"team": "shop", "tier": 1})),
        condition("b", json!({"team": "shop"})),
        condition("c", json!({"team": "pay"})),
        condition("d", json!({})),
    ]);
    world.post_json("conditions", &documents).await.expect(201);
    for (query, expected) in [
        ("label=team%3Dshop", vec!["a", "b"]),
        ("label=team%3Dshop&label=tier%3D1", vec!["a"]),
        ("label=team!%3Dshop", vec!["c", "d"]),
        ("label=tier", vec!["a"]),
        ("label=!team", vec!["d"]),
    ] {
        let answer = world.get(&format!("conditions?{query}")).await;
        assert_eq!(answer.header("x-total-count"), Some(expected.len().to_string().as_str()), "{query}");
        assert_eq!(names(&answer.expect(200)), expected, "{query}");
    }
    let page = world.get("conditions?label=team%3Dshop&per_page=1").await;
    assert!(page.header("link").unwrap().contains("conditions?label=team%3Dshop&page=2&per_page=1>; rel=\"next\""));
    world.get("conditions?label=%3Dshop").await.problem(400, "bad-request");
}

#[tokio::test]
async fn what_is_referred_to_is_written_out_on_wish() {
    let world = World::start().await;
    let documents = json!([
        {"kind": "conditions", "name": "phone", "condition": "user-agent == Android"},
        {"kind": "routes", "name": "canary", "weight": "10%", "condition": {"reference": "phone"}},
        {"kind": "gateways", "name": "shop",
         "routes": {"[127.0.0.1:81]": {"weight": "90%"}, "[127.0.0.1:82]": "canary"}},
        {"kind": "breeds", "name": "web", "deployable": {"type": "command", "definition": "web"}},
        {"kind": "blueprints", "name": "site", "clusters": {"web": {"services": [{"breed": {"reference": "web"}}]}}},
    ]);
    world.post_json("", &documents).await.expect(201);
    let stored = world.get("gateways/shop").await.expect(200);
    let answer = world.get("gateways/shop?expand_references=true").await;
    assert_eq!(answer.header("etag"), None, "a tag would not change with what is written out");
    let expanded = answer.expect(200);
    assert_eq!(stored["routes"]["[127.0.0.1:82]"]["reference"], "canary");
    assert_eq!(expanded["routes"]["[127.0.0.1:82]"]["condition"]["condition"], "user-agent == Android");
    assert_eq!(expanded["port"], stored["port"]);
    assert_eq!(world.get("gateways?expand_references=true").await.expect(200), json!([expanded]));
    let breed = |site: &Value| site["clusters"]["web"]["services"][0]["breed"].clone();
    let site = world.get("blueprints/site?expand_references=true").await.expect(200);
    assert_eq!(breed(&site)["deployable"]["definition"], "web");
    // What was expanded is a document that can be written, and be shown with names alone.
    world.put("blueprints/site", &site.to_string()).await.expect(200);
    let site = world.get("blueprints/site?only_references=true").await.expect(200);
    assert_eq!(breed(&site), json!({"reference": "web"}));
    let both = world.get("blueprints/site?only_references=true&expand_references=true").await.expect(200);
    assert_eq!(breed(&both)["deployable"]["definition"], "web");
    world.get("blueprints/site?only_references=perhaps").await.expect(400);
}
