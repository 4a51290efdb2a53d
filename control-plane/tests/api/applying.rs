//! Blueprints that are stored and deployed in one change, and those that come from Docker Compose files.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, send, yaml_of};

const BOTH: &str = "
kind: blueprints
name: shop
gateways: {9050: web/http}
clusters:
  web:
    services:
    - {breed: {name: 'web:1', deployable: {type: command, definition: i}, ports: {http: 80/http}}}
    - {breed: {name: 'web:2', deployable: {type: command, definition: i}, ports: {http: 80/http}}}
    gateways: {http: {routes: {'web:1': {weight: 90%}, 'web:2': {weight: 10%}}}}
";

async fn weights(world: &World) -> Value {
    let gateway = world.get("gateways/shop/web/http").await.expect(200);
    gateway["routes"].as_object().unwrap().values().map(|route| route["weight"].clone()).collect()
}

#[tokio::test]
async fn a_blueprint_is_stored_and_deployed_in_one_change() {
    let world = World::start().await;
    // Told before: one answer, one list of changes, for the blueprint and for all that follows.
    let tried = world.put("?deploy=true&validate_only=true", BOTH).await.expect(200);
    let changes = tried[0]["changes"].as_array().unwrap();
    let told: Vec<_> = changes.iter().map(|change| change["name"].as_str().unwrap()).collect();
    assert_eq!(told, ["shop", "shop", "shop/web/http", "shop/9050"], "{tried:#}");
    assert_eq!(world.get("blueprints").await.expect(200), json!([]));

    let made = world.put("?deploy=true", BOTH).await.expect(201);
    let kinds: Vec<_> = made.as_array().unwrap().iter().map(|made| made["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["blueprints", "deployments"]);
    // A list has no tag: each of its artifacts tells its version, and that is no part of what is written.
    let versions = |made: &Value| -> Vec<_> {
        made.as_array().unwrap().iter().map(|made| made["stored_version"].as_u64()).collect()
    };
    assert_eq!((versions(&made), versions(&tried)), (vec![Some(1); 2], vec![None; 2]));
    let again = world.put("?deploy=true", &made[0].to_string()).await.expect(200);
    assert_eq!(again[0]["unchanged"], true, "{again:#}");
    assert_eq!(weights(&world).await, json!(["90%", "10%"]));
    assert_eq!(world.get("audit/changes").await.expect(200).as_array().unwrap().len(), 1);

    // What was moved since stays; the same again is no change at all.
    let moved = BOTH.replace("kind: blueprints", "").replace("90%", "50%").replace("10%", "50%");
    world.put("deployments/shop", &moved).await.expect(200);
    let before = world.last_event().await;
    world.put("?deploy=true", BOTH).await.expect(200);
    assert_eq!((weights(&world).await, world.last_event().await), (json!(["50%", "50%"]), before));
    let moved = world.put("?deploy=true", &BOTH.replace("90%", "80%").replace("10%", "20%")).await.expect(200);
    assert_eq!(weights(&world).await, json!(["80%", "20%"]));
    assert!(moved[1]["kind"] == "deployments" && moved[1].get("unchanged").is_none(), "its gateway was: {moved:#}");

    // Services that are named no longer are left, and who is to say so is told how.
    let one =
        BOTH.lines().filter(|line| !line.contains("name: 'web:2'") && !line.contains("weight")).collect::<Vec<_>>();
    let left = world.put("?deploy=true", &one.join("\n")).await.expect(200);
    assert!(left[0]["warnings"].to_string().contains("`vamp undeploy shop web/web:2`"), "{left:#}");
    assert_eq!(weights(&world).await, json!(["80%", "20%"]));
}

#[tokio::test]
async fn old_clients_store_blueprints_and_deploy_nothing() {
    let world = World::start().await;
    world.put("blueprints/shop", BOTH).await.expect(201);
    world.put("", BOTH).await.expect(200);
    assert_eq!(world.get("deployments").await.expect(200), json!([]));
    world.put("blueprints/shop?deploy=true", BOTH).await.problem(400, "bad-request");
    // Stored so it is what the file is compared with.
    world.put("?deploy=true", BOTH).await.expect(200);
    assert_eq!(weights(&world).await, json!(["90%", "10%"]));
}

#[tokio::test]
async fn kind_and_name_are_enough_to_delete_several() {
    let world = World::start().await;
    let breed = "{kind: breeds, name: 'web:1', deployable: i}";
    let condition = "{kind: conditions, name: beta, condition: has cookie beta}";
    let gateway = "{kind: gateways, name: shop, port: 9050, routes: {'[192.0.2.1:80]': {condition: {ref: beta}}}}";
    world.put("", &format!("[{breed}, {condition}, {gateway}]")).await.expect(201);
    let delete = |yaml: &'static str| yaml_of(world.ask(Method::DELETE, ""), yaml);
    // What is used is not deleted alone, and together with its user it is.
    send(delete("kind: conditions\nname: beta")).await.problem(409, "in-use");
    send(delete("[{kind: conditions, name: beta}, {kind: instances, name: a/b/c}]")).await.problem(400, "bad-request");
    send(delete("kind: conditions")).await.problem(400, "bad-document");
    let deleted = send(delete("[{kind: conditions, name: beta}, {kind: gateways, name: shop, port: none}]")).await;
    assert_eq!(deleted.expect(200).as_array().unwrap().len(), 2);
    let one = send(delete("kind: breeds\nname: web:1")).await.expect(200).clone();
    assert_eq!(one["name"], "web:1", "{one:#}");
    for kind in ["breeds", "conditions", "gateways"] {
        assert_eq!(world.get(kind).await.expect(200), json!([]), "{kind}");
    }
}

#[tokio::test]
async fn what_can_not_be_deployed_is_not_stored_either() {
    let world = World::start().await;
    let text = "kind: conditions\nname: c\ncondition: path is /\n---\nkind: blueprints\nname: shop\nclusters: {web: 'web:9'}\n";
    let refused = world.put("?deploy=true", text).await.problem(400, "bad-document").clone();
    let violation = &refused["violations"][0];
    assert_eq!((&violation["line"], &violation["pointer"]), (&json!(7), &json!("/1/clusters/web")), "{refused:#}");
    assert_eq!(world.get("blueprints").await.expect(200), json!([]));
    assert_eq!(world.get("conditions").await.expect(200), json!([]));
    // In any order: what is referred to comes later in the text.
    let breed = "---\nkind: breeds\nname: web:9\ndeployable: {type: command, definition: i}\nports: {http: 80}\n";
    world.put("?deploy=true", &format!("{text}{breed}")).await.expect(201);
    assert_eq!(world.get("deployments/shop").await.expect(200)["name"], "shop");
}

const COMPOSE: &str = "
# A shop
services:
  web: {image: app, ports: ['9070:80'], environment: {DB: 'tcp://db:5432/'}, volumes: ['./src:/src']}
  db: {image: 'postgres:16'}
";

#[tokio::test]
async fn a_docker_compose_file_becomes_a_blueprint_that_deploys() {
    // It is not asked: nothing is started before the change is kept.
    let world = World::start_with(&["--docker-host", "unix:///no/such/engine"]).await;
    let import = async |query: &str| {
        let request = world.ask(Method::POST, &format!("docker-compose{query}"));
        let answer = request.header("content-type", "application/x-yaml").body(COMPOSE).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = import("?name=shop&validate_only=true").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("# - line 4, services.web.volumes.0: it needs the engine's host"), "{text}");
    assert_eq!(world.get("blueprints").await.expect(200), json!([]));
    // What is printed is taken as it is, comments and all.
    world.put("?deploy=true&validate_only=true", &text).await.expect(200);
    let (status, stored) = import("?name=shop").await;
    assert_eq!((status, &stored), (201, &text));
    let deployed = world.post("deployments", "reference: shop").await.expect(201);
    let breed = &deployed["clusters"]["web"]["services"][0]["breed"];
    assert_eq!(breed["environment_variables"]["DB"], "tcp://$db.host:$db.ports.port_5432/");
    assert_eq!(world.get("gateways/shop/9070").await.expect(200)["port"], "9070/http");
    assert_eq!(
        world.get("gateways/shop/db/port_5432").await.expect(200)["port"].as_str().unwrap().split('/').nth(1),
        Some("tcp")
    );

    world.post("docker-compose?name=shop", COMPOSE).await.problem(409, "exists");
    world.post("docker-compose", COMPOSE).await.problem(400, "bad-request");
    let refused =
        world.post("docker-compose?name=x", "services:\n  a: {build: .}").await.problem(400, "bad-document").clone();
    assert_eq!(refused["violations"][0]["line"], 2, "{refused:#}");
}

#[tokio::test]
async fn a_stream_of_logs_is_taken_up_only_by_its_own_words() {
    let world = World::start().await;
    world.put("?deploy=true", BOTH).await.expect(201);
    let ask = world.ask(Method::GET, "deployments/shop/logs/stream").header("last-event-id", "seven");
    crate::world::send(ask).await.problem(400, "bad-request");
    // Nothing runs now, and will again: who goes on waits for it.
    let ask = world.ask(Method::GET, "deployments/shop/logs/stream").header("last-event-id", "a-1=7.1=0.0");
    assert_eq!(ask.send().await.unwrap().status().as_u16(), 200);
    let ask = world.ask(Method::GET, "deployments/none/logs/stream").header("last-event-id", "a-1=7.1=0.0");
    crate::world::send(ask).await.problem(404, "not-found");
}
