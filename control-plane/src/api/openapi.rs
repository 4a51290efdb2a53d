//! The OpenAPI document, made from the table of endpoints. `docs/reference/openapi.json` is its checked-in copy.

use std::fmt::Write as _;

use axum::http::Method;
use serde_json::{Map, Value, json};
use vamp_model::Kind;

use super::endpoints::{Endpoint, Endpoints, Preconditions, Schema};
use super::problem::{self, Code};
use super::query::Parameter;
use super::written::SCRIPT;

mod deployables;
mod schemas;

/// Errors that every endpoint can answer.
const COMMON: [Code; 7] = [
    Code::BadRequest,
    Code::BadDocument,
    Code::Unauthorized,
    Code::Forbidden,
    Code::NotAcceptable,
    Code::Busy,
    Code::Internal,
];

/// [`document`] as text, with a line end.
pub(super) fn text(endpoints: &Endpoints) -> String {
    // A tree of texts and numbers always has a text.
    format!("{:#}\n", document(endpoints))
}

/// What every address takes and answers.
pub(super) fn document(endpoints: &Endpoints) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints.iter() {
        let path = paths.entry(endpoint.template.text()).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.as_str().to_ascii_lowercase(), operation(endpoint));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vamp control plane",
            "version": "v1",
            "summary": "Gateways, routes and conditions, what is deployed behind them, and what became of it.",
            "description": "Names of gateways have up to four segments; in an address their `/` is written plain or as `%2F`. A last \
                segment such as `split` belongs to the address: a gateway that is called `a/split` is written `a%2Fsplit`. \
                Every GET also answers HEAD, every address answers OPTIONS. Errors are problem documents (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of the tokens of the token file; `Authorization: token T` is read too. Not needed on a loopback address without a token file.",
                },
            },
        },
    })
}

/// The schemas of everything that is sent and answered, by name.
pub(super) fn components() -> Value {
    schemas::all()
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "parameters": parameters(endpoint),
        "responses": responses(endpoint),
    });
    if let (Some(schema), Some(object)) = (schema(endpoint.body), operation.as_object_mut()) {
        let content = match endpoint.body {
            Schema::Explain => json!({"application/json": {"schema": schema}}),
            body if body.may_be_script() => {
                let mut content = documents(&schema);
                let description = "The script of a workflow: it becomes the definition of a breed of this type.";
                let script = json!({"schema": {"type": "string", "description": description}});
                content.as_object_mut().and_then(|content| content.insert(SCRIPT.to_owned(), script));
                content
            }
            _ => documents(&schema),
        };
        let required = !endpoint.body.may_be_missing();
        object.insert("requestBody".to_owned(), json!({"required": required, "content": content}));
    }
    operation
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let mut parameters = Vec::new();
    let mut add = |name: &str, place: &str, schema: Value, description: &str| {
        parameters.push(json!({
            "name": name, "in": place, "required": place == "path", "schema": schema, "description": description,
        }));
    };
    let template = endpoint.template.text();
    for (name, schema, description) in in_paths() {
        if template.contains(&format!("{{{name}}}")) {
            add(name, "path", schema, description);
        }
    }
    for parameter in endpoint.parameters {
        add(parameter.name(), "query", schema_of(*parameter), parameter.description());
    }
    let tags = || json!({"type": "string", "examples": ["\"3\""]});
    if endpoint.answers.iter().any(|(_, _, schema)| *schema == Schema::Stream) {
        let is_of_logs = endpoint.operation == "followLogs";
        add(
            "Last-Event-ID",
            "header",
            json!({"type": if is_of_logs { "string" } else { "integer" }}),
            if is_of_logs {
                "The last event that came: those after it come first."
            } else {
                "The last event that came: those after it come first. Ahead of the newest there is, it stands for that one."
            },
        );
    }
    if endpoint.preconditions == Preconditions::Write {
        add("If-Match", "header", tags(), "Only when it is at one of these versions, or `*`: at any; else 412.");
    }
    if endpoint.preconditions == Preconditions::Read {
        add("If-None-Match", "header", tags(), "Versions that the client has: then 304.");
    }
    if endpoint.preconditions == Preconditions::Write && endpoint.method != Method::DELETE {
        add("If-None-Match", "header", json!({"const": "*"}), "Only when it does not exist; else 412.");
    }
    parameters
}

/// What stands in paths, with what can stand there.
fn in_paths() -> [(&'static str, Value, &'static str); 7] {
    let text = || json!({"type": "string"});
    [
        ("name", text(), "Its name; `/` may be written plain or as `%2F`."),
        ("version", json!({"type": "integer", "minimum": 1}), "One of its versions."),
        ("cluster", text(), "One of its clusters."),
        ("service", text(), "The breed of one of the cluster's services."),
        ("port", text(), "One of the ports of its services."),
        ("route", text(), "The path of one of its routes; `/` may be written plain or as `%2F`."),
        (
            "metric",
            json!({"type": "string", "examples": ["rate", "responseTime", "errorRate"]}),
            "`rate`: requests in a second; `responseTime`: mean time in milliseconds; `errorRate`: errors in percent; any other \
             is only what was published as `metrics:NAME`.",
        ),
    ]
}

/// What a query parameter can be.
fn schema_of(parameter: Parameter) -> Value {
    match parameter {
        Parameter::ValidateOnly
        | Parameter::AsBlueprint
        | Parameter::Delete
        | Parameter::Deploy
        | Parameter::Flatten
        | Parameter::ExpandReferences
        | Parameter::OnlyReferences => json!({"type": "boolean", "default": false}),
        Parameter::Wait => json!({"type": "string", "examples": ["5s"]}),
        Parameter::Window => json!({"type": "string", "default": "2m", "examples": ["30s"]}),
        Parameter::Page => json!({"type": "integer", "minimum": 1, "default": 1}),
        Parameter::PerPage => {
            json!({"type": "integer", "minimum": 1, "maximum": super::query::PER_PAGE_MAX, "default": 30})
        }
        Parameter::Reason => json!({"type": "string", "maxLength": 500}),
        Parameter::Tag | Parameter::Label => json!({"type": "array", "items": {"type": "string"}}),
        Parameter::Type => json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}),
        Parameter::From | Parameter::Until => json!({"type": "string", "examples": ["now-15m"]}),
        Parameter::Aggregator => json!({"enum": ["count", "average", "min", "max", "sum"]}),
        Parameter::Field => json!({"type": "string", "default": "value", "examples": ["value.cpu"]}),
        Parameter::Below | Parameter::Against => json!({"type": "integer", "minimum": 1}),
        Parameter::Head => json!({"type": "string", "pattern": "^[0-9]+:[0-9a-f]{64}$"}),
        Parameter::Tail => {
            json!({"type": "integer", "minimum": 0, "maximum": super::query::TAIL_LINES_MAX, "default": 100})
        }
        Parameter::Cluster | Parameter::Service | Parameter::Instance | Parameter::Name => json!({"type": "string"}),
        Parameter::Limit => {
            json!({"type": "integer", "minimum": 1, "maximum": super::query::PER_PAGE_MAX, "default": 100})
        }
    }
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    for (status, meaning, schema_of) in &endpoint.answers {
        let mut response = json!({"description": meaning});
        if let (Some(schema), Some(object)) = (schema(*schema_of), response.as_object_mut()) {
            let content = match schema_of {
                Schema::Stream => json!({"text/event-stream": {"schema": schema}}),
                Schema::CommentedBlueprint => json!({"application/yaml": {"schema": schema}}),
                _ => documents(&schema),
            };
            object.insert("content".to_owned(), content);
        }
        if let (Some(headers), Some(object)) = (headers(endpoint, *status), response.as_object_mut()) {
            object.insert("headers".to_owned(), headers);
        }
        responses.insert(status.to_string(), response);
    }
    if endpoint.preconditions == Preconditions::Read {
        responses.insert("304".to_owned(), json!({"description": "The client has this version."}));
    }
    for code in COMMON.iter().chain(endpoint.errors) {
        let entry = responses.entry(code.status().as_str()).or_insert_with(|| {
            let schema = json!({"$ref": "#/components/schemas/Problem"});
            json!({"description": "", "content": {problem::MEDIA_TYPE: {"schema": schema}}})
        });
        if let Some(Value::String(description)) = entry.get_mut("description") {
            let parting = if description.is_empty() { "" } else { " " };
            let _infallible = write!(description, "{parting}{} (`{}`).", code.title(), code.uri());
        }
    }
    responses.sort_keys();
    Value::Object(responses)
}

/// Header fields of an answer that mean something to a client.
fn headers(endpoint: &Endpoint, status: u16) -> Option<Value> {
    let text = |description: &str| json!({"schema": {"type": "string"}, "description": description});
    let is_artifact = |schema: &Schema| {
        matches!(schema, Schema::Artifact(_) | Schema::Version(_) | Schema::Artifacts(_) | Schema::Deployment)
    };
    let holds_artifact = endpoint.answers.iter().any(|(_, _, schema)| is_artifact(schema));
    let is_part = matches!(endpoint.answers.first()?.2, Schema::Scale | Schema::Sla);
    match endpoint.answers.first()?.2 {
        Schema::List(_) | Schema::History | Schema::FoundEvents => Some(json!({
            "X-Total-Count": {"schema": {"type": "integer"}, "description": "How many there are on all pages."},
            "Link": text("The other pages: first, prev, next, last (RFC 8288)."),
        })),
        _ if holds_artifact && endpoint.method != Method::DELETE => {
            let mut headers = json!({"ETag": text("The version, when the answer is one artifact.")});
            if let (201, Some(object)) = (status, headers.as_object_mut()) {
                object.insert("Location".to_owned(), text("Where it is, when it is one."));
            }
            Some(headers)
        }
        _ if is_part && endpoint.method == Method::GET => Some(json!({"ETag": text("The version of the deployment.")})),
        _ => None,
    }
}

/// A document can be had in both ways of writing.
fn documents(schema: &Value) -> Value {
    json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}})
}

pub(super) fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Gateway => "Gateway",
        Kind::Route => "Route",
        Kind::Condition => "Condition",
        Kind::Rewrite => "Rewrite",
        Kind::Breed => "Breed",
        Kind::Scale => "Scale",
        Kind::Sla => "Sla",
        Kind::Escalation => "Escalation",
        Kind::Blueprint => "Blueprint",
        Kind::Deployment => "Deployment",
        Kind::Workflow => "Workflow",
        Kind::Template => "Template",
        Kind::Instances => "Instances",
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn list_of(item: &Value) -> Value {
    json!({"type": "array", "items": item})
}

fn schema(schema: Schema) -> Option<Value> {
    let any = || json!({"anyOf": Kind::ALL.map(|kind| reference(name_of(kind)))});
    Some(match schema {
        Schema::Nothing => return None,
        Schema::Artifact(kind) | Schema::Version(kind) => reference(name_of(kind)),
        Schema::Artifacts(kind) => {
            json!({"anyOf": [reference(name_of(kind)), list_of(&reference(name_of(kind)))]})
        }
        Schema::AnyArtifacts => json!({"anyOf": [any(), list_of(&any())]}),
        Schema::List(Kind::Deployment) => list_of(&json!({"anyOf": [reference("Deployment"), reference("Blueprint")]})),
        Schema::List(kind) => list_of(&reference(name_of(kind))),
        Schema::History => list_of(&reference("Version")),
        Schema::Explain => reference("RequestHead"),
        Schema::Explanation => reference("Explanation"),
        Schema::Split => reference("Split"),
        Schema::Metrics => reference("Metrics"),
        Schema::Rollout => reference("Rollout"),
        Schema::Info => reference("Info"),
        Schema::NewEvents => json!({"anyOf": [reference("NewEvent"), list_of(&reference("NewEvent"))]}),
        Schema::EventQuery => reference("EventQuery"),
        Schema::Events => json!({"anyOf": [reference("Event"), list_of(&reference("Event"))]}),
        Schema::FoundEvents => json!({"anyOf": [list_of(&reference("Event")), reference("Aggregate")]}),
        Schema::Stream => json!({"type": "string"}),
        Schema::Changes => list_of(&reference("Change")),
        Schema::Audit => reference("Audit"),
        Schema::Difference => reference("Difference"),
        Schema::Health => reference("Health"),
        Schema::Number => json!({"type": "number"}),
        Schema::Config => json!({"type": "object", "additionalProperties": true}),
        Schema::Setting => json!({"type": ["string", "number", "boolean"]}),
        Schema::Deployment => json!({"anyOf": [reference("Deployment"), reference("Blueprint")]}),
        Schema::Deploy | Schema::Undeploy => {
            let named = |key: &str| json!({"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": false});
            json!({"anyOf": [
                reference("Blueprint"),
                reference("Deployment"),
                named("reference"),
                named("name"),
                {"type": "string", "description": "The name of a stored blueprint."},
            ]})
        }
        Schema::Scale => reference("ScaleInService"),
        Schema::DeploymentStatus => reference("DeploymentStatus"),
        Schema::Sla => reference("SlaInCluster"),
        Schema::Document => json!({"type": "object"}),
        Schema::LogLines => list_of(&reference("LogLine")),
        Schema::Schemas => list_of(&reference("SchemaAddress")),
        Schema::Compose => json!({"type": "object", "description": "A Docker Compose file."}),
        Schema::CommentedBlueprint => {
            json!({"type": "object", "description": "A blueprint as short as it can be written."})
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Beside the workspace's other references.
    const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");

    #[test]
    fn the_checked_in_copy_is_fresh() {
        let text = text(&Endpoints::new());
        if std::env::var_os("VAMP_UPDATE_GENERATED").is_some() {
            std::fs::write(COPY, &text).unwrap();
        }
        let copy = std::fs::read_to_string(COPY).unwrap_or_default();
        assert!(copy == text, "docs/reference/openapi.json is stale: run this test with VAMP_UPDATE_GENERATED=1");
    }

    #[test]
    fn every_endpoint_is_in_it_under_its_own_name() {
        let endpoints = Endpoints::new();
        let document = document(&endpoints);
        let mut names = HashSet::new();
        for endpoint in endpoints.iter() {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][endpoint.template.text()][method];
            assert_eq!(operation["operationId"], *endpoint.operation);
            assert!(names.insert(endpoint.operation.clone()), "{} is there twice", endpoint.operation);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&Endpoints::new());
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| collect(value, references));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            _ => {}
        }
    }
}
