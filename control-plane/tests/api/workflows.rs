//! Workflows and stored rewrites by the ways that all kinds have.

use reqwest::Method;
use serde_json::json;

use crate::world::{World, send};

const BREED: &str = "{deployable: {type: javascript, definition: 'run()'}, env: {THRESHOLD: ~}}";
const WORKFLOW: &str =
    "{breed: check, scale: small, schedule: {event: [health, 'deployments:shop']}, env: {THRESHOLD: 0.9}}";

async fn world() -> World {
    let world = World::start().await;
    world.put("breeds/check", BREED).await.expect(201);
    world.put("scales/small", "{cpu: 0.1, memory: 64MB}").await.expect(201);
    world
}

#[tokio::test]
async fn a_workflow_is_kept_and_every_write_says_that_it_does_not_run() {
    let world = world().await;
    let created = world.put("workflows/rollback", WORKFLOW).await.expect(201);
    assert_eq!(created["status"], "suspended");
    let warning = created["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.contains("`rollback` is kept and does not run"), "{created:#}");
    let read = world.get("workflows/rollback").await.expect(200);
    assert_eq!((&read["schedule"]["event"]["tags"][1], read.get("warnings")), (&json!("deployments:shop"), None));
    let same = send(world.ask(Method::PUT, "workflows/rollback").json(&read)).await;
    assert_eq!(same.header("etag"), Some("\"1\""));
    assert!(!same.expect(200)["warnings"].is_null());
    let claimed = world.put("workflows/rollback", &WORKFLOW.replace("{breed", "{status: running, breed")).await;
    let message = claimed.problem(400, "bad-document")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("nothing runs workflows yet (write `suspended`"), "{message}");

    world.put("workflows/rollback", &WORKFLOW.replace("0.9", "0.5")).await.expect(200);
    let restored = send(world.ask(Method::POST, "workflows/rollback/history/1/restore")).await.expect(200);
    assert_eq!(restored["environment_variables"]["THRESHOLD"], "0.9");
    assert_eq!(world.get("workflows/rollback/history").await.expect(200).as_array().unwrap().len(), 3);
    let expanded = world.get("workflows/rollback?expand_references=true").await.expect(200);
    assert_eq!((&expanded["breed"]["name"], &expanded["scale"]["cpu"]), (&json!("check"), &json!(0.1)));
    world.delete("workflows/rollback").await.expect(200);
    world.get("workflows/rollback").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_a_workflow_names_is_there_and_stays_there() {
    let world = world().await;
    let refused = world.put("workflows/w", "{breed: nowhere, scale: large, schedule: daemon}").await;
    let violations = &refused.problem(400, "bad-document")["violations"];
    let places: Vec<_> = violations.as_array().unwrap().iter().map(|found| found["pointer"].clone()).collect();
    assert_eq!(places, [json!("/breed"), json!("/scale")]);
    let refused = world.put("workflows/w", &WORKFLOW.replace("THRESHOLD", "TRESHOLD")).await;
    let message = refused.problem(400, "bad-document")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("breed `check` does not have (it has THRESHOLD)"), "{message}");
    world.put("workflows/w", WORKFLOW).await.expect(201);
    for path in ["breeds/check", "scales/small"] {
        let refused = world.delete(path).await;
        assert_eq!(refused.problem(409, "in-use")["users"], json!([{"kind": "workflows", "name": "w"}]), "{path}");
    }
    // All of it at once, in any order.
    let all = "- {kind: breeds, name: check}\n- {kind: workflows, name: w}\n- {kind: scales, name: small}\n";
    let request = world.ask(Method::DELETE, "").header("content-type", "application/yaml");
    let whole = all
        .replace("name: check", "name: check, deployable: i")
        .replace("name: w", "name: w, breed: check, schedule: daemon")
        .replace("name: small", "name: small, cpu: 1, memory: 1GB");
    send(request.body(whole)).await.expect(200);
}

#[tokio::test]
async fn a_workflow_and_a_deployment_do_not_share_a_name() {
    let world = world().await;
    let shop =
        "{name: shop, clusters: {web: {name: 'web:1', deployable: {type: command, definition: s}, ports: {http: 1}}}}";
    world.post("deployments", shop).await.expect(201);
    let refused = world.put("workflows/shop", WORKFLOW).await;
    let message = refused.problem(400, "bad-document")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("there is a deployment `shop`") && message.contains("choose another name"), "{message}");
    world.put("workflows/other", WORKFLOW).await.expect(201);
    let refused = world.post("deployments", &shop.replace("name: shop", "name: other")).await;
    let message = refused.problem(400, "bad-document")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("there is a workflow `other`"), "{message}");
    world.get("deployments/other").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_stored_rewrite_is_live_in_the_gateways_that_use_it() {
    let world = World::start().await;
    world.put("rewrites/short", "path: /new if path is /old").await.expect(201);
    world.put("routes/canary", "rewrites: short").await.expect(201);
    world.put("gateways/shop", "routes: {\"[192.0.2.1:80]\": canary}").await.expect(201);
    let explained = |path: &'static str| {
        let request = world.ask(Method::POST, "gateways/shop/explain").json(&json!({"target": path}));
        async { send(request).await.expect(200)["rewritten_path"].clone() }
    };
    assert_eq!(explained("/old").await, "/new");
    let before = world.get("rollout").await.expect(200)["revision"].as_u64().unwrap();
    world.put("rewrites/short", "path: /newer if path is /old").await.expect(200);
    assert_eq!(explained("/old").await, "/newer");
    assert_eq!(world.get("rollout").await.expect(200)["revision"].as_u64().unwrap(), before + 1);
    let refused = world.delete("rewrites/short").await;
    assert_eq!(refused.problem(409, "in-use")["users"], json!([{"kind": "routes", "name": "canary"}]));
    let refused = world.put("gateways/shop", "routes: {\"[192.0.2.1:80]\": {rewrites: [nowhere]}}").await;
    let message = refused.problem(400, "bad-document")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("the rewrite `nowhere`, which does not exist"), "{message}");
}

#[tokio::test]
async fn a_script_is_sent_as_it_is_and_becomes_a_breed() {
    let world = World::start().await;
    let send_script = |method: Method, path: &str, script: &str| {
        let request = world.ask(method, path).header("content-type", "application/javascript; charset=utf-8");
        send(request.body(script.to_owned()))
    };
    let script = "import x from 'y'; // \"a\": ${b}\nrun({})\n";
    let made = send_script(Method::PUT, "breeds/check", script).await.expect(201);
    assert_eq!(made["deployable"], json!({"type": "application/javascript", "definition": script}));
    let warning = made["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.contains("breed `check` is kept and does not run"), "{made:#}");
    let read = world.get("breeds/check").await.expect(200);
    assert_eq!((&read["deployable"]["definition"], read.get("warnings")), (&json!(script), None));
    world.put("workflows/w", "{breed: check, schedule: daemon}").await.expect(201);

    send_script(Method::PUT, "breeds/check", "run(2)").await.expect(200);
    send_script(Method::POST, "breeds/check", "run(3)").await.problem(409, "exists");
    assert_eq!(world.get("breeds/check").await.expect(200)["deployable"]["definition"], "run(2)");
    send_script(Method::POST, "breeds/other", "run(3)").await.expect(201);
    send_script(Method::PUT, "breeds/dry?validate_only=true", "run()").await.expect(200);
    world.get("breeds/dry").await.problem(404, "not-found");
    let outdated = world.ask(Method::PUT, "breeds/check").header("if-match", "\"1\"");
    send(outdated.header("content-type", "application/javascript").body("run(4)"))
        .await
        .problem(412, "version-mismatch");

    send_script(Method::PUT, "breeds/empty", " \n").await.problem(400, "bad-request");
    send_script(Method::PUT, "breeds/a%2Fb", "run()").await.problem(400, "bad-document");
    for path in ["conditions/c", "breeds", ""] {
        send_script(Method::PUT, path, "run()").await.problem(415, "unsupported-media-type");
    }
    let document = world.ask(Method::POST, "breeds/plain").header("content-type", "application/yaml");
    send(document.body("deployable: i")).await.expect(201);
    let conditional = world.ask(Method::POST, "breeds/new").header("if-match", "\"1\"");
    send(conditional.header("content-type", "application/yaml").body("deployable: i"))
        .await
        .problem(400, "bad-request");
}
