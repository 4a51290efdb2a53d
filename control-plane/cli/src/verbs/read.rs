//! `vamp get` and `vamp describe`.

use serde_json::Value;

use super::{print_as_is, rollout, split};
use crate::arguments::{DescribeArguments, GetArguments, Output};
use crate::client::{Answer, Client, Request};
use crate::failure::Failure;
use crate::output::{cell, print, table};

/// LIMIT: the largest page that the API gives.
const PAGE: u32 = 1_000;

/// Shows one artifact, or all of a kind.
pub(crate) async fn get(arguments: GetArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let output = arguments.output.output;
    if let Some(name) = &arguments.name {
        let path = [arguments.kind, name];
        let answer = client.send(Request { output, ..Request::get(&path) }).await?;
        return match output {
            Output::Table => print(&rows(arguments.kind, &[answer.json()])),
            Output::Yaml | Output::Json => print_as_is(&answer, output),
        };
    }
    let mut all = Vec::new();
    for page in 1_u32.. {
        let query = vec![("page", page.to_string()), ("per_page", PAGE.to_string())];
        // Pages of YAML lists are one list when they stand below each other.
        let answer = client.send(Request { query, output, ..Request::get(&[arguments.kind]) }).await?;
        let has_more = answer.has_more;
        if output == Output::Yaml {
            print_page(&answer, page)?;
        } else if let Value::Array(items) = answer.json() {
            all.extend(items);
        }
        if !has_more {
            break;
        }
    }
    match output {
        Output::Table => print(&rows(arguments.kind, &all)),
        Output::Json => print(&serde_json::to_string_pretty(&all).unwrap_or_default()),
        Output::Yaml => Ok(()),
    }
}

fn print_page(answer: &Answer, page: u32) -> Result<(), Failure> {
    if page > 1 && answer.text.trim() == "[]" { Ok(()) } else { print(&answer.text) }
}

/// The cells of one artifact.
type Row = fn(&Value) -> Vec<String>;

/// The table of a kind.
fn rows(kind: &str, artifacts: &[Value]) -> String {
    let (headings, row): (&[&str], Row) = match kind {
        "gateways" => (&["NAME", "PORT", "STICKY", "ROUTES"], gateway_row),
        "routes" => (&["NAME", "WEIGHT", "CONDITION", "STRENGTH"], route_row),
        "conditions" => (&["NAME", "CONDITION"], condition_row),
        "breeds" => (&["NAME", "DEPLOYABLE", "PORTS"], breed_row),
        "blueprints" | "deployments" => (&["NAME", "CLUSTERS", "GATEWAYS"], topology_row),
        _ => (&["NAME"], |artifact| vec![member(artifact, "name")]),
    };
    table(headings, &artifacts.iter().map(row).collect::<Vec<_>>())
}

fn member(value: &Value, name: &str) -> String {
    value.get(name).map_or_else(|| "-".to_owned(), cell)
}

fn gateway_row(gateway: &Value) -> Vec<String> {
    let routes = gateway.get("routes").and_then(Value::as_object).into_iter().flatten();
    let routes: Vec<_> = routes.map(|(path, route)| format!("{path} {}", member(route, "weight"))).collect();
    vec![member(gateway, "name"), member(gateway, "port"), member(gateway, "sticky"), routes.join(", ")]
}

/// A condition is written out or named.
fn condition_text(route: &Value) -> String {
    match route.get("condition") {
        Some(Value::Object(condition)) => {
            condition.get("condition").or_else(|| condition.get("reference")).map_or_else(|| "-".to_owned(), cell)
        }
        Some(other) => cell(other),
        None => "-".to_owned(),
    }
}

fn route_row(route: &Value) -> Vec<String> {
    vec![member(route, "name"), member(route, "weight"), condition_text(route), member(route, "condition_strength")]
}

fn condition_row(condition: &Value) -> Vec<String> {
    vec![member(condition, "name"), condition_text(condition)]
}

fn breed_row(breed: &Value) -> Vec<String> {
    let deployable = breed.get("deployable").and_then(|deployable| deployable.get("definition"));
    let ports = breed.get("ports").and_then(Value::as_object).into_iter().flatten();
    let ports: Vec<_> = ports.map(|(name, port)| format!("{name} {}", cell(port))).collect();
    vec![member(breed, "name"), deployable.map_or_else(|| "-".to_owned(), cell), ports.join(", ")]
}

/// Clusters with their services, and gateways.
fn topology_row(topology: &Value) -> Vec<String> {
    let of = |name: &str| topology.get(name).and_then(Value::as_object).into_iter().flatten();
    let breed = |service: &Value| {
        let breed = service.get("breed");
        let name = breed.and_then(|breed| breed.get("name").or_else(|| breed.get("reference")));
        name.map_or_else(|| "?".to_owned(), cell)
    };
    let clusters: Vec<_> = of("clusters")
        .map(|(name, cluster)| {
            let services: Vec<_> = super::items(cluster, "services").map(breed).collect();
            format!("{name} ({})", services.join(", "))
        })
        .collect();
    let gateways: Vec<_> = of("gateways").map(|(key, _)| key.clone()).collect();
    vec![member(topology, "name"), clusters.join(", "), gateways.join(", ")]
}

/// Shows one artifact with what is known around it.
pub(crate) async fn describe(arguments: DescribeArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let (kind, name) = (arguments.kind, arguments.name.as_str());
    let path = [kind, name];
    let document = client.send(Request { output: Output::Yaml, ..Request::get(&path) }).await?;
    let version = document.etag.as_deref().unwrap_or("-").trim_matches('"');
    print(&format!("{kind}/{name}, version {version}\n\n{}", document.text))?;
    if kind == "gateways" {
        let answer = client.send(Request::get(&[kind, name, "split"])).await?.json();
        print(&format!("\nSplit\n{}", split::tables(&answer)))?;
        let answer = client.send(Request::get(&["rollout"])).await?.json();
        print(&format!("\nRollout\n{}", rollout::tables(&answer)))?;
    }
    if kind == "deployments" {
        let answer = client.send(Request::get(&[kind, name, "status"])).await?.json();
        print(&format!("\nStatus\n{}", super::deploy::states(&answer)))?;
    }
    let history = client.send(Request::get(&[kind, name, "history"])).await?.json();
    let versions: Vec<_> = history
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| vec![member(version, "version"), member(version, "at"), member(version, "deleted")])
        .collect();
    print(&format!("\nHistory\n{}", table(&["VERSION", "AT", "DELETED"], &versions)))
}
