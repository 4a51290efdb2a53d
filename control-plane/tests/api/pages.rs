//! What the page on blueprints shows is taken as it stands, and it shows every field that they have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::world::World;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../docs/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test]
async fn the_examples_of_blueprints_can_be_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let processes = folder.path().join("processes").display().to_string();
    // The engine is not asked: nothing is started before a change is kept.
    let world = World::start_with(&["--docker-host", "unix:///no/such/engine", "--process-dir", &processes]).await;
    let page = read("blueprints.md");
    let examples: Vec<_> = page.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let mut deployed = BTreeSet::new();
    for example in examples {
        let answer = world.put("?deploy=true&validate_only=true", example).await.expect(200);
        let deployments = answer.as_array().unwrap().iter().filter(|artifact| artifact["kind"] == "deployments");
        deployed.extend(deployments.map(|deployment| deployment["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(Vec::from_iter(deployed), ["bazaar", "boxes"]);
}

/// The names of all fields below a schema that somebody writes.
fn written(schema: &Value, names: &mut BTreeSet<String>) {
    let is_written = |field: &Value| field["readOnly"] != true && field["type"] != "null";
    let fields = schema["properties"].as_object().into_iter().flatten().filter(|(_, field)| is_written(field));
    names.extend(fields.map(|(name, _)| name.clone()));
    for (_, part) in schema.as_object().into_iter().flatten() {
        written(part, names);
    }
    for part in schema.as_array().into_iter().flatten() {
        written(part, names);
    }
}

#[test]
fn every_field_of_blueprints_is_shown() {
    let schema: Value = serde_json::from_str(&read("reference/schemas/blueprints.json")).unwrap();
    let mut names = BTreeSet::new();
    written(&schema, &mut names);
    assert!(names.contains("condition_strength") && !names.contains("lookup_name"), "{names:?}");
    let page = read("blueprints.md");
    names.retain(|name| !page.contains(&format!("{name}:")) && !page.contains(&format!("`{name}`")));
    assert!(names.is_empty(), "the page on blueprints does not show {names:?}");
}
