//! Blueprints are checked when they are written for all that a deployment of nothing but them would refuse.

use serde_json::{Value, json};

use crate::world::World;

const DEPLOYABLE: &str = "deployable: {type: command, definition: i}";

/// The violations of a refusal: line, column, pointer and text.
fn violations(refused: &Value) -> Vec<(u64, String, String)> {
    let told = refused["violations"].as_array().unwrap().iter().map(|found| {
        let text = format!("{}: {}", found["message"].as_str().unwrap(), found["hint"].as_str().unwrap());
        assert!(found["column"].is_u64(), "{refused:#}");
        (found["line"].as_u64().unwrap(), found["pointer"].as_str().unwrap().to_owned(), text)
    });
    told.collect()
}

#[track_caller]
fn check(refused: &Value, expected: &[(u64, &str, &str)]) {
    let told = violations(refused);
    let is_told = |(told, (line, pointer, part)): (&(u64, String, String), &(u64, &str, &str))| {
        told.0 == *line && told.1 == *pointer && told.2.contains(part)
    };
    assert!(told.len() == expected.len() && told.iter().zip(expected).all(is_told), "{told:#?}");
}

#[tokio::test]
async fn what_no_deployment_can_have_is_refused_with_its_place() {
    let world = World::start().await;
    world.put("breeds/store:9", &format!("{{{DEPLOYABLE}, ports: {{sql: 5432/tcp}}}}")).await.expect(201);
    let text = format!(
        "clusters:
  web:
    name: web:1
    {DEPLOYABLE}
    dependencies: {{db: store:9, api: api:1}}
    env:
      URL[DATABASE_URL]: $db.host:$db.ports.http
      LEVEL: $nothing
  api:
    breed: {{name: api:1, {DEPLOYABLE}, dependencies: {{web: web:1}}}}
    sla: {{type: escalation_only, escalations: {{type: scale_instances, minimum: 1, maximum: 2, scale_by: 1, target: back}}}}
  store: store:9
gateways: {{9050: store/http}}
env: {{store.SIZE: 1}}
"
    );
    let expected: &[(u64, &str, &str)] = &[
        (13, "/gateways/9050", "cluster `store` has no port `http`: it has sql"),
        (14, "/env/store.SIZE", "no breed of cluster `store` reads it"),
        (11, "/clusters/api/sla/escalations/target", "it scales the cluster `back`, which is not there: name a"),
        (7, "/clusters/web/env/URL[DATABASE_URL]", "`$db.ports.http`: breed `store:9` has no port `http`: it has sql"),
        (8, "/clusters/web/env/LEVEL", "`$nothing` is neither a variable nor a constant of breed `web:1`: declare it"),
        (10, "/clusters/api/breed/dependencies", "in a circle: api:1 → web:1 → api:1: remove one"),
    ];
    check(world.put("blueprints/shop", &text).await.problem(400, "bad-document"), expected);
    world.put("blueprints/shop?validate_only=true", &text).await.problem(400, "bad-document");
    assert_eq!(world.get("blueprints").await.expect(200), json!([]));
    // The same is told of a deployment, and of the document of one.
    check(world.put("deployments/shop", &text).await.problem(400, "bad-document"), expected);
    let document = format!("{text}kind: deployments\nname: shop\n");
    check(world.put("deployments/shop", &document).await.problem(400, "bad-document"), expected);
}

#[tokio::test]
async fn what_comes_later_may_be_missing_and_what_a_deployment_must_have_is_warned_of() {
    let world = World::start().await;
    let stored = world.put("blueprints/later", "clusters: {web: {breed: web:1, scale: small, sla: fast}}").await;
    assert!(stored.expect(201)["warnings"].is_null());
    world
        .put("breeds/web:1", &format!("{{{DEPLOYABLE}, env: {{TOKEN: ~}}, dependencies: {{db: store}}}}"))
        .await
        .expect(201);
    let stored = world.put("blueprints/part", "clusters: {web: web:1}").await.expect(201);
    let warning = stored["warnings"][0]["message"].as_str().unwrap();
    assert!(
        warning.contains("blueprint `part` can't be deployed by itself")
            && warning.contains("depends on `store` (as `db`)")
            && warning.contains("`TOKEN` of breed `web:1` has no value"),
        "{warning}"
    );
    // What it needs runs in a deployment: it goes there.
    let rest =
        format!("{{clusters: {{store: {{name: store, {DEPLOYABLE}}}, web: {{breed: web:1, env: {{TOKEN: x}}}}}}}}");
    world.put("deployments/shop", &rest).await.expect(201);
    let again = "{clusters: {web: web:1}, env: {web.TOKEN: y}}";
    assert!(world.put("blueprints/more", again).await.expect(201)["warnings"].to_string().contains("store"));
    world.put("deployments/shop", "more").await.expect(200);
    // Applied, it is checked with what runs, and nothing is told of it alone.
    let applied = "{kind: blueprints, name: shop, clusters: {web: web:1}}";
    let stored = world.put("?deploy=true", applied).await.expect(200);
    assert!(!stored.to_string().contains("by itself"), "{stored:#}");
}

#[tokio::test]
async fn one_call_tells_what_is_wrong_with_all_its_documents() {
    let world = World::start().await;
    let text = "
- {kind: blueprints, name: a, clusters: {web: nowhere}}
- {kind: deployments, name: b, clusters: {web: nowhere}}
- {kind: workflows, name: w, breed: nowhere, schedule: daemon}
- {kind: blueprints, name: c, clusters: {web: {name: x, deployable: i, dependencies: {y: z}}}}
- {kind: deployments, name: d, clusters: {web: {breed: nowhere, scale: nowhere}}}
";
    check(
        world.put("", text).await.problem(400, "bad-document"),
        &[
            (3, "/1/clusters/web", "there is no breed `nowhere`"),
            (6, "/4/clusters/web/breed", "there is no breed `nowhere`"),
            (6, "/4/clusters/web/scale", "there is no scale `nowhere`"),
            (4, "/2/breed", "breed `nowhere`, which does not exist"),
            (5, "/3/clusters/web/dependencies/y", "depends on `z`"),
        ],
    );
    // With a table that can't be made either.
    let text = "
- {kind: workflows, name: w, breed: nowhere, schedule: daemon}
- {kind: gateways, name: g, routes: {'[192.0.2.1:80]': {condition: {reference: c}}}}
";
    let refused = world.put("", text).await.problem(400, "bad-document").clone();
    let lines: Vec<_> = violations(&refused).into_iter().map(|(line, ..)| line).collect();
    assert_eq!(lines, [2, 3], "{refused:#}");
}

#[tokio::test]
async fn what_is_wrong_with_a_gateway_of_a_deployment_is_told_where_the_blueprint_has_it() {
    let world = World::start().await;
    world.put("gateways/taken", "port: 9050\nroutes: {'[192.0.2.1:80]': {}}").await.expect(201);
    let blueprint = format!(
        "name: shop
clusters:
  web: {{breed: {{name: web:1, {DEPLOYABLE}, ports: {{http: 8080/http}}}}}}
gateways:
  9050: web/http
"
    );
    let expected: &[(u64, &str, &str)] = &[(5, "/gateways/9050", "9050")];
    check(world.put("deployments/other", &blueprint).await.problem(400, "bad-document"), expected);
    let applied = world.put("?deploy=true", &format!("kind: blueprints\n{blueprint}")).await;
    check(applied.problem(400, "bad-document"), &[(6, "/gateways/9050", "9050")]);
    let two = format!("kind: conditions\nname: c\ncondition: path is /\n---\nkind: blueprints\n{blueprint}");
    let applied = world.put("?deploy=true", &two).await;
    check(applied.problem(400, "bad-document"), &[(10, "/1/gateways/9050", "9050")]);
}

#[tokio::test]
async fn a_gateway_is_not_held_to_what_the_deployment_would_no_longer_be() {
    let world = World::start().await;
    let first = format!("{{name: web:1, {DEPLOYABLE}, ports: {{http: 8080/http}}}}");
    world.put("deployments/shop", &format!("clusters: {{web: {{breed: {first}}}}}")).await.expect(201);
    let text = "
- {kind: blueprints, name: shop, clusters: {web: {services: [{breed: nowhere}]}}}
- kind: gateways
  name: shop/web/http
  routes: {shop/web/web:1/http: {weight: 90%}, shop/web/nowhere/http: {weight: 10%}}
";
    let refused = world.put("?deploy=true", text).await.problem(400, "bad-document").clone();
    check(&refused, &[(2, "/0/clusters/web/services/0/breed", "there is no breed `nowhere`")]);
}

#[tokio::test]
async fn a_fault_is_told_of_the_document_of_its_own_kind() {
    let world = World::start().await;
    let text = format!(
        "
- {{kind: deployments, name: shop, clusters: {{web: {{name: web:1, {DEPLOYABLE}}}}}}}
- {{kind: blueprints, name: shop, clusters: {{web: {{name: web:2, {DEPLOYABLE}, dependencies: {{db: store}}}}}}}}
"
    );
    let refused = world.put("", &text).await.problem(400, "bad-document").clone();
    check(&refused, &[(3, "/1/clusters/web/dependencies/db", "depends on `store`")]);
}
