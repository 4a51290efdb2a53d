//! The verbs of the original's client that are other verbs here, and those that are gone, with what does the same today.

use reqwest::Method;
use serde_json::{Value, json};
use vamp_model::to_yaml;

use super::apply::{name_files, read};
use super::outcome::is_unchanged;
use super::split::{put_gateway, route_meant, weigh};
use super::{after_write, several, tell, text, written};
use crate::arguments::{CreateArguments, EmitArguments, InfoArguments, UpdateGatewayArguments};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::show;

/// Writes the artifacts of a file, all of one kind, which need not say it.
pub(crate) async fn create(arguments: CreateArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let path = arguments.file.as_deref().filter(|_| !arguments.stdin).unwrap_or("-".as_ref());
    let file = read(path)?;
    let body = Some(("application/yaml", file.text.clone()));
    let query = written(&arguments.writing, Some(arguments.waiting));
    let sent = client.send(Request { query, body, ..Request::new(Method::PUT, &[arguments.kind]) }).await;
    let sent = sent.map_err(|failure| name_files(failure, &[file]))?;
    let answer = sent.json();
    let done = if sent.is_created { "created" } else { "applied" };
    let names = several(&answer).iter().map(|artifact| {
        let done = if is_unchanged(artifact) { "unchanged" } else { done };
        format!("{}/{} {done}", arguments.kind, text(artifact, "name"))
    });
    tell(&sent, &arguments.writing, (done, &names.collect::<Vec<_>>().join("\n")))?;
    after_write(&answer, arguments.waiting)
}

/// Gives a route of a gateway a condition, or routes their weights.
pub(crate) async fn update_gateway(arguments: UpdateGatewayArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let (gateway, said) = (&arguments.gateway, &arguments.writing);
    let done = match (&arguments.route, &arguments.condition) {
        (Some(route), Some(condition)) => format!("route {route}: condition {condition}"),
        _ => "weights set".to_owned(),
    };
    let change = |document: &mut Value| match (&arguments.route, &arguments.condition) {
        (Some(route), Some(condition)) => {
            condition_of(document, gateway, route, condition, arguments.strength.as_deref())
        }
        _ => weigh(document, gateway, &arguments.weights),
    };
    put_gateway(&client, gateway, change, (said, arguments.waiting), &done).await
}

fn condition_of(
    document: &mut Value,
    gateway: &str,
    route: &str,
    condition: &str,
    strength: Option<&str>,
) -> Result<(), Failure> {
    let (_, found) = route_meant(document, gateway, route)?;
    let Some(found) = found.as_object_mut() else {
        let what = format!("route `{route}` is stored by itself: change it with `vamp edit route NAME`");
        return Err(Failure::Usage { what });
    };
    if condition == "null" {
        found.remove("condition");
        found.remove("condition_strength");
        return Ok(());
    }
    // Without a strength, the one that it has stays.
    found.insert("condition".to_owned(), condition.into());
    if let Some(strength) = strength {
        found.insert("condition_strength".to_owned(), strength.into());
    }
    Ok(())
}

/// Publishes an event.
pub(crate) async fn emit(arguments: EmitArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let value: Value = serde_json::from_str(&arguments.value).unwrap_or_else(|_| arguments.value.as_str().into());
    let mut event = json!({"tags": arguments.tags, "value": value});
    if let (Some(kind), Some(event)) = (&arguments.of_type, event.as_object_mut()) {
        event.insert("type".to_owned(), kind.as_str().into());
    }
    let body = Some(("application/json", event.to_string()));
    let answer = client.send(Request { body, ..Request::new(Method::POST, &["events"]) }).await?.json();
    show(&answer, &arguments.output.output, |_| to_yaml(&answer))
}

/// Shows what runs at the control plane.
pub(crate) async fn info(arguments: InfoArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let answer = client.send(Request::get(&["info"])).await?.json();
    show(&answer, &arguments.output.output, |_| to_yaml(&answer))
}

/// A verb that is gone.
pub(crate) fn gone(verb: &str, today: &str) -> Failure {
    Failure::Usage { what: format!("there is no `vamp {verb}`: {today}") }
}
