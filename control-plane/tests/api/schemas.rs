//! The schemas that are served are those that are checked in, and say where they are.

use serde_json::Value;

use crate::world::World;

#[tokio::test]
async fn every_kind_has_a_schema_and_the_list_leads_to_it() {
    let world = World::start().await;
    let list = world.get("schemas").await.expect(200);
    let kinds: Vec<&str> = list.as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"gateways") && kinds.contains(&"documents") && !kinds.contains(&"instances"), "{kinds:?}");
    for item in list.as_array().unwrap() {
        let path = item["address"].as_str().unwrap().strip_prefix("/api/v1/").unwrap();
        let schema = world.get(path).await.expect(200);
        let copy = format!("{}/../docs/reference/{path}.json", env!("CARGO_MANIFEST_DIR"));
        let copy: Value = serde_json::from_str(&std::fs::read_to_string(copy).unwrap()).unwrap();
        assert_eq!(schema, copy, "{path}");
    }
    assert_eq!(world.get("schemas/gateway").await.expect(200), world.get("schemas/gateways").await.expect(200));
    for missing in ["schemas/breads", "schemas/instances"] {
        let problem = world.get(missing).await.problem(404, "not-found").clone();
        assert!(problem["message"].as_str().unwrap().contains("there are gateways, routes"), "{problem:#}");
    }
}
