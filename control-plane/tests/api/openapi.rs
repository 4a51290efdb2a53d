//! The served OpenAPI document is true: each operation is done once, on an instance where it can be done, and what is
//! answered is as the document says, with every member that it promises.

mod schema;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::metrics::{ROUTE, admin};
use crate::world::{World, send};

/// One operation, done once.
struct Example {
    method: Method,
    template: String,
    parameters: Vec<(&'static str, String)>,
    query: &'static str,
    body: Option<Value>,
    /// A body that is no document, and its media type.
    raw: Option<(&'static str, &'static str)>,
    /// Why it can't be done here; it is refused then, and a scenario does it.
    refused: Option<&'static str>,
}

fn example(method: Method, template: &str) -> Example {
    let template = format!("/api/v1{template}");
    Example { method, template, parameters: Vec::new(), query: "", body: None, raw: None, refused: None }
}

impl Example {
    fn of(mut self, parameter: &'static str, value: &str) -> Self {
        self.parameters.push((parameter, value.to_owned()));
        self
    }

    fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn raw(self, media_type: &'static str, text: &'static str) -> Self {
        Self { raw: Some((media_type, text)), ..self }
    }

    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    fn refused(self, why: &'static str) -> Self {
        Self { refused: Some(why), ..self }
    }

    fn path(&self) -> String {
        let escaped = |value: &str| value.replace('[', "%5B").replace(']', "%5D");
        let fill = |path: String, (name, value): &(&str, String)| path.replace(&format!("{{{name}}}"), &escaped(value));
        let path = self.parameters.iter().fold(self.template.clone(), fill);
        assert!(!path.contains('{'), "{} {path}: give the example its parameters", self.method);
        format!("{path}{}", self.query)
    }
}

const NO_INSTANCE: &str =
    "nothing runs in this test; the scenario `what_runs_is_told_of_as_the_openapi_document_says` reads it";

/// A document of a kind, but for its name.
fn document_of(kind: &str) -> Value {
    let breed = json!({"deployable": {"type": "command", "definition": "serve"}, "ports": {"http": "8080/http"}});
    let escalation = json!({"type": "scale_instances", "minimum": 1, "maximum": 3, "scale_by": 1});
    match kind {
        "gateways" => {
            json!({"routes": {ROUTE: {"weight": "100%", "condition": "path is /a", "condition_strength": "50%"}}})
        }
        "routes" => {
            json!({"weight": "50%", "condition": "has cookie beta", "rewrites": [{"path": "/x if path is /y"}]})
        }
        "conditions" => json!({"condition": "has cookie beta"}),
        "breeds" => breed,
        "blueprints" => json!({"clusters": {"web": "example"}}),
        "scales" => json!({"cpu": 0.5, "memory": "64MB", "instances": 1}),
        "slas" => json!({"type": "escalation_only", "escalations": [escalation]}),
        "escalations" => escalation,
        "rewrites" => json!({"path": "/x if path is /y"}),
        "workflows" => {
            json!({"breed": {"name": "watch", "deployable": {"type": "command", "definition": "watch"}}, "schedule": {"event": ["health"]}})
        }
        "templates" => json!({"definition": {"clusters": {"web": "example"}}}),
        kind => panic!("documents of the kind `{kind}` have no example here: give them one"),
    }
}

fn named(kind: &str, name: &str) -> Value {
    let mut document = document_of(kind);
    document["name"] = name.into();
    document["kind"] = kind.into();
    document
}

/// What is asked of artifacts of a kind, from the first one to the restored one.
fn of_kind(kind: &str) -> Vec<Example> {
    let all = format!("/{kind}");
    let one = format!("/{kind}/{{name}}");
    let old = format!("{one}/history/{{version}}");
    let of = |method, template: &str| example(method, template).of("name", "a").of("version", "1");
    vec![
        example(Method::POST, &all).body(named(kind, "a")),
        example(Method::PUT, &all).body(json!([named(kind, "a"), named(kind, "b")])),
        of(Method::PUT, &one).query("?validate_only=true").body(document_of(kind)),
        of(Method::PUT, &one).query("?wait=50ms").body(document_of(kind)),
        example(Method::GET, &all),
        of(Method::GET, &one),
        of(Method::DELETE, &one),
        of(Method::GET, &format!("{one}/history")),
        of(Method::GET, &old),
        of(Method::GET, &format!("{old}/diff")),
        of(Method::POST, &format!("{old}/restore")),
    ]
}

const SERVICE: &str = "/deployments/{name}/clusters/{cluster}/services/{service}";
const SLA: &str = "/deployments/{name}/clusters/{cluster}/sla";

fn of_deployments() -> Vec<Example> {
    let blueprint = |version: &str| {
        let mut breed = document_of("breeds");
        breed["name"] = format!("web:{version}").into();
        json!({"name": "shop", "gateways": {"9051": "web/http"}, "clusters": {"web": {"services": [{"breed": breed}]}}})
    };
    let scale = document_of("scales");
    let sla = document_of("slas");
    let of = |method, template: &str| {
        example(method, template)
            .of("name", "shop")
            .of("version", "1")
            .of("cluster", "web")
            .of("service", "web:2")
            .of("port", "http")
            .of("metric", "rate")
    };
    let old = "/deployments/{name}/history/{version}";
    let counted = "/metrics/deployments/{name}/clusters/{cluster}";
    let health = "/health/deployments/{name}";
    vec![
        of(Method::POST, "/deployments").body(blueprint("1")),
        of(Method::PUT, "/deployments/{name}").body(json!({
            "clusters": {"web": blueprint("2")["clusters"]["web"]}
        })),
        of(Method::GET, "/deployments"),
        of(Method::GET, "/deployments/{name}"),
        of(Method::GET, "/deployments/{name}/status"),
        of(Method::GET, &format!("{SERVICE}/scale")),
        of(Method::PUT, &format!("{SERVICE}/scale")).body(scale),
        of(Method::POST, SLA).body(sla.clone()),
        of(Method::PUT, SLA).body(sla),
        of(Method::GET, SLA),
        of(Method::DELETE, SLA),
        of(Method::GET, &format!("{counted}/ports/{{port}}/{{metric}}")),
        of(Method::GET, &format!("{counted}/services/{{service}}/ports/{{port}}/{{metric}}")),
        of(Method::GET, health),
        of(Method::GET, &format!("{health}/clusters/{{cluster}}")),
        of(Method::GET, &format!("{health}/clusters/{{cluster}}/services/{{service}}")),
        of(Method::GET, "/deployments/{name}/logs").refused(NO_INSTANCE),
        of(Method::GET, "/deployments/{name}/logs/stream").refused(NO_INSTANCE),
        of(Method::DELETE, SERVICE),
        of(Method::GET, "/deployments/{name}/history"),
        of(Method::GET, old),
        of(Method::GET, &format!("{old}/diff")),
        of(Method::DELETE, "/deployments/{name}"),
        of(Method::POST, &format!("{old}/restore")),
    ]
}

fn of_instances() -> Vec<Example> {
    let of = |template: &str| example(Method::GET, template).of("name", "shop/web/web:1").of("version", "1");
    let old = "/instances/{name}/history/{version}";
    let read = ["/instances/{name}", "/instances/{name}/history", old, &format!("{old}/diff")].map(of);
    let refused = read.map(|example| example.refused(NO_INSTANCE));
    [example(Method::GET, "/instances")].into_iter().chain(refused).collect()
}

/// What is asked of everything else, beside a gateway `a` that a process serves.
fn of_the_rest() -> Vec<Example> {
    let get = |template: &str| example(Method::GET, template).of("name", "a").of("route", ROUTE).of("metric", "rate");
    let outside = |path: &str| Example { template: path.to_owned(), ..example(Method::GET, "") };
    let conditions = json!([named("conditions", "x"), named("conditions", "y")]);
    vec![
        example(Method::POST, "").body(conditions.clone()),
        example(Method::PUT, "").query("?validate_only=true").body(conditions.clone()),
        example(Method::PUT, "").body(conditions.clone()),
        example(Method::DELETE, "").body(conditions),
        example(Method::PUT, "/breeds/{name}").of("name", "script").raw("application/javascript", "run()"),
        example(Method::POST, "/breeds/{name}").of("name", "other-script").raw("application/javascript", "run()"),
        example(Method::POST, "/docker-compose")
            .query("?name=composed")
            .body(json!({"services": {"web": {"image": "a"}}})),
        get("/gateways/{name}/split"),
        example(Method::POST, "/gateways/{name}/explain").of("name", "a").body(json!({"target": "/a"})),
        get("/metrics/gateways/{name}"),
        get("/metrics/gateways/{name}/{metric}"),
        get("/metrics/gateways/{name}/routes/{route}/{metric}"),
        get("/health/gateways/{name}"),
        get("/health/gateways/{name}/routes/{route}"),
        get("/rollout"),
        get("/info"),
        get("/config").query("?flatten=true"),
        example(Method::GET, "/config/{name}").of("name", "vamp.namespace"),
        get("/configuration"),
        example(Method::GET, "/configuration/{name}").of("name", "vamp.gateway-driver.host"),
        get("/schemas"),
        example(Method::GET, "/schemas/{name}").of("name", "gateways"),
        get("/audit/changes"),
        get("/audit/verify"),
        example(Method::POST, "/events").body(json!({"tags": ["a:b"], "value": 1})),
        example(Method::POST, "/events").body(json!([{"tags": "a:b", "type": "metrics"}])),
        get("/events"),
        get("/events").query("?aggregator=max"),
        get("/events").body(json!({"tags": ["a:b"], "aggregator": {"type": "count"}})),
        get("/events/stream"),
        outside("/live"),
        outside("/ready"),
        outside("/openapi.json"),
    ]
}

async fn document(world: &World) -> Value {
    send(world.client.get(world.url("/openapi.json"))).await.expect(200)
}

/// Every operation of the document by its id, with its address and method.
fn operations(document: &Value) -> BTreeMap<(String, String), String> {
    let paths = document["paths"].as_object().unwrap().iter();
    let of_path = |(path, methods): (&String, &Value)| {
        let of_method = |(method, operation): (&String, &Value)| {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            ((method.to_uppercase(), path.clone()), id)
        };
        methods.as_object().unwrap().iter().map(of_method).collect::<Vec<_>>()
    };
    paths.flat_map(of_path).collect()
}

async fn check(world: &World, document: &Value, example: &Example) {
    let path = example.path();
    let mut request = world.client.request(example.method.clone(), world.url(&path));
    if let Some(body) = &example.body {
        request = request.json(body);
    }
    if let Some((media_type, text)) = example.raw {
        request = request.header("content-type", media_type).body(text);
    }
    let what = format!("{} {path}", example.method);
    let operation = &document["paths"][&example.template][example.method.as_str().to_lowercase()];
    let sent = example.raw.map(|(media_type, _)| media_type).or(example.body.as_ref().map(|_| "application/json"));
    let described = |sent: &str| operation["requestBody"]["content"][sent]["schema"].is_object();
    assert!(sent.is_none_or(described), "{what}: a body that is {sent:?} is not described");
    let responses = &operation["responses"];
    let described = |status: &str, media_type: &str| {
        let content = &responses[status]["content"][media_type]["schema"];
        assert!(!content.is_null(), "{what}: {status} with {media_type} is not described");
        content.clone()
    };
    // A stream has no end to be read to.
    if example.template.ends_with("/stream") && example.refused.is_none() {
        let answer = request.send().await.unwrap();
        let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200, "{what}");
        described("200", &media_type);
        return;
    }
    let answer = send(request).await;
    match example.refused {
        Some(why) => assert_eq!(answer.status, 404, "{what} ({why}): {}", answer.text),
        None => assert!(answer.status.is_success(), "{what} can be done here: {} {}", answer.status, answer.text),
    }
    let media_type = answer.header("content-type").unwrap();
    let schema = described(answer.status.as_str(), media_type);
    let body = match media_type {
        "application/yaml" => vamp_model::read_value(&answer.text, vamp_model::Format::Yaml).unwrap(),
        _ => answer.body.clone(),
    };
    schema::fits(document, &schema, &body).unwrap_or_else(|why| panic!("{what}: {why}\n{body:#}"));
    // Pages are told of with lists, versions with single artifacts; what is only checked has none yet.
    let of_answer: &[&str] = if answer.body.is_array() { &["X-Total-Count", "Link"] } else { &["ETag", "Location"] };
    let promised = responses[answer.status.as_str()]["headers"].as_object().into_iter().flatten();
    let missing: Vec<_> = promised
        .map(|(name, _)| name)
        .filter(|name| of_answer.contains(&name.as_str()) && answer.header(name.as_str()).is_none())
        .collect();
    assert!(missing.is_empty() || example.query.contains("validate_only"), "{what}: without {missing:?}");
}

#[tokio::test]
async fn each_operation_of_the_document_can_be_done_and_answers_as_it_says() {
    let world = World::start().await;
    let document = document(&world).await;
    let info = world.get("info").await.expect(200);
    let kinds = info["kinds"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap());
    world.register_at("g1", None, &admin().await).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    // Blueprints name it.
    world.post("breeds", &named("breeds", "example").to_string()).await.expect(201);

    let mut examples = Vec::new();
    for kind in kinds {
        match kind {
            "deployments" => examples.extend(of_deployments()),
            "instances" => examples.extend(of_instances()),
            kind => examples.extend(of_kind(kind)),
        }
    }
    examples.extend(of_the_rest());
    let operations = operations(&document);
    let mut done = BTreeSet::new();
    for example in &examples {
        let key = (example.method.to_string(), example.template.clone());
        let id = operations.get(&key).unwrap_or_else(|| panic!("{key:?} is not in the document"));
        if example.template.contains("/metrics/") || example.template.contains("/health/gateways") {
            until_counted(&world, &example.path()).await;
        }
        check(&world, &document, example).await;
        done.insert(id.clone());
    }
    let missing: Vec<_> = operations.values().filter(|id| !done.contains(*id)).collect();
    assert!(missing.is_empty(), "operations without an example here, give them one each: {missing:?}");
}

/// What is counted is known some moments after the first question.
async fn until_counted(world: &World, path: &str) {
    let path = path.trim_start_matches("/api/v1/");
    let until = tokio::time::Instant::now() + crate::world::PATIENCE;
    while world.get(path).await.status == 404 {
        assert!(tokio::time::Instant::now() < until, "{path} is never known");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_refused_is_described() {
    let world = World::start().await;
    let document = document(&world).await;
    world.put("conditions/beta", "condition: has cookie beta").await.expect(201);
    world.put("routes/r", "condition: {reference: beta}").await.expect(201);
    let of = |method, template| example(method, template).of("name", "bad").of("version", "1");
    let refusals = [
        (of(Method::PUT, "/gateways/{name}").body(json!({"port": 70_000})), 400),
        (of(Method::GET, "/gateways/{name}"), 404),
        (example(Method::DELETE, "/conditions/{name}").of("name", "beta"), 409),
        (example(Method::POST, "/conditions").body(named("conditions", "beta")), 409),
        (of(Method::GET, "/deployments/{name}"), 404),
        (of(Method::GET, "/gateways").query("?per_page=0"), 400),
    ];
    for (example, status) in refusals {
        let mut request = world.client.request(example.method.clone(), world.url(&example.path()));
        if let Some(body) = &example.body {
            request = request.json(body);
        }
        let answer = send(request).await;
        answer.expect_ref(status);
        let method = example.method.as_str().to_lowercase();
        let content = &document["paths"][&example.template][method]["responses"][answer.status.as_str()]["content"];
        let schema = &content["application/problem+json"]["schema"];
        schema::fits(&document, schema, &answer.body).unwrap_or_else(|why| panic!("{why}\n{:#}", answer.body));
    }
}
