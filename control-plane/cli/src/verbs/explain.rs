//! `vamp explain`: which route a request would take, and why.

use reqwest::Method;
use serde_json::{Value, json};

use super::{items, text};
use crate::arguments::ExplainArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::show;
use crate::output::table;

/// Asks what the gateway would decide.
pub(crate) async fn explain(arguments: ExplainArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let mut headers = serde_json::Map::new();
    for (name, value) in &arguments.header {
        let values = headers.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
        if let Some(values) = values.as_array_mut() {
            values.push(value.as_str().into());
        }
    }
    let mut asked = json!({"method": arguments.method, "target": arguments.path, "headers": headers});
    if let (Some(asked), Some(source)) = (asked.as_object_mut(), arguments.source) {
        asked.insert("source".to_owned(), source.to_string().into());
    }
    let path = ["gateways", &arguments.gateway, "explain"];
    let body = Some(("application/json", asked.to_string()));
    let answer = client.send(Request { body, ..Request::new(Method::POST, &path) }).await?.json();
    show(&answer, &arguments.asking.output.output, |_| told(&answer))
}

fn told(explanation: &Value) -> String {
    let route = match text(explanation, "route") {
        "" => "no route",
        route => route,
    };
    let mut told = format!("{route}, decided by {}\n", text(explanation, "decided_by"));
    if let Some(path) = explanation.get("rewritten_path").and_then(Value::as_str) {
        told.push_str(&format!("path becomes {path}\n"));
    }
    let rows: Vec<_> = items(explanation, "rules")
        .map(|rule| ["gateway", "route", "rule", "result"].iter().map(|part| text(rule, part).to_owned()).collect())
        .collect();
    told.push_str(&format!("\n{}", table(&["GATEWAY", "ROUTE", "RULE", "RESULT"], &rows)));
    told
}
