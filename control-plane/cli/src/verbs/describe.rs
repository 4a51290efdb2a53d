//! `vamp describe`: one artifact with everything that is known around it.

use serde_json::{Map, Value};
use vamp_model::to_yaml;

use super::{deploy, history, rollout, split};
use crate::arguments::DescribeArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::show;

/// LIMIT: versions that are told; `vamp history` tells more.
const VERSIONS: u32 = 10;

/// Shows one artifact with what is known around it.
pub(crate) async fn describe(arguments: DescribeArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let (kind, name) = (arguments.artifact.kind, arguments.artifact.name.as_str());
    let ask = async |path: &[&str]| client.send(Request::get(path)).await.map(|answer| answer.json());
    let artifact = client.send(Request::get(&[kind, name])).await?;
    let version = artifact.etag.as_deref().unwrap_or("-").trim_matches('"').to_owned();
    let mut parts = Map::from_iter([("artifact".to_owned(), artifact.json())]);
    if kind == "gateways" {
        parts.insert("split".to_owned(), ask(&[kind, name, "split"]).await?);
        parts.insert("rollout".to_owned(), ask(&["rollout"]).await?);
    }
    if kind == "deployments" {
        parts.insert("status".to_owned(), ask(&[kind, name, "status"]).await?);
    }
    let versions = client.list(&[kind, name, "history"], &[], Some(VERSIONS)).await?;
    parts.insert("history".to_owned(), versions.into());
    let told = in_words(&format!("{kind}/{name}, version {version}"), &parts);
    show(&Value::Object(parts), &arguments.asking.output.output, |_| told)
}

fn in_words(title: &str, parts: &Map<String, Value>) -> String {
    let mut told = title.to_owned();
    for (name, part) in parts {
        let (heading, text) = match name.as_str() {
            "artifact" => ("", to_yaml(part)),
            "split" => ("Split\n", split::tables(part)),
            "rollout" => ("Rollout\n", rollout::tables(part)),
            "status" => ("Status\n", deploy::states(part)),
            _ => ("History\n", history::table_of(part.as_array().map_or(&[], Vec::as_slice))),
        };
        told.push_str(&format!("\n\n{heading}{}", text.trim_end()));
    }
    told
}
