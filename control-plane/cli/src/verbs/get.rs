//! `vamp get`: artifacts, and what becomes of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rows::Rows;
use super::{items, text};
use crate::arguments::GetArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::{Output, piece, show};
use crate::output::{Columns, print, print_on};

/// Shows one artifact, or all of a kind.
pub(crate) async fn get(arguments: GetArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    if arguments.watch {
        return watch(&client, &arguments).await;
    }
    let artifacts = read(&client, &arguments).await?;
    let output = &arguments.asking.output.output;
    let table = |is_wide| Rows::of(arguments.kind, is_wide).table(&artifacts).0;
    match (&arguments.name, artifacts.as_slice()) {
        (Some(_), [only]) => show(only, output, table),
        _ => show(&Value::Array(artifacts.clone()), output, table),
    }
}

async fn read(client: &Client, arguments: &GetArguments) -> Result<Vec<Value>, Failure> {
    if let Some(name) = &arguments.name {
        return Ok(vec![client.send(Request::get(&[arguments.kind, name])).await?.json()]);
    }
    let labels: Vec<_> = arguments.selector.iter().map(|label| ("label", label.to_string())).collect();
    client.list(&[arguments.kind], &labels, None).await
}

/// Shows what is there, then each artifact again as it changes. The stream is opened before the list is read: a change
/// in between is shown twice rather than not at all.
async fn watch(client: &Client, arguments: &GetArguments) -> Result<(), Failure> {
    let tag = match &arguments.name {
        Some(name) => format!("{}:{name}", arguments.kind),
        None => arguments.kind.to_owned(),
    };
    // What is shown of a deployment changes by what runs, too.
    let of_writes = Some(("type", "archive".to_owned())).filter(|_| arguments.kind != "deployments");
    let query: Vec<_> = of_writes.into_iter().chain([("tag", tag)]).collect();
    let mut changes = client.follow(&["events", "stream"], query).await?;
    let artifacts = read(client, arguments).await?;
    let output = &arguments.asking.output.output;
    let rows = Rows::of(arguments.kind, *output == Output::Wide);
    let (table, columns) = rows.table(&artifacts);
    if matches!(output, Output::Table | Output::Wide) {
        print(&table)?;
    } else {
        for artifact in &artifacts {
            print(&line(artifact, output, &rows, &columns)?)?;
        }
    }
    // Of what was never shown the end is not told either.
    let mut shown: BTreeSet<String> = artifacts.iter().map(|artifact| text(artifact, "name").to_owned()).collect();
    while let Some(event) = changes.next().await? {
        let event: Value = serde_json::from_str(&event).unwrap_or_default();
        for name in names(&event, arguments.kind) {
            let Some(artifact) = now(client, arguments, name).await? else { continue };
            let is_gone = artifact.get("deleted").is_some();
            if is_gone && !shown.remove(name) {
                continue;
            }
            if !is_gone {
                shown.insert(name.to_owned());
            }
            if !print_on(&line(&artifact, output, &rows, &columns)?)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The artifact as it is now; one that is gone, as far as it can be told; nothing for one that is not asked for.
async fn now(client: &Client, arguments: &GetArguments, name: &str) -> Result<Option<Value>, Failure> {
    match client.send(Request::get(&[arguments.kind, name])).await {
        Ok(answer) => {
            let artifact = answer.json();
            let none = serde_json::Map::new();
            let metadata = artifact.get("metadata").and_then(Value::as_object).unwrap_or(&none);
            let is_selected = arguments.selector.iter().all(|selector| selector.selects(metadata));
            Ok(is_selected.then_some(artifact))
        }
        Err(Failure::Refused { status: 404, .. }) => {
            Ok(Some(json!({"kind": arguments.kind, "name": name, "deleted": true})))
        }
        Err(failure) => Err(failure),
    }
}

fn line(artifact: &Value, output: &Output, rows: &Rows, columns: &Columns) -> Result<String, Failure> {
    let row = || match artifact.get("deleted") {
        Some(_) => columns.row(&[text(artifact, "name").to_owned(), "(deleted)".to_owned()]),
        None => columns.row(&rows.cells(artifact)),
    };
    piece(artifact, output, row)
}

/// The artifacts of a kind that an event is about.
fn names<'e>(event: &'e Value, kind: &str) -> Vec<&'e str> {
    let tags = items(event, "tags").filter_map(Value::as_str);
    tags.filter_map(|tag| tag.split_once(':')).filter(|(found, _)| *found == kind).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_an_event_are_those_of_its_kind() {
        let event = json!({"tags": ["archive", "archive:update", "gateways", "gateways:a:1/b"]});
        assert_eq!(names(&event, "gateways"), ["a:1/b"]);
        assert!(names(&event, "routes").is_empty());
    }

    #[test]
    fn what_is_gone_is_told_as_gone() {
        let rows = Rows::of("conditions", false);
        let (_, columns) = rows.table(&[]);
        let gone = json!({"kind": "conditions", "name": "beta", "deleted": true});
        assert_eq!(line(&gone, &Output::Table, &rows, &columns).unwrap(), "beta  (deleted)\n");
        assert!(line(&gone, &Output::Json, &rows, &columns).unwrap().contains("\"deleted\":true"));
    }
}
