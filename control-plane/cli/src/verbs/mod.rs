//! The client's verbs: each asks the control plane, and writes what came of it.

mod apply;
mod audit;
mod deploy;
mod explain;
mod read;
mod rollout;
mod split;

use reqwest::Method;
use serde_json::Value;

pub(crate) use apply::apply;
pub(crate) use audit::{audit_list, audit_verify};
pub(crate) use deploy::{deploy, merge, scale, undeploy};
pub(crate) use explain::explain;
pub(crate) use read::{describe, get};
pub(crate) use rollout::rollout_status;
pub(crate) use split::{set_weights, split};

use crate::arguments::{DeleteArguments, Output, Waiting};
use crate::client::{Answer, Client, Request};
use crate::failure::Failure;
use crate::output::{print, remark};

/// Deletes one artifact.
pub(crate) async fn delete(arguments: DeleteArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let path = [arguments.kind, &arguments.name];
    let query = wait_query(arguments.waiting);
    let answer = client.send(Request { query, ..Request::new(Method::DELETE, &path) }).await?;
    print(&format!("{}/{} deleted", arguments.kind, arguments.name))?;
    after_write(&answer.json(), arguments.waiting)
}

/// The query that makes a write wait.
fn wait_query(waiting: Waiting) -> Vec<(&'static str, String)> {
    if waiting.wait { vec![("wait", format!("{}ms", waiting.timeout.as_millis()))] } else { Vec::new() }
}

/// Tells warnings and the rollout of a write; a rollout that is not complete is a failure of the waiting, not of the
/// write.
fn after_write(body: &Value, waiting: Waiting) -> Result<(), Failure> {
    for warning in several(body).iter().flat_map(|artifact| items(artifact, "warnings")) {
        remark(&format!("warning: {}", text(warning, "message")));
    }
    // One change has one rollout, whichever of its artifacts tells it.
    match several(body).iter().find_map(|artifact| artifact.get("rollout")) {
        Some(rollout) if waiting.wait => rollout::judge(rollout),
        _ => Ok(()),
    }
}

/// An answer for one artifact is that artifact, for several a list.
fn several(body: &Value) -> &[Value] {
    match body {
        Value::Array(artifacts) => artifacts,
        one => std::slice::from_ref(one),
    }
}

/// Writes an answer as the API gave it.
fn print_as_is(answer: &Answer, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => {
            let pretty = serde_json::to_string_pretty(&answer.json()).unwrap_or_else(|_| answer.text.clone());
            print(&pretty)
        }
        Output::Yaml | Output::Table => print(&answer.text),
    }
}

/// A member as text.
fn text<'value>(value: &'value Value, member: &str) -> &'value str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// A member as a list.
fn items<'value>(value: &'value Value, member: &str) -> impl Iterator<Item = &'value Value> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}
