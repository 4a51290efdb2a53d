//! What is told of instances is as the served OpenAPI document says. Its other operations are held against it where nothing
//! runs, by the tests of the REST API, whose reader of schemas this is.

#[path = "../../../control-plane/tests/api/openapi/schema.rs"]
mod schema;

use serde_json::Value;
use vamp_tests::components::http_client;
use vamp_tests::eventually;
use vamp_tests::installation::{Installation, PATIENCE};

use crate::blueprints::service;

struct Reader {
    installation: Installation,
    client: reqwest::Client,
    document: Value,
}

impl Reader {
    async fn ask(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.installation.address())).send().await.unwrap()
    }

    /// What is said of a good answer of this operation.
    fn described(&self, template: &str) -> &Value {
        let described = &self.document["paths"][template]["get"]["responses"]["200"];
        assert!(described.is_object(), "{template} is in the document");
        described
    }

    /// Asks an operation of the document, and holds its answer and its header fields against that.
    async fn check(&self, template: &str, name: &str) -> Value {
        let path = template.replace("{name}", name).replace("{version}", "1");
        let answer = self.ask(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let described = self.described(template);
        for header in described["headers"].as_object().into_iter().flatten().map(|(header, _)| header) {
            // One page has no other.
            assert!(header == "Link" || answer.headers().contains_key(header), "{path}: without {header}");
        }
        let body: Value = answer.json().await.unwrap();
        self.fits(&path, &described["content"]["application/json"]["schema"], &body);
        body
    }

    fn fits(&self, what: &str, schema: &Value, body: &Value) {
        assert!(schema.is_object(), "{what} has no schema");
        schema::fits(&self.document, schema, body).unwrap_or_else(|why| panic!("{what}: {why}\n{body:#}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_told_of_as_the_openapi_document_says() {
    let installation = Installation::start().await;
    let client = http_client();
    let document = client.get(format!("{}/openapi.json", installation.address())).send().await.unwrap();
    let reader = Reader { document: document.json().await.unwrap(), installation, client };
    // Without ports, so that it is ready as soon as it runs.
    let program = "deployable: {type: command, definition: \"echo hello; sleep 600\"}";
    let service = service("1", program, 1, &[]).replace("        ports: {http: 8080/http}\n", "");
    let blueprint = format!("name: shop\nclusters:\n  web:\n    services:{service}\n");
    reader.installation.put("deployments/shop", &blueprint).await.expect(&[201]);
    eventually(PATIENCE, "it runs", async || {
        let status = reader.installation.get("deployments/shop/status").await.body;
        (status["done"] == true && status["services"][0]["ready"] == 1).then_some(())
    })
    .await;

    for template in ["/api/v1/deployments", "/api/v1/deployments/{name}", "/api/v1/deployments/{name}/status"] {
        reader.check(template, "shop").await;
    }
    let one = "/api/v1/instances/{name}";
    let name = "shop/web/web:1";
    assert_eq!(reader.check("/api/v1/instances", name).await[0]["name"], name);
    assert_eq!(reader.check(one, name).await["instances"].as_array().map(Vec::len), Some(1));
    assert_ne!(reader.check(&format!("{one}/history"), name).await.as_array().map(Vec::len), Some(0));
    let old = format!("{one}/history/{{version}}");
    reader.check(&old, name).await;
    reader.check(&format!("{old}/diff"), name).await;
    let told = reader.installation.get(&format!("events?tag=instances:{name}&tag=archive:update")).await.expect(&[200]);
    assert!(told.as_array().is_some_and(|told| !told.is_empty()), "{told:#}");

    let logs = "/api/v1/deployments/{name}/logs";
    let lines = eventually(PATIENCE, "it has said something", async || {
        let lines = reader.check(logs, "shop").await;
        lines.as_array().is_some_and(|lines| !lines.is_empty()).then_some(lines)
    })
    .await;
    assert!(lines.to_string().contains("hello"), "{lines:#}");
    let stream = format!("{logs}/stream");
    let text = reader.described(&stream);
    let mut answer = reader.ask(&stream.replace("{name}", "shop")).await;
    let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(text["content"][&media_type]["schema"].is_object(), "a stream that is {media_type} is not described");
    let mut read = String::new();
    let line = loop {
        let line = read.lines().find_map(|line| line.strip_prefix("data: "));
        if let Some(line) = line.filter(|_| read.ends_with("\n\n")) {
            break serde_json::from_str(line).unwrap();
        }
        let chunk = answer.chunk().await.unwrap().expect("a stream has no end");
        read.push_str(std::str::from_utf8(&chunk).unwrap());
    };
    let of_lines = &reader.described(logs)["content"]["application/json"]["schema"]["items"];
    reader.fits("a line of the stream", of_lines, &line);
}
