//! Deployments through the API, whose programs are nowhere: what is kept, and what is refused.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, send, yaml_of};

const SHOP: &str = "
name: shop
gateways: {9050: web/http}
clusters:
  web:
    breed: {name: 'web:1', deployable: {type: command, definition: serve}, ports: {http: 8080/http}}
    scale: {cpu: 0.5, memory: 64MB, instances: 2}
";
const CANARY: &str = "clusters: {web: {breed: {name: 'web:2', deployable: {type: command, definition: serve}, ports: {http: 8080/http}}}}";

async fn weights(world: &World) -> Value {
    let gateway = world.get("gateways/shop/web/http").await.expect(200);
    let routes = gateway["routes"].as_object().unwrap();
    routes.iter().map(|(path, route)| (path.clone(), route["weight"].clone())).collect()
}

#[tokio::test]
async fn a_deployment_comes_grows_and_goes() {
    let world = World::start().await;
    let deployed = world.post("deployments", SHOP).await.expect(201);
    assert_eq!((&deployed["name"], &deployed["kind"]), (&json!("shop"), &json!("deployments")));
    assert_eq!(world.get("gateways/shop/9050").await.expect(200)["port"], "9050/http");
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%"}));

    world.put("deployments/shop", CANARY).await.expect(200);
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%", "shop/web/web:2/http": "0%"}));

    let scale = "deployments/shop/clusters/web/services/web:2/scale";
    assert_eq!(world.get(scale).await.expect(200), json!({"cpu": 1, "memory": "1000.00MB", "instances": 1}));
    world.put(scale, "{cpu: 100m, memory: 1Gi, instances: 3}").await.expect(200);
    assert_eq!(world.get(scale).await.expect(200)["memory"], "1073.741824MB");

    let sla = "deployments/shop/clusters/web/sla";
    world.get(sla).await.problem(404, "not-found");
    world
        .put(
            sla,
            "{type: escalation_only, escalations: [{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}]}",
        )
        .await
        .expect(200);
    assert_eq!(world.get(sla).await.expect(200)["type"], "escalation_only");
    send(world.ask(Method::DELETE, sla)).await.expect(200);
    world.get(sla).await.problem(404, "not-found");

    let refused = send(world.ask(Method::DELETE, "deployments/shop/clusters/web/services/web:1")).await;
    let refused = refused.problem(400, "bad-document");
    assert!(refused["message"].as_str().unwrap().contains("still gets 100%"), "{refused:#}");
    send(world.ask(Method::DELETE, "deployments/shop/clusters/web/services/web:2")).await.expect(200);
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%"}));

    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    assert_eq!(world.get("gateways").await.expect(200), json!([]));
    world.get("deployments/shop").await.problem(404, "not-found");
    send(world.ask(Method::DELETE, "deployments/shop")).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_deletion_with_a_body_removes_the_services_that_it_names_and_no_others() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    world.put("deployments/shop", CANARY).await.expect(200);
    let delete = |path: &str, body: &str| send(yaml_of(world.ask(Method::DELETE, path), body));
    let both = json!({"shop/web/web:1/http": "100%", "shop/web/web:2/http": "0%"});
    for (path, head) in [("deployments/shop", ""), ("", "kind: deployments\nname: shop\n")] {
        let named = |service: &str| format!("{head}clusters: {{web: '{service}'}}");
        for (service, status) in [("nope:9", 404), ("web:1", 400)] {
            delete(path, &named(service)).await.expect(status);
            assert_eq!(weights(&world).await, both, "{path} {service}");
        }
        let dry = delete(&format!("{path}?validate_only=true"), &named("web:2")).await.expect(200);
        let removed: Vec<_> =
            dry["changes"].as_array().unwrap().iter().filter(|change| change["action"] == "delete").collect();
        assert!(removed.is_empty(), "{removed:?}");
        let left = delete(path, &named("web:2")).await.expect(200);
        assert_eq!(left["clusters"]["web"]["services"].as_array().unwrap().len(), 1, "{left:#}");
        assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%"}));
        world.put("deployments/shop", CANARY).await.expect(200);
    }
    let nothing = "{name: shop, clusters: {}}";
    let refused = delete("deployments/shop", nothing).await.problem(400, "bad-request").clone();
    let put = world.put("deployments/shop?delete=true", nothing).await.problem(400, "bad-request").clone();
    assert_eq!(put["detail"], refused["detail"]);
    delete("deployments/shop", "reference: nothing").await.problem(404, "not-found");
    // A body that can't be read is not taken for none.
    send(world.ask(Method::DELETE, "deployments/shop").body("clusters: {}"))
        .await
        .problem(415, "unsupported-media-type");
    assert_eq!(weights(&world).await, both);
    // All that is exported is all of it.
    let all = world.get("deployments/shop?as_blueprint=true").await.expect(200);
    delete("deployments/shop", &all.to_string()).await.expect(200);
    assert_eq!(world.get("gateways").await.expect(200), json!([]));
    world.post("deployments", SHOP).await.expect(201);
    delete("", "{kind: deployments, name: shop}").await.expect(200);
    world.get("deployments/shop").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_goes_along_with_a_service_is_told() {
    let world = World::start().await;
    let backend =
        SHOP.replace("9050: web/", "9051: backend/").replace("'web:1'", "'back:1'").replace("  web:\n", "  backend:\n");
    world.post("deployments", SHOP).await.expect(201);
    let merged = world.put("deployments/shop", &backend).await.expect(200);
    let is_told = |answer: &Value| answer["warnings"].to_string().contains(" along");
    assert!(!is_told(&merged), "{merged:#}");
    let answer = send(yaml_of(world.ask(Method::DELETE, "deployments/shop"), "clusters: {backend: 'back:1'}")).await;
    let told = answer.expect(200)["warnings"].to_string();
    assert!(told.contains("takes gateway `shop/9051` along"), "{told}");
    let left = world.get("gateways").await.expect(200);
    let names: Vec<_> = left.as_array().unwrap().iter().map(|gateway| gateway["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop/9050", "shop/web/http"]);
    // With all of it goes what everybody expects to go.
    let gone = send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    assert!(!is_told(&gone), "{gone:#}");
}

#[tokio::test]
async fn what_is_exported_deploys_the_same_again() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    world.put("deployments/shop", CANARY).await.expect(200);
    let before = weights(&world).await;
    let blueprint = world.get("deployments/shop?as_blueprint=true").await.expect(200);
    assert_eq!(blueprint["kind"], "blueprints");
    let all = world.get("deployments?as_blueprint=true&per_page=10").await;
    assert_eq!((all.header("x-total-count"), &all.body), (Some("1"), &json!([blueprint])));
    assert!(all.header("link").unwrap().contains("as_blueprint=true&page=1"), "{all:?}");
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    world.put("blueprints/shop", &blueprint.to_string()).await.expect(201);
    world.post("deployments", "reference: shop").await.expect(201);
    assert_eq!(weights(&world).await, before);
    // Also as one document among others, and without a word of its kind in the address.
    let shown = world.get("deployments/shop").await.expect(200);
    world.put("", &shown.to_string()).await.expect(200);
    assert_eq!(weights(&world).await, before);
}

#[tokio::test]
async fn a_deployment_that_is_only_validated_leaves_nothing() {
    let world = World::start().await;
    world.post("deployments?validate_only=true", SHOP).await.expect(200);
    assert_eq!(world.get("deployments").await.expect(200), json!([]));
    assert_eq!(world.get("gateways").await.expect(200), json!([]));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_place() {
    let world = World::start().await;
    let refused =
        world.post("deployments", "{name: shop, clusters: {web: 'web:9'}}").await.problem(400, "bad-document").clone();
    assert!(refused["message"].as_str().unwrap().contains("there is no breed `web:9`"), "{refused:#}");
    world.post("deployments", "reference: nothing").await.problem(404, "not-found");
    world.post("deployments", "{name: shop, clusters: {}, colour: red}").await.problem(400, "bad-document");
    world.post("deployments", SHOP).await.expect(201);
    // A gateway of a cluster is the deployment's, but for what it does with its routes.
    send(world.ask(Method::DELETE, "gateways/shop/9050")).await.problem(400, "bad-document");
    send(world.ask(Method::DELETE, "gateways/shop/web/http")).await.problem(409, "in-use");
    world.put("gateways/shop/web/http", "routes: {'[127.0.0.1:1]': {}}").await.problem(400, "bad-document");
    let mut gateway = world.get("gateways/shop/web/http").await.expect(200);
    gateway["sticky"] = json!("route");
    world.put("gateways/shop/web/http", &gateway.to_string()).await.expect(200);
    world.put("", "{kind: instances, name: shop/web/web:1}").await.problem(400, "bad-request");
    for (path, part) in [
        ("clusters/wbe/services/web:1/scale", "no service `web:1` in a cluster `wbe`"),
        ("clusters/wbe/sla", "no cluster `wbe`"),
    ] {
        let missing = world.get(&format!("deployments/shop/{path}")).await.problem(404, "not-found").clone();
        assert!(missing["message"].as_str().unwrap().contains(part), "{missing:#}");
    }
}

#[tokio::test]
async fn what_can_not_be_run_here_is_refused_when_it_is_deployed() {
    let world = World::start().await;
    let of = |deployable: &str| SHOP.replace("{type: command, definition: serve}", deployable);
    for (deployable, part) in [
        ("{type: rkt, definition: x}", "nothing runs deployables of the type `container/rkt` here"),
        ("nginx", "nothing runs deployables of the type `container/docker` here"),
        ("{type: command, definition: sh}, arguments: [{privileged: 'true'}]", "argument `privileged`"),
    ] {
        for query in ["", "?validate_only=true"] {
            let refused = world.post(&format!("deployments{query}"), &of(deployable)).await;
            let violation = refused.problem(400, "bad-document")["violations"][0].to_string();
            assert!(violation.contains(part), "{violation}");
        }
        // A description is kept: who runs it may come later.
        world.put("blueprints/shop", &of(deployable)).await;
        world.get("blueprints/shop").await.expect(200);
    }
    for (program, is_known) in [("/no/such/prog", false), ("sh", true)] {
        let deployable = format!("{{type: command, definition: {program}}}");
        let planned = world.post("deployments?validate_only=true", &of(&deployable)).await.expect(200);
        let warnings = planned["warnings"].to_string();
        assert_eq!(!warnings.contains("is not a program here yet"), is_known, "{planned:#}");
    }
}

#[tokio::test]
async fn what_was_deployed_before_can_be_changed_without_its_driver() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    let World { running, store, breaker, folder, client } = world;
    running.stop().await;
    let address = format!("unix://{}", folder.path().join("no-engine").display());
    let world = World::start_on(folder, store, breaker, client, &["--docker-host", &address]).await;
    let failed = world.get_where("deployments/shop/status", |status| status["services"][0]["phase"] == "Failed").await;
    assert!(failed["services"][0]["message"].as_str().unwrap().contains("--process-dir"), "{failed:#}");
    assert_eq!(failed["done"], false);
    let scale = "{cpu: 0.5, memory: 64MB, instances: 1}";
    world.put("deployments/shop/clusters/web/services/web:1/scale", scale).await.expect(200);
    world.put("deployments/shop", CANARY).await.problem(400, "bad-document");
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
}

/// A deployment without why it failed: a start that is tried again meanwhile may fail for another reason.
fn without_words(shown: &Value) -> Value {
    let mut shown = shown.clone();
    assert!(shown["status"].as_object_mut().unwrap().remove("message").is_some(), "{shown:#}");
    let phase = &mut shown["clusters"]["web"]["services"][0]["status"]["phase"];
    assert!(phase.as_object_mut().unwrap().remove("notification").is_some());
    shown
}

#[tokio::test]
async fn a_deployment_shows_what_runs_of_it_and_can_be_sent_back() {
    let world = World::start_with(&["--gateway-host", "10.0.0.2"]).await;
    world.post("deployments", SHOP).await.expect(201);
    let shown = world.get_where("deployments/shop", |shown| shown["status"]["phase"] == "Failed").await;
    assert_eq!((&shown["status"]["ready"], &shown["status"]["wanted"]), (&json!(0), &json!(2)), "{shown:#}");
    let port = world.get("gateways/shop/web/http").await.expect(200)["port"].as_str().unwrap().replace("/http", "");
    assert_eq!((&shown["ports"], &shown["hosts"]), (&json!({"web.http": port}), &json!({"web": "10.0.0.2"})));
    let service = &shown["clusters"]["web"]["services"][0];
    assert_eq!(service["status"]["phase"]["name"], "Failed");
    assert!(service["status"]["phase"]["notification"].as_str().unwrap().contains("`serve`"), "{service:#}");
    assert_eq!(service["health"], json!({"staged": 0, "running": 0, "healthy": 0, "unhealthy": 0}));
    let listed = world.get("deployments").await.expect(200);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#}");
    assert_eq!(without_words(&listed[0]), without_words(&shown));
    // What changes without a new version is told to who knows the version, too.
    let again = send(world.ask(Method::GET, "deployments/shop").header("if-none-match", "\"1\"")).await;
    assert_eq!(again.expect_ref(200).header("etag"), Some("\"1\""));
    for form in ["as_blueprint=true", "only_references=true"] {
        let other = world.get(&format!("deployments/shop?{form}")).await.expect(200);
        assert!(other.get("status").is_none() && other.get("ports").is_none(), "{form}: {other:#}");
    }
    let sent = send(world.ask(Method::PUT, "deployments/shop").json(&shown)).await;
    assert_eq!(sent.expect_ref(200).header("etag"), Some("\"1\""), "it says what is there already");
}

#[tokio::test]
async fn an_old_version_of_a_deployment_comes_back_without_moving_traffic() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    let first = world.get("deployments/shop/history/1").await.expect(200);
    world.put("deployments/shop", CANARY).await.expect(200);
    let gateway = "gateways/shop/web/http";
    let mut weighed = world.get(gateway).await.expect(200);
    weighed["routes"]["shop/web/web:1/http"]["weight"] = json!("50%");
    weighed["routes"]["shop/web/web:2/http"]["weight"] = json!("50%");
    world.put(gateway, &weighed.to_string()).await.expect(200);

    // What still gets traffic is not taken away, and the mend is named.
    let restore = "deployments/shop/history/1/restore";
    let refused = world.post(restore, "").await.problem(400, "bad-document").clone();
    let violation = refused["violations"][0].to_string();
    assert!(violation.contains("still gets 50%") && violation.contains("vamp gateway set-weights"), "{refused:#}");
    weighed["routes"]["shop/web/web:1/http"]["weight"] = json!("100%");
    weighed["routes"]["shop/web/web:2/http"]["weight"] = json!("0%");
    world.put(gateway, &weighed.to_string()).await.expect(200);
    let tried = world.post(&format!("{restore}?validate_only=true"), "").await.expect(200);
    assert_eq!(tried["changes"].as_array().unwrap().len(), 2, "{tried:#}");
    send(world.ask(Method::POST, restore).header("if-match", "\"1\"")).await.problem(412, "version-mismatch");
    let restored = send(world.ask(Method::POST, restore).header("if-match", "\"2\"")).await;
    assert_eq!(restored.header("etag"), Some("\"3\""));
    assert_eq!(restored.expect(200), first, "it is what it was");
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%"}));

    // The way forward again: the version comes back at nothing.
    world.post("deployments/shop/history/2/restore", "").await.expect(200);
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%", "shop/web/web:2/http": "0%"}));
    // What was removed as a whole comes back as a whole.
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    world.post("deployments/shop/history/5/restore", "").await.problem(404, "not-found");
    world.post(restore, "").await.expect(201);
    assert_eq!(world.get("gateways/shop/9050").await.expect(200)["port"], "9050/http");
    world.post("deployments/never/history/1/restore", "").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_deployment_that_was_removed_comes_back_with_the_shares_that_it_had() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    world.put("deployments/shop", CANARY).await.expect(200);
    let both = world.get("deployments/shop?only_references=true").await.expect(200);
    let gateway = "gateways/shop/web/http";
    let mut weighed = world.get(gateway).await.expect(200);
    weighed["routes"]["shop/web/web:1/http"]["weight"] = json!("90%");
    weighed["routes"]["shop/web/web:2/http"]["weight"] = json!("10%");
    weighed["routes"]["shop/web/web:2/http"]["condition"] = json!("has cookie beta");
    weighed["port"] = Value::Null;
    world.put(gateway, &weighed.to_string()).await.expect(200);
    let outer = world.get("gateways/shop/9050").await.expect(200);
    let inner = world.get(gateway).await.expect(200);
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);

    world.post("deployments/shop/history/2/restore", "").await.expect(201);
    assert_eq!(world.get("deployments/shop?only_references=true").await.expect(200), both);
    let after = world.get(gateway).await.expect(200);
    assert_eq!((&after["routes"], &after["sticky"]), (&inner["routes"], &inner["sticky"]));
    assert_eq!(world.get("gateways/shop/9050").await.expect(200), outer);
    // An older version has less, and that takes what fits; what does not make a whole begins with the first.
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    world.post("deployments/shop/history/1/restore", "").await.expect(201);
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%"}));
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    world.post("deployments/shop/history/2/restore", "").await.expect(201);
    assert_eq!(weights(&world).await, json!({"shop/web/web:1/http": "100%", "shop/web/web:2/http": "0%"}));
}

#[tokio::test]
async fn changes_of_a_deployment_go_through_at_the_version_that_they_saw() {
    let world = World::start().await;
    let service = "deployments/shop/clusters/web/services/web:2";
    let (scale, sla) = (format!("{service}/scale"), "deployments/shop/clusters/web/sla");
    let promise =
        "{type: escalation_only, escalations: [{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}]}";
    let put = |path: &str, body: &str| yaml_of(world.ask(Method::PUT, path), body);
    let create = put("deployments/shop", SHOP);
    send(create.try_clone().unwrap().header("if-match", "\"1\"")).await.problem(412, "version-mismatch");
    send(create.try_clone().unwrap().header("if-none-match", "*")).await.expect(201);
    send(create.header("if-none-match", "*")).await.problem(412, "version-mismatch");
    world.put("deployments/shop", CANARY).await.expect(200);
    let asks = || {
        vec![
            yaml_of(world.ask(Method::POST, "deployments"), SHOP),
            put("deployments/shop", CANARY),
            put("deployments/shop?delete=true", CANARY),
            put(&scale, "{cpu: 1, memory: 64MB, instances: 3}"),
            put(sla, promise),
            world.ask(Method::DELETE, sla),
            world.ask(Method::POST, "deployments/shop/history/1/restore"),
            world.ask(Method::DELETE, service),
            yaml_of(world.ask(Method::DELETE, "deployments/shop"), CANARY),
            world.ask(Method::DELETE, "deployments/shop"),
        ]
    };
    // What runs of it is no version.
    let before = world.get("deployments/shop?only_references=true").await;
    for request in asks() {
        let what = format!("{request:?}");
        let answer = send(request.header("if-match", "\"99\"")).await;
        assert_eq!(answer.status, 412, "{what}: {}", answer.text);
    }
    for request in asks().into_iter().filter(|ask| format!("{ask:?}").contains("DELETE")) {
        send(request.header("if-none-match", "*")).await.problem(400, "bad-request");
    }
    let after = world.get("deployments/shop?only_references=true").await;
    assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body));
    let tag = before.header("etag").unwrap();
    let scaled = send(put(&scale, "{cpu: 1, memory: 64MB, instances: 3}").header("if-match", tag)).await;
    assert_ne!(scaled.header("etag"), Some(tag));
    scaled.expect(200);
    send(world.ask(Method::DELETE, service).header("if-match", tag)).await.problem(412, "version-mismatch");
    send(world.ask(Method::DELETE, service).header("if-match", "*")).await.expect(200);
}

#[tokio::test]
async fn a_part_of_a_deployment_is_written_at_the_version_at_which_it_was_read() {
    let world = World::start().await;
    world.post("deployments", SHOP).await.expect(201);
    let (scale, sla) = ("deployments/shop/clusters/web/services/web:1/scale", "deployments/shop/clusters/web/sla");
    let promise =
        "{type: escalation_only, escalations: [{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}]}";
    let put = |path: &str, tag: Option<&str>, body: &str| {
        send(yaml_of(world.ask(Method::PUT, path), body).header("if-match", tag.unwrap().to_owned()))
    };
    let read = world.get(scale).await;
    assert_eq!(read.header("etag"), Some("\"1\""));
    assert_eq!(world.get("deployments/shop").await.header("etag"), read.header("etag"));
    // Somebody else is served in between.
    world.put(sla, promise).await.expect(200);
    let more = "{cpu: 0.5, memory: 64MB, instances: 3}";
    let refused = put(scale, read.header("etag"), more).await;
    refused.problem(412, "version-mismatch");
    assert_eq!(world.get(scale).await.expect(200)["instances"], 2);
    let promised = world.get(sla).await;
    assert_eq!(world.get(scale).await.header("etag"), promised.header("etag"));
    put(scale, world.get(scale).await.header("etag"), more).await.expect(200);
    assert_eq!(world.get(scale).await.expect(200)["instances"], 3);
    put(sla, promised.header("etag"), promise).await.problem(412, "version-mismatch");
}

#[tokio::test]
async fn the_history_says_what_happened_to_a_deployment() {
    let world = World::start().await;
    world.put("", &format!("kind: deployments{SHOP}")).await.expect(201);
    world.put("deployments/shop", CANARY).await.expect(200);
    let clusters = "{clusters: {web: 'web:2'}}";
    world.put("deployments/shop?delete=true", clusters).await.expect(200);
    send(world.ask(Method::DELETE, "deployments/shop")).await.expect(200);
    let history = world.get("deployments/shop/history").await.expect(200);
    let told: Vec<_> = history.as_array().unwrap().iter().map(|version| version["cause"].as_str().unwrap()).collect();
    assert_eq!(
        told,
        [
            "DELETE /api/v1/deployments/shop: `shop` removed with all its services",
            "PUT /api/v1/deployments/shop: web/web:2 removed from `shop`",
            "PUT /api/v1/deployments/shop: blueprint `shop` merged into `shop`",
            "PUT /api/v1: blueprint `shop` merged into `shop`",
        ]
    );
}

#[tokio::test]
async fn many_that_refer_to_ports_are_deployed_at_once() {
    let world = World::start().await;
    let of = |number: usize| {
        let breed = |name: &str, port: &str, more: &str| {
            format!(
                "{{breed: {{name: '{name}:{number}', deployable: {{type: command, definition: serve}}, ports: {{{port}}}{more}}}}}"
            )
        };
        let needs = format!(", dependencies: {{db: 'db:{number}'}}, environment_variables: {{STORE: $db.ports.sql}}");
        let web = breed("web", "http: 8080/http", &needs);
        format!("{{name: shop{number}, clusters: {{db: {}, web: {web}}}}}", breed("db", "sql: 5432/tcp", ""))
    };
    let deployed = futures_util::future::join_all((0..24).map(|number| {
        let blueprint = of(number);
        let world = &world;
        async move { world.post("deployments", &blueprint).await }
    }));
    for answer in deployed.await {
        answer.expect(201);
    }
    assert_eq!(world.get("gateways?per_page=100").await.expect(200).as_array().unwrap().len(), 48);
}
