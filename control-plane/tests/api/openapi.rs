//! The served OpenAPI document is true: every address in it answers, and what is answered is as it says.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, gateway, send};

async fn document(world: &World) -> Value {
    send(world.client.get(world.url("/openapi.json"))).await.expect(200)
}

#[tokio::test]
async fn every_address_of_the_document_answers() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let document = document(&world).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let url = world.url(&path.replace("{name}", "shop").replace("{version}", "1"));
            let method: Method = method.to_uppercase().parse().unwrap();
            let described = operation["responses"].as_object().unwrap();
            // A stream has no end to be read to.
            if path.ends_with("/stream") {
                let status = world.client.request(method, url).send().await.unwrap().status();
                assert!(described.contains_key(status.as_str()), "{path}: {status} is not described");
                continue;
            }
            let answer = send(world.client.request(method.clone(), url)).await;
            let status = answer.status.as_u16();
            assert!(described.contains_key(&status.to_string()), "{method} {path}: {status} is not described");
            assert!(answer.body["type"] != "urn:vamp:problem:unknown-address" && status != 405, "{method} {path}");
        }
    }
}

/// Every member of an answer must be one that the schema names.
fn check(document: &Value, schema: &Value, answer: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        return check(document, schema, answer, place);
    }
    let alternatives = schema["anyOf"].as_array().or(schema["allOf"].as_array());
    if let Some(alternatives) = alternatives {
        let fitting = alternatives.iter().find(|schema| takes(document, schema, answer));
        let fitting = fitting.unwrap_or_else(|| panic!("{place}: nothing takes {answer:#}"));
        return check(document, fitting, answer, place);
    }
    if let (Some(items), Some(answers)) = (schema.get("items"), answer.as_array()) {
        for answer in answers {
            check(document, items, answer, &format!("{place}/*"));
        }
    }
    let (Some(members), Some(properties)) = (answer.as_object(), schema["properties"].as_object()) else { return };
    for (name, value) in members {
        let schema = properties.get(name).unwrap_or_else(|| panic!("{place}/{name} is in no schema: {value}"));
        check(document, schema, value, &format!("{place}/{name}"));
    }
}

fn takes(document: &Value, schema: &Value, answer: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        return takes(document, document.pointer(reference.trim_start_matches('#')).unwrap(), answer);
    }
    let sort = match answer {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
    };
    match &schema["type"] {
        Value::Array(types) => types.iter().any(|name| name == sort),
        Value::String(name) => name == sort,
        _ => true,
    }
}

async fn check_answer(world: &World, document: &Value, method: &str, path: &str, template: &str, body: Option<Value>) {
    let method: Method = method.parse().unwrap();
    let mut request = world.client.request(method.clone(), world.url(path));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = send(request).await;
    let responses = &document["paths"][template][method.as_str().to_lowercase()]["responses"];
    let described = &responses[answer.status.as_str()]["content"];
    let media_type = answer.header("content-type").unwrap();
    check(document, &described[media_type]["schema"], &answer.body, &format!("{method} {path}"));
    assert!(described.get(media_type).is_some(), "{method} {path} {}: {media_type}", answer.status);
}

#[tokio::test]
async fn answers_have_no_member_that_the_document_does_not_name() {
    let world = World::start().await;
    let document = document(&world).await;
    let condition = json!({"name": "beta", "condition": "has cookie beta"});
    let route = json!({"condition": {"reference": "beta"}, "rewrites": [{"path": "/x if path is /y"}]});
    let shop = json!({"routes": {
        "[192.0.2.1:80]": {"weight": "90%", "condition": "path is /a", "condition_strength": "50%"},
        "[192.0.2.2:80]": {"weight": "10%"}
    }});
    let checks = [
        ("POST", "/api/v1/conditions", "/api/v1/conditions", Some(condition)),
        ("PUT", "/api/v1/routes/new", "/api/v1/routes/{name}", Some(route)),
        ("PUT", "/api/v1/gateways/new?validate_only=true", "/api/v1/gateways/{name}", Some(shop.clone())),
        ("PUT", "/api/v1/gateways/shop?wait=5s", "/api/v1/gateways/{name}", Some(shop.clone())),
        ("PUT", "/api/v1/gateways/shop", "/api/v1/gateways/{name}", Some(shop)),
        ("PUT", "/api/v1/gateways/bad", "/api/v1/gateways/{name}", Some(json!({"port": 70000}))),
        ("DELETE", "/api/v1/conditions/beta", "/api/v1/conditions/{name}", None),
        ("GET", "/api/v1/gateways", "/api/v1/gateways", None),
        ("GET", "/api/v1/gateways/shop", "/api/v1/gateways/{name}", None),
        ("GET", "/api/v1/routes/new", "/api/v1/routes/{name}", None),
        ("GET", "/api/v1/gateways/shop/history", "/api/v1/gateways/{name}/history", None),
        ("GET", "/api/v1/gateways/shop/history/1", "/api/v1/gateways/{name}/history/{version}", None),
        ("GET", "/api/v1/gateways/shop/split", "/api/v1/gateways/{name}/split", None),
        ("POST", "/api/v1/gateways/shop/explain", "/api/v1/gateways/{name}/explain", Some(json!({}))),
        ("GET", "/api/v1/metrics/gateways/shop", "/api/v1/metrics/gateways/{name}", None),
        ("GET", "/api/v1/rollout", "/api/v1/rollout", None),
        ("GET", "/api/v1/info", "/api/v1/info", None),
        ("GET", "/api/v1/schemas", "/api/v1/schemas", None),
        ("GET", "/api/v1/gateways/shop/history/1/diff", "/api/v1/gateways/{name}/history/{version}/diff", None),
        ("POST", "/api/v1/events", "/api/v1/events", Some(json!({"tags": ["a:b"], "value": 1}))),
        ("GET", "/api/v1/events", "/api/v1/events", None),
        ("GET", "/api/v1/events?aggregator=max", "/api/v1/events", None),
        ("GET", "/api/v1/audit/changes", "/api/v1/audit/changes", None),
        ("GET", "/api/v1/audit/verify", "/api/v1/audit/verify", None),
        ("GET", "/live", "/live", None),
        ("GET", "/ready", "/ready", None),
    ];
    world.register("g1", None).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    for (method, path, template, body) in checks {
        // Nobody acknowledges: a shorter wait is enough to see the form of the answer.
        let path = path.replace("wait=5s", "wait=50ms");
        check_answer(&world, &document, method, &path, template, body).await;
    }
}
