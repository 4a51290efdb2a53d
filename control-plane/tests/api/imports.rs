//! Documents that import templates: read with what is stored, stored as what comes of it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, send};

/// A template, a blueprint that imports it, and the breed that both need.
const SHOP: &str = "
kind: blueprints
name: shop
import: front
clusters: {web: {breed: 'web:1'}}
---
kind: templates
name: front
definition:
  gateways: {9050: web/http}
  clusters: {web: {scale: {cpu: 0.1, memory: 64MB}}}
---
kind: breeds
name: web:1
deployable: {type: command, definition: serve}
ports: {http: 8080/http}
";

#[tokio::test]
async fn a_blueprint_is_stored_with_what_it_imports_and_deployed() {
    let world = World::start().await;
    let made = world.put("", SHOP).await.expect(201);
    assert_eq!(made.as_array().unwrap().len(), 3);
    let read = world.get("blueprints/shop").await.expect(200);
    assert!(read.get("import").is_none(), "{read:#}");
    assert_eq!(read["clusters"]["web"]["services"][0]["scale"]["memory"], "64.00MB");
    let planned = world.post("deployments?validate_only=true", "reference: shop").await.expect(200);
    let mut names: Vec<_> =
        planned["changes"].as_array().unwrap().iter().map(|change| change["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, [json!("shop"), json!("shop/9050"), json!("shop/web/http")]);
    // What is made from a template is its own from then on.
    world.put("templates/front", "definition: {}").await.expect(200);
    world.delete("templates/front").await.expect(200);
    let again = world.get("blueprints/shop").await;
    assert_eq!(again.header("etag"), Some("\"1\""));
    assert_eq!(again.expect(200), read);
    let world = world.restart().await;
    assert_eq!(world.get("blueprints/shop").await.expect(200), read);
}

#[tokio::test]
async fn stored_artifacts_are_imported_by_kind_and_name() {
    let world = World::start().await;
    world.put("", SHOP).await.expect(201);
    let other = world.put("blueprints/other", "import: blueprints/shop\ngateways: {9051: web/http}").await.expect(201);
    let keys: Vec<&str> = other["gateways"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((&other["name"], keys), (&json!("other"), vec!["9050", "9051"]));
    let breed = &other["clusters"]["web"]["services"][0]["breed"];
    assert_eq!(breed["deployable"]["definition"], "serve", "references are written out: {breed:#}");
    let deployed = world.post("deployments", "{name: live, import: [blueprints/shop], metadata: {team: a}}").await;
    assert_eq!(deployed.expect(201)["metadata"], json!({"team": "a"}));
    world.put("scales/small", "{cpu: 0.1, memory: 64MB}").await.expect(201);
    let scale = "deployments/live/clusters/web/services/web:1/scale";
    let scaled = world.put(scale, "{import: scales/small, instances: 3}").await.expect(200);
    assert_eq!(scaled["clusters"]["web"]["services"][0]["scale"]["instances"], 3);
}

#[tokio::test]
async fn what_is_wrong_with_imports_is_told_with_place_template_and_mend() {
    let world = World::start().await;
    world.put("templates/bad", "definition: {ports: {web: 80/udp}, deployable: i}").await.expect(201);
    let refused = world.put("breeds/b", "metadata: {}\nimport: bad\n").await;
    let violation = refused.problem(400, "bad-document")["violations"][0].clone();
    assert_eq!((&violation["line"], &violation["pointer"]), (&json!(2), &json!("/ports/web")));
    let message = violation["message"].as_str().unwrap();
    assert!(message.contains("(from template `bad`, at `/definition/ports/web`)"), "{violation:#}");
    let refused = world.put("breeds/b", "import: [bad, nowhere]").await;
    let message = refused.problem(400, "bad-document")["message"].as_str().unwrap();
    assert!(message.contains("the template `nowhere`, which does not exist (create it first"), "{message}");
    world.get("breeds/b").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_template_that_others_import_in_turn_is_in_use_and_closes_no_circle() {
    let world = World::start().await;
    world.put("templates/base", "definition: {deployable: i}").await.expect(201);
    world.put("templates/web", "def: {import: base, ports: {http: 80}}").await.expect(201);
    assert_eq!(world.put("breeds/b", "import: web").await.expect(201)["deployable"]["definition"], "i");
    let refused = world.delete("templates/base").await;
    assert_eq!(refused.problem(409, "in-use")["users"], json!([{"kind": "templates", "name": "web"}]));
    let refused = world.put("templates/base", "definition: {import: web}").await;
    let message = refused.problem(400, "bad-document")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("template `base` → template `web` → template `base`"), "{message}");
    // The other breed is not touched by what becomes of the template.
    world.put("templates/base", "definition: {deployable: other}").await.expect(200);
    assert_eq!(world.get("breeds/b").await.expect(200)["deployable"]["definition"], "i");
}

#[tokio::test]
async fn readers_of_a_template_that_changes_meanwhile_get_the_old_or_the_new_one_whole() {
    let world = World::start().await;
    let template = |number: u32| format!("definition: {{deployable: i, constants: {{one: {number}, two: {number}}}}}");
    world.put("templates/t", &template(0)).await.expect(201);
    let writes = async {
        // Each of them may outrun a reader once, which tries more often than that.
        for number in 1..=10 {
            world.put("templates/t", &template(number)).await.expect(200);
        }
    };
    let reads = async {
        for number in 0..20 {
            let breed = world.put(&format!("breeds/b{number}"), "import: t").await.expect(201);
            assert_eq!(breed["constants"]["one"], breed["constants"]["two"], "{breed:#}");
        }
    };
    tokio::join!(writes, reads);
    let last = send(world.ask(Method::PUT, "breeds/last").json(&json!({"import": "t"}))).await.expect(201);
    assert_eq!(last["constants"]["one"], "10");
}
