//! Who did what and why, what differs, and whether the history is what was written.

use serde_json::json;

use crate::world::{World, gateway};

#[tokio::test]
async fn who_did_it_and_why_stands_with_each_version() {
    let world = World::start().await;
    world.put("gateways/shop?reason=first+try", &gateway("shop", 9050)).await.expect(201);
    world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    let history = world.get("gateways/shop/history").await.expect(200);
    assert_eq!((&history[1]["who"], &history[1]["why"]), (&"local".into(), &"first try".into()), "{history:#}");
    assert_eq!((&history[0]["why"], &history[0]["cause"]), (&"".into(), &"PUT /api/v1/gateways/shop".into()));
    let changes = world.get("audit/changes").await.expect(200);
    assert_eq!((&changes[1]["who"], &changes[1]["why"]), (&"local".into(), &"first try".into()), "{changes:#}");
    for refused in ["a%0Ab", &"x".repeat(501)] {
        let answer = world.put(&format!("gateways/shop?reason={refused}"), &gateway("shop", 9052)).await;
        answer.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn versions_are_compared_field_by_field() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    world.delete("gateways/shop").await.expect(200);
    let diff = world.get("gateways/shop/history/2/diff").await.expect(200);
    let port = json!([{"at": "/port", "from": "9050/http", "to": "9051/http"}]);
    assert_eq!((&diff["from"], &diff["differences"]), (&1.into(), &port));
    let back = world.get("gateways/shop/history/1/diff?against=2").await.expect(200);
    assert_eq!(back["differences"][0]["to"], "9050/http");
    let first = world.get("gateways/shop/history/1/diff").await.expect(200);
    assert_eq!((&first["from"], &first["differences"][0]["to"]["name"]), (&0.into(), &"shop".into()), "{first:#}");
    assert_eq!(world.get("gateways/shop/history/3/diff").await.expect(200)["differences"][0]["to"], json!(null));
    world.get("gateways/shop/history/2/diff?against=7").await.problem(404, "not-found");
    world.get("gateways/shop/history/7/diff").await.problem(404, "not-found");
}

#[tokio::test]
async fn an_audit_names_what_does_not_fit() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let audit = world.get("audit/verify").await.expect(200);
    assert_eq!((&audit["sound"], &audit["changes"]), (&true.into(), &1.into()), "{audit:#}");
    let head = audit["head"].as_str().unwrap().to_owned();
    world.put("gateways/shop", &gateway("shop", 9051)).await.expect(200);
    assert_eq!(world.get(&format!("audit/verify?head={head}")).await.expect(200)["sound"], true);
    let mut forged = head.clone();
    let last = forged.pop();
    forged.push(if last == Some('0') { '1' } else { '0' });
    let audit = world.get(&format!("audit/verify?head={forged}")).await.expect(200);
    assert_eq!(audit["sound"], false);
    assert!(audit["fault"].as_str().unwrap().contains("change 1 is another one"), "{audit:#}");
    world.get("audit/verify?head=1:x").await.problem(400, "bad-request");
}
